"""Watch a patient's own bookings: first all that are to come, then each that changes, whoever changed it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from random import uniform
from uuid import UUID

from domain.booking import ONLY_HELD, Booking
from domain.changes import START, Heard, Mark
from domain.pages import PageRequest
from domain.ports import BookingReads, ChangeLog, Clock
from domain.timing import Timing
from domain.usecases.news import Ear, News

AT_ONCE = 50
SOON = 0.1
"""Seconds until the log is looked into again, when what woke us is not to be read there yet."""

MOST_TRIES = 20
SPREAD = 2.0
"""Seconds over which everybody looks again who was woken for no reason of their own."""

log = logging.getLogger(__name__)


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
        """Without end. What was missed since `after`, or all anew where the log does not reach back so far.

        A database that is gone for a while is waited for: who watches does not come back by themselves.
        """
        with self.news.listening(lambda c: (c.tenant_id, c.patient_id) == (tenant_id, patient_id)) as ear:
            mark, tries = (None if after == START else after), 0
            while True:
                try:
                    told, mark, heard = await self._look(tenant_id, patient_id, mark)
                except Exception:
                    log.exception("a patient's bookings cannot be followed for a moment")
                    await asyncio.sleep(uniform(1, 3))
                    continue
                for each in told:
                    yield each
                tries = 0 if heard else await self._wait(ear, tries)

    async def _look(
        self, tenant_id: str, patient_id: UUID, mark: Mark | None
    ) -> tuple[Sequence[BookingNews], Mark, bool]:
        """What is new since then, where to go on from, and whether anything was heard.

        Where nothing was, that is where the log ends now.
        """
        latest = await self.changes.latest()
        missed = await self.changes.of_patient(tenant_id, patient_id, mark, AT_ONCE) if mark else None
        if missed is None:
            return await self._all(tenant_id, patient_id, latest), latest, False
        if not missed:
            return (), max(latest, mark or latest), False
        return await self._changed(tenant_id, patient_id, missed), missed[-1].mark, True

    async def _changed(self, tenant_id: str, patient_id: UUID, missed: Sequence[Heard]) -> list[BookingNews]:
        """Each booking once, as it is now."""
        latest = {each.change.booking_id: each.mark for each in missed if each.change.booking_id}
        bookings = await self.reads.get(tenant_id, list(latest))
        own = {id: b for id, b in bookings.items() if b.patient_id == patient_id and b.status not in ONLY_HELD}
        return [BookingNews(mark=latest[id], booking=own[id]) for id in sorted(own, key=lambda id: latest[id])]

    async def _all(self, tenant_id: str, patient_id: UUID, mark: Mark) -> list[BookingNews]:
        """Only the last of them is a place to go on from: who leaves before it begins anew."""
        upcoming = await self.reads.of_patient(
            tenant_id, patient_id, self.clock.now(), "UPCOMING", PageRequest(size=AT_ONCE)
        )
        told = [BookingNews(mark=START, resync=True), *(BookingNews(mark=START, booking=b) for b in upcoming.items)]
        return [*told[:-1], replace(told[-1], mark=mark)]

    async def _wait(self, ear: Ear, tries: int) -> int:
        """How often to look again soon: PostgreSQL shows a change in its place only when none before it is open."""
        if tries:
            await asyncio.sleep(SOON)
            return tries - 1
        rang = await ear.wait(uniform(0.8, 1.2) * self.timing.watch.total_seconds())
        if ear.was_sure():
            return MOST_TRIES
        if rang:
            await asyncio.sleep(uniform(0, SPREAD))  # everybody may have been woken at once
        return 0
