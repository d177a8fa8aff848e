"""Take up jobs that are due, and do each under a time limit, so that one that hangs holds up no others."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import uniform
from traceback import walk_tb
from uuid import UUID, uuid4

from domain.ports import EVERY_TENANT, Clock, Job, JobReads, StartWork, UnitOfWork

log = logging.getLogger(__name__)

Finish = Callable[[UnitOfWork], Awaitable[None]]
"""What a job writes into our own database: in the transaction that ends the job, and so once."""

OURS = ("api", "domain", "integrations")

OVER_A_DAY = 48
"""Attempts: whoever is called may be down for a night, and must hear of it or free what is left taken all the same."""

FIRST_WAIT, LONGEST_WAIT = 2.0, 3600.0
"""Seconds before a failed attempt is repeated: doubled each time, up to an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How jobs of a kind are done: so many at once in a process, each within so many seconds.

    One that failed `attempts` times is dead. Where `comes_again` by itself, nothing is repeated and nothing dies.
    """

    run: Callable[[Job], Awaitable[Finish | None]]
    at_once: int = 8
    seconds: float = 30.0
    attempts: int = OVER_A_DAY
    comes_again: bool = False

    @property
    def lease(self) -> timedelta:
        """Half as long again as a job may take: its end is still to be written, by a database that may be slow."""
        return timedelta(seconds=self.seconds) * 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJobs:
    """`kinds` are those that this process knows; jobs of others wait for one that does. `worker` names the process.

    `bell` is rung when there may be more to take up. `tally` counts by kind and outcome: finished, failed, dead, lost.
    """

    kinds: Mapping[str, Kind]
    reads: JobReads
    start_work: StartWork
    clock: Clock
    bell: asyncio.Event
    worker: str = field(default_factory=lambda: str(uuid4()))
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)
    _running: dict[asyncio.Task[None], str] = field(default_factory=dict, init=False, compare=False)

    async def __call__(self) -> int:
        """Start what is due, as far as there is room for its kind; returns how many were started."""
        room = {kind: how.at_once - self.running(kind) for kind, how in self.kinds.items()}
        due = await self.reads.due([kind for kind, places in room.items() if places > 0], self.clock.now())
        claimed = await self._claimed({kind: room[kind] for kind in due}) if due else ()
        for job in claimed:
            task = asyncio.create_task(self._do(job))
            self._running[task] = job.kind
            task.add_done_callback(self._ended)
        return len(claimed)

    def running(self, kind: str) -> int:
        return sum(each == kind for each in self._running.values())

    async def wait(self, seconds: float) -> None:
        """Until it rings, or that long: other processes queue jobs too, and others become due with time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.bell.wait()
        self.bell.clear()

    async def stop(self, seconds: float) -> None:
        """What runs may end; what does not is taken up by another process when its lease runs out."""
        if running := set(self._running):
            _, left = await asyncio.wait(running, timeout=seconds)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        kind = self._running[task]
        was_full = self.running(kind) >= self.kinds[kind].at_once
        del self._running[task]
        if was_full:
            self.bell.set()

    async def _claimed(self, room: Mapping[str, int]) -> Sequence[Job]:
        claimed: list[Job] = []
        async with self.start_work(EVERY_TENANT) as work:
            now = self.clock.now()
            for kind, places in room.items():
                claimed += await work.jobs.claim(kind, self.worker, now, now + self.kinds[kind].lease, places)
            await work.commit()
        return claimed

    async def _do(self, job: Job) -> None:
        how = self.kinds[job.kind]
        limit = asyncio.timeout(how.seconds)
        try:
            if job.attempt > how.attempts and not how.comes_again:
                await self._give_up(job, "whoever took it up never came back")
                return
            async with limit:
                finish = await how.run(job)
            self._count(job, "finished" if await self._finish(job, finish) else "lost")
        except Exception as failure:
            told = f"not done within {how.seconds:g} s" if limit.expired() else told_of(failure)
            log.warning("%s %s failed, attempt %d: %s", job.kind, job.id, job.attempt, told, exc_info=failure)
            await self._failed(job, how, told)

    async def _finish(self, job: Job, finish: Finish | None) -> bool:
        async with self.start_work(job.tenant_id or EVERY_TENANT) as work:
            if not await work.jobs.finish(job, self.worker, self.clock.now()):
                return False
            if finish:
                await finish(work)
            await work.commit()
        return True

    async def _failed(self, job: Job, how: Kind, told: str) -> None:
        self._count(job, "failed")
        try:
            if how.comes_again:
                await self._finish(job, None)
            elif job.attempt >= how.attempts:
                await self._give_up(job, told)
            else:
                await self._note(job, told, wait_after(job.attempt))
        except Exception as why:
            log.warning("that could not be noted, its lease will run out: %s", told_of(why))

    async def _give_up(self, job: Job, told: str) -> None:
        if await self._note(job, told, None):
            log.error("%s %s is dead after %d attempts: %s", job.kind, job.id, job.attempt, told)
            self._count(job, "dead")

    async def _note(self, job: Job, told: str, wait: timedelta | None) -> bool:
        async with self.start_work(job.tenant_id or EVERY_TENANT) as work:
            now = self.clock.now()
            is_ours = await work.jobs.fail(job, self.worker, now, told, now + wait if wait else None)
            await work.commit()
        return is_ours

    def _count(self, job: Job, outcome: str) -> None:
        self.tally[(job.kind, outcome)] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryJob:
    start_work: StartWork
    clock: Clock

    async def __call__(self, id: UUID) -> bool:
        """Whether there was a dead job by that id; now it has all its attempts again."""
        async with self.start_work(EVERY_TENANT) as work:
            is_there = await work.jobs.retry(id, self.clock.now())
            await work.commit()
        return is_there


def wait_after(attempt: int) -> timedelta:
    """Apart from each other, so that many that failed together do not come back together."""
    return timedelta(seconds=min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 30)) * uniform(0.5, 1.0))


def told_of(failure: Exception) -> str:
    """Its class, and where in our own code it came up. What it says is left out: it may speak of a patient."""
    frames = [(f.f_globals.get("__name__", ""), line) for f, line in walk_tb(failure.__traceback__)]
    ours = [frame for frame in frames if frame[0].partition(".")[0] in OURS] or frames
    return f"{type(failure).__qualname__} at {ours[-1][0]}:{ours[-1][1]}" if ours else type(failure).__qualname__
