"""Every business "no", as a value that the patient can act on.

`Refused` carries refusals up to the API, which answers with the payload's `errors`. Anything else that is raised is
an outage (`EhrUnavailable`) or a bug.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from domain.booking import Booking
    from domain.slot import Slot


class RefusalCode(StrEnum):
    """Stable names for clients; texts in `api/messages.py`."""

    SLOT_TAKEN = "SLOT_TAKEN"
    HOLD_EXPIRED = "HOLD_EXPIRED"
    HOLD_NOT_FOUND = "HOLD_NOT_FOUND"
    HOLD_LIMIT = "HOLD_LIMIT"
    NOT_ENOUGH_NOTICE = "NOT_ENOUGH_NOTICE"
    TOO_YOUNG = "TOO_YOUNG"
    AGE_UNKNOWN = "AGE_UNKNOWN"
    PATIENT_DOUBLE_BOOKED = "PATIENT_DOUBLE_BOOKED"
    CLINIC_CLOSED = "CLINIC_CLOSED"
    TREATMENT_NOT_OFFERED = "TREATMENT_NOT_OFFERED"
    CAMPAIGN_INVALID = "CAMPAIGN_INVALID"
    CAMPAIGN_EXHAUSTED = "CAMPAIGN_EXHAUSTED"
    TERMS_NOT_ACCEPTED = "TERMS_NOT_ACCEPTED"
    NATIONAL_ID_REQUIRED = "NATIONAL_ID_REQUIRED"
    CHANGE_NOT_ALLOWED = "CHANGE_NOT_ALLOWED"
    STALE_VERSION = "STALE_VERSION"
    UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
    REJECTED_BY_EHR = "REJECTED_BY_EHR"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    IN_PROGRESS = "IN_PROGRESS"
    INVALID_INPUT = "INVALID_INPUT"
    NOT_FOUND = "NOT_FOUND"


class ChangeRefusal(StrEnum):
    """Why a booking cannot be changed here."""

    NOT_ALLOWED = "NOT_ALLOWED"
    TOO_LATE = "TOO_LATE"
    GRACE_OVER = "GRACE_OVER"
    COUNT_EXCEEDED = "COUNT_EXCEEDED"
    ALREADY_STARTED = "ALREADY_STARTED"
    EHR_OFFLINE = "EHR_OFFLINE"
    MANAGED_EXTERNALLY = "MANAGED_EXTERNALLY"


@dataclass(frozen=True, slots=True)
class Refusal:
    code: ClassVar[RefusalCode]


class Refused(Exception):
    """Raised by use cases and adapters; caught once, where payloads are made."""

    def __init__(self, *refusals: Refusal) -> None:
        self.refusals = refusals
        super().__init__(", ".join(refusal.code for refusal in refusals))


@dataclass(frozen=True, slots=True)
class SlotTaken(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.SLOT_TAKEN
    alternatives: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldExpired(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.HOLD_EXPIRED


@dataclass(frozen=True, slots=True)
class HoldNotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.HOLD_NOT_FOUND


@dataclass(frozen=True, slots=True)
class HoldLimit(Refusal):
    """Too many times were held from one place in a short while."""

    code: ClassVar[RefusalCode] = RefusalCode.HOLD_LIMIT


@dataclass(frozen=True, slots=True)
class NotEnoughNotice(Refusal):
    """`earliest`: the first instant that would have been early enough."""

    code: ClassVar[RefusalCode] = RefusalCode.NOT_ENOUGH_NOTICE
    earliest: datetime


@dataclass(frozen=True, slots=True)
class TooYoung(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.TOO_YOUNG
    minimum_age: int


@dataclass(frozen=True, slots=True)
class AgeUnknown(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.AGE_UNKNOWN
    minimum_age: int


@dataclass(frozen=True, slots=True)
class PatientDoubleBooked(Refusal):
    """`may_proceed`: the tenant only warns."""

    code: ClassVar[RefusalCode] = RefusalCode.PATIENT_DOUBLE_BOOKED
    other: Booking
    may_proceed: bool


@dataclass(frozen=True, slots=True)
class ClinicClosed(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.CLINIC_CLOSED


@dataclass(frozen=True, slots=True)
class TreatmentNotOffered(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.TREATMENT_NOT_OFFERED


@dataclass(frozen=True, slots=True)
class CampaignInvalid(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.CAMPAIGN_INVALID


@dataclass(frozen=True, slots=True)
class TermsNotAccepted(Refusal):
    """`version`: the terms in force, to be shown and accepted."""

    code: ClassVar[RefusalCode] = RefusalCode.TERMS_NOT_ACCEPTED
    version: str


@dataclass(frozen=True, slots=True)
class NationalIdRequired(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.NATIONAL_ID_REQUIRED


@dataclass(frozen=True, slots=True)
class ChangeNotAllowed(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.CHANGE_NOT_ALLOWED
    refusal: ChangeRefusal
    clinic_phone: str | None = None


@dataclass(frozen=True, slots=True)
class StaleVersion(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.STALE_VERSION
    current: Booking


@dataclass(frozen=True, slots=True)
class UpstreamUnavailable(Refusal):
    """The EHR could not be asked, and surely nothing was changed there."""

    code: ClassVar[RefusalCode] = RefusalCode.UPSTREAM_UNAVAILABLE
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RejectedByEhr(Refusal):
    """The EHR said no for a reason of its own; `reason` is for the log, never shown."""

    code: ClassVar[RefusalCode] = RefusalCode.REJECTED_BY_EHR
    reason: str = ""


@dataclass(frozen=True, slots=True)
class IdempotencyKeyReused(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.IDEMPOTENCY_KEY_REUSED


@dataclass(frozen=True, slots=True)
class InProgress(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.IN_PROGRESS


@dataclass(frozen=True, slots=True)
class InvalidInput(Refusal):
    """`path`: where in the input, outermost first; `hint`: what would be right, in English for developers."""

    code: ClassVar[RefusalCode] = RefusalCode.INVALID_INPUT
    path: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class NotFound(Refusal):
    code: ClassVar[RefusalCode] = RefusalCode.NOT_FOUND
    path: tuple[str, ...] = ()
