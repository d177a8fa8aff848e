"""What moving and cancelling a booking have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from domain.audit import Actor
from domain.booking import Booking, BookingStatus
from domain.bypass import Bypass, admitted
from domain.events import EventKind
from domain.patient import Patient
from domain.ports import Clock, Remembered, StaleBooking, StartWork, UnitOfWork
from domain.refusals import IdempotencyKeyReused, InProgress, NotFound, Refused, StaleVersion
from domain.rules import BEFORE_CANCEL, BEFORE_MOVE
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.adopt_booking import AdoptBooking
from domain.usecases.proposals import change_of_booking, of_patient, to_cancel
from domain.usecases.record import record
from domain.usecases.sweep import tidy_later
from domain.usecases.visits import Visits

TAKEN_BACK = 2
"""Versions that a change leaves behind when the EHR could not be asked: the intent, and that it came to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest:
    """`hold_id`: the time to move to; None cancels. `scope` is whose `key` it is."""

    booking_id: UUID
    expected_version: int
    scope: str
    key: str
    input_hash: str
    hold_id: UUID | None = None
    accept_double_booking: bool = False
    reason: str | None = None
    bypass: Bypass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changing:
    """What moving and cancelling have in common: whose booking, which version, and whether it was asked before."""

    start_work: StartWork
    visits: Visits
    adopt: AdoptBooking
    clock: Clock
    timing: Timing

    async def booking(
        self, work: UnitOfWork, tenant: Tenant, patient: Patient, request: ChangeRequest, operation: str
    ) -> tuple[Booking, bool]:
        """The patient's booking, locked, and whether this very request was taken before."""
        await work.bookings.queue_for_patient(tenant.id, patient.id)
        remembered = Remembered(input_hash=request.input_hash, booking_id=request.booking_id)
        known = await work.idempotency.remember(
            tenant.id, request.scope, operation, request.key, remembered, self.clock.now()
        )
        if known and known.input_hash != request.input_hash:
            raise Refused(IdempotencyKeyReused())
        booking = await work.bookings.get(tenant.id, request.booking_id, lock=True)
        if booking is None or booking.patient_id != patient.id or booking.moves_booking_id:
            raise Refused(NotFound(("bookingId",)))
        return booking, known is not None

    def check_changeable(self, booking: Booking, request: ChangeRequest, *, known: bool) -> None:
        """A repeat may find the versions of its own first try, so that an outage can be waited out with one key."""
        if booking.asked and booking.status is not BookingStatus.UNKNOWN:
            raise Refused(InProgress())
        tried = known and booking.version == request.expected_version + TAKEN_BACK
        if booking.version != request.expected_version and not tried:
            raise Refused(StaleVersion(booking))

    async def check_cancellable(
        self, work: UnitOfWork, tenant: Tenant, booking: Booking, request: ChangeRequest
    ) -> Mapping[str, str]:
        """What staff passed over. Raises `Refused`."""
        proposal = await to_cancel(work.catalogue, tenant, booking, self.clock.now())
        return admitted(proposal, BEFORE_CANCEL, request.bypass)

    async def check_movable(
        self,
        work: UnitOfWork,
        tenant: Tenant,
        patient: Patient,
        booking: Booking,
        hold: Booking,
        request: ChangeRequest,
    ) -> Mapping[str, str]:
        """As above, for the patient at the new time."""
        proposal = await of_patient(
            *(work, tenant, patient, hold, self.clock.now()),
            overlap_accepted=request.accept_double_booking,
            change=await change_of_booking(work.catalogue, tenant, booking, hold.slot),
        )
        return admitted(proposal, BEFORE_MOVE, request.bypass)

    async def settle(
        self,
        actor: Actor,
        *bookings: Booking,
        action: str,
        event: EventKind | None = None,
        still_taken: Sequence[str] = (),
    ) -> Booking:
        """Write the answer, unless `reconcile` was first; the last of `bookings` is the patient's own."""
        now = self.clock.now()
        try:
            async with self.start_work(bookings[-1].tenant_id) as work:
                await work.bookings.get(bookings[-1].tenant_id, bookings[-1].id, lock=True)  # as a repeat locks them
                for booking in bookings:
                    told = event if booking is bookings[-1] else None
                    await record(work, booking, actor, now, action=action, event=told)
                await tidy_later(work.jobs, bookings[-1], still_taken, now)
                await work.commit()
            return bookings[-1]
        except StaleBooking:
            async with self.start_work(bookings[-1].tenant_id) as work:
                return await work.bookings.get(bookings[-1].tenant_id, bookings[-1].id) or bookings[-1]
