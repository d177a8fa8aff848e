"""How far each record system has been listened to, inside a unit of work."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.ports import EVERY_TENANT, Feed
from integrations.store.engine import Reads
from integrations.store.tables import TENANT
from integrations.store.tables_catalogue import ENDPOINT
from integrations.store.tables_news import FEED, NOTIFICATION
from integrations.store.types import AnyRow

F = FEED.c


class SqlFeeds:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert

    async def ensure(self, endpoints: Sequence[tuple[str, str]], now: datetime, interval: float) -> None:
        if not endpoints:
            return
        start = {"due_at": now, "interval": interval, "seen": (), "pending": ()}
        start |= {"failures": 0, "requests": 0, "hooks": {}, "heard": {}}
        rows = [{"tenant_id": tenant_id, "endpoint_id": endpoint_id, **start} for tenant_id, endpoint_id in endpoints]
        await self._connection.execute(self._insert(FEED).values(rows).on_conflict_do_nothing())

    async def claim(
        self, owner: str, now: datetime, until: datetime, limit: int, *, only: tuple[str, str] | None = None
    ) -> Sequence[Feed]:
        active = select(ENDPOINT.c.tenant_id, ENDPOINT.c.id).where(ENDPOINT.c.active)
        key = tuple_(F.tenant_id, F.endpoint_id)
        free = or_(F.leased_until.is_(None), F.leased_until <= now)
        due = select(F.tenant_id, F.endpoint_id).where(F.due_at <= now, free, key.in_(active))
        if only:
            due = due.where(F.tenant_id == only[0], F.endpoint_id == only[1])
        due = due.order_by(F.due_at).limit(limit).with_for_update(skip_locked=True)
        claimed = await self._connection.execute(
            update(FEED).where(key.in_(due)).values(leased_by=owner, leased_until=until).returning(FEED)
        )
        return [_feed(row) for row in claimed]

    async def finish(self, owner: str, feed: Feed, now: datetime) -> bool:
        wished_for = F.requests != feed.requests
        written = await self._connection.execute(
            update(FEED)
            .where(*_of(feed.tenant_id, feed.endpoint_id), F.leased_by == owner)
            .values(
                since=feed.since,
                seen=feed.seen,
                pending=feed.pending,
                due_at=case((wished_for, now), else_=feed.due_at),
                interval=feed.interval,
                failures=feed.failures,
                hooks=feed.hooks,
                hooks_until=feed.hooks_until,
                leased_by=None,
                leased_until=None,
            )
        )
        return written.rowcount == 1

    async def request(self, tenant_id: str, endpoint_id: str, now: datetime) -> None:
        await self._connection.execute(
            update(FEED).where(*_of(tenant_id, endpoint_id)).values(due_at=now, requests=F.requests + 1)
        )

    async def notified(self, tenant_id: str, endpoint_id: str, digest: str, now: datetime) -> bool:
        row = {"tenant_id": tenant_id, "endpoint_id": endpoint_id, "digest": digest, "at": now}
        added = self._insert(NOTIFICATION).values(**row).on_conflict_do_nothing().returning(NOTIFICATION.c.digest)
        return (await self._connection.execute(added)).first() is not None

    async def advance(
        self, tenant_id: str, endpoint_id: str, subscription: str, number: int, *, restarted: bool = False
    ) -> int | None:
        own = _of(tenant_id, endpoint_id)
        found = (await self._connection.execute(select(F.heard).where(*own).with_for_update())).first()
        if found is None:
            return None
        before: int | None = found.heard.get(subscription)
        if before is None or number > before or restarted:
            heard = {**found.heard, subscription: number}
            await self._connection.execute(update(FEED).where(*own).values(heard=heard))
        return before


class SqlFeedReads:
    def __init__(self, engine: AsyncEngine) -> None:
        self._reads = Reads(engine)

    async def any_due(self, now: datetime) -> bool:
        E = ENDPOINT.c
        own = and_(F.tenant_id == E.tenant_id, F.endpoint_id == E.id)
        free = or_(F.leased_until.is_(None), F.leased_until <= now)
        wanting = or_(F.endpoint_id.is_(None), and_(F.due_at <= now, free))
        served = select(TENANT.c.tenant_id).where(TENANT.c.active)
        due = select(E.id).select_from(ENDPOINT.outerjoin(FEED, own)).where(E.active, E.tenant_id.in_(served), wanting)
        return bool(await self._reads.rows(EVERY_TENANT, due.limit(1)))


def _of(tenant_id: str, endpoint_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return F.tenant_id == tenant_id, F.endpoint_id == endpoint_id


def _feed(row: AnyRow) -> Feed:
    return Feed(
        tenant_id=row.tenant_id,
        endpoint_id=row.endpoint_id,
        due_at=row.due_at,
        interval=row.interval,
        since=row.since,
        seen=row.seen,
        pending=row.pending,
        failures=row.failures,
        requests=row.requests,
        hooks=row.hooks,
        hooks_until=row.hooks_until,
        heard=row.heard,
    )
