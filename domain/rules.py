"""The booking rules: pure functions from a proposal to a refusal, or to nothing, and who asks which of them.

The occasions (`BEFORE_…`) are the whole of it: finding, holding, confirming, moving and cancelling keep no rule of
their own. What somebody must look up first is a field of the proposal.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from domain.age import age_on
from domain.booking import Booking, BookingStatus
from domain.clinic import Clinic, ClinicBooking
from domain.refusals import (
    AgeUnknown,
    ChangeNotAllowed,
    ChangeRefusal,
    ClinicClosed,
    NationalIdRequired,
    NotEnoughNotice,
    PatientDoubleBooked,
    Refusal,
    TermsNotAccepted,
    TooYoung,
    TreatmentNotOffered,
)
from domain.rule_values import BookingRules, ChangeWindow, RuleValues, WindowCombination, rules_of
from domain.tenant import DoubleBooking, Tenant
from domain.windows import ChangeRight, cancellation_right, rescheduling_right

__all__ = [
    "BEFORE_CANCEL",
    "BEFORE_CONFIRM",
    "BEFORE_FIND",
    "BEFORE_HOLD",
    "BEFORE_MOVE",
    "FIRM",
    "BookingRules",
    "Change",
    "ChangeWindow",
    "Proposal",
    "Rule",
    "RuleValues",
    "WindowCombination",
    "opens_at",
    "proposed",
    "refusals",
    "rules_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The booking that is to be moved or cancelled; `rules` are those in force at its own clinic.

    `stays`: the new time is in the same EHR and of the same treatment. `outside` is a no that our rules cannot know of.
    """

    booking: Booking
    rules: BookingRules
    clinic_phone: str | None = None
    stays: bool = True
    outside: ChangeRefusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One person asking for one time, or for one change: all that a rule may look at."""

    start: datetime
    time_zone: str
    rules: BookingRules
    now: datetime
    clinic_booking: ClinicBooking = ClinicBooking.ONLINE
    is_offered: bool = True
    birth_date: date | None = None
    has_national_id: bool = True
    terms_version: str = ""
    accepted_terms: str = ""
    overlapping: Booking | None = None
    overlap_warns: bool = False
    overlap_accepted: bool = False
    change: Change | None = None


Rule = Callable[[Proposal], Refusal | None]


def proposed(tenant: Tenant, clinic: Clinic, start: datetime, now: datetime, **more: object) -> Proposal:
    """A time at that clinic, under what tenant and clinic say; `more` is what only the occasion knows."""
    return Proposal(
        start=start,
        time_zone=clinic.time_zone,
        rules=rules_of(tenant.rules, clinic.rules),
        now=now,
        clinic_booking=clinic.booking,
        terms_version=tenant.terms_version,
        overlap_warns=tenant.double_booking is DoubleBooking.WARN,
        **more,  # type: ignore[arg-type]
    )


def treatment_is_offered(proposal: Proposal) -> Refusal | None:
    """An offer that was withdrawn, or that this visitor may not see, is not there."""
    return None if proposal.is_offered else TreatmentNotOffered()


def clinic_takes_bookings(proposal: Proposal) -> Refusal | None:
    """A clinic may be booked by phone only, or on a page of its own."""
    return None if proposal.clinic_booking is ClinicBooking.ONLINE else ClinicClosed()


def time_is_to_come(proposal: Proposal) -> Refusal | None:
    """What has started cannot be held by anybody."""
    return NotEnoughNotice(_earliest(proposal)) if _instant(proposal.start) < proposal.now else None


def clinic_has_notice(proposal: Proposal) -> Refusal | None:
    """A time that starts within the clinic's minimum notice is no longer on offer."""
    earliest = _earliest(proposal)
    return NotEnoughNotice(earliest) if proposal.now <= _instant(proposal.start) < earliest else None


def identity_is_known(proposal: Proposal) -> Refusal | None:
    """A record system books a national number, not a name."""
    return None if proposal.has_national_id else NationalIdRequired()


def terms_are_accepted(proposal: Proposal) -> Refusal | None:
    """Those in force, not those that somebody once saw."""
    current = proposal.terms_version
    return None if proposal.accepted_terms == current else TermsNotAccepted(current)


def patient_is_old_enough(proposal: Proposal) -> Refusal | None:
    """Whole years on the appointment's date at the clinic; an age that nobody vouches for is not enough."""
    minimum = proposal.rules.minimum_age
    if minimum is None:
        return None
    if proposal.birth_date is None:
        return AgeUnknown(minimum)
    day = proposal.start.astimezone(ZoneInfo(proposal.time_zone)).date()
    return TooYoung(minimum) if age_on(proposal.birth_date, day) < minimum else None


def patient_is_free(proposal: Proposal) -> Refusal | None:
    """Nobody is at two visits at once; where the tenant only warns, the patient may say that it is meant."""
    other, warns = proposal.overlapping, proposal.overlap_warns
    if other is None or (warns and proposal.overlap_accepted):
        return None
    return PatientDoubleBooked(other, warns)


def booking_stands(proposal: Proposal) -> Refusal | None:
    """Only what is booked, and has no open question to its EHR, can be changed."""
    stands = proposal.change is None or proposal.change.booking.status is BookingStatus.BOOKED
    return None if stands else _no_change(proposal, ChangeRefusal.NOT_ALLOWED)


def move_stays_within(proposal: Proposal) -> Refusal | None:
    """A move stays within its EHR and its treatment: anything else is another booking."""
    stays = proposal.change is None or proposal.change.stays
    return None if stays else _no_change(proposal, ChangeRefusal.NOT_ALLOWED)


def _about(right_to: Callable[..., ChangeRight], *reasons: ChangeRefusal) -> Rule:
    """Each kind of reason is a rule of its own, so that to pass over one is not to pass over another."""

    def rule(proposal: Proposal) -> Refusal | None:
        change = proposal.change
        if change is None or booking_stands(proposal):
            return None
        right = right_to(change.booking, change.rules, proposal.now, change.outside)
        return next((_no_change(proposal, why) for why in right.reasons if why in reasons), None)

    return rule


REASONS = (
    (ChangeRefusal.NOT_ALLOWED,),
    (ChangeRefusal.ALREADY_STARTED, ChangeRefusal.TOO_LATE, ChangeRefusal.GRACE_OVER),
    (ChangeRefusal.COUNT_EXCEEDED,),
    (ChangeRefusal.EHR_OFFLINE, ChangeRefusal.MANAGED_EXTERNALLY),
)
MOVE_IS_OPEN: tuple[Rule, ...] = tuple(_about(rescheduling_right, *each) for each in REASONS)
CANCELLATION_IS_OPEN: tuple[Rule, ...] = tuple(_about(cancellation_right, *each) for each in REASONS)
"""The windows of `domain/windows.py`, a rule for each kind of reason."""


def _no_change(proposal: Proposal, why: ChangeRefusal) -> Refusal:
    return ChangeNotAllowed(why, proposal.change.clinic_phone if proposal.change else None)


def _instant(moment: datetime) -> datetime:
    """In UTC: two times on one wall would be compared, and added to, as the wall shows them."""
    return moment.astimezone(UTC)


def _earliest(proposal: Proposal) -> datetime:
    return _instant(proposal.now) + proposal.rules.minimum_notice


BEFORE_FIND: tuple[Rule, ...] = (treatment_is_offered, clinic_takes_bookings, time_is_to_come, clinic_has_notice)
"""What can be said of a time whoever asks. Finding cuts by `opens_at`, so that no slot is made to be refused."""

BEFORE_HOLD: tuple[Rule, ...] = (*BEFORE_FIND, booking_stands, move_stays_within, *MOVE_IS_OPEN)
"""As for finding, and for a hold that is to move a booking, whether it may be moved there."""

BEFORE_CONFIRM: tuple[Rule, ...] = (identity_is_known, terms_are_accepted, patient_is_old_enough, patient_is_free)
"""What can only be said of a known patient. The notice was kept by holding in time, so it is not asked again."""

BEFORE_MOVE: tuple[Rule, ...] = (
    *(booking_stands, move_stays_within, *MOVE_IS_OPEN),
    *(patient_is_old_enough, patient_is_free),
)
"""As for holding the time to move to and for confirming; the booking that moves is not in its own way."""

BEFORE_CANCEL: tuple[Rule, ...] = (booking_stands, *CANCELLATION_IS_OPEN)

FIRM: frozenset[Rule] = frozenset(
    {treatment_is_offered, time_is_to_come, identity_is_known, terms_are_accepted, booking_stands, move_stays_within}
)
"""Rules that nobody may pass over: without them there is nothing to book, nobody to book it for, or no consent."""


def refusals(proposal: Proposal, rules: Iterable[Rule]) -> tuple[Refusal, ...]:
    """Every reason to say no, so that the patient can put them all right at once."""
    return tuple(refusal for rule in rules if (refusal := rule(proposal)))


def opens_at(tenant: Tenant, clinic: Clinic, now: datetime) -> datetime | None:
    """The earliest start that every rule before finding lets pass; None where none ever does."""
    earliest = _instant(now) + rules_of(tenant.rules, clinic.rules).minimum_notice
    return None if refusals(proposed(tenant, clinic, earliest, now), BEFORE_FIND) else earliest
