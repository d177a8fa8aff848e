"""Have an EHR keep a held time as well, from everybody, and let go of it when the hold is over."""

from dataclasses import dataclass, replace
from uuid import UUID

from domain.audit import Actor
from domain.booking import ENDED_UNBOOKED, Booking, BookingStatus
from domain.ports import BookingReads, Clock, EhrUnavailable, Job, StartWork, UnitOfWork, let_go_later
from domain.refusals import Refused, SlotTaken
from domain.timing import Timing
from domain.usecases.keep_hold import release
from domain.usecases.record import record
from domain.usecases.take_hold import Taken
from domain.usecases.visits import Visits


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldInEhr:
    """Ours first, then the EHR's, with no transaction open between: a crash leaves a hold that is kept here alone.

    So does an EHR that does not answer. What it may keep all the same, nobody knows the id of; it ends there by itself.
    """

    visits: Visits
    start_work: StartWork
    clock: Clock
    timing: Timing

    async def __call__(self, actor: Actor, taken: Taken) -> Booking | None:
        """The hold as it is now; None when somebody has the time in the EHR, and then the former holds stay."""
        if not taken.asks:
            return taken.hold
        try:
            ehr_id = await self._asked(taken.hold)
        except Refused as refused:
            if isinstance(refused.refusals[0], SlotTaken):
                await self._give_back(actor, taken.hold)
                return None
            ehr_id = None
        except EhrUnavailable:
            ehr_id = None
        return await self._keep(actor, taken, ehr_id)

    async def _asked(self, hold: Booking) -> str | None:
        """The visitor waits for it, so no longer than for free times."""
        _, ehr = await self.visits.ehr_of(hold)
        return await ehr.hold(await self.visits.kept(hold), self.timing.find)

    async def _give_back(self, actor: Actor, taken: Booking) -> None:
        """With the reason, so that the same request is answered the same."""
        async with self.start_work(taken.tenant_id) as work:
            hold = await work.bookings.get(taken.tenant_id, taken.id, lock=True)
            if hold and hold.status is BookingStatus.HELD:
                gone = hold.becomes(BookingStatus.RELEASED, failure=SlotTaken.code.value)
                await record(work, gone, actor, self.clock.now(), action="booking.release")
                await work.commit()

    async def _keep(self, actor: Actor, taken: Taken, ehr_id: str | None) -> Booking:
        """Only holds that are still held: the visitor may have gone on to another one, or staff taken the time."""
        now, hold = self.clock.now(), taken.hold
        async with self.start_work(hold.tenant_id) as work:
            own = await self._locked(work, hold, [hold.id, *taken.former])
            current = own.pop(hold.id, None)
            if current and ehr_id:
                current = replace(current, version=current.version + 1, ehr_id=ehr_id, held_in_ehr=True)
                await record(work, current, actor, now, action="booking.held_in_ehr")
            elif ehr_id:
                await let_go_later(work.jobs, replace(hold, ehr_id=ehr_id), now)
            for former in own.values() if current else ():
                await release(work, former, actor, now)
            await work.commit()
        return current or hold

    async def _locked(self, work: UnitOfWork, hold: Booking, ids: list[UUID]) -> dict[UUID, Booking]:
        """Those that are held, in the order in which everybody locks."""
        if hold.patient_id:
            await work.bookings.queue_for_patient(hold.tenant_id, hold.patient_id)
        found = [await work.bookings.get(hold.tenant_id, id, lock=True) for id in sorted(ids)]
        return {each.id: each for each in found if each and each.status is BookingStatus.HELD}


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    reads: BookingReads
    visits: Visits
    timing: Timing

    async def job(self, job: Job) -> None:
        """As it was queued by `let_go_later`. Raises `EhrUnavailable`.

        A time that is held, booked or about to be under that very id is kept.
        """
        booking_id, ehr_id = UUID(job.payload["booking_id"]), job.payload["ehr_id"]
        hold = (await self.reads.get(job.tenant_id, [booking_id])).get(booking_id)
        if hold is None or (hold.ehr_id == ehr_id and hold.status not in ENDED_UNBOOKED):
            return
        _, ehr = await self.visits.ehr_of(hold)
        await ehr.let_go(await self.visits.kept(hold), ehr_id, self.timing.book)
