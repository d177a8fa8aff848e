"""Jobs are done by any number of processes, each once, and none is held up by another."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.audit import SYSTEM, AuditEntry
from domain.ports import EVERY_TENANT, Job, UnitOfWork
from domain.usecases.recur import Recur, Recurring, always
from domain.usecases.run_jobs import Finish, Kind, RunJobs, wait_after
from integrations.store.jobs import SqlJobReads
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.living import until
from tests.planted import as_written
from tests.store.making import NOW, an_id

LEASE = timedelta(seconds=45)
WHO = "Kari Testesen, 01017012345"
NORD = "nord"


@dataclass
class Clock:
    """Stands still until it is moved."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class Town:
    """What processes share: one database and the same time."""

    engine: AsyncEngine
    start: StartSqlWork
    clock: Clock = field(default_factory=Clock)

    def process(self, **kinds: Kind) -> RunJobs:
        return RunJobs(
            kinds=kinds,
            reads=SqlJobReads(self.engine),
            start_work=self.start,
            clock=self.clock,
            bell=asyncio.Event(),
        )

    async def queue(self, kind: str, *names: str) -> None:
        async with self.start(NORD) as work:
            for name in names:
                await work.jobs.enqueue(kind, {"name": name}, tenant_id=NORD, dedupe=name, run_at=self.clock.at)
            await work.commit()

    async def states(self) -> dict[tuple[str, str], int]:
        return await self.counts("SELECT kind, state, count(*) FROM job GROUP BY kind, state")

    async def effects(self) -> dict[tuple[str, ...], int]:
        return await self.counts("SELECT action, count(*) FROM audit GROUP BY action")

    async def counts(self, statement: str) -> dict[Any, int]:
        async with raw(self.engine) as connection:
            return {tuple(key): count for *key, count in await connection.execute(text(statement))}


@pytest.fixture
def town(engine: AsyncEngine, start: StartSqlWork) -> Town:
    return Town(engine, start)


def writes(name: str) -> Finish:
    async def effect(work: UnitOfWork) -> None:
        entry = AuditEntry(tenant_id=NORD, at=NOW, actor=SYSTEM, action=name, target="job", target_id=an_id(name))
        await work.audit(entry)

    return effect


async def at_once(job: Job) -> Finish:
    return writes(job.payload["name"])


def gated(gate: asyncio.Event) -> Callable[[Job], Awaitable[Finish]]:
    async def waits(job: Job) -> Finish:
        await gate.wait()
        return writes(job.payload["name"])

    return waits


async def hangs(_: Job) -> None:
    await asyncio.Event().wait()


async def breaks(_: Job) -> None:
    raise ValueError(WHO)


async def ended(*processes: RunJobs) -> None:
    async def look() -> bool | None:
        return not any(process.running(kind) for process in processes for kind in process.kinds) or None

    await until(look)


async def test_an_idle_queue_costs_one_read(town: Town, statements) -> None:
    process = town.process(sweep=Kind(run=at_once), other=Kind(run=at_once))
    with statements() as seen:
        assert await process() == 0
    [only] = seen
    assert only.startswith("SELECT")


async def test_what_a_job_writes_is_written_with_its_end(town: Town) -> None:
    process = town.process(sweep=Kind(run=at_once))
    await town.queue("sweep", "a", "b")
    assert await process() == 2
    await ended(process)
    assert await town.effects() == {("a",): 1, ("b",): 1}
    assert await town.states() == {("sweep", "DONE"): 2}
    assert process.tally == {("sweep", "finished"): 2}


async def test_jobs_of_a_kind_that_is_not_known_here_are_left_to_who_knows_it(town: Town) -> None:
    older, newer = town.process(sweep=Kind(run=at_once)), town.process(remind=Kind(run=at_once))
    await town.queue("remind", "a")
    assert await older() == 0
    assert await newer() == 1
    await ended(newer)
    assert await town.states() == {("remind", "DONE"): 1}


async def test_a_job_that_hangs_holds_up_no_others(town: Town) -> None:
    """Neither those of its own kind while there is room, nor those of other kinds when there is none."""
    gate = asyncio.Event()

    async def first_hangs(job: Job) -> Finish:
        return await (gated(gate) if job.payload["name"] == "hangs" else at_once)(job)

    process = town.process(sweep=Kind(run=first_hangs, at_once=2), remind=Kind(run=at_once))
    await town.queue("sweep", "hangs")
    await process()
    await town.queue("sweep", "a", "b")
    await town.queue("remind", "c")

    async def others() -> bool | None:
        await process()
        return (await town.effects()).keys() == {("a",), ("b",), ("c",)} or None

    await until(others)
    gate.set()
    await ended(process)
    assert await town.states() == {("sweep", "DONE"): 3, ("remind", "DONE"): 1}


async def test_no_more_are_taken_up_than_there_is_room_for_and_the_end_of_one_is_told(town: Town) -> None:
    gate = asyncio.Event()
    process = town.process(sweep=Kind(run=gated(gate), at_once=2))
    await town.queue("sweep", "a", "b", "c")
    assert [await process(), await process()] == [2, 0]
    assert (await SqlJobReads(town.engine).depth(NOW))[0].state == "due"
    assert not process.bell.is_set()
    gate.set()
    await process.wait(60)
    assert await process() == 1
    await ended(process)
    assert len(await town.effects()) == 3


async def test_a_job_has_a_time_limit(town: Town) -> None:
    process = town.process(sweep=Kind(run=hangs, seconds=0.05, attempts=1))
    await town.queue("sweep", "a")
    await process()
    await ended(process)
    [dead] = await SqlJobReads(town.engine).dead(10)
    assert dead.error == "not done within 0.05 s"


async def test_a_failed_job_is_tried_again_later_and_later_and_then_no_more(town: Town) -> None:
    process = town.process(sweep=Kind(run=breaks, attempts=3))
    await town.queue("sweep", "a")
    for attempt in (1, 2, 3):
        assert await process() == 1
        await ended(process)
        assert await process() == 0, "it is repeated without a pause"
        town.clock.at += timedelta(seconds=2.0**attempt)
    assert await town.states() == {("sweep", "DEAD"): 1}
    assert process.tally == {("sweep", "failed"): 3, ("sweep", "dead"): 1}


async def test_what_a_failure_says_is_neither_kept_nor_logged(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """It may speak of a patient."""
    process = town.process(sweep=Kind(run=breaks, attempts=1))
    await town.queue("sweep", "a")
    with caplog.at_level(logging.DEBUG, "domain"):
        await process()
        await ended(process)
    [dead] = await SqlJobReads(town.engine).dead(10)
    assert dead.error.startswith("ValueError at domain.usecases.run_jobs:")
    log = as_written(caplog.records)
    assert "test_jobs_running.py" in log
    assert WHO not in log + dead.error


def test_waits_grow_and_differ() -> None:
    for attempt, longest in ((1, 2), (2, 4), (5, 32), (12, 3600), (1000, 3600)):
        waits = {wait_after(attempt).total_seconds() for _ in range(50)}
        assert longest / 2 <= min(waits) < max(waits) <= longest
        assert len(waits) > 10


async def test_a_job_that_takes_its_process_down_each_time_is_given_up(town: Town) -> None:
    """Attempts count from when they begin."""
    await town.queue("sweep", "a")
    for _ in range(2):
        async with town.start(EVERY_TENANT) as work:
            assert await work.jobs.claim("sweep", "gone", town.clock.at, town.clock.at + LEASE, 1)
            await work.commit()
        town.clock.at += LEASE
    process = town.process(sweep=Kind(run=at_once, attempts=2))
    await process()
    await ended(process)
    assert await town.states() == {("sweep", "DEAD"): 1}
    assert await town.effects() == {}


async def test_who_comes_back_after_its_lease_writes_nothing(town: Town) -> None:
    gate = asyncio.Event()
    slow, quick = town.process(sweep=Kind(run=gated(gate))), town.process(sweep=Kind(run=at_once))
    await town.queue("sweep", "a")
    await slow()
    assert await quick() == 0
    town.clock.at += LEASE
    assert await quick() == 1
    await ended(quick)
    gate.set()
    await ended(slow)
    assert await town.effects() == {("a",): 1}
    assert (slow.tally, quick.tally) == ({("sweep", "lost"): 1}, {("sweep", "finished"): 1})


async def test_a_process_that_stops_ends_what_it_can_and_leaves_the_rest(town: Town) -> None:
    gate = asyncio.Event()
    process = town.process(sweep=Kind(run=gated(gate)), hang=Kind(run=hangs))
    await town.queue("sweep", "a")
    await town.queue("hang", "b")
    await process()
    asyncio.get_running_loop().call_later(0.05, gate.set)
    await process.stop(1.0)
    assert await town.states() == {("sweep", "DONE"): 1, ("hang", "READY"): 1}
    town.clock.at += LEASE
    other = town.process(hang=Kind(run=at_once))
    assert await other() == 1
    await ended(other)
    assert await town.effects() == {("a",): 1, ("b",): 1}


def recurring(run: Callable[[], Awaitable[int]], due=always, every: float = 5.0) -> Recurring:
    return Recurring(kind="round", every=every, due=due, run=run)


@dataclass
class Rounds:
    done: int = 0

    async def __call__(self) -> int:
        self.done += 1
        return 0


async def test_two_processes_do_a_round_once(town: Town) -> None:
    rounds = Rounds()
    each = recurring(rounds)
    processes = [town.process(round=each.as_kind()) for _ in range(2)]
    recurs = [Recur(start_work=town.start, run_jobs=process, clock=town.clock) for process in processes]
    for stretch in (1, 2):
        assert sorted(await asyncio.gather(*(recur(each) for recur in recurs))) == [False, True]
        for process in processes:
            await process()
        await ended(*processes)
        assert rounds.done == stretch
        town.clock.at += timedelta(seconds=4.9)
        assert not any([await recur(each) for recur in recurs])
        town.clock.at += timedelta(seconds=0.1)


async def test_nothing_is_queued_while_there_is_nothing_to_do(town: Town, statements) -> None:
    wanted = [False, True]

    async def due(_: datetime) -> bool:
        return wanted.pop(0)

    each = recurring(Rounds(), due)
    recur = Recur(start_work=town.start, run_jobs=town.process(round=each.as_kind()), clock=town.clock)
    with statements() as seen:
        assert not await recur(each)
    assert seen == []
    assert await recur(each)


async def test_a_round_that_hangs_is_not_queued_again_here_and_is_done_elsewhere(town: Town) -> None:
    gate, rounds = asyncio.Event(), Rounds()

    async def hanging() -> int:
        await gate.wait()
        return 0

    stuck, well = recurring(hanging), recurring(rounds)
    here, there = town.process(round=stuck.as_kind()), town.process(round=well.as_kind())
    recur_here = Recur(start_work=town.start, run_jobs=here, clock=town.clock)
    recur_there = Recur(start_work=town.start, run_jobs=there, clock=town.clock)
    await recur_here(stuck)
    await here()
    town.clock.at += timedelta(seconds=5)
    assert not await recur_here(stuck)
    assert await recur_there(well)
    assert await here() == 0
    await there()
    await ended(there)
    assert rounds.done == 1
    gate.set()
    await ended(here)


async def test_a_round_that_fails_is_left_to_the_next_one(town: Town) -> None:
    """It would be repeated by the clock in any case: a failing round must not pile up dead ones."""

    async def broken() -> int:
        raise RuntimeError

    each = recurring(broken)
    process = town.process(round=each.as_kind())
    await Recur(start_work=town.start, run_jobs=process, clock=town.clock)(each)
    await process()
    await ended(process)
    assert await town.states() == {("round", "DONE"): 1}
    assert process.tally == {("round", "failed"): 1}
