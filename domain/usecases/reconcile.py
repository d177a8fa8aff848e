"""Settle what EHRs were asked and did not answer: read back, believe what is there, wait before believing a void."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from domain.audit import SYSTEM
from domain.booking import Asked, Booking, BookingStatus
from domain.endpoint import Endpoint
from domain.events import EventKind
from domain.ports import (
    AppointmentState,
    BookingReads,
    Clock,
    EhrAppointment,
    EhrUnavailable,
    StaleBooking,
    StartWork,
    Visit,
)
from domain.refusals import Refused
from domain.timing import Timing
from domain.usecases.change_booking import has_moved, moved_to
from domain.usecases.record import record
from domain.usecases.visits import Visits

EMPTY_READS = 2
"""How often nothing must be found, after the settling time, before it is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Bookings to be written, the patient's own last; `abandon` what may have been left behind in the EHR."""

    bookings: Sequence[Booking]
    action: str
    event: EventKind | None = None
    abandon: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    reads: BookingReads
    start_work: StartWork
    visits: Visits
    clock: Clock
    timing: Timing

    async def __call__(self, limit: int = 50) -> int:
        """Look into the oldest open questions; returns how many were settled. Safe in any number of processes."""
        settled = 0
        for tenant_id, booking_id in await self.reads.due(self.clock.now(), limit):
            settled += await self._settle(tenant_id, booking_id)
        return settled

    async def _settle(self, tenant_id: str, booking_id: UUID) -> bool:
        claimed = await self._claim(tenant_id, booking_id)
        if claimed is None:
            return False
        booking, hold = claimed
        endpoint, ehr = await self.visits.ehr_of(booking)
        visit = await self.visits.of(booking)
        try:
            held = await ehr.look_up(visit, self.timing.look_up)
            to = await self.visits.of(hold) if hold else None
            verdict = self._judge(booking, hold, to, held, endpoint)
            if verdict and verdict.abandon:
                await ehr.abandon(visit, self.timing.book)
        except (EhrUnavailable, Refused):
            return False  # the claim's lease brings it up again
        if verdict is None:
            await self._look_again(booking, endpoint)
            return False
        return await self._write(verdict)

    async def _claim(self, tenant_id: str, booking_id: UUID) -> tuple[Booking, Booking | None] | None:
        """A lease: nobody else looks into it before this look must be over."""
        async with self.start_work() as work:
            now = self.clock.now()
            booking = await work.bookings.get(tenant_id, booking_id, lock=True)
            if booking is None or booking.asked is None or booking.check_at is None or booking.check_at > now:
                return None
            lease = now + self.timing.check_interval + timedelta(seconds=self.timing.look_up) + self.timing.patience
            claimed = replace(booking, version=booking.version + 1, check_at=lease)
            hold = await work.bookings.move_hold(tenant_id, booking_id) if booking.asked is Asked.MOVE else None
            await work.bookings.save(claimed)
            await work.commit()
        return claimed, hold

    def _judge(
        self,
        booking: Booking,
        hold: Booking | None,
        to: Visit | None,
        held: EhrAppointment | None,
        endpoint: Endpoint,
    ) -> Verdict | None:
        if booking.asked is Asked.CONFIRM:
            return self._judge_confirm(booking, held, endpoint)
        if booking.asked is Asked.CANCEL:
            return self._judge_cancel(booking, held, endpoint)
        return self._judge_move(booking, hold, to, held, endpoint)

    def _judge_confirm(self, booking: Booking, held: EhrAppointment | None, endpoint: Endpoint) -> Verdict | None:
        if held and held.state is AppointmentState.CANCELLED:
            cancelled = booking.answered(BookingStatus.CANCELLED, ehr_id=held.ehr_id)
            return Verdict(bookings=[cancelled], action="booking.cancelled", event=EventKind.CANCELLED)
        if held:
            booked = booking.answered(BookingStatus.BOOKED, ehr_id=held.ehr_id, booked_at=self.clock.now())
            return Verdict(bookings=[booked], action="booking.booked", event=EventKind.BOOKED)
        if not self._void_is_believed(booking, endpoint):
            return None
        failed = booking.answered(BookingStatus.FAILED, failure="SLOT_TAKEN")
        return Verdict(bookings=[failed], action="booking.failed", event=EventKind.FAILED, abandon=True)

    def _judge_cancel(self, booking: Booking, held: EhrAppointment | None, endpoint: Endpoint) -> Verdict | None:
        if held and held.state is AppointmentState.CANCELLED:
            cancelled = booking.answered(BookingStatus.CANCELLED)
            return Verdict(bookings=[cancelled], action="booking.cancelled", event=EventKind.CANCELLED)
        if not self._void_is_believed(booking, endpoint):
            return None
        if held:
            kept = booking.answered(BookingStatus.BOOKED)
            return Verdict(bookings=[kept], action="booking.cancel_not_done")
        gone = booking.answered(BookingStatus.CANCELLED)
        return Verdict(bookings=[gone], action="booking.cancelled", event=EventKind.CANCELLED)

    def _judge_move(
        self,
        booking: Booking,
        hold: Booking | None,
        to: Visit | None,
        held: EhrAppointment | None,
        endpoint: Endpoint,
    ) -> Verdict | None:
        if held and held.state is AppointmentState.CANCELLED:
            released = [hold.answered(BookingStatus.RELEASED)] if hold else []
            cancelled = booking.answered(BookingStatus.CANCELLED)
            return Verdict(bookings=[*released, cancelled], action="booking.cancelled", event=EventKind.CANCELLED)
        if held and hold and to and has_moved(held, to):
            return Verdict(bookings=moved_to(booking, hold), action="booking.rescheduled", event=EventKind.RESCHEDULED)
        if not self._void_is_believed(booking, endpoint):
            return None
        failed = [hold.answered(BookingStatus.FAILED, failure="SLOT_TAKEN")] if hold else []
        kept = booking.answered(BookingStatus.BOOKED)
        return Verdict(bookings=[*failed, kept], action="booking.reschedule_not_done")

    def _void_is_believed(self, booking: Booking, endpoint: Endpoint) -> bool:
        """Finding nothing proves nothing before the settling time, nor the first time after it."""
        return self._is_settled(booking, endpoint) and booking.empty_reads + 1 >= EMPTY_READS

    def _is_settled(self, booking: Booking, endpoint: Endpoint) -> bool:
        asked_at = booking.asked_at or booking.created_at
        return self.clock.now() >= asked_at + timedelta(seconds=self.timing.book) + endpoint.longest_delay

    async def _write(self, verdict: Verdict) -> bool:
        now = self.clock.now()
        try:
            async with self.start_work() as work:
                for settled in verdict.bookings:
                    event = verdict.event if settled is verdict.bookings[-1] else None
                    await record(work, settled, SYSTEM, now, action=verdict.action, event=event)
                await work.commit()
        except StaleBooking:
            return False  # the request that asked got its answer after all
        return True

    async def _look_again(self, booking: Booking, endpoint: Endpoint) -> None:
        now = self.clock.now()
        empty = booking.empty_reads + self._is_settled(booking, endpoint)
        later = booking.unsettled(now + self.timing.check_interval, empty)
        try:
            async with self.start_work() as work:
                if later.status is booking.status:
                    await work.bookings.save(later)
                else:
                    await record(work, later, SYSTEM, now, action="booking.unknown")
                await work.commit()
        except StaleBooking:
            return
