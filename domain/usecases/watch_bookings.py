"""Watch a patient's own bookings: first all that are to come, then each that changes, whoever changed it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from domain.booking import Booking, BookingStatus
from domain.changes import START, Heard, Mark
from domain.pages import PageRequest
from domain.ports import BookingReads, ChangeLog, Clock
from domain.timing import Timing
from domain.usecases.news import Ear, News

AT_ONCE = 50
SOON = 0.1
"""Seconds until the log is looked into again, when what woke us is not to be read there yet."""

MOST_TRIES = 20

NO_BOOKINGS = (BookingStatus.HELD, BookingStatus.EXPIRED, BookingStatus.RELEASED)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingNews:
    """`mark` is where to go on from. With `resync`: forget what you have, all there is follows."""

    mark: Mark
    resync: bool = False
    booking: Booking | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchBookings:
    reads: BookingReads
    changes: ChangeLog
    news: News
    clock: Clock
    timing: Timing

    async def __call__(self, tenant_id: str, patient_id: UUID, after: Mark | None) -> AsyncGenerator[BookingNews, None]:
        """Without end. What was missed since `after`, or all anew where the log does not reach back so far."""
        with self.news.listening(lambda c: (c.tenant_id, c.patient_id) == (tenant_id, patient_id)) as ear:
            mark = None if after == START else after
            tries = 0
            while True:
                missed = await self.changes.of_patient(tenant_id, patient_id, mark, AT_ONCE) if mark else None
                if missed is None:
                    mark = await self.changes.latest()
                    async for each in self._all(tenant_id, patient_id, mark):
                        yield each
                elif missed:
                    for each in await self._changed(tenant_id, patient_id, missed):
                        yield each
                    mark = missed[-1].mark
                else:
                    tries = await self._wait(ear, tries)

    async def _changed(self, tenant_id: str, patient_id: UUID, missed: Sequence[Heard]) -> list[BookingNews]:
        """Each booking once, as it is now."""
        latest = {each.change.booking_id: each.mark for each in missed if each.change.booking_id}
        bookings = await self.reads.get(tenant_id, list(latest))
        own = {id: b for id, b in bookings.items() if b.patient_id == patient_id and b.status not in NO_BOOKINGS}
        return [BookingNews(mark=latest[id], booking=own[id]) for id in sorted(own, key=lambda id: latest[id])]

    async def _all(self, tenant_id: str, patient_id: UUID, mark: Mark) -> AsyncIterator[BookingNews]:
        """Only the last of them is a place to go on from: who leaves before it begins anew."""
        upcoming = await self.reads.of_patient(
            tenant_id, patient_id, self.clock.now(), "UPCOMING", PageRequest(size=AT_ONCE)
        )
        last = len(upcoming.items)
        yield BookingNews(mark=START if last else mark, resync=True)
        for number, booking in enumerate(upcoming.items, start=1):
            yield BookingNews(mark=mark if number == last else START, booking=booking)

    async def _wait(self, ear: Ear, tries: int) -> int:
        """How often to look again soon: PostgreSQL shows a change in its place only when none before it is open."""
        if tries:
            await asyncio.sleep(SOON)
            return tries - 1
        return MOST_TRIES if await ear.wait(self.timing.watch.total_seconds()) else 0
