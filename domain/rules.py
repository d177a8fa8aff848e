"""Booking rules: pure functions from a proposal to a refusal, or to nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from domain.age import age_on
from domain.refusals import AgeUnknown, NotEnoughNotice, Refusal, TooYoung


class WindowCombination(StrEnum):
    """How the two branches of a change window count together."""

    ANY = "any"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleValues:
    """What one level, tenant or clinic, says; None says nothing, and the level above counts."""

    minimum_notice_minutes: int | None = None
    minimum_age: int | None = None
    cancellation_allowed: bool | None = None
    cancellation_within_hours_of_booking: int | None = None
    cancellation_until_hours_before_start: int | None = None
    rescheduling_allowed: bool | None = None
    rescheduling_within_hours_of_booking: int | None = None
    rescheduling_until_hours_before_start: int | None = None
    window_combination: WindowCombination | None = None
    maximum_reschedules: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeWindow:
    """When a patient may change a booking: hours are elapsed hours, a missing one means that branch is absent."""

    allowed: bool
    within_hours_of_booking: int | None = None
    until_hours_before_start: int | None = None
    combination: WindowCombination = WindowCombination.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingRules:
    """The rules in force at a clinic; a booking keeps a snapshot of those it was made under."""

    minimum_notice: timedelta
    minimum_age: int | None
    cancellation: ChangeWindow
    rescheduling: ChangeWindow
    maximum_reschedules: int | None


def rules_of(tenant: RuleValues, clinic: RuleValues) -> BookingRules:
    """The clinic's values over the tenant's, one by one. What neither says: no notice, no age, changes allowed."""
    own = {f.name: value for f in fields(clinic) if (value := getattr(clinic, f.name)) is not None}
    values = replace(tenant, **own)
    combination = values.window_combination or WindowCombination.ANY
    return BookingRules(
        minimum_notice=timedelta(minutes=values.minimum_notice_minutes or 0),
        minimum_age=values.minimum_age,
        cancellation=ChangeWindow(
            allowed=values.cancellation_allowed is not False,
            within_hours_of_booking=values.cancellation_within_hours_of_booking,
            until_hours_before_start=values.cancellation_until_hours_before_start,
            combination=combination,
        ),
        rescheduling=ChangeWindow(
            allowed=values.rescheduling_allowed is not False,
            within_hours_of_booking=values.rescheduling_within_hours_of_booking,
            until_hours_before_start=values.rescheduling_until_hours_before_start,
            combination=combination,
        ),
        maximum_reschedules=values.maximum_reschedules,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One person asking for one time: all that a rule may look at."""

    start: datetime
    time_zone: str
    rules: BookingRules
    now: datetime
    birth_date: date | None = None


Rule = Callable[[Proposal], Refusal | None]


def opens_at(rules: BookingRules, now: datetime) -> datetime:
    """The earliest start that can still be held: the rules that look at nothing but the time are cut out by it."""
    return now + rules.minimum_notice


def clinic_has_notice(proposal: Proposal) -> Refusal | None:
    """A time that starts within the clinic's minimum notice, or has started, is no longer on offer."""
    earliest = opens_at(proposal.rules, proposal.now)
    return NotEnoughNotice(earliest) if proposal.start < earliest else None


def patient_is_old_enough(proposal: Proposal) -> Refusal | None:
    """Whole years on the appointment's date at the clinic; an age that nobody vouches for is not enough."""
    minimum = proposal.rules.minimum_age
    if minimum is None:
        return None
    if proposal.birth_date is None:
        return AgeUnknown(minimum)
    day = proposal.start.astimezone(ZoneInfo(proposal.time_zone)).date()
    return TooYoung(minimum) if age_on(proposal.birth_date, day) < minimum else None


BEFORE_HOLD: tuple[Rule, ...] = (clinic_has_notice,)
"""What can be said of a time whoever asks. Finding cuts by `opens_at`, so that no slot is made to be refused."""

BEFORE_CONFIRM: tuple[Rule, ...] = (patient_is_old_enough,)
"""What can only be said of a known patient. The notice was kept by holding in time, so it is not asked again."""


def refusals(proposal: Proposal, rules: Iterable[Rule]) -> tuple[Refusal, ...]:
    """Every reason to say no, so that the patient can put them all right at once."""
    return tuple(refusal for rule in rules if (refusal := rule(proposal)))
