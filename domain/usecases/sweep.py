"""Clear away what an EHR did after we had stopped waiting for it.

A request may arrive long after it was believed lost. The booking that then appears is nobody's: its patient was told
that it had failed, and may have another. So it is looked for now and then for a day, and cancelled.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from domain.booking import ENDED_UNBOOKED, OCCUPYING, Booking, BookingStatus
from domain.ports import BookingReads, Clock, EhrUnavailable, Job, Jobs
from domain.timing import Timing
from domain.usecases.visits import Visits

GIVEN_UP = (*ENDED_UNBOOKED, BookingStatus.CANCELLED)
"""Where a booking has no business to be in an EHR. One that was cancelled the clinic may have taken up again, so that
it is looked for only after a change of it went unanswered."""

SWEEP = "sweep"
FIRST_LOOK, LAST_LOOK = timedelta(minutes=1), timedelta(hours=24)


def looks_after(settled_at: datetime) -> Iterator[datetime]:
    """When to look: often at first, and a last time after a day."""
    wait = FIRST_LOOK
    while wait < LAST_LOOK:
        yield settled_at + wait
        wait *= 2
    yield settled_at + LAST_LOOK


def looks_start(booking_id: UUID) -> str:
    """What the names of a booking's looks start with, equally long for each booking: the store finds them by it."""
    return f"{booking_id}:"


async def keep_looking(jobs: Jobs, booking: Booking, now: datetime) -> None:
    """All the looks at once: each stands for itself, and none is forgotten with the one before.

    A visit that stands where it stood may still be carried off, and then must not keep its old time as well.
    """
    stands = {"reference": booking.slot.reference} if booking.status is BookingStatus.BOOKED else {}
    for look in looks_after(now):
        dedupe = f"{looks_start(booking.id)}{look:%Y-%m-%dT%H:%M:%S}"
        payload = {"booking_id": str(booking.id), **stands}
        await jobs.enqueue(SWEEP, payload, tenant_id=booking.tenant_id, dedupe=dedupe, run_at=look)


async def tidy_later(jobs: Jobs, booking: Booking, references: Sequence[str], now: datetime) -> None:
    """For times that the EHR did not free with the change."""
    for reference in filter(None, references):
        payload = {"booking_id": str(booking.id), "reference": reference}
        dedupe = f"{looks_start(booking.id)}{booking.version}:{reference}"
        await jobs.enqueue(SWEEP, payload, tenant_id=booking.tenant_id, dedupe=dedupe, run_at=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    reads: BookingReads
    visits: Visits
    clock: Clock
    timing: Timing

    async def job(self, job: Job) -> None:
        """As it was queued by `keep_looking` or `tidy_later`. Raises `EhrUnavailable`."""
        await self(job.tenant_id, UUID(job.payload["booking_id"]), job.payload.get("reference", ""))

    async def __call__(self, tenant_id: str, booking_id: UUID, left: str = "") -> None:
        """Look once, and let go of what should not be there; `left` is a time that the visit may have left taken.

        Raises `EhrUnavailable`; then nothing is known.
        """
        booking = (await self.reads.get(tenant_id, [booking_id])).get(booking_id)
        if booking is None or booking.patient_id is None:
            return
        if booking.moves_booking_id:
            await self._untake(booking, booking.moves_booking_id)
            return
        if booking.status in GIVEN_UP:
            _, ehr = await self.visits.ehr_of(booking)
            await ehr.abandon(await self.visits.of(booking), self.timing.book)
        if left:
            await self._tidy(booking, left)

    async def _tidy(self, booking: Booking, left: str) -> None:
        """Unless the visit has come back to that time, or may be about to."""
        if booking.asked:
            raise EhrUnavailable("a question about this visit is open")
        if booking.slot.reference == left and booking.status in OCCUPYING:
            return
        _, ehr = await self.visits.ehr_of(booking)
        await ehr.tidy(replace(await self.visits.of(booking), reference=left), self.timing.book)

    async def _untake(self, hold: Booking, moved_id: UUID) -> None:
        """A time that a move did not get; if the visit stands there after all, it keeps it."""
        if hold.status not in ENDED_UNBOOKED:
            return
        moved = (await self.reads.get(hold.tenant_id, [moved_id])).get(moved_id)
        if moved is None or moved.asked or await self._is_kept(hold):
            return
        _, ehr = await self.visits.ehr_of(moved)
        await ehr.tidy(replace(await self.visits.of(hold), ehr_id=moved.ehr_id), self.timing.book)

    async def _is_kept(self, hold: Booking) -> bool:
        """By the visit itself, or by a hold through which it may be moved there a second time."""
        slot = hold.slot
        kept = await self.reads.occupied(hold.tenant_id, [slot.practitioner_id], slot.span, self.clock.now())
        return any(kept.values())
