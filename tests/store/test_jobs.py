"""Jobs are queued with what made them necessary, are one worker's at a time, and are finished once."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.audit import SYSTEM, AuditEntry
from domain.events import Event, EventKind
from domain.ports import DELIVER, EVERY_TENANT, Job
from integrations.store.engine import open_engine
from integrations.store.jobs import SqlJobReads
from integrations.store.outbox import SqlOutboxReads
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, SECRET, an_id

SOON = NOW + timedelta(seconds=30)
"""When a lease that is taken now runs out."""


async def queue(
    start: StartSqlWork, *names: str, kind: str = "sweep", at: datetime = NOW, tenant: str = "nord"
) -> None:
    async with start(tenant) as work:
        for name in names:
            assert await work.jobs.enqueue(kind, {"name": name}, tenant_id=tenant, dedupe=name, run_at=at)
        await work.commit()


async def claim(
    start: StartSqlWork, worker: str, now: datetime = NOW, limit: int = 10, kind: str = "sweep"
) -> Sequence[Job]:
    async with start(EVERY_TENANT) as work:
        claimed = await work.jobs.claim(kind, worker, now, now + (SOON - NOW), limit)
        await work.commit()
    return claimed


async def finish(start: StartSqlWork, job: Job, worker: str, now: datetime = NOW) -> bool:
    async with start(job.tenant_id or EVERY_TENANT) as work:
        done = await work.jobs.finish(job, worker, now)
        await work.commit()
    return done


async def fail(start: StartSqlWork, job: Job, worker: str, again_at: datetime | None, now: datetime = NOW) -> bool:
    async with start(job.tenant_id or EVERY_TENANT) as work:
        noted = await work.jobs.fail(job, worker, now, "OSError at ehr.py:7", again_at)
        await work.commit()
    return noted


def names(jobs: Sequence[Job]) -> list[str]:
    return sorted(job.payload["name"] for job in jobs)


async def depth(engine: AsyncEngine, now: datetime = NOW) -> dict[str, int]:
    return {each.state: each.count for each in await SqlJobReads(engine).depth(now)}


async def test_a_job_is_gone_with_the_work_that_made_it_necessary(start, engine):
    async with start(EVERY_TENANT) as work:
        await work.jobs.enqueue("sweep", {}, dedupe="one", run_at=NOW)
    assert await claim(start, "worker") == []
    async with start(EVERY_TENANT) as work:
        assert await work.jobs.enqueue("sweep", {}, dedupe="one", run_at=NOW)
        await work.commit()
    assert len(await claim(start, "worker")) == 1


async def test_the_same_job_is_queued_once_for_each_tenant_and_kind(start):
    await queue(start, "same")
    async with start("nord") as work:
        assert not await work.jobs.enqueue("sweep", {"name": "again"}, tenant_id="nord", dedupe="same", run_at=NOW)
        await work.commit()
    await queue(start, "same", kind="other")
    await queue(start, "same", tenant="syd")
    assert names(await claim(start, "worker")) == ["same", "same"]


async def test_what_was_done_is_not_queued_again(start):
    await queue(start, "same")
    [job] = await claim(start, "worker")
    assert await finish(start, job, "worker")
    async with start("nord") as work:
        assert not await work.jobs.enqueue("sweep", {}, tenant_id="nord", dedupe="same", run_at=NOW)


async def test_no_job_is_done_before_its_time(start, engine):
    await queue(start, "later", at=NOW + timedelta(minutes=5))
    assert await claim(start, "worker", NOW + timedelta(minutes=4)) == []
    assert await SqlJobReads(engine).due(["sweep"], NOW + timedelta(minutes=4)) == []
    assert await SqlJobReads(engine).due(["sweep"], NOW + timedelta(minutes=5)) == ["sweep"]
    assert names(await claim(start, "worker", NOW + timedelta(minutes=5))) == ["later"]


async def test_no_job_is_given_to_two_workers(start, engine: AsyncEngine, database_url: str):
    """Each worker in a process of its own: only the database is between them."""
    await queue(start, *(f"job {n}" for n in range(60)))
    engines = [open_engine(database_url, pool_size=1) for _ in range(6)]
    starts = [StartSqlWork(each, Sealing(SECRET), Stopped()) for each in engines]

    async def until_nothing_is_left(start: StartSqlWork, worker: str) -> list[Job]:
        mine: list[Job] = []
        while some := await claim(start, worker, limit=3):
            assert len(some) <= 3
            mine += some
        return mine

    try:
        each = await asyncio.gather(*(until_nothing_is_left(s, f"worker {n}") for n, s in enumerate(starts)))
    finally:
        for one in engines:
            await one.dispose()
    all_ids = [job.id for jobs in each for job in jobs]
    assert len(all_ids) == len(set(all_ids)) == 60


async def test_the_longest_due_come_first(start):
    await queue(start, "late", at=NOW - timedelta(minutes=1))
    await queue(start, "latest", at=NOW - timedelta(minutes=9))
    await queue(start, "just now")
    assert [names(await claim(start, "worker", limit=1)) for _ in range(3)] == [["latest"], ["late"], ["just now"]]


async def test_a_job_whose_worker_is_gone_is_another_s_when_its_lease_runs_out(start):
    await queue(start, "one")
    [first] = await claim(start, "gone")
    assert await claim(start, "other", SOON - timedelta(seconds=1)) == []
    [second] = await claim(start, "other", SOON)
    assert (second.id, first.attempt, second.attempt) == (first.id, 1, 2)


@pytest.mark.parametrize("second", ["other", "slow"], ids=["another worker", "the same worker again"])
async def test_who_has_lost_a_job_can_neither_finish_nor_fail_it(start, engine, second: str):
    await queue(start, "one")
    [lost] = await claim(start, "slow")
    [taken] = await claim(start, second, SOON)
    assert not await finish(start, lost, "slow", SOON)
    assert not await fail(start, lost, "slow", None, SOON)
    assert await depth(engine, SOON) == {"running": 1}
    assert await finish(start, taken, second, SOON)
    assert not await finish(start, taken, second, SOON)


async def test_the_effect_of_a_job_is_written_with_its_end_or_not_at_all(start, engine):
    await queue(start, "one")
    [lost] = await claim(start, "slow")
    [taken] = await claim(start, "other", SOON)
    entry = AuditEntry(tenant_id="nord", at=NOW, actor=SYSTEM, action="swept", target="booking", target_id=an_id("b"))
    for job, worker in ((lost, "slow"), (taken, "other"), (lost, "slow")):
        async with start("nord") as work:
            if await work.jobs.finish(job, worker, SOON):
                await work.audit(entry)
                await work.commit()
    assert await counted(engine, "SELECT count(*) FROM audit WHERE action = 'swept'") == 1


async def test_a_failed_attempt_is_repeated_when_it_is_time_and_given_up_when_that_is_said(start, engine):
    await queue(start, "one")
    [job] = await claim(start, "worker")
    later = NOW + timedelta(minutes=2)
    assert await fail(start, job, "worker", later)
    assert await depth(engine) == {"waiting": 1}
    assert await claim(start, "worker", later - timedelta(seconds=1)) == []
    [again] = await claim(start, "worker", later)
    assert again.attempt == 2
    assert await fail(start, again, "worker", None, later)
    assert await claim(start, "worker", later + timedelta(days=1)) == []
    [dead] = await SqlJobReads(engine).dead(10)
    told = (dead.id, dead.kind, dead.attempts, dead.wanted_at, dead.died_at, dead.error)
    assert told == (job.id, "sweep", 2, NOW, later, "OSError at ehr.py:7")
    assert await depth(engine, later) == {"dead": 1}


async def test_a_dead_job_is_done_after_all_when_somebody_says_so(start, engine):
    await queue(start, "one")
    [job] = await claim(start, "worker")
    async with start(EVERY_TENANT) as work:
        assert not await work.jobs.retry(job.id, NOW)
        await work.jobs.fail(job, "worker", NOW, "why", None)
        assert not await work.jobs.retry(uuid4(), NOW)
        assert await work.jobs.retry(job.id, NOW)
        await work.commit()
    [again] = await claim(start, "worker")
    assert (again.id, again.attempt) == (job.id, 1)


async def test_attempts_that_begin_anew_are_not_mistaken_for_those_before(start):
    await queue(start, "one")
    [lost] = await claim(start, "slow")
    [failed] = await claim(start, "other", SOON)
    await fail(start, failed, "other", None, SOON)
    async with start(EVERY_TENANT) as work:
        assert await work.jobs.retry(lost.id, SOON)
        await work.commit()
    [anew] = await claim(start, "third", SOON)
    assert anew.attempt == lost.attempt
    assert not await finish(start, lost, "slow", SOON)
    assert await finish(start, anew, "third", SOON)


async def test_how_deep_the_queue_is_says_since_when_it_waits(start, engine):
    await queue(start, "old", at=NOW - timedelta(minutes=3))
    await queue(start, "new", at=NOW - timedelta(minutes=1))
    await queue(start, "later", at=NOW + timedelta(minutes=1))
    [running] = await claim(start, "worker", limit=1)
    found = {each.state: (each.count, each.oldest) for each in await SqlJobReads(engine).depth(NOW)}
    assert found == {
        "due": (1, NOW - timedelta(minutes=1)),
        "running": (1, NOW - timedelta(minutes=3)),
        "waiting": (1, None),
    }
    await finish(start, running, "worker")
    assert await depth(engine) == {"due": 1, "waiting": 1}


async def test_to_look_whether_anything_is_due_takes_no_writer_s_turn(start, engine, statements):
    await queue(start, "one")
    with statements() as seen:
        assert await SqlJobReads(engine).due(["sweep", "other"], NOW) == ["sweep"]
    [only] = seen
    assert only.startswith("SELECT")


async def test_the_queue_is_asked_by_its_index(start, engine):
    """Not by reading all that was done today."""
    due = "SELECT kind FROM job WHERE state = 'READY' AND kind IN ('a', 'b') AND due_at <= '2026-03-02 09:00:00'"
    async with raw(engine) as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            plan = (await connection.execute(text(f"EXPLAIN {due}"))).scalars().all()
        else:
            plan = [row.detail for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {due}"))]
    assert "ix_job_due" in " ".join(plan)


async def test_an_event_comes_with_the_job_that_delivers_it(start, engine):
    event = Event(tenant_id="syd", kind=EventKind.BOOKED, booking_id=an_id("b"), version=2, at=NOW)
    async with start("syd") as work:
        await work.tell(event)
    assert await claim(start, "worker", kind=DELIVER) == []
    async with start("syd") as work:
        await work.tell(event)
        await work.commit()
    [job] = await claim(start, "worker", kind=DELIVER)
    assert (job.tenant_id, job.payload) == ("syd", {"event_id": str(event.id)})
    reads = SqlOutboxReads(engine)
    assert await reads.event("syd", event.id) == event
    assert await reads.event("nord", event.id) is None
    async with start("syd") as work:
        await work.outbox.delivered("syd", event.id, SOON)
        await work.commit()
    assert await counted(engine, "SELECT count(*) FROM outbox WHERE delivered_at IS NOT NULL") == 1


async def test_workers_are_told_of_jobs_when_they_are_committed(engine, start):
    rung: list[str] = []
    starting = StartSqlWork(engine, Sealing(SECRET), Stopped(), jobs_added=lambda: rung.append("rung"))
    async with starting(EVERY_TENANT) as work:
        await work.jobs.enqueue("sweep", {}, dedupe="rolled back", run_at=NOW)
    async with starting(EVERY_TENANT) as work:
        await work.commit()
    assert rung == []
    async with starting(EVERY_TENANT) as work:
        await work.jobs.enqueue("sweep", {}, dedupe="one", run_at=NOW)
        await work.commit()
        assert rung == []
    assert rung == ["rung"]


async def test_old_jobs_are_forgotten_a_few_at_a_time(start, engine):
    await queue(start, *(f"done {n}" for n in range(5)), "dead", "open")
    for job in await claim(start, "worker"):
        if job.payload["name"] == "dead":
            await fail(start, job, "worker", None)
        elif job.payload["name"] != "open":
            await finish(start, job, "worker")
    after = NOW + timedelta(seconds=1)
    async with start("nord") as work:
        assert await work.jobs.forget("nord", NOW, NOW, 100) == 0
        assert await work.jobs.forget("nord", after, NOW, 3) == 3
        assert await work.jobs.forget("nord", after, NOW, 3) == 2
        assert await work.jobs.forget("nord", after, NOW, 3) == 0
        assert await work.jobs.forget("nord", after, after, 3) == 1
        await work.commit()
    assert await depth(engine) == {"running": 1}


async def counted(engine: AsyncEngine, statement: str) -> Any:
    async with raw(engine) as connection:
        return (await connection.execute(text(statement))).scalar()
