"""Move a booking to a held time, or cancel it: in the EHR first, and never without knowing."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from domain.audit import Actor
from domain.booking import Asked, Booking, BookingStatus
from domain.events import EventKind
from domain.patient import Patient
from domain.ports import (
    Catalogue,
    Clock,
    Ehr,
    EhrAppointment,
    EhrUnavailable,
    Remembered,
    StaleBooking,
    StartWork,
    UnitOfWork,
    Visit,
)
from domain.refusals import (
    ChangeNotAllowed,
    ChangeRefusal,
    HoldExpired,
    HoldNotFound,
    IdempotencyKeyReused,
    InProgress,
    NotFound,
    Refusal,
    RefusalCode,
    Refused,
    RejectedByEhr,
    SlotTaken,
    StaleVersion,
    UpstreamUnavailable,
)
from domain.rules import rules_of
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.adopt_booking import AdoptBooking
from domain.usecases.confirm_booking import check_after, look_again, patient_objections
from domain.usecases.find_slots import is_movable
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.record import record
from domain.usecases.visits import Visits
from domain.windows import ChangeRight, cancellation_right, rescheduling_right

TAKEN_BACK = 2
"""Versions that a change leaves behind when the EHR could not be asked: the intent, and that it came to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest:
    """`hold_id`: the time to move to; None cancels."""

    booking_id: UUID
    expected_version: int
    key: str
    input_hash: str
    hold_id: UUID | None = None
    accept_double_booking: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changing:
    """What moving and cancelling have in common: whose booking, which version, and whether it was asked before."""

    catalogue: Catalogue
    start_work: StartWork
    visits: Visits
    adopt: AdoptBooking
    clock: Clock
    timing: Timing

    async def booking(
        self, work: UnitOfWork, tenant: Tenant, patient: Patient, request: ChangeRequest, operation: str
    ) -> tuple[Booking, bool]:
        """The patient's booking, locked, and whether this very request was taken before."""
        remembered = Remembered(input_hash=request.input_hash, booking_id=request.booking_id)
        known = await work.idempotency.remember(
            tenant.id, str(patient.id), operation, request.key, remembered, self.clock.now()
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

    async def check_right(self, tenant: Tenant, booking: Booking, *, to: Booking | None = None) -> None:
        """To move the booking there, or to cancel it."""
        clinic_id = booking.slot.clinic_id
        clinic = (await self.catalogue.clinics_by_id(tenant.id, [clinic_id]))[clinic_id]
        rules, now = rules_of(tenant.rules, clinic.rules), self.clock.now()
        right: ChangeRight = (rescheduling_right if to else cancellation_right)(booking, rules, now)
        if right.refusal:
            raise Refused(ChangeNotAllowed(right.refusal, clinic.phone))
        if to and not is_movable(booking, to.slot.endpoint_id, to.slot.treatment_id):
            raise Refused(ChangeNotAllowed(ChangeRefusal.NOT_ALLOWED, clinic.phone))

    async def settle(self, actor: Actor, *bookings: Booking, action: str, event: EventKind | None = None) -> Booking:
        """Write the answer, unless `reconcile` was first; the last of `bookings` is the patient's own."""
        try:
            async with self.start_work() as work:
                for booking in bookings:
                    told = event if booking is bookings[-1] else None
                    await record(work, booking, actor, self.clock.now(), action=action, event=told)
                await work.commit()
            return bookings[-1]
        except StaleBooking:
            async with self.start_work() as work:
                return await work.bookings.get(bookings[-1].tenant_id, bookings[-1].id) or bookings[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleBooking:
    """In place: the same booking and Appointment at another time. The old time is kept until the new one is certain."""

    changing: Changing
    hold_slot: HoldSlot

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, request: ChangeRequest) -> Booking:
        """BOOKED at the new time, or UNKNOWN without an answer. Raises `Refused`; then nothing has changed."""
        await self.changing.adopt(tenant, patient, request.booking_id, moving=True)
        booking, hold = await self._intend(tenant, actor, patient, request)
        if hold is None:
            return booking
        if hold.failure:
            raise Refused(await self._refusal(tenant, booking, hold))
        visit = await self.changing.visits.of(booking, patient)
        to = replace(await self.changing.visits.of(hold, patient), ehr_id=booking.ehr_id)
        _, ehr = await self.changing.visits.ehr_of(booking)
        try:
            await move_once(ehr, visit, to, self.changing.timing)
        except Refused as refused:
            return await self._refused(tenant, actor, booking, hold, refused)
        except EhrUnavailable as outage:
            return await self._unanswered(actor, booking, hold, outage)
        released, moved = moved_to(booking, hold)
        return await self.changing.settle(
            actor, released, moved, action="booking.rescheduled", event=EventKind.RESCHEDULED
        )

    async def _intend(
        self, tenant: Tenant, actor: Actor, patient: Patient, request: ChangeRequest
    ) -> tuple[Booking, Booking | None]:
        changing = self.changing
        async with changing.start_work() as work:
            now = changing.clock.now()
            booking, known = await changing.booking(work, tenant, patient, request, "rescheduleBooking")
            assert request.hold_id is not None
            hold = await work.bookings.get(tenant.id, request.hold_id, lock=True)
            if known and (booking.status is BookingStatus.UNKNOWN or _made_by(booking, hold)):
                return booking, None
            if known and hold and hold.failure:
                return booking, hold
            changing.check_changeable(booking, request, known=known)
            hold = _checked_hold(hold, booking, patient, now)
            await changing.check_right(tenant, booking, to=hold)
            hold = replace(hold, moves_booking_id=booking.id)
            found = await patient_objections(
                work, changing.catalogue, changing.clock, tenant, patient, hold, request.accept_double_booking
            )
            if found:
                raise Refused(*found)
            booking, hold = self._asking(booking, replace(hold, patient_id=patient.id), now)
            await record(work, hold, actor, now, action="booking.reschedule")
            await record(work, booking, actor, now, action="booking.reschedule")
            await work.commit()
        return booking, hold

    def _asking(self, booking: Booking, hold: Booking, now: datetime) -> tuple[Booking, Booking]:
        """Both times are kept; the booking's own check settles the two."""
        check_at = check_after(now, self.changing.timing)
        asking = hold.asking(BookingStatus.CONFIRMING, Asked.MOVE, now, check_at)
        return booking.asking(BookingStatus.BOOKED, Asked.MOVE, now, check_at), replace(asking, check_at=None)

    async def _refused(
        self, tenant: Tenant, actor: Actor, booking: Booking, hold: Booking, refused: Refused
    ) -> Booking:
        """Raises the refusal, unless `reconcile` found out meanwhile that the booking has moved after all."""
        failed = hold.answered(BookingStatus.FAILED, failure=refused.refusals[0].code.value)
        kept = booking.answered(BookingStatus.BOOKED)
        settled = await self.changing.settle(actor, failed, kept, action="booking.reschedule_refused")
        if settled.slot == hold.slot:
            return settled
        raise Refused(await self._refusal(tenant, booking, failed)) from refused

    async def _refusal(self, tenant: Tenant, booking: Booking, failed: Booking) -> Refusal:
        if failed.failure == RefusalCode.SLOT_TAKEN:
            return SlotTaken(await self.hold_slot.alternatives(tenant, failed.slot, booking))
        return RejectedByEhr()

    async def _unanswered(self, actor: Actor, booking: Booking, hold: Booking, outage: EhrUnavailable) -> Booking:
        if outage.sent:
            check_at = self.changing.clock.now() + self.changing.timing.check_interval
            unknown = hold.becomes(BookingStatus.UNKNOWN), booking.becomes(BookingStatus.UNKNOWN, check_at=check_at)
            return await self.changing.settle(actor, *unknown, action="booking.unknown")
        back = hold.answered(BookingStatus.HELD), booking.answered(BookingStatus.BOOKED)
        await self.changing.settle(actor, *back, action="booking.reschedule_not_sent")
        raise Refused(UpstreamUnavailable(outage.retry_after))


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelBooking:
    changing: Changing

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, request: ChangeRequest) -> Booking:
        """CANCELLED, or UNKNOWN when the EHR did not answer. Raises `Refused`; then it is still booked."""
        changing = self.changing
        await changing.adopt(tenant, patient, request.booking_id, moving=False)
        booking = await self._intend(tenant, actor, patient, request)
        if booking.status is not BookingStatus.CANCELLING:
            return booking
        visit = await changing.visits.of(booking, patient)
        _, ehr = await changing.visits.ehr_of(booking)
        try:
            await ehr.cancel(visit, changing.timing.book)
        except Refused as refused:
            await changing.settle(actor, booking.answered(BookingStatus.BOOKED), action="booking.cancel_refused")
            raise Refused(RejectedByEhr()) from refused
        except EhrUnavailable as outage:
            if outage.sent:
                check_at = changing.clock.now() + changing.timing.check_interval
                unknown = booking.becomes(BookingStatus.UNKNOWN, check_at=check_at)
                return await changing.settle(actor, unknown, action="booking.unknown")
            await changing.settle(actor, booking.answered(BookingStatus.BOOKED), action="booking.cancel_not_sent")
            raise Refused(UpstreamUnavailable(outage.retry_after)) from outage
        cancelled = booking.answered(BookingStatus.CANCELLED)
        return await changing.settle(actor, cancelled, action="booking.cancelled", event=EventKind.CANCELLED)

    async def _intend(self, tenant: Tenant, actor: Actor, patient: Patient, request: ChangeRequest) -> Booking:
        changing = self.changing
        async with changing.start_work() as work:
            now = changing.clock.now()
            booking, known = await changing.booking(work, tenant, patient, request, "cancelBooking")
            if booking.status is BookingStatus.CANCELLED or (known and booking.status is BookingStatus.UNKNOWN):
                return booking
            changing.check_changeable(booking, request, known=known)
            await changing.check_right(tenant, booking)
            asking = booking.asking(
                BookingStatus.CANCELLING,
                Asked.CANCEL,
                now,
                check_after(now, changing.timing),
                cancel_reason=request.reason,
            )
            await record(work, asking, actor, now, action="booking.cancel")
            await work.commit()
        return asking


async def move_once(ehr: Ehr, visit: Visit, to: Visit, timing: Timing) -> EhrAppointment:
    """As with booking: a refusal is believed only when the EHR does not already hold the visit at its new time."""
    try:
        return await ehr.move(visit, to, timing.book)
    except Refused:
        held = await look_again(ehr, visit, timing)
        if held and has_moved(held, to):
            return held
        raise


def has_moved(appointment: EhrAppointment, to: Visit) -> bool:
    same_practitioner = appointment.practitioner_ehr_id in (None, to.practitioner_ehr_id)
    return appointment.start == to.start and same_practitioner


def moved_to(booking: Booking, hold: Booking) -> tuple[Booking, Booking]:
    """The hold let go first, then the booking in its place: the order in which the database's guard can follow."""
    moved = booking.answered(BookingStatus.BOOKED, slot=hold.slot, moves_made=booking.moves_made + 1)
    return hold.answered(BookingStatus.RELEASED), moved


def _made_by(booking: Booking, hold: Booking | None) -> bool:
    """Whether that hold's time is the one the booking has by now."""
    return hold is not None and hold.status is BookingStatus.RELEASED and booking.slot == hold.slot


def _checked_hold(hold: Booking | None, booking: Booking, patient: Patient, now: datetime) -> Booking:
    if hold is None or hold.patient_id not in (None, patient.id) or hold.moves_booking_id not in (None, booking.id):
        raise Refused(HoldNotFound())
    if hold.status is BookingStatus.EXPIRED or hold.lapsed(now):
        raise Refused(HoldExpired())
    if hold.status is not BookingStatus.HELD:
        raise Refused(HoldNotFound())
    return hold
