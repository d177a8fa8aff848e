"""Agencies' API keys, and the look-up that comes before the tenant is known."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.api_key import ApiKey, KeyKind
from domain.client import Scope
from domain.ports import EVERY_TENANT, FoundKey
from integrations.store.engine import Reads
from integrations.store.tables import TENANT
from integrations.store.tables_clients import API_KEY

K = API_KEY.c
KNOWN_SCOPES = {scope.value: scope for scope in Scope}


class SqlApiKeys:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, key: ApiKey) -> None:
        row = {name: getattr(key, name) for name in K.keys()}  # noqa: SIM118
        told = {"kind": key.kind.value, "scopes": sorted(key.scopes), "origins": key.origins}
        await self._connection.execute(insert(API_KEY).values({**row, **told}))

    async def get(self, tenant_id: str, key_id: str) -> ApiKey | None:
        own = select(API_KEY).where(K.tenant_id == tenant_id, K.key_id == key_id).with_for_update()
        row = (await self._connection.execute(own)).first()
        return key_of(row._mapping) if row else None

    async def end(
        self,
        tenant_id: str,
        key_id: str,
        *,
        expires_at: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> None:
        told = {"expires_at": expires_at, "revoked_at": revoked_at}
        values = {name: at for name, at in told.items() if at is not None}
        await self._connection.execute(
            update(API_KEY).where(K.tenant_id == tenant_id, K.key_id == key_id).values(values)
        )

    async def used(self, key: ApiKey, now: datetime, since: datetime, pepper: int, digest: bytes) -> None:
        long_ago = or_(K.last_used_at.is_(None), K.last_used_at <= since)
        own = update(API_KEY).where(K.tenant_id == key.tenant_id, K.id == key.id, long_ago)
        await self._connection.execute(own.values(last_used_at=now, pepper=pepper, digest=digest))


class SqlKeyReads:
    def __init__(self, engine: AsyncEngine) -> None:
        self._reads = Reads(engine)

    async def find(self, key_id: str) -> FoundKey | None:
        """The tenant's slug comes along, so that the key can name the tenant."""
        joined = select(API_KEY, TENANT.c.slug).join(TENANT, TENANT.c.tenant_id == K.tenant_id)
        rows = await self._reads.rows(EVERY_TENANT, joined.where(K.key_id == key_id, TENANT.c.active))
        return FoundKey(key=key_of(rows[0]._mapping), tenant_slug=rows[0].slug) if rows else None

    async def of_tenant(self, tenant_id: str) -> Sequence[ApiKey]:
        own = select(API_KEY).where(K.tenant_id == tenant_id)
        return [
            key_of(row._mapping)
            for row in await self._reads.rows(tenant_id, own.order_by(K.agency, K.created_at, K.key_id))
        ]


def key_of(row: Mapping[Any, Any]) -> ApiKey:
    """Scopes that this version does not know open nothing."""
    told = {name: row[name] for name in K.keys()}  # noqa: SIM118
    told["kind"] = KeyKind(told["kind"])
    told["scopes"] = frozenset(KNOWN_SCOPES[scope] for scope in told["scopes"] if scope in KNOWN_SCOPES)
    return ApiKey(**told)
