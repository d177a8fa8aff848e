"""A booking, from hold to visit, and the only ways its status may change."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from domain.rule_values import BookingRules
from domain.slot import Slot


class BookingStatus(StrEnum):
    """Where a booking stands."""

    HELD = "HELD"  # ours until `expires_at`; the EHR knows of it where `held_in_ehr`
    CONFIRMING = "CONFIRMING"  # the EHR has been asked
    UNKNOWN = "UNKNOWN"  # the EHR gave no answer: `reconcile` reads it back
    BOOKED = "BOOKED"
    CANCELLING = "CANCELLING"  # the EHR has been asked to cancel
    CANCELLED = "CANCELLED"
    FULFILLED = "FULFILLED"
    NO_SHOW = "NO_SHOW"
    FAILED = "FAILED"  # the EHR said no
    EXPIRED = "EXPIRED"
    RELEASED = "RELEASED"


S = BookingStatus

OCCUPYING = (S.HELD, S.CONFIRMING, S.UNKNOWN, S.BOOKED, S.CANCELLING)
"""The states that keep a time from everybody else; the database's constraint is made of this list."""
ENDED_UNBOOKED = (S.FAILED, S.EXPIRED, S.RELEASED)
"""It never was a visit, and will be none."""
ONLY_HELD = (S.HELD, S.EXPIRED, S.RELEASED)
"""Its EHR was never asked to book it, so that patients see no booking in it."""
ASKING = (S.CONFIRMING, S.UNKNOWN, S.CANCELLING)
"""What it is to become is for its EHR to answer."""

NOBODYS: Mapping[str, Any] = {
    "patient_id": None,
    "comment": None,
    "terms_version": None,
    "sms_confirmation": False,
    "sms_to": None,
    "cancel_reason": None,
}
"""What a booking loses with its person. When, where and for what it was stays, for utilisation."""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When a booking was made that was made elsewhere, nobody says when: no time of grace is counted from it."""

_NEXT: Mapping[BookingStatus, frozenset[BookingStatus]] = {
    S.HELD: frozenset({S.CONFIRMING, S.EXPIRED, S.RELEASED}),
    # back to HELD: the EHR could not be reached, so it surely was not asked
    S.CONFIRMING: frozenset({S.BOOKED, S.FAILED, S.UNKNOWN, S.HELD, S.RELEASED, S.CANCELLED}),
    S.UNKNOWN: frozenset({S.BOOKED, S.FAILED, S.CANCELLED, S.RELEASED}),
    S.BOOKED: frozenset({S.BOOKED, S.CANCELLING, S.UNKNOWN, S.CANCELLED, S.FULFILLED, S.NO_SHOW}),
    S.CANCELLING: frozenset({S.CANCELLED, S.UNKNOWN, S.BOOKED}),
}


class Asked(StrEnum):
    """What the EHR was asked for and has not answered yet."""

    CONFIRM = "CONFIRM"
    MOVE = "MOVE"
    CANCEL = "CANCEL"


class IllegalTransition(Exception):
    """A caller asked for a change that no booking can make: a bug, never a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """A patient's claim on a time. Without a patient it is an anonymous hold.

    `reference` is short and speakable. `moves_booking_id` marks a hold made to move that booking. `ehr_id` is the
    EHR's Appointment. `asked` with `asked_at` says which question to the EHR is open; `empty_reads` how often it was
    looked for in vain, `check_at` when to look next. `failure` is the refusal code a confirm, move or hold failed with.
    `held_in_ehr`: the EHR keeps the time as well, under `ehr_id` while it is HELD. `made_elsewhere`: booked past us, by
    phone say; its `reference` is told nobody, and `created_at` is LONG_AGO where the EHR does not say.
    `no_change_within` is the EHR's own limit before the start, under whatever the clinic's rules say.
    """

    tenant_id: str
    id: UUID
    reference: str
    slot: Slot
    status: BookingStatus
    version: int = 1
    created_at: datetime
    expires_at: datetime
    rules: BookingRules
    patient_id: UUID | None = None
    moves_booking_id: UUID | None = None
    any_practitioner: bool = False
    renewed: bool = False
    ehr_id: str | None = None
    booked_at: datetime | None = None
    moves_made: int = 0
    comment: str | None = None
    terms_version: str | None = None
    sms_confirmation: bool = False
    sms_to: str | None = None
    asked: Asked | None = None
    asked_at: datetime | None = None
    check_at: datetime | None = None
    empty_reads: int = 0
    failure: str | None = None
    cancel_reason: str | None = None
    held_in_ehr: bool = False
    made_elsewhere: bool = False
    no_change_within: timedelta = timedelta()

    def lapsed(self, now: datetime) -> bool:
        return self.status is S.HELD and self.expires_at <= now

    def becomes(self, status: BookingStatus, **changes: Any) -> "Booking":
        """The next version, in another status. Raises `IllegalTransition`."""
        if status not in _NEXT.get(self.status, frozenset()):
            raise IllegalTransition(f"{self.id}: {self.status} -> {status}")
        return replace(self, status=status, version=self.version + 1, **changes)

    def asking(self, status: BookingStatus, asked: Asked, now: datetime, check_at: datetime, **more: Any) -> "Booking":
        """The intent, written down before the EHR hears of it."""
        return self.becomes(status, asked=asked, asked_at=now, check_at=check_at, empty_reads=0, **more)

    def nobodys(self) -> "Booking":
        """Without its patient and what they said: of the same version, to be written with what else becomes of it."""
        return replace(self, **NOBODYS)

    def extended(self, until: datetime, **changes: Any) -> "Booking":
        """A hold kept longer, once: at login."""
        return replace(self, version=self.version + 1, expires_at=until, renewed=True, **changes)

    def unsettled(self, check_at: datetime, empty_reads: int) -> "Booking":
        """Looked for in the EHR without a verdict yet."""
        looked = replace(self, check_at=check_at, empty_reads=empty_reads)
        if self.status in (S.CONFIRMING, S.CANCELLING):
            return looked.becomes(S.UNKNOWN)
        return replace(looked, version=self.version + 1)

    def answered(self, status: BookingStatus, **changes: Any) -> "Booking":
        """The question is closed."""
        return self.becomes(status, asked=None, asked_at=None, check_at=None, empty_reads=0, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingStep:
    """One line of a booking's history."""

    at: datetime
    version: int
    status: BookingStatus
    actor: str
    start: datetime
