"""Settle what EHRs were asked and did not answer: read back, believe what is there, wait before believing a void."""

import asyncio
import logging
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
    Ehr,
    EhrAppointment,
    EhrUnavailable,
    StaleBooking,
    StartWork,
    Visit,
)
from domain.refusals import Refused, SlotTaken
from domain.timing import Timing
from domain.usecases.confirm_booking import number_to_tell
from domain.usecases.moving import has_moved, moved_to
from domain.usecases.record import record
from domain.usecases.sweep import keep_looking
from domain.usecases.visits import Visits

log = logging.getLogger(__name__)

AT_ONCE = 8
"""One EHR that hangs must not hold up what others have to say."""

EMPTY_READS = 2
"""How often nothing must be found, after the settling time, before it is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Bookings to be written, the patient's own last.

    What the lost answer may have left behind in the EHR is seen to first: a booking to `abandon`, times to `tidy`.
    `swept`: what may surface yet, so that it is looked for now and then.
    """

    bookings: Sequence[Booking]
    action: str
    event: EventKind | None = None
    abandon: Visit | None = None
    tidy: Sequence[Visit] = ()
    swept: Sequence[Booking] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the EHR was asked: `hold` and `to` are the time a booking was to be moved to."""

    booking: Booking
    visit: Visit
    hold: Booking | None = None
    to: Visit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    reads: BookingReads
    start_work: StartWork
    visits: Visits
    clock: Clock
    timing: Timing

    async def __call__(self, limit: int = 50) -> int:
        """Look into the oldest open questions; returns how many were settled. Safe in any number of processes."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(tenant_id: str, booking_id: UUID) -> bool:
            async with turns:
                try:
                    return await self._settle(tenant_id, booking_id)
                except Exception:
                    log.exception("booking %s cannot be settled", booking_id)  # the others still can
                    return False

        return sum(await asyncio.gather(*(in_turn(*due) for due in await self.reads.due(self.clock.now(), limit))))

    async def _settle(self, tenant_id: str, booking_id: UUID) -> bool:
        claimed = await self._claim(tenant_id, booking_id)
        if claimed is None:
            return False
        booking, hold = claimed
        endpoint, ehr = await self.visits.ehr_of(booking)
        visit = await self.visits.of(booking)
        to = await self.visits.of(hold) if hold else None
        question = Question(booking=booking, visit=visit, hold=hold, to=to)
        try:
            held = await ehr.look_up(visit, self.timing.look_up)
            verdict = self._judge(question, held, endpoint)
            if verdict:
                await self._clear_away(ehr, verdict)
                verdict = await self._with_number(ehr, visit, verdict)
        except (EhrUnavailable, Refused):
            return False  # the claim's lease brings it up again
        if verdict is None:
            await self._look_again(booking, endpoint)
            return False
        return await self._write(verdict)

    async def _claim(self, tenant_id: str, booking_id: UUID) -> tuple[Booking, Booking | None] | None:
        """A lease over the look. Clearing away may outlast it and be done by two, which does no harm."""
        async with self.start_work(tenant_id) as work:
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

    async def _clear_away(self, ehr: Ehr, verdict: Verdict) -> None:
        if verdict.abandon:
            await ehr.abandon(verdict.abandon, self.timing.book)
        for visit in verdict.tidy:
            await ehr.tidy(visit, self.timing.book)

    async def _with_number(self, ehr: Ehr, visit: Visit, verdict: Verdict) -> Verdict:
        """A booking found out about is confirmed by text message as any other."""
        own = verdict.bookings[-1]
        if verdict.event is not EventKind.BOOKED or not own.sms_confirmation:
            return verdict
        return replace(verdict, bookings=[replace(own, sms_to=await number_to_tell(ehr, visit.patient, self.timing))])

    def _judge(self, question: Question, held: EhrAppointment | None, endpoint: Endpoint) -> Verdict | None:
        """None: there is no telling yet."""
        booking = question.booking
        if held and held.state is AppointmentState.CANCELLED:
            return _cancelled(question, held)
        if booking.asked is Asked.CONFIRM and held:
            booked = booking.answered(BookingStatus.BOOKED, ehr_id=held.ehr_id, booked_at=self.clock.now())
            return Verdict(bookings=[booked], action="booking.booked", event=EventKind.BOOKED)
        if held and question.hold and question.to and has_moved(held, question.to):
            moved = moved_to(booking, question.hold)
            event = EventKind.RESCHEDULED
            return Verdict(bookings=moved, action="booking.rescheduled", event=event, tidy=[question.visit])
        if not self._void_is_believed(booking, endpoint):
            return None
        return _not_done(question, held)

    def _void_is_believed(self, booking: Booking, endpoint: Endpoint) -> bool:
        """Finding nothing proves nothing before the settling time, nor the first time after it."""
        return self._is_settled(booking, endpoint) and booking.empty_reads + 1 >= EMPTY_READS

    def _is_settled(self, booking: Booking, endpoint: Endpoint) -> bool:
        asked_at = booking.asked_at or booking.created_at
        return self.clock.now() >= asked_at + timedelta(seconds=self.timing.book) + endpoint.longest_delay

    async def _write(self, verdict: Verdict) -> bool:
        now = self.clock.now()
        try:
            async with self.start_work(verdict.bookings[-1].tenant_id) as work:
                own = verdict.bookings[-1]
                await work.bookings.get(own.tenant_id, own.id, lock=True)  # before its hold, as whoever asks again does
                for settled in verdict.bookings:
                    event = verdict.event if settled is verdict.bookings[-1] else None
                    await record(work, settled, SYSTEM, now, action=verdict.action, event=event)
                for given_up in verdict.swept:
                    await keep_looking(work.jobs, given_up, now)
                await work.commit()
        except StaleBooking:
            return False  # the request that asked got its answer after all
        return True

    async def _look_again(self, booking: Booking, endpoint: Endpoint) -> None:
        now = self.clock.now()
        empty = booking.empty_reads + self._is_settled(booking, endpoint)
        later = booking.unsettled(now + self.timing.check_interval, empty)
        try:
            async with self.start_work(booking.tenant_id) as work:
                if later.status is booking.status:
                    await work.bookings.save(later)
                else:
                    await record(work, later, SYSTEM, now, action="booking.unknown")
                await work.commit()
        except StaleBooking:
            return


def _cancelled(question: Question, held: EhrAppointment) -> Verdict:
    """By us or by the clinic: either way the visit is off, and a time it was to move to with it."""
    released = [question.hold.answered(BookingStatus.RELEASED)] if question.hold else []
    cancelled = question.booking.answered(BookingStatus.CANCELLED, ehr_id=held.ehr_id)
    return Verdict(
        bookings=[*released, cancelled],
        action="booking.cancelled",
        event=EventKind.CANCELLED,
        tidy=[question.visit, *([question.to] if question.to else [])],
        swept=[*released, cancelled] if released else (),  # what asked for the move may still be on its way
    )


def _not_done(question: Question, held: EhrAppointment | None) -> Verdict:
    """What was asked did not happen: a booking has failed, a visit to be moved or cancelled stands as it was."""
    booking = question.booking
    if booking.asked is Asked.CONFIRM:
        failed = booking.answered(BookingStatus.FAILED, failure=SlotTaken.code.value)
        return Verdict(
            bookings=[failed],
            action="booking.failed",
            event=EventKind.FAILED,
            abandon=question.visit,
            swept=[failed],
        )
    if held is None and booking.asked is Asked.CANCEL:  # some EHRs no longer show what is cancelled
        gone = booking.answered(BookingStatus.CANCELLED)
        event = EventKind.CANCELLED
        return Verdict(bookings=[gone], action="booking.cancelled", event=event, tidy=[question.visit])
    lost = [question.hold.answered(BookingStatus.FAILED, failure=SlotTaken.code.value)] if question.hold else []
    kept = booking.answered(BookingStatus.BOOKED)
    to = [question.to] if question.to else []
    return Verdict(bookings=[*lost, kept], action="booking.change_not_done", tidy=to, swept=[*lost, kept])
