"""The audit trail: rows are added, and nothing else."""

from uuid import uuid4

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import AuditEntry
from integrations.store.tables import AUDIT


async def add_audit(connection: AsyncConnection, entry: AuditEntry) -> None:
    await connection.execute(
        insert(AUDIT).values(
            tenant_id=entry.tenant_id,
            id=uuid4(),
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
