"""Move a booking to a held time, or cancel it: in the EHR first, and never without knowing."""

from dataclasses import dataclass, replace
from datetime import datetime

from domain.audit import Actor
from domain.booking import Asked, Booking, BookingStatus
from domain.bypass import check_bypass
from domain.events import EventKind
from domain.patient import Patient
from domain.ports import EhrUnavailable
from domain.refusals import (
    HoldExpired,
    HoldNotFound,
    Refusal,
    RefusalCode,
    Refused,
    RejectedByEhr,
    SlotTaken,
    UpstreamUnavailable,
)
from domain.tenant import Tenant
from domain.usecases.changing import ChangeRequest, Changing
from domain.usecases.confirm_booking import check_after
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.moving import make_way, move_once, moved_to, moves_by
from domain.usecases.record import record


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleBooking:
    """In place: the same booking and Appointment at another time. The old time is kept until the new one is certain."""

    changing: Changing
    hold_slot: HoldSlot

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, request: ChangeRequest) -> Booking:
        """BOOKED at the new time, or UNKNOWN without an answer. Raises `Refused`; then nothing has changed."""
        check_bypass(actor, request.bypass)
        await self.changing.adopt(tenant, actor, patient, request.booking_id, moving=True)
        booking, hold = await self._intend(tenant, actor, patient, request)
        if hold is None:
            return booking
        if hold.failure:
            raise Refused(await self._refusal(tenant, booking, hold))
        visit = await self.changing.visits.of(booking, patient)
        to = replace(await self.changing.visits.of(hold, patient), ehr_id=booking.ehr_id)
        _, ehr = await self.changing.visits.ehr_of(booking)
        try:
            await make_way(ehr, to, hold, self.changing.timing)
            held = await move_once(ehr, visit, to, self.changing.timing)
        except Refused as refused:
            return await self._refused(tenant, actor, booking, hold, refused)
        except EhrUnavailable as outage:
            return await self._unanswered(actor, booking, hold, outage)
        return await self.changing.settle(
            actor,
            *moved_to(booking, hold),
            action="booking.rescheduled",
            event=EventKind.RESCHEDULED,
            still_taken=held.still_taken,
        )

    async def _intend(
        self, tenant: Tenant, actor: Actor, patient: Patient, request: ChangeRequest
    ) -> tuple[Booking, Booking | None]:
        changing = self.changing
        async with changing.start_work(tenant.id) as work:
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
            hold = replace(
                hold, moves_booking_id=booking.id, patient_id=patient.id, moves_made=moves_by(actor, booking)
            )
            passed = await changing.check_movable(work, tenant, patient, booking, hold, request)
            booking, hold = self._asking(booking, hold, now)
            await record(work, hold, actor, now, action="booking.reschedule")
            await record(work, booking, actor, now, action="booking.reschedule", details=passed)
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
        check_bypass(actor, request.bypass)
        changing = self.changing
        await changing.adopt(tenant, actor, patient, request.booking_id, moving=False)
        booking = await self._intend(tenant, actor, patient, request)
        if booking.status is not BookingStatus.CANCELLING:
            return booking
        visit = await changing.visits.of(booking, patient)
        _, ehr = await changing.visits.ehr_of(booking)
        try:
            left = await ehr.cancel(visit, changing.timing.book)
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
        return await changing.settle(
            actor, cancelled, action="booking.cancelled", event=EventKind.CANCELLED, still_taken=left
        )

    async def _intend(self, tenant: Tenant, actor: Actor, patient: Patient, request: ChangeRequest) -> Booking:
        changing = self.changing
        async with changing.start_work(tenant.id) as work:
            now = changing.clock.now()
            booking, known = await changing.booking(work, tenant, patient, request, "cancelBooking")
            if booking.status is BookingStatus.CANCELLED or (known and booking.status is BookingStatus.UNKNOWN):
                return booking
            changing.check_changeable(booking, request, known=known)
            passed = await changing.check_cancellable(work, tenant, booking, request)
            asking = booking.asking(
                BookingStatus.CANCELLING,
                Asked.CANCEL,
                now,
                check_after(now, changing.timing),
                cancel_reason=request.reason,
            )
            await record(work, asking, actor, now, action="booking.cancel", details=passed)
            await work.commit()
        return asking


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
