"""The audit trail: rows are added and read, and nothing else until they may be forgotten."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import Actor, ActorKind, AuditEntry
from domain.client import ClientKey
from domain.pages import Page, PageRequest
from domain.ports import AuditFilter
from integrations.store.paging import Order, page_of, paged
from integrations.store.tables import AUDIT
from integrations.store.types import AnyRow

C = AUDIT.c

CLIENT, CLIENT_KEY = "client", "client_key"
"""Through which client and by which of its keys, among a row's `details`."""

MERGED = "patient.merged"
"""The target was a patient until then, and is the actor: their trail is the actor's as well."""


async def add_audit(connection: AsyncConnection, entry: AuditEntry) -> None:
    await connection.execute(
        insert(AUDIT).values(
            tenant_id=entry.tenant_id,
            id=entry.id or uuid4(),
            at=entry.at,
            actor_kind=entry.actor.kind.value,
            actor_id=entry.actor.id,
            request_id=entry.actor.request_id,
            action=entry.action,
            target=entry.target,
            target_id=entry.target_id,
            details={**entry.details, **_through(entry.actor.through)},
        )
    )


class SqlAuditLog:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, tenant_id: str, where: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        order = Order((C.at, C.id))
        statement = select(AUDIT).where(C.tenant_id == tenant_id, *_limits(where))
        rows = (await self._connection.execute(paged(statement, order, page))).all()
        return page_of(rows, _entry, order, page)


def _limits(where: AuditFilter) -> list[ColumnElement[bool]]:
    same: dict[str, Any] = {
        "action": where.action,
        "actor_kind": where.actor_kind,
        "actor_id": where.actor_id,
        "target_id": where.target_id,
    }
    limits = [C[name] == value for name, value in same.items() if value is not None]
    if where.since:
        limits.append(C.at >= where.since)
    if where.until:
        limits.append(C.at < where.until)
    return limits


def _through(key: ClientKey | None) -> Mapping[str, str]:
    return {CLIENT: key.client_id, CLIENT_KEY: key.key_id} if key else {}


def _entry(row: AnyRow) -> AuditEntry:
    details = dict(row.details)
    client, key_id = details.pop(CLIENT, None), details.pop(CLIENT_KEY, None)
    through = ClientKey(client_id=client, key_id=key_id) if client and key_id else None
    return AuditEntry(
        tenant_id=row.tenant_id,
        id=row.id,
        at=row.at,
        actor=Actor(kind=ActorKind(row.actor_kind), id=row.actor_id, request_id=row.request_id, through=through),
        action=row.action,
        target=row.target,
        target_id=row.target_id,
        details=details,
    )
