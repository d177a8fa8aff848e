"""The unit of work: one connection, one transaction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from uuid import uuid4

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.audit import AuditEntry
from domain.events import Event
from domain.ports import Clock
from integrations.clock import SystemClock
from integrations.store.audit import add_audit
from integrations.store.bookings import SqlBookings
from integrations.store.catalogue_writes import SqlCatalogueWrites
from integrations.store.engine import connected
from integrations.store.idempotency import SqlIdempotency
from integrations.store.patients import SqlPatients
from integrations.store.sealing import Sealing
from integrations.store.sessions import SqlSessions
from integrations.store.tables import OUTBOX


class SqlWork:
    def __init__(self, connection: AsyncConnection, sealing: Sealing, clock: Clock) -> None:
        self._connection = connection
        self.bookings = SqlBookings(connection, clock)
        self.patients = SqlPatients(connection, sealing)
        self.sessions = SqlSessions(connection)
        self.idempotency = SqlIdempotency(connection)
        self.catalogue = SqlCatalogueWrites(connection)

    async def audit(self, entry: AuditEntry) -> None:
        await add_audit(self._connection, entry)

    async def tell(self, event: Event) -> None:
        await self._connection.execute(
            insert(OUTBOX).values(
                tenant_id=event.tenant_id,
                id=uuid4(),
                kind=event.kind.value,
                booking_id=event.booking_id,
                version=event.version,
                at=event.at,
            )
        )

    async def commit(self) -> None:
        await self._connection.commit()


class StartSqlWork:
    """Starts units of work. `clock` only tells whether a hold in the way of a move has lapsed."""

    def __init__(self, engine: AsyncEngine, sealing: Sealing, clock: Clock | None = None) -> None:
        self._engine = engine.execution_options(writes=True)
        self._sealing = sealing
        self._clock = clock or SystemClock()
        # SQLite has one writer at a time. Within the process they queue here, first come first served, where
        # otherwise each would sit on a pooled connection and poll.
        one_at_a_time = engine.dialect.name == "sqlite"
        self._turn: AbstractAsyncContextManager[object] = asyncio.Lock() if one_at_a_time else nullcontext()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[SqlWork]:
        async with self._turn, connected(self._engine) as connection:
            yield SqlWork(connection, self._sealing, self._clock)
