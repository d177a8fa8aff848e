"""Work that comes again and again: queued as a job by whichever process sees first that there is something to do."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from domain.ports import EVERY_TENANT, Clock, Job, StartWork
from domain.usecases.run_jobs import Kind, RunJobs

log = logging.getLogger(__name__)

ROUND_SECONDS = 240.0
"""How long a round may take. Nobody waits for one whose process is gone: the next round does its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """`due` only reads, and says whether a round would find anything; it is asked every so many seconds."""

    kind: str
    every: float
    due: Callable[[datetime], Awaitable[bool]]
    run: Callable[[], Awaitable[int]]

    def as_kind(self) -> Kind:
        async def round_of(_: Job) -> None:
            if done := await self.run():
                log.info("%s: %d", self.kind, done)

        return Kind(run=round_of, at_once=1, seconds=ROUND_SECONDS, comes_again=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recur:
    start_work: StartWork
    run_jobs: RunJobs
    clock: Clock

    async def __call__(self, each: Recurring) -> bool:
        """Queue a round, once for all processes and each stretch of time; whether it was this process that did.

        A round that hangs here keeps this process from queueing another, and no other process.
        """
        now = self.clock.now()
        if self.run_jobs.running(each.kind) or not await each.due(now):
            return False
        async with self.start_work(EVERY_TENANT) as work:
            is_new = await work.jobs.enqueue(each.kind, {}, dedupe=stretch_of(now, each.every), run_at=now)
            await work.commit()
        return is_new


def stretch_of(now: datetime, seconds: float) -> str:
    """When the stretch of time began that `now` is in, the same in every process."""
    return datetime.fromtimestamp(now.timestamp() // seconds * seconds, UTC).isoformat(timespec="milliseconds")


async def always(_: datetime) -> bool:
    return True
