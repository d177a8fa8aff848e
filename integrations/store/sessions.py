"""Browsers that are signed in."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ports import Session
from integrations.store.tables import SESSION

C = SESSION.c


class SqlSessions:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, session: Session) -> None:
        await self._connection.execute(insert(SESSION).values(asdict(session)))

    async def get(self, tenant_id: str, id: str) -> Session | None:
        """Also one that has run out: whether it still counts is for the caller to say."""
        found = await self._connection.execute(select(SESSION).where(C.tenant_id == tenant_id, C.id == id))
        row = found.first()
        return Session(**row._mapping) if row else None

    async def touch(self, tenant_id: str, id: str, now: datetime) -> None:
        await self._connection.execute(
            update(SESSION).where(C.tenant_id == tenant_id, C.id == id).values(last_seen_at=now)
        )

    async def remove(self, tenant_id: str, id: str) -> None:
        await self._connection.execute(delete(SESSION).where(C.tenant_id == tenant_id, C.id == id))

    async def forget(self, now: datetime, limit: int) -> int:
        ended = select(C.tenant_id, C.id).where(C.expires_at <= now).limit(limit)
        gone = await self._connection.execute(delete(SESSION).where(tuple_(C.tenant_id, C.id).in_(ended)))
        return gone.rowcount
