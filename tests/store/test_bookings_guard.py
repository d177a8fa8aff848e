"""A practitioner has one patient at a time: whatever the code does, the database says so."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import OCCUPYING, BookingStatus
from integrations.store.booking_rows import values_of
from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.tables import AUDIT
from integrations.store.tables_bookings import BOOKING, GUARD
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.making import NOW, SECRET, an_id, at, make_booking, moved

S = BookingStatus
FREE = [status for status in BookingStatus if status not in OCCUPYING]


async def hold(start: StartSqlWork, *args, **more) -> bool:
    booking = make_booking(*args, **more)
    async with start(booking.tenant_id) as work:
        held = await work.bookings.hold(booking, NOW)
        await work.commit()
        return held


async def put(start: StartSqlWork, booking) -> None:
    """Into the table, in any status."""
    async with start(booking.tenant_id) as work:
        await work._connection.execute(insert(BOOKING).values(values_of(booking)))
        await work.commit()


async def save(start: StartSqlWork, booking) -> bool:
    async with start(booking.tenant_id) as work:
        saved = await work.bookings.save(booking)
        await work.commit()
        return saved


@pytest.mark.parametrize(
    ("begins", "minutes"),
    [((9, 45), 30), ((10, 15), 30), ((10, 0), 30), ((10, 10), 10), ((9, 0), 180)],
    ids=["end overlaps", "start overlaps", "same", "inside", "around"],
)
async def test_an_overlapping_time_is_refused(start, begins, minutes):
    assert await hold(start, "first", at(10), 30)
    assert not await hold(start, "second", at(*begins), minutes)


async def test_times_that_touch_are_both_held(start):
    assert await hold(start, "first", at(10), 30)
    assert await hold(start, "before", at(9, 30), 30)
    assert await hold(start, "after", at(10, 30), 30)


async def test_another_tenant_endpoint_or_practitioner_is_not_in_the_way(start):
    assert await hold(start, "first")
    assert await hold(start, "first", tenant_id="syd")
    assert await hold(start, "second", endpoint="malar")
    assert await hold(start, "third", practitioner="p2")
    assert not await hold(start, "fourth", tenant_id="syd")


@pytest.mark.parametrize("status", OCCUPYING)
async def test_every_occupying_status_keeps_the_time(start, status):
    await put(start, make_booking("first", status=status))
    assert not await hold(start, "second")


@pytest.mark.parametrize("status", FREE)
async def test_every_other_status_gives_the_time_free(start, status):
    await put(start, make_booking("first", status=status))
    assert await hold(start, "second")


@pytest.mark.parametrize("status", OCCUPYING)
async def test_the_database_refuses_even_what_goes_past_the_code(start, status):
    await put(start, make_booking("first"))
    with pytest.raises(IntegrityError, match=GUARD):
        await put(start, make_booking("second", status=status))


async def test_a_45_minute_visit_moves_by_15_minutes_while_others_are_refused(start):
    visit = make_booking("visit", at(10), 45, status=S.BOOKED)
    await put(start, visit)
    assert not await hold(start, "stranger", at(10, 15), 45)
    assert await hold(start, "move", at(10, 15), 45, moves_booking_id=visit.id)
    assert not await hold(start, "stranger", at(10, 45), 15), "the hold made to move keeps the new time"
    async with start("nord") as work:
        move = await work.bookings.get("nord", an_id("move"))
        assert await work.bookings.save(move.becomes(S.RELEASED))
        assert await work.bookings.save(moved(visit, at(10, 15)))
        await work.commit()
    assert await hold(start, "before", at(10), 15)
    assert not await hold(start, "stranger", at(10, 45), 15)


async def test_a_move_is_refused_where_somebody_else_is(start):
    visit = make_booking("visit", at(10), 45, status=S.BOOKED)
    await put(start, visit)
    assert await hold(start, "other", at(10, 45), 30)
    assert not await hold(start, "move", at(10, 15), 45, moves_booking_id=visit.id)
    assert not await save(start, moved(visit, at(10, 15)))


async def test_a_refused_save_leaves_the_unit_of_work_usable(start):
    visit = make_booking("visit", status=S.BOOKED)
    await put(start, visit)
    await hold(start, "other", at(11))
    async with start("nord") as work:
        assert not await work.bookings.save(moved(visit, at(11)))
        assert await work.bookings.save(moved(visit, at(12)))
        await work.commit()
    async with start("nord") as work:
        assert (await work.bookings.get("nord", visit.id)).slot.start == at(12)


async def test_a_status_that_occupies_again_is_refused_when_the_time_is_taken(start):
    late = make_booking("late", status=S.EXPIRED)
    await put(start, late)
    assert await hold(start, "other")
    assert not await save(start, replace(late, status=S.CONFIRMING, version=2))


async def test_a_lapsed_hold_gives_way_and_its_history_says_so(start):
    await hold(start, "lapsed", expires_at=NOW)
    await hold(start, "lapsed", expires_at=NOW, tenant_id="syd")
    assert await hold(start, "next", at(10, 15))
    async with start("nord") as work:
        lapsed = await work.bookings.get("nord", an_id("lapsed"))
        assert (lapsed.status, lapsed.version) == (S.EXPIRED, 2)
    async with start("syd") as work:
        assert (await work.bookings.get("syd", an_id("lapsed"))).status is S.HELD
    async with raw(start) as connection:
        steps = await connection.execute(text("SELECT tenant_id, number, version, status, actor FROM booking_step"))
        assert steps.all() == [("nord", 1, 2, "EXPIRED", "SYSTEM")]
        audits = await connection.execute(select(AUDIT))
        [entry] = audits.all()
        assert (entry.tenant_id, entry.at, entry.actor_kind, entry.actor_id) == ("nord", NOW, "SYSTEM", None)
        assert (entry.action, entry.target, entry.target_id) == ("booking.expired", "booking", lapsed.id)
        assert entry.details == {"status": "EXPIRED", "version": "2"}


async def test_what_is_rolled_back_expires_nothing(start):
    await hold(start, "lapsed", expires_at=NOW)
    async with start("nord") as work:
        assert await work.bookings.hold(make_booking("next"), NOW)
    async with start("nord") as work:
        assert (await work.bookings.get("nord", an_id("lapsed"))).status is S.HELD
    async with raw(start) as connection:
        assert (await connection.execute(select(AUDIT))).all() == []


async def test_a_lapsed_hold_also_gives_way_to_a_move(start):
    visit = make_booking("visit", status=S.BOOKED)
    await put(start, visit)
    await hold(start, "lapsed", at(11), expires_at=NOW)
    assert await save(start, moved(visit, at(11)))
    async with start("nord") as work:
        assert (await work.bookings.get("nord", an_id("lapsed"))).status is S.EXPIRED


async def test_a_live_hold_does_not_give_way(start):
    await hold(start, "live", expires_at=NOW + timedelta(seconds=1))
    assert not await hold(start, "next")


async def test_a_clash_of_another_key_does_not_pass_for_a_taken_time(start):
    await hold(start, "first")
    with pytest.raises(IntegrityError):
        await hold(start, "second", at(15), reference="first")
    with pytest.raises(IntegrityError):
        await hold(start, "first", at(15), reference="other")


async def test_a_visit_ends_after_it_starts(start):
    with pytest.raises(DBAPIError):
        await hold(start, "backwards", at(10), 0)


@pytest.mark.parametrize("round", range(3))
async def test_one_of_fifty_holds_wins_and_none_fails(start, database_url: str, round: int):
    """Two engines stand for two processes: each has its own pool and its own queue of writers."""
    engines: list[AsyncEngine] = [open_engine(database_url, pool_size=25) for _ in range(2)]
    starts = [StartSqlWork(engine, Sealing(SECRET)) for engine in engines]
    await hold(start, "lapsed", expires_at=NOW)
    try:
        begins = [at(10, n % 3 * 10) for n in range(50)]
        races = [hold(starts[n % 2], f"racer {n}", begin) for n, begin in enumerate(begins)]
        assert sum(await asyncio.gather(*races)) == 1
    finally:
        for engine in engines:
            await engine.dispose()


async def test_one_of_twenty_moves_to_a_time_wins_and_none_fails(start):
    visits = [make_booking(f"visit {n}", at(8) + timedelta(days=n + 1), status=S.BOOKED) for n in range(20)]
    for visit in visits:
        await put(start, visit)
    assert sum(await asyncio.gather(*(save(start, moved(visit, at(8))) for visit in visits))) == 1
