"""What idempotency keys were first used for."""

from datetime import datetime, timedelta

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ports import Remembered
from integrations.store.tables import IDEMPOTENCY
from integrations.store.upserts import insert_for

KEPT = timedelta(hours=48)

C = IDEMPOTENCY.c


class SqlIdempotency:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def remember(
        self, tenant_id: str, scope: str, operation: str, key: str, value: Remembered, now: datetime
    ) -> Remembered | None:
        """A key that was used more than 48 hours ago is new. The same key in flight elsewhere is waited for."""
        place = {"tenant_id": tenant_id, "scope": scope, "operation": operation, "key": key}
        said = {"input_hash": value.input_hash, "booking_id": value.booking_id, "created_at": now}
        is_new = await self._connection.execute(
            insert_for(self._connection, IDEMPOTENCY)
            .values(**place, **said)
            .on_conflict_do_update(index_elements=list(place), set_=said, where=C.created_at <= now - KEPT)
            .returning(C.key)
        )
        if is_new.first() is not None:
            return None
        found = await self._connection.execute(
            select(C.input_hash, C.booking_id).where(*(C[name] == part for name, part in place.items()))
        )
        first = found.one()
        return Remembered(input_hash=first.input_hash, booking_id=first.booking_id)

    async def forget(self, tenant_id: str, now: datetime, limit: int) -> int:
        own, key = C.tenant_id == tenant_id, (C.scope, C.operation, C.key)
        old = select(*key).where(own, C.created_at <= now - KEPT).limit(limit).with_for_update(skip_locked=True)
        return (await self._connection.execute(delete(IDEMPOTENCY).where(own, tuple_(*key).in_(old)))).rowcount
