"""The queue of jobs, one table on both engines: leases in its rows decide who works on what."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.ports import EVERY_TENANT, DeadJob, Depth, Job
from integrations.store.engine import Reads
from integrations.store.tables_jobs import IS_DEAD, IS_READY, JOB
from integrations.store.types import AnyRow
from integrations.store.upserts import insert_for

J = JOB.c
KEY = tuple_(J.tenant_id, J.id)
READY, DONE, DEAD = "READY", "DONE", "DEAD"


class SqlJobs:
    """`added`: whether a worker has something new to look at once this is committed."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.added = False

    async def enqueue(
        self, kind: str, payload: Mapping[str, str], *, tenant_id: str = "", dedupe: str, run_at: datetime
    ) -> bool:
        row = {"tenant_id": tenant_id, "id": uuid4(), "kind": kind, "dedupe": dedupe, "payload": dict(payload)}
        start = {"state": READY, "wanted_at": run_at, "due_at": run_at, "attempts": 0, "error": ""}
        place = (J.tenant_id, J.kind, J.dedupe)
        insert = insert_for(self._connection, JOB).values(**row, **start)
        added = await self._connection.execute(insert.on_conflict_do_nothing(index_elements=place).returning(J.id))
        is_new = added.first() is not None
        self.added = self.added or is_new
        return is_new

    async def claim(self, kind: str, worker: str, now: datetime, until: datetime, limit: int) -> Sequence[Job]:
        due = select(J.tenant_id, J.id).where(IS_READY, J.kind == kind, J.due_at <= now)
        longest = due.order_by(J.due_at, J.id).limit(limit).with_for_update(skip_locked=True)
        # As a subquery it might be asked again for every row, and lock more than the limit.
        picked = longest.cte("picked")
        claimed = await self._connection.execute(
            update(JOB)
            .where(KEY.in_(select(picked.c.tenant_id, picked.c.id)))
            .values(leased_by=worker, due_at=until, attempts=J.attempts + 1)
            .returning(J.tenant_id, J.id, J.kind, J.payload, J.attempts)
        )
        return [
            Job(tenant_id=row.tenant_id, id=row.id, kind=row.kind, payload=row.payload, attempt=row.attempts)
            for row in claimed
        ]

    async def finish(self, job: Job, worker: str, now: datetime) -> bool:
        return await self._let_go(job, worker, state=DONE, finished_at=now)

    async def fail(self, job: Job, worker: str, now: datetime, error: str, again_at: datetime | None) -> bool:
        if again_at is None:
            return await self._let_go(job, worker, state=DEAD, finished_at=now, error=error)
        return await self._let_go(job, worker, due_at=again_at, error=error)

    async def _let_go(self, job: Job, worker: str, **values: Any) -> bool:
        """The fence: an attempt that somebody else has begun meanwhile counts, and not this one."""
        own = (J.tenant_id == job.tenant_id, J.id == job.id, J.leased_by == worker, J.attempts == job.attempt)
        written = await self._connection.execute(
            update(JOB).where(*own, IS_READY).values(leased_by=None, **values).returning(J.id)
        )
        return written.first() is not None

    async def retry(self, id: UUID, now: datetime) -> bool:
        again = {"state": READY, "wanted_at": now, "due_at": now, "attempts": 0, "finished_at": None}
        written = await self._connection.execute(update(JOB).where(J.id == id, IS_DEAD).values(**again).returning(J.id))
        return written.first() is not None

    async def forget(self, tenant_id: str, done_before: datetime, dead_before: datetime, limit: int) -> int:
        own, done = J.tenant_id == tenant_id, and_(J.state == DONE, J.finished_at < done_before)
        old = select(J.tenant_id, J.id).where(own, or_(done, and_(IS_DEAD, J.finished_at < dead_before)))
        return (await self._connection.execute(delete(JOB).where(own, KEY.in_(old.limit(limit))))).rowcount


class SqlJobReads:
    def __init__(self, engine: AsyncEngine) -> None:
        self._reads = Reads(engine)

    async def due(self, kinds: Sequence[str], now: datetime) -> Sequence[str]:
        if not kinds:
            return []
        found = select(J.kind).where(IS_READY, J.kind.in_(kinds), J.due_at <= now).distinct()
        return [row.kind for row in await self._reads.rows(EVERY_TENANT, found)]

    async def depth(self, now: datetime) -> Sequence[Depth]:
        state = _state(now)
        overdue = func.min(case((and_(IS_READY, J.wanted_at <= now), J.wanted_at)))
        counted = select(J.kind, state, func.count(), overdue).where(or_(IS_READY, IS_DEAD))
        rows = await self._reads.rows(EVERY_TENANT, counted.group_by(J.kind, state).order_by(J.kind, state))
        return [Depth(kind=kind, state=stands, count=count, oldest=oldest) for kind, stands, count, oldest in rows]

    async def dead(self, limit: int) -> Sequence[DeadJob]:
        latest = select(JOB).where(IS_DEAD).order_by(J.finished_at.desc(), J.id).limit(limit)
        return [_dead(row) for row in await self._reads.rows(EVERY_TENANT, latest)]


def _state(now: datetime) -> ColumnElement[str]:
    return case((IS_DEAD, "dead"), (J.due_at <= now, "due"), (J.leased_by.is_not(None), "running"), else_="waiting")


def _dead(row: AnyRow) -> DeadJob:
    return DeadJob(
        tenant_id=row.tenant_id,
        id=row.id,
        kind=row.kind,
        attempts=row.attempts,
        wanted_at=row.wanted_at,
        died_at=row.finished_at,
        error=row.error,
    )
