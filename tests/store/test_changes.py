"""The log of changes: whole, in the order of commits, and told when it does not reach back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import BookingStatus
from domain.changes import START, Change, Heard, Mark
from domain.slot import Span
from domain.usecases.keep_hold import ExpireHolds
from domain.usecases.news import ForgetChanges
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.changes import SqlChangeLog
from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.tables_news import CHANGE, NOTIFICATION
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.living import until
from tests.store.conftest import Stopped
from tests.store.making import AT_TEN, NOW, SECRET, an_id, at, make_booking, make_identity
from tests.store.test_jobs_running import Clock

KEPT = (CHANGE, NOTIFICATION)
SPAN = Span(start=AT_TEN, end=AT_TEN + timedelta(minutes=30))


def a_change(name: str = "p1", tenant: str = "nord", patient: str | None = None, **more: object) -> Change:
    values = {
        "tenant_id": tenant,
        "endpoint_id": "fjord",
        "at": NOW,
        "practitioner_id": an_id(name),
        "span": SPAN,
        "patient_id": an_id(patient) if patient else None,
    }
    return Change(**{**values, **more})  # type: ignore[arg-type]


async def write(start: StartSqlWork, *changes: Change) -> None:
    for tenant_id, own in groupby(changes, lambda change: change.tenant_id):
        async with start(tenant_id) as work:
            for change in own:
                work.hint(change)
            await work.commit()


async def after(log: SqlChangeLog, mark: Mark, count: int) -> list[Heard]:
    """So many, when they are told: PostgreSQL waits for whoever else in the cluster may yet come before them."""

    async def look() -> list[Heard] | None:
        found = list(await log.after(mark, 100))
        return found if len(found) >= count else None

    return await until(look)


async def of_patient(log: SqlChangeLog, mark: Mark, count: int) -> list[Change]:
    async def look() -> list[Change] | None:
        found = told(await log.of_patient("nord", an_id("kari"), mark, 100) or [])
        return found if len(found) >= count else None

    return await until(look)


def told(heard: Sequence[Heard]) -> list[Change]:
    return [each.change for each in heard]


async def test_what_is_committed_is_told_once_in_order_over_all_tenants(start, engine):
    log = SqlChangeLog(engine)
    before = await log.latest()
    first, second = a_change("p1"), a_change("p2", "syd")
    await write(start, first)
    await write(start, second)
    heard = await after(log, before, 2)
    assert told(heard) == [first, second]
    assert [each.mark for each in heard] == sorted(each.mark for each in heard)
    assert await log.after(heard[-1].mark, 10) == []
    assert told(await log.after(heard[0].mark, 10)) == [second]


async def test_pages_of_the_log_leave_nothing_out(start, engine):
    log = SqlChangeLog(engine)
    mark = await log.latest()
    changes = [a_change(f"p{n}") for n in range(7)]
    await write(start, *changes[:5])
    await write(start, *changes[5:])
    await after(log, mark, 7)
    found: list[Change] = []
    while page := await log.after(mark, 2):
        found += told(page)
        mark = page[-1].mark
    assert found == changes


async def test_what_was_rolled_back_is_not_told(start, engine):
    log = SqlChangeLog(engine)
    before = await log.latest()
    async with start("nord") as work:
        work.hint(a_change())
    assert await log.after(before, 10) == []


async def test_the_same_hint_twice_in_one_work_is_one_change(start, engine):
    log = SqlChangeLog(engine)
    before = await log.latest()
    await write(start, a_change(), a_change())
    assert len(await after(log, before, 1)) == 1


async def test_whoever_committed_hears_the_very_marks_of_the_log(engine, start):
    heard: list[Heard] = []

    async def hear(new: Sequence[Heard]) -> None:
        heard.extend(new)

    log = SqlChangeLog(engine)
    before = await log.latest()
    await write(StartSqlWork(engine, Sealing(SECRET), Stopped(), hear), a_change("p1"), a_change("p2"))
    assert heard == await after(log, before, 2)


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(postgres_url)
    yield engine
    await engine.dispose()


async def test_a_transaction_that_commits_late_is_not_passed_by(postgres):
    """The trap of numbers that are handed out before a commit: the lower one may show up after the higher."""
    log, start = SqlChangeLog(postgres), StartSqlWork(postgres, Sealing(SECRET), Stopped())
    mark = await log.latest()
    late, soon = a_change("late"), a_change("soon")
    async with raw(postgres) as slow:
        await slow.execute(text("SELECT pg_current_xact_id()"))  # it has its place, and is not done
        await write(start, soon)
        assert await log.after(mark, 10) == []
        await slow.execute(
            CHANGE.insert().values(
                tenant_id="nord",
                id=select(func.nextval("change_id")).scalar_subquery(),
                position=text("pg_current_xact_id()::text::bigint"),
                at=NOW,
                endpoint_id="fjord",
                practitioner_id=late.practitioner_id,
                starts_at=SPAN.start,
                ends_at=SPAN.end,
            )
        )
        await slow.commit()
    assert told(await after(log, mark, 2)) == [late, soon]


async def test_a_patients_changes_are_theirs_alone(start, engine):
    log = SqlChangeLog(engine)
    before = await log.latest()
    own, other, elsewhere = a_change(patient="kari"), a_change(patient="ola"), a_change(tenant="syd", patient="kari")
    await write(start, own, other, elsewhere, a_change())
    assert await of_patient(log, before, 1) == [own]


async def test_a_log_that_does_not_reach_back_says_so(start, engine):
    log = SqlChangeLog(engine)
    beginning = await log.latest()
    await write(start, a_change("first", patient="kari"))
    early = (await after(log, beginning, 1))[-1].mark
    await write(start, a_change("second", patient="kari"))
    await write(start, a_change("third", patient="kari", at=NOW + timedelta(hours=2)))
    assert len(await of_patient(log, early, 2)) == 2
    newest = (await after(log, beginning, 3))[-1].mark
    await log.forget(NOW + timedelta(hours=1))
    assert await log.of_patient("nord", an_id("kari"), early, 10) is None
    assert await log.of_patient("nord", an_id("kari"), START, 10) is None
    assert await log.of_patient("nord", an_id("kari"), newest, 10) == []


async def test_a_log_that_is_empty_yet_has_forgotten_nothing(start, engine):
    log = SqlChangeLog(engine)
    assert await log.of_patient("nord", an_id("kari"), await log.latest(), 10) == []


async def test_the_newest_change_stays_so_that_numbers_go_on(start, engine):
    log = SqlChangeLog(engine)
    beginning = await log.latest()
    await write(start, a_change("old"), a_change("older"))
    before = (await after(log, beginning, 2))[-1].mark
    await log.forget(NOW + timedelta(days=1))
    await write(start, a_change("new"))
    assert told(await after(log, before, 1)) == [a_change("new")]


async def test_changes_are_forgotten_after_an_hour_and_notifications_a_day_later(start, engine):
    """What an EHR sends again counts as new only when it would be too old to be news."""
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    log = SqlChangeLog(engine)
    beginning = await log.latest()
    async with start("nord") as work:
        assert await work.feeds.notified("nord", "fjord", "digest", NOW)
        await work.commit()
    await write(start, a_change("old"))
    await write(start, a_change("new", at=NOW + 99 * hour))
    await after(log, beginning, 2)

    async def left_at(now: datetime) -> tuple[int, int]:
        await ForgetChanges(changes=log, clock=Clock(now))()
        async with raw(engine) as connection:
            counts = [(await connection.execute(select(func.count()).select_from(t))).scalar_one() for t in KEPT]
        return counts[0], counts[1]

    assert await left_at(NOW + hour) == (2, 1)
    assert await left_at(NOW + hour + minute) == (1, 1)
    assert await left_at(NOW + 25 * hour) == (1, 1)
    assert await left_at(NOW + 25 * hour + minute) == (1, 0)


async def a_patient(start: StartSqlWork) -> None:
    async with start("nord") as work:
        await work.patients.recognise("nord", make_identity(), an_id("kari"))
        await work.commit()


async def test_a_booking_that_moves_tells_of_the_time_it_left(start, engine):
    """The old time is free again, and nothing else in the row knows it any more."""
    await a_patient(start)
    booked = make_booking("b", status=BookingStatus.BOOKED, patient_id=an_id("kari"))
    async with start("nord") as work:
        assert await work.bookings.hold(booked, NOW)
        await work.commit()
    log = SqlChangeLog(engine)
    before = await log.latest()
    later = replace(booked.slot, start=at(14), end=at(14, 30), practitioner_id=an_id("p2"))
    async with start("nord") as work:
        assert await work.bookings.save(replace(booked, slot=later, version=2))
        await work.commit()
    [left] = [c for c in told(await after(log, before, 1)) if c.booking_id is None]
    assert (left.practitioner_id, left.span) == (an_id("p1"), SPAN)


async def test_lapsed_holds_are_let_go_of_and_told(start, engine):
    lapsed = make_booking("lapsed", expires_at=NOW - timedelta(seconds=1))
    alive = make_booking("alive", at(12), expires_at=NOW + timedelta(minutes=1))
    for hold in (lapsed, alive, replace(lapsed, tenant_id="syd")):
        async with start(hold.tenant_id) as work:
            assert await work.bookings.hold(hold, NOW - timedelta(minutes=5))
            await work.commit()
    log = SqlChangeLog(engine)
    before = await log.latest()
    assert await ExpireHolds(reads=SqlBookingReads(engine), start_work=start, clock=Stopped())(10) == 2
    assert {(c.tenant_id, c.booking_id) for c in told(await after(log, before, 2))} == {
        ("nord", lapsed.id),
        ("syd", lapsed.id),
    }
    async with start("nord") as work:
        assert (await work.bookings.get("nord", lapsed.id)).status is BookingStatus.EXPIRED
        assert (await work.bookings.get("nord", alive.id)).status is BookingStatus.HELD
        assert await work.bookings.expire_lapsed("nord", NOW, 10) == 0
