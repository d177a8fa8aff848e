"""The unit of work: one connection, one transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.audit import AuditEntry
from domain.changes import Change, Heard
from domain.events import Event
from domain.ports import DELIVER, Clock
from integrations.clock import SystemClock
from integrations.store.api_keys import SqlApiKeys
from integrations.store.audit import SqlAuditLog, add_audit
from integrations.store.bookings import SqlBookings
from integrations.store.catalogue_writes import SqlCatalogueWrites
from integrations.store.changes import write_changes
from integrations.store.consents import SqlConsents
from integrations.store.engine import connected
from integrations.store.exports import SqlDataExports
from integrations.store.feeds import SqlFeeds
from integrations.store.idempotency import SqlIdempotency
from integrations.store.jobs import SqlJobs
from integrations.store.outbox import SqlOutbox
from integrations.store.patients import SqlPatients
from integrations.store.resealing import SqlKeys
from integrations.store.retention import SqlRetention
from integrations.store.sealing import Sealing
from integrations.store.sessions import SqlSessions
from integrations.store.tenant_keys import WorkSealing
from integrations.store.traces import SqlTraces

AfterCommit = Callable[[Sequence[Heard]], Awaitable[None]]


async def _nobody_listens(_: Sequence[Heard]) -> None:
    return


def _nobody_works() -> None:
    return


class SqlWork:
    """`tenant_id` is whose rows it is about.

    `committed` is what has changed by it, to be told once its connection is free; `queued`, whether jobs were added.
    """

    def __init__(self, tenant_id: str, connection: AsyncConnection, sealing: Sealing, clock: Clock) -> None:
        self.tenant_id = tenant_id
        self._connection = connection
        self.committed: list[Heard] = []
        self.queued = False
        self._hints: list[Change] = []
        self.jobs = SqlJobs(connection)
        self.sealing = WorkSealing(connection, sealing)
        self.bookings = SqlBookings(connection, clock, self.hint, self.jobs, self.sealing)
        self.patients = SqlPatients(connection, self.sealing, clock)
        self.keys = SqlKeys(connection, sealing, self.sealing)
        self.sessions = SqlSessions(connection, sealing, self.sealing)
        self.idempotency = SqlIdempotency(connection)
        self.catalogue = SqlCatalogueWrites(connection)
        self.feeds = SqlFeeds(connection)
        self.api_keys = SqlApiKeys(connection)
        self.outbox = SqlOutbox(connection)
        self.consents = SqlConsents(connection)
        self.exports = SqlDataExports(connection, self.sealing)
        self.traces = SqlTraces(connection, sealing, self.sealing)
        self.audit_log = SqlAuditLog(connection)
        self.retention = SqlRetention(connection)

    async def audit(self, entry: AuditEntry) -> None:
        await add_audit(self._connection, entry)

    async def tell(self, event: Event) -> None:
        told = {"event_id": str(event.id)}
        await self.outbox.add(event)
        await self.jobs.enqueue(DELIVER, told, tenant_id=event.tenant_id, dedupe=str(event.id), run_at=event.at)

    def hint(self, change: Change) -> None:
        self._hints.append(change)

    async def commit(self) -> None:
        heard = await write_changes(self._connection, self._hints)
        self._hints.clear()
        await self._connection.commit()
        self.sealing.committed()
        self.committed += heard
        self.queued = self.jobs.added


class StartSqlWork:
    """Starts units of work.

    `clock` dates what the store notes by itself, and tells whether a hold in the way has lapsed. `after_commit` hears
    of every committed change; it must not fail, for what it is told about is done. `jobs_added` is called after commits
    that queued some.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        sealing: Sealing,
        clock: Clock | None = None,
        after_commit: AfterCommit = _nobody_listens,
        jobs_added: Callable[[], None] = _nobody_works,
    ) -> None:
        self._engine = engine.execution_options(writes=True)
        self._sealing = sealing
        self._clock = clock or SystemClock()
        self._after_commit = after_commit
        self._jobs_added = jobs_added
        self._telling: set[asyncio.Future[None]] = set()
        # SQLite has one writer at a time. Within the process they queue here, first come first served, where
        # otherwise each would sit on a pooled connection and poll.
        one_at_a_time = engine.dialect.name == "sqlite"
        self._turn: AbstractAsyncContextManager[object] = asyncio.Lock() if one_at_a_time else nullcontext()

    @asynccontextmanager
    async def __call__(self, tenant_id: str) -> AsyncIterator[SqlWork]:
        work: SqlWork | None = None
        try:
            async with self._turn, connected(self._engine, tenant_id) as connection:
                work = SqlWork(tenant_id, connection, self._sealing, self._clock)
                yield work
        finally:
            if work and work.queued:
                self._jobs_added()
            if work and work.committed:
                await self._tell(work.committed)

    async def _tell(self, committed: Sequence[Heard]) -> None:
        """Also when whoever made the change has left meanwhile: others watch what it changed."""
        telling = asyncio.ensure_future(self._after_commit(committed))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        await asyncio.shield(telling)
