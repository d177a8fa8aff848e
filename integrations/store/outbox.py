"""The log of events: written with what happened, and noted when everybody has heard of it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import Event, EventKind
from integrations.store.engine import Reads
from integrations.store.tables import OUTBOX

O = OUTBOX.c  # noqa: E741


class SqlOutbox:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, event: Event) -> None:
        await self._connection.execute(
            insert(OUTBOX).values(
                tenant_id=event.tenant_id,
                id=event.id,
                kind=event.kind.value,
                booking_id=event.booking_id,
                version=event.version,
                at=event.at,
            )
        )

    async def delivered(self, tenant_id: str, event_id: UUID, now: datetime) -> None:
        own = (O.tenant_id == tenant_id, O.id == event_id)
        await self._connection.execute(update(OUTBOX).where(*own).values(delivered_at=now))

    async def forget(self, tenant_id: str, before: datetime, limit: int) -> int:
        own = O.tenant_id == tenant_id
        old = select(O.id).where(own, O.at < before).limit(limit)
        return (await self._connection.execute(delete(OUTBOX).where(own, O.id.in_(old)))).rowcount


class SqlOutboxReads:
    def __init__(self, engine: AsyncEngine) -> None:
        self._reads = Reads(engine)

    async def event(self, tenant_id: str, event_id: UUID) -> Event | None:
        found = await self._reads.rows(tenant_id, select(OUTBOX).where(O.tenant_id == tenant_id, O.id == event_id))
        return next((_event(*row) for row in found), None)


def _event(tenant_id: str, id: UUID, kind: str, booking_id: UUID, version: int, at: datetime, *_: object) -> Event:
    return Event(tenant_id=tenant_id, id=id, kind=EventKind(kind), booking_id=booking_id, version=version, at=at)
