"""Work to be done later: queued in the transaction that makes it necessary, and done at least once.

A job's payload holds ids and plain words, never personal data: jobs are listed to operators, and kept for a while.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.booking import Booking

DELIVER = "deliver"
"""Every event of the outbox has one such job, with the event's id as `event_id`."""

LET_GO = "let_go"
"""Every hold that its EHR keeps as well has one such job when it ends without being booked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job in the hands of one worker; `tenant_id` is empty for work over all tenants.

    `attempt` counts from 1. With the worker's name it is the fence: who has lost the job can no longer finish it.
    """

    tenant_id: str
    id: UUID
    kind: str
    payload: Mapping[str, str]
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadJob:
    """One that was given up. `error` is the failure's class and where it came from."""

    tenant_id: str
    id: UUID
    kind: str
    attempts: int
    wanted_at: datetime
    died_at: datetime
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How many jobs of a kind are `waiting`, `due`, `running` or `dead`.

    `oldest` is when the first of those that are not done yet should have been, in this state; None where none should.
    """

    kind: str
    state: str
    count: int
    oldest: datetime | None


class Jobs(Protocol):
    """Part of a unit of work: a job exists when what made it necessary is committed, and is gone with a roll-back."""

    async def enqueue(
        self, kind: str, payload: Mapping[str, str], *, tenant_id: str = "", dedupe: str, run_at: datetime
    ) -> bool:
        """False when the tenant has one of that kind and `dedupe` key already, also for a day after it was done."""
        ...

    async def claim(self, kind: str, worker: str, now: datetime, until: datetime, limit: int) -> Sequence[Job]:
        """The longest due, now `worker`'s until then; afterwards anybody's. No job is two workers' at a time."""
        ...

    async def finish(self, job: Job, worker: str, now: datetime) -> bool:
        """Done. False when it is another's by now: what was to be written with it must not be."""
        ...

    async def fail(self, job: Job, worker: str, now: datetime, error: str, again_at: datetime | None) -> bool:
        """To be tried again then, or never; `error` must hold no personal data. False as in `finish`."""
        ...

    async def retry(self, id: UUID, now: datetime) -> bool:
        """A dead job is due again, with all its attempts. False when there is no such dead job."""
        ...

    async def forget(self, tenant_id: str, done_before: datetime, dead_before: datetime, limit: int) -> int:
        """Those done and dead before then, at most so many; returns how many."""
        ...


class JobReads(Protocol):
    """The queue outside a unit of work: to look costs no writer's turn."""

    async def due(self, kinds: Sequence[str], now: datetime) -> Sequence[str]:
        """Which of these kinds have a job to claim."""
        ...

    async def depth(self, now: datetime) -> Sequence[Depth]:
        """By kind and state; jobs that are done are left out."""
        ...

    async def dead(self, limit: int) -> Sequence[DeadJob]:
        """The latest first."""
        ...


async def let_go_later(jobs: Jobs, hold: Booking, now: datetime) -> None:
    """Of what keeps the hold's time in its EHR, under the hold's `ehr_id`."""
    assert hold.ehr_id is not None
    payload = {"booking_id": str(hold.id), "ehr_id": hold.ehr_id}
    await jobs.enqueue(LET_GO, payload, tenant_id=hold.tenant_id, dedupe=str(hold.id), run_at=now)
