"""Bookings in the store: written under its guard, read in batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.booking import Booking, BookingStep
from domain.pages import Page, PageRequest
from domain.slot import Slot, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How much a practitioner has been given: fewest that day first, then longest unused."""

    bookings_that_day: int = 0
    last_given_at: datetime | None = None


class BookingReads(Protocol):
    """Bookings outside a unit of work; each method is one statement."""

    async def occupied(
        self,
        tenant_id: str,
        practitioner_ids: Sequence[UUID],
        span: Span,
        now: datetime,
        *,
        except_ids: Sequence[UUID] = (),
    ) -> Mapping[UUID, list[Span]]:
        """Time kept by bookings and live holds, per practitioner; `except_ids` and holds that move them left out."""
        ...

    async def turns(self, tenant_id: str, practitioner_ids: Sequence[UUID], day: Span) -> Mapping[UUID, Turn]: ...
    async def get(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Booking]: ...

    async def of_patient(
        self, tenant_id: str, patient_id: UUID, now: datetime, period: str, page: PageRequest
    ) -> Page[Booking]:
        """`period`: UPCOMING (not ended, soonest first), PREVIOUS (ended or no longer valid, latest first) or ALL.

        Holds, also those that were never confirmed, are not bookings yet and left out.
        """
        ...

    async def known_of_patient(
        self, tenant_id: str, patient_id: UUID, ids: Sequence[UUID], ehr_ids: Sequence[str]
    ) -> Sequence[Booking]:
        """The patient's, whatever has become of them, by our ids or by any EHR's own."""
        ...

    async def steps(self, tenant_id: str, booking_ids: Sequence[UUID]) -> Mapping[UUID, list[BookingStep]]: ...

    async def by_ehr_ids(self, tenant_id: str, endpoint_id: str, ehr_ids: Sequence[str]) -> Mapping[str, Booking]:
        """By the EHR's own id of what was booked."""
        ...

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[str, UUID]]:
        """(tenant, booking) whose `check_at` has passed, oldest first: open questions to EHRs."""
        ...

    async def any_lapsed(self, now: datetime) -> bool:
        """Whether there are holds to be let go of."""
        ...

    async def lapsed_in(self, now: datetime) -> Sequence[str]:
        """The tenants that have such holds."""
        ...

    async def unknown(self) -> tuple[int, datetime | None]:
        """How many bookings no EHR has answered for, over all tenants, and since when the oldest is asked for."""
        ...


class Bookings(Protocol):
    async def hold(self, booking: Booking, now: datetime) -> bool:
        """Insert under the database's guard; False when the practitioner is occupied then.

        Lapsed holds in the way are expired first, in the same transaction.
        """
        ...

    async def make_way(self, booking: Booking, now: datetime) -> None:
        """To be called before other rows are changed in the work that a new hold is made in: takes every lock that the
        hold could wait for now, while nobody waits for us."""
        ...

    async def get(self, tenant_id: str, id: UUID, *, lock: bool = False) -> Booking | None:
        """`lock` keeps it from everybody else until this work is done."""
        ...

    async def save(self, booking: Booking) -> bool:
        """Write the next version. Raises `StaleBooking` when somebody saved before us.

        False when the database's guard refuses the (new) time.
        """
        ...

    async def queue_for_patient(self, tenant_id: str, patient_id: UUID) -> bool:
        """Locks the patient until this work is done: what is held and booked for one patient is decided in turn.

        False when there is none any more: erased before it was our turn.
        It comes before the lock of any booking, for whoever locks both: two orders would be a ring.
        """
        ...

    async def live_holds_of(self, tenant_id: str, patient_id: UUID, now: datetime) -> Sequence[Booking]:
        """What the patient holds and has not lapsed, locked; the patient is locked by then."""
        ...

    async def anonymous_holds_at(
        self, tenant_id: str, clinic_id: UUID, now: datetime, *, except_ids: Sequence[UUID] = ()
    ) -> int:
        """How many live holds at that clinic nobody has signed in with."""
        ...

    async def of_patient_in(self, tenant_id: str, patient_id: UUID, span: Span) -> Sequence[Booking]:
        """The patient's occupying bookings that overlap, holds left out; locks the patient until this work is done."""
        ...

    async def move_hold(self, tenant_id: str, booking_id: UUID) -> Booking | None:
        """The hold through which the EHR is being asked to move that booking (CONFIRMING or UNKNOWN), locked."""
        ...

    async def expire_lapsed(self, tenant_id: str, now: datetime, limit: int) -> int:
        """Let go of holds that have run out; returns how many. Their times are free again."""
        ...

    async def forget_lapsed(self, tenant_id: str, before: datetime, limit: int) -> int:
        """Holds that ran out before then and never became a booking, at most so many; returns how many.

        Those through which a booking was moved stay as long as a repeated request may ask for them.
        """
        ...

    async def holds_in(self, tenant_id: str, slot: Slot) -> Sequence[Booking]:
        """Holds on its practitioner's time then, locked."""
        ...

    async def add_step(self, booking: Booking, step: BookingStep) -> None: ...


class StaleBooking(Exception):
    pass
