"""The audit trail: rows are added and read, and nothing else until they may be forgotten."""

from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import Actor, ActorKind, AuditEntry
from domain.pages import Page, PageRequest
from domain.ports import AuditFilter
from integrations.store.paging import Order, page_of, paged
from integrations.store.tables import AUDIT
from integrations.store.types import AnyRow

C = AUDIT.c


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
            details=entry.details,
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


def _entry(row: AnyRow) -> AuditEntry:
    return AuditEntry(
        tenant_id=row.tenant_id,
        id=row.id,
        at=row.at,
        actor=Actor(kind=ActorKind(row.actor_kind), id=row.actor_id, request_id=row.request_id),
        action=row.action,
        target=row.target,
        target_id=row.target_id,
        details=row.details,
    )
