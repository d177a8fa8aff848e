"""A record system, as the domain needs it: find, book, move, cancel, look up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.catalogue import (
    EhrCatalogue,
)
from domain.endpoint import Endpoint
from domain.patient import Patient
from domain.slot import FoundTime, Span


class Outage(StrEnum):
    TIMEOUT = "TIMEOUT"  # no answer within the deadline
    OFFLINE = "OFFLINE"  # not reached, or it answered that it cannot


class OutageWord(StrEnum):
    """Why there was no answer, as clients are told it; these words do not change."""

    TIMEOUT = "TIMEOUT"  # no answer within the deadline
    OFFLINE = "OFFLINE"  # not reached, or it answered that it cannot
    BUSY = "BUSY"  # too many of our own calls were waiting for it
    RATE_LIMITED = "RATE_LIMITED"  # it takes no more calls from us for the moment
    CIRCUIT_OPEN = "CIRCUIT_OPEN"  # it failed so often that it is left alone for a while


class EhrUnavailable(Exception):
    """The EHR gave no usable answer.

    `sent` is False only where nothing can have happened there: the connection itself failed, or the call was not made
    at all. Otherwise what was asked may or may not have been done. `reason` is for us, `word` for clients.
    """

    def __init__(
        self,
        reason: str,
        *,
        outage: Outage = Outage.OFFLINE,
        sent: bool = True,
        retry_after: timedelta | None = None,
        word: OutageWord | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.outage = outage
        self.sent = sent
        self.retry_after = retry_after
        self.word = word or OutageWord(outage.value)

    def as_if(self, *, sent: bool) -> "EhrUnavailable":
        """The same outage, for whoever knows better what may have happened there before or after this call."""
        return EhrUnavailable(self.reason, outage=self.outage, sent=sent, retry_after=self.retry_after, word=self.word)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One practitioner's time for one treatment, in an EHR's own terms."""

    practitioner_ehr_id: str
    clinic_ehr_id: str
    schedule_ids: tuple[str, ...]
    service_code: str
    duration: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`trouble`: some of what was asked for was not answered; `times` is what was, `unanswered` whose are not whole."""

    times: Sequence[FoundTime]
    trouble: EhrUnavailable | None = None
    unanswered: frozenset[Wanted] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A booking in an EHR's own terms: all that an adapter needs to book, move, cancel or look for it.

    `ehr_id` is the Appointment once known. `reference` names the time the visit has (IHE slot-id, R4 Slot).
    """

    booking_id: UUID
    ehr_id: str | None
    patient: Patient
    practitioner_ehr_id: str
    practitioner_name: str
    clinic_ehr_id: str
    clinic_name: str
    service_code: str
    service_title: str
    reference: str
    start: datetime
    end: datetime
    resources: tuple[str, ...] = ()
    comment: str | None = None
    other_services: tuple[Wanted, ...] = ()
    """What else its practitioner offers there: an EHR that tells free time by service tells more of it with these."""


class AppointmentState(StrEnum):
    BOOKED = "booked"
    CANCELLED = "cancelled"
    FULFILLED = "fulfilled"
    NO_SHOW = "noshow"


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrAppointment:
    """What the EHR holds of a visit.

    `still_taken` names times that a change should have freed and could not: they are to be tidied up later.
    """

    ehr_id: str
    state: AppointmentState
    start: datetime
    end: datetime
    practitioner_ehr_id: str | None = None
    still_taken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrVisit:
    """What the EHR holds of a visit, and all that it says of it to the patient.

    `title` is in the EHR's own words, plain text, empty where it has none. `booking_id` is our number, where it carries
    one. `created` is when it was made there, None where that is not told to the second. `no_change_within` is the EHR's
    own limit before the start. `reference` names the time it has; `resources` are a chair or device it needs.
    """

    held: EhrAppointment
    clinic_ehr_id: str | None = None
    service_code: str | None = None
    title: str = ""
    booking_id: UUID | None = None
    created: datetime | None = None
    no_change_within: timedelta = timedelta()
    can_be_cancelled: bool = True
    can_be_rescheduled: bool = True
    reference: str = ""
    resources: tuple[str, ...] = ()


class Ehr(Protocol):
    """One clinic group's record system. Every method may raise `EhrUnavailable`; deadlines are in seconds.

    `book`, `move` and `cancel` raise `Refused` with `SlotTaken` or `RejectedByEhr` when the EHR says no, and are sent
    once, on a connection of their own.
    """

    async def probe(self, deadline: float) -> None:
        """Answers at all, and cheaply: its CapabilityStatement is asked for."""
        ...

    async def catalogue(self, deadline: float) -> EhrCatalogue: ...

    async def find(
        self, wanted: Sequence[Wanted], span: Span, deadline: float, *, moving: Visit | None = None
    ) -> Found:
        """Free times that start within `span`. With `moving`, also those that only that visit is in the way of.

        Never raises for an outage: what did not answer within the deadline is told in `Found.trouble`.
        """
        ...

    async def hold(self, visit: Visit, deadline: float) -> str | None:
        """Keep the time there for a while, nobody knows for whom: the id of what keeps it, which is then booked with
        `visit.ehr_id`. None where this dialect has no such thing. Raises `Refused` as `book` does.
        """
        ...

    async def let_go(self, visit: Visit, ehr_id: str, deadline: float) -> None:
        """Of what `hold` answered, whose time the visit has. Also succeeds when it is gone; what is booked stays."""
        ...

    async def book(self, visit: Visit, deadline: float) -> EhrAppointment: ...

    async def move(self, visit: Visit, to: Visit, deadline: float) -> EhrAppointment:
        """The same Appointment at another time, practitioner or both. On `Refused` the old time stands untouched."""
        ...

    async def cancel(self, visit: Visit, deadline: float) -> Sequence[str]:
        """Also succeeds when it was cancelled before. Answers the times that are still taken, as above."""
        ...

    async def look_up(self, visit: Visit, deadline: float) -> EhrAppointment | None:
        """Read back: by our identifier, and where that finds nothing, by patient, start and practitioner."""
        ...

    async def visits_of(self, patient: Patient, since: datetime, deadline: float) -> Sequence[EhrVisit]:
        """Visits of that very patient that start at `since` or later, whoever booked them; at most 200.

        By the national number, and none without one. What cannot be shown to be the patient's own is left out.
        """
        ...

    async def abandon(self, visit: Visit, deadline: float) -> None:
        """Let go of what a booking that never became one may have left behind (a Slot that carries our identifier)."""
        ...

    async def tidy(self, visit: Visit, deadline: float) -> None:
        """Make the time at the visit's `reference` say what its Appointment says.

        A change without an answer, or one that came too late, may have left it taken in the booking's name, or free
        although the visit stands there. Nobody else's time is touched.
        """
        ...

    async def registered_phone(self, patient: Patient, deadline: float) -> str | None:
        """The number that the clinic has for the patient (Patient.telecom), E.164 where it can be told."""
        ...


class Ehrs(Protocol):
    def at(self, endpoint: Endpoint) -> Ehr:
        """The adapter for an endpoint, with its pooled connections."""
        ...

    def last_answer(self, endpoint: Endpoint) -> datetime | None:
        """When it last gave this process a good answer to anything (UTC); None when it never did."""
        ...

    def has_failed_since(self, endpoint: Endpoint) -> bool:
        """Whether it has left a call of this process unanswered after its last good answer."""
        ...
