"""What has been kept long enough is let go of, and nothing else: no booking, no key that may be repeated."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.audit import SYSTEM
from domain.booking import Booking, BookingStatus
from domain.events import Event, EventKind
from domain.patient import LogoutToken
from domain.ports import EVERY_TENANT, Remembered, Session
from domain.usecases import forget
from domain.usecases.forget import ForgetOld
from domain.usecases.record import record
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.making import NOW, an_id, make_booking, make_identity
from tests.store.test_jobs_running import Clock
from tests.store.test_patients_at_once import on_postgresql

S = BookingStatus
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


async def forget_at(start: StartSqlWork, now: datetime) -> int:
    return await ForgetOld(start_work=start, clock=Clock(now))()


async def left(engine: AsyncEngine, statement: str) -> Sequence[Any]:
    async with raw(engine) as connection:
        return list((await connection.execute(text(statement))).scalars())


async def hold(start: StartSqlWork, name: str, number: int, *then: BookingStatus, **more: Any) -> Booking:
    """Each at a practitioner of its own, gone through these statuses."""
    booking = make_booking(name, practitioner=f"p{number}", **more)
    async with start(booking.tenant_id) as work:
        assert await record(work, booking, SYSTEM, NOW, action="booking.hold", is_new=True)
        for status in then:
            booking = booking.becomes(status)
            await record(work, booking, SYSTEM, NOW, action="booking.test")
        await work.commit()
    return booking


async def test_lapsed_holds_are_forgotten_with_their_history_and_bookings_are_kept(start, engine) -> None:
    lapsed = [await hold(start, "expired", 1, S.EXPIRED), await hold(start, "released", 2, S.RELEASED)]
    kept = [
        await hold(start, "held", 3),
        await hold(start, "booked", 4, S.CONFIRMING, S.BOOKED),
        await hold(start, "cancelled", 5, S.CONFIRMING, S.BOOKED, S.CANCELLED),
        await hold(start, "failed", 6, S.CONFIRMING, S.FAILED),
        await hold(start, "unknown", 7, S.CONFIRMING, S.UNKNOWN),
        await hold(start, "released, known to the EHR", 8, S.RELEASED, ehr_id="A-1"),
        await hold(start, "released, once booked", 9, S.RELEASED, booked_at=NOW),
    ]
    ran_out = lapsed[0].expires_at
    assert await forget_at(start, ran_out + DAY) == 0
    assert await forget_at(start, ran_out + DAY + MINUTE) == 2
    reads, ids = SqlBookingReads(engine), [each.id for each in (*lapsed, *kept)]
    assert set(await reads.get("nord", ids)) == {each.id for each in kept}
    steps = await reads.steps("nord", ids)
    assert [len(steps[each.id]) for each in lapsed] == [0, 0]
    assert all(steps[each.id] for each in kept)
    assert len(await left(engine, "SELECT id FROM audit WHERE action = 'booking.hold'")) == len(ids)


async def test_a_hold_that_moved_a_booking_outlives_the_key_of_the_request(start) -> None:
    """A repeat of the request looks at it, to see that it was this hold that moved the booking."""
    booked = await hold(start, "booked", 1, S.CONFIRMING, S.BOOKED)
    moved = await hold(start, "moved", 2, S.RELEASED, moves_booking_id=booked.id)
    assert await forget_at(start, moved.expires_at + 3 * DAY) == 0
    assert await forget_at(start, moved.expires_at + 3 * DAY + MINUTE) == 1


async def test_keys_are_forgotten_when_they_would_be_new_again(start, engine) -> None:
    async with start("nord") as work:
        said = Remembered(input_hash="h", booking_id=an_id("b"))
        assert await work.idempotency.remember("nord", "kari", "confirm", "key", said, NOW) is None
        await work.commit()
    assert await forget_at(start, NOW + 2 * DAY - MINUTE) == 0
    async with start("nord") as work:
        assert await work.idempotency.remember("nord", "kari", "confirm", "key", said, NOW + 2 * DAY - MINUTE) == said
    assert await forget_at(start, NOW + 2 * DAY) == 1
    assert await left(engine, "SELECT key FROM idempotency") == []


async def test_sessions_are_forgotten_when_they_have_ended(start, engine) -> None:
    times = {"authenticated_at": NOW, "created_at": NOW, "last_seen_at": NOW}
    async with start("nord") as work:
        await work.patients.recognise("nord", make_identity(), an_id("kari"))
        for hours in (8, 9):
            session = Session(tenant_id="nord", id=f"{hours}", patient_id=an_id("kari"), expires_at=NOW, **times)
            await work.sessions.add(replace(session, expires_at=NOW + timedelta(hours=hours)))
        await work.commit()
    assert await forget_at(start, NOW + timedelta(hours=8)) == 1
    assert await left(engine, "SELECT id FROM session") == ["9"]


async def test_logout_tokens_are_forgotten_when_they_have_expired(start, engine) -> None:
    """Until then one that comes a second time has to be known."""
    expires = NOW + timedelta(minutes=2)
    token = LogoutToken(issuer="https://idp.example", jti="1", sid="s", subject=None, expires_at=expires)
    async with start("nord") as work:
        assert await work.sessions.remember("nord", token)
        await work.commit()
    assert await forget_at(start, expires - MINUTE) == 0
    async with start("nord") as work:
        assert not await work.sessions.remember("nord", token)
    assert await forget_at(start, expires) == 1
    assert await left(engine, "SELECT id FROM logout_token") == []


async def test_events_are_forgotten_after_a_week_done_jobs_after_a_day_dead_ones_after_a_month(start, engine) -> None:
    async with start("nord") as work:
        for n in range(3):
            id = an_id(f"event {n}")
            await work.tell(Event(tenant_id="nord", kind=EventKind.BOOKED, booking_id=id, version=1, at=NOW, id=id))
        await work.commit()
    async with start(EVERY_TENANT) as work:
        done, dead, _ = await work.jobs.claim("deliver", "worker", NOW, NOW + MINUTE, 3)
        await work.jobs.finish(done, "worker", NOW)
        await work.jobs.fail(dead, "worker", NOW, "why", None)
        await work.commit()
    states = "SELECT state FROM job ORDER BY state"
    assert await forget_at(start, NOW + DAY) == 0
    assert await forget_at(start, NOW + DAY + MINUTE) == 1
    assert await left(engine, states) == ["DEAD", "READY"]
    assert await forget_at(start, NOW + 7 * DAY) == 0
    assert await forget_at(start, NOW + 7 * DAY + MINUTE) == 3
    assert await left(engine, "SELECT id FROM outbox") == []
    assert await forget_at(start, NOW + 30 * DAY) == 0
    assert await forget_at(start, NOW + 30 * DAY + MINUTE) == 1
    assert await left(engine, states) == ["READY"]


async def test_rounds_that_are_no_tenants_are_forgotten_as_other_jobs_are(start, engine) -> None:
    async with start(EVERY_TENANT) as work:
        assert await work.jobs.enqueue("forget_old", {}, dedupe="once", run_at=NOW)
        [done] = await work.jobs.claim("forget_old", "worker", NOW, NOW + MINUTE, 1)
        await work.jobs.finish(done, "worker", NOW)
        await work.commit()
    assert await forget_at(start, NOW + DAY) == 0
    assert await forget_at(start, NOW + DAY + MINUTE) == 1
    assert await left(engine, "SELECT kind FROM job") == []


async def test_much_is_forgotten_a_few_rows_at_a_time(start, statements, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction keeps the writer's turn for long."""
    monkeypatch.setattr(forget, "AT_ONCE", 2)
    async with start("nord") as work:
        for n in range(5):
            said = Remembered(input_hash="h", booking_id=an_id("b"))
            await work.idempotency.remember("nord", "kari", "confirm", f"{n}", said, NOW)
        await work.commit()
    with statements() as seen:
        assert await forget_at(start, NOW + 3 * DAY) == 5
    assert (
        len([each for each in seen if each.startswith("DELETE FROM idempotency")]) == 3 + 1
    )  # and the other tenant's none


async def test_whether_holds_have_lapsed_is_read(start, engine, statements) -> None:
    held = await hold(start, "held", 1)
    await hold(start, "gone", 2, S.RELEASED)
    reads = SqlBookingReads(engine)
    with statements() as seen:
        assert not await reads.any_lapsed(held.expires_at - MINUTE)
        assert await reads.any_lapsed(held.expires_at)
    assert [each.partition(" ")[0] for each in seen] == ["SELECT", "SELECT"]


async def test_what_an_erasure_is_deleting_at_that_moment_is_left_to_it(postgres_url: str) -> None:
    """Waited for in another order than it goes by, the two would wait for each other."""
    later = NOW + 3 * DAY
    async with on_postgresql(postgres_url) as start:
        async with start("nord") as work:
            patient = await work.patients.recognise("nord", make_identity(), an_id("kari"))
            for id in ("one", "two"):
                times = dict.fromkeys(("authenticated_at", "created_at", "last_seen_at", "expires_at"), NOW)
                await work.sessions.add(Session(tenant_id="nord", id=id, patient_id=patient.id, **times))
                said = Remembered(input_hash="a", booking_id=an_id(id))
                await work.idempotency.remember("nord", "kari", "confirm", id, said, NOW)
            await work.commit()
        async with raw(start) as erasing, asyncio.timeout(60):
            await erasing.execute(text("DELETE FROM session WHERE id = 'two'"))
            await erasing.execute(text("DELETE FROM idempotency WHERE key = 'two'"))
            assert await forget_at(start, later) == 2
            await erasing.rollback()
        assert await forget_at(start, later) == 2
