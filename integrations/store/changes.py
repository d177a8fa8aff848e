"""The log of changes: written with what has changed, read on by every process."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    cast,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.changes import Change, Heard, Mark
from domain.ports import EVERY_TENANT
from domain.slot import Span
from integrations.store.engine import Reads, connected
from integrations.store.reach import NEXT_NUMBER
from integrations.store.tables_news import CHANGE, NOTIFICATION
from integrations.store.types import AnyRow

C = CHANGE.c
LAST_ID = 2**62


async def write_changes(connection: AsyncConnection, changes: Sequence[Change]) -> list[Heard]:
    """Part of the unit of work that made them, as late as can be: PostgreSQL's readers stop at what still runs."""
    heard = []
    for change in dict.fromkeys(changes):
        numbers = _numbers(connection.dialect.name == "postgresql")
        written = await connection.execute(
            insert(CHANGE).values(**numbers, **_values(change)).returning(C.position, C.id)
        )
        heard.append(Heard(mark=Mark(*written.one()), change=change))
    return heard


def _numbers(is_postgresql: bool) -> dict[str, Any]:
    if is_postgresql:
        own = cast(cast(func.pg_current_xact_id(), String), BigInteger)
        return {"position": own, "id": func.nextval("change_id")}
    following = literal_column(NEXT_NUMBER, BigInteger)
    return {"position": following, "id": following}


def _values(change: Change) -> dict[str, Any]:
    return {
        "tenant_id": change.tenant_id,
        "at": change.at,
        "endpoint_id": change.endpoint_id,
        "practitioner_id": change.practitioner_id,
        "starts_at": change.span.start if change.span else None,
        "ends_at": change.span.end if change.span else None,
        "booking_id": change.booking_id,
        "patient_id": change.patient_id,
    }


class SqlChangeLog:
    def __init__(self, engine: AsyncEngine) -> None:
        self._reads = Reads(engine)
        self._writer = engine.execution_options(writes=True)
        self._is_postgresql = engine.dialect.name == "postgresql"

    async def latest(self) -> Mark:
        if self._is_postgresql:
            [row] = await self._reads.rows(EVERY_TENANT, select(_still_running()))
            return Mark(row[0] - 1, LAST_ID)
        [row] = await self._reads.rows(EVERY_TENANT, select(func.max(C.position), func.max(C.id)))
        return Mark(*row)

    async def after(self, mark: Mark, limit: int) -> Sequence[Heard]:
        return [_heard(row) for row in await self._reads.rows(EVERY_TENANT, self._since(mark, limit))]

    async def reaches(self, mark: Mark) -> bool:
        first = select(C.position, C.id).order_by(C.position, C.id).limit(1)
        [oldest] = await self._reads.rows(EVERY_TENANT, first)
        return Mark(*oldest) <= mark <= await self.latest()

    async def of_patient(self, tenant_id: str, patient_id: UUID, mark: Mark, limit: int) -> Sequence[Heard] | None:
        if not await self.reaches(mark):
            return None
        own = self._since(mark, limit).where(C.tenant_id == tenant_id, C.patient_id == patient_id)
        return [_heard(row) for row in await self._reads.rows(tenant_id, own)]

    async def forget(self, before: datetime) -> None:
        newest = select(func.max(C.position)).scalar_subquery()
        async with connected(self._writer, EVERY_TENANT) as connection:
            await connection.execute(delete(CHANGE).where(C.at < before, C.position < newest))
            await connection.execute(delete(NOTIFICATION).where(NOTIFICATION.c.at < before - timedelta(days=1)))
            await connection.commit()

    def _since(self, mark: Mark, limit: int) -> Select[Any]:
        """Nothing of a transaction that one still running may yet come before."""
        place, behind = tuple_(C.position, C.id), tuple_(literal(mark.position), literal(mark.id))
        statement = select(CHANGE).where(place > behind).order_by(C.position, C.id).limit(limit)
        return statement.where(C.position < _still_running()) if self._is_postgresql else statement


def _still_running() -> ColumnElement[int]:
    return cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), String), BigInteger)


def _heard(row: AnyRow) -> Heard:
    change = Change(
        tenant_id=row.tenant_id,
        endpoint_id=row.endpoint_id,
        at=row.at,
        practitioner_id=row.practitioner_id,
        span=Span(start=row.starts_at, end=row.ends_at) if row.starts_at else None,
        booking_id=row.booking_id,
        patient_id=row.patient_id,
    )
    return Heard(mark=Mark(row.position, row.id), change=change)
