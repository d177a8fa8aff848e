"""Whoever follows changes is told them whatever happens meanwhile: a caller who leaves, a database that is gone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import BookingStatus
from domain.changes import START, Change, Heard, Mark
from domain.timing import Timing
from domain.usecases.news import News
from domain.usecases.watch_bookings import BookingNews, WatchBookings
from integrations.memory.bus import MemoryBus
from integrations.memory.times import MemoryTimes
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.changes import SqlChangeLog
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.living import until
from tests.store.conftest import Stopped
from tests.store.making import NOW, SECRET, an_id, at, make_booking, make_identity

KARI = an_id("kari")
SOON = Timing(watch=timedelta(milliseconds=50))


async def test_what_is_committed_is_told_though_the_caller_has_left(start, engine: AsyncEngine) -> None:
    told: list[Heard] = []
    entered, left = asyncio.Event(), asyncio.Event()

    async def slowly(heard: Sequence[Heard]) -> None:
        entered.set()
        await left.wait()
        told.extend(heard)

    async def change() -> None:
        async with StartSqlWork(engine, Sealing(SECRET), Stopped(), slowly)("nord") as work:
            work.hint(Change(tenant_id="nord", endpoint_id="fjord", at=NOW))
            await work.commit()

    caller = asyncio.create_task(change())
    await entered.wait()
    caller.cancel()
    with suppress(asyncio.CancelledError):
        await caller
    left.set()

    async def look() -> bool | None:
        return bool(told) or None

    await until(look)


async def test_the_next_writer_does_not_wait_for_what_is_told(start, engine: AsyncEngine) -> None:
    """A Redis that hangs must not keep the database's one writer."""
    entered, gate = asyncio.Event(), asyncio.Event()

    async def hangs(_: Sequence[Heard]) -> None:
        entered.set()
        await gate.wait()

    starting = StartSqlWork(engine, Sealing(SECRET), Stopped(), hangs)

    async def change() -> None:
        async with starting("nord") as work:
            work.hint(Change(tenant_id="nord", endpoint_id="fjord", at=NOW))
            await work.commit()

    first = asyncio.create_task(change())
    await entered.wait()
    async with asyncio.timeout(60), starting("nord") as work:
        await work.commit()
    gate.set()
    await first


async def test_a_place_of_another_log_is_not_reached(start, engine: AsyncEngine) -> None:
    log = SqlChangeLog(engine)
    latest = await log.latest()
    assert await log.reaches(latest)
    assert not await log.reaches(START)
    assert not await log.reaches(Mark(latest.position + 1_000_000, 1))
    assert await log.of_patient("nord", KARI, Mark(latest.position + 1_000_000, 1), 10) is None


@pytest.fixture
async def followed(start, engine: AsyncEngine) -> AsyncIterator[tuple[StartSqlWork, News, "Screen"]]:
    """A patient with a booking, whose screen is open."""
    log = SeenLog(engine)
    news = News(MemoryTimes(), MemoryBus(), SqlChangeLog(engine))
    starting = StartSqlWork(engine, Sealing(SECRET), Stopped(), news.spread)
    async with starting("nord") as work:
        await work.patients.recognise("nord", make_identity(), KARI)
        await work.commit()
    await book(starting, "first", 10)
    watch = WatchBookings(reads=SqlBookingReads(engine), changes=log, news=news, clock=Stopped(), timing=SOON)
    screen = Screen(watch("nord", KARI, None), log)
    await screen.has(2)
    assert [each.resync for each in screen.seen] == [True, False]
    yield starting, news, screen
    await screen.close()


class SeenLog(SqlChangeLog):
    """One that counts how often somebody asks where it ends: a screen does, whenever it looks."""

    looks = 0

    async def latest(self) -> Mark:
        self.looks += 1
        return await super().latest()


class Screen:
    def __init__(self, source, log: SeenLog) -> None:
        self.seen: list[BookingNews] = []
        self._source, self._log = source, log
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for each in self._source:
            self.seen.append(each)

    async def has(self, count: int) -> None:
        async def look() -> bool | None:
            assert not self._task.done(), "the subscription has ended"
            return len(self.seen) >= count or None

        await until(look)

    async def has_last(self, name: str) -> None:
        """Whatever was told once more before it."""

        async def look() -> bool | None:
            assert not self._task.done(), "the subscription has ended"
            last = self.seen[-1].booking
            return (last is not None and last.id == an_id(name)) or None

        await until(look)

    async def has_looked(self) -> None:
        """Once from beginning to end: the second look from now on begins when the first is over."""
        before = self._log.looks

        async def look() -> bool | None:
            return self._log.looks >= before + 2 or None

        await until(look)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._source.aclose()


async def book(start: StartSqlWork, name: str, hour: int) -> None:
    booking = make_booking(name, at(hour), status=BookingStatus.BOOKED, patient_id=KARI)
    async with start("nord") as work:
        assert await work.bookings.hold(booking, NOW)
        work.hint(Change(tenant_id="nord", endpoint_id="fjord", at=NOW, booking_id=booking.id, patient_id=KARI))
        await work.commit()


async def test_a_database_that_is_gone_for_a_while_ends_no_screen(followed, engine: AsyncEngine) -> None:
    start, news, screen = followed
    async with raw(engine) as connection:
        await connection.execute(text("ALTER TABLE change RENAME TO gone"))
    news.lost()
    await screen.has_looked()
    async with raw(engine) as connection:
        await connection.execute(text("ALTER TABLE gone RENAME TO change"))
    await book(start, "second", 12)
    await screen.has_last("second")


async def test_a_quiet_screen_is_not_begun_anew_when_the_log_is_cut(followed, engine: AsyncEngine) -> None:
    """What others did meanwhile is forgotten after a while; the quiet patient has missed nothing by it."""
    start, news, screen = followed
    log = SqlChangeLog(engine)
    for number in range(5):
        before = await log.latest()
        async with start("syd") as work:
            work.hint(Change(tenant_id="syd", endpoint_id="fjord", at=NOW, practitioner_id=an_id(f"p{number}")))
            await work.commit()

        async def told(before=before) -> bool | None:
            return bool(await log.after(before, 10)) or None

        await until(told)
        await screen.has_looked()
    await log.forget(NOW + timedelta(hours=2))
    news.lost()
    await screen.has_looked()
    await book(start, "second", 12)
    await screen.has(3)
    assert [each.resync for each in screen.seen] == [True, False, False]
