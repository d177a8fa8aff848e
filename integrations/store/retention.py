"""What has been kept long enough, let go of a few rows at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Table, and_, delete, exists, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import SYSTEM
from domain.booking import ONLY_HELD
from integrations.store.tables import AUDIT, TENANT
from integrations.store.tables_bookings import BOOKING
from integrations.store.tables_rights import CONSENT, DATA_EXPORT, ERASED_SIGN_IN
from integrations.store.traces import without_person

B = BOOKING.c


class SqlRetention:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def tenants(self) -> Sequence[str]:
        return list((await self._connection.execute(select(TENANT.c.tenant_id).order_by(TENANT.c.tenant_id))).scalars())

    async def forget_numbers(self, tenant_id: str, before: datetime, limit: int) -> int:
        known = or_(B.sms_to.is_not(None), B.sms_to_sealed.is_not(None))
        old = and_(B.ends_at < before, B.patient_id.is_not(None), known)
        return await self._empty(("sms_to", "sms_to_sealed"), tenant_id, old, limit)

    async def forget_visits(self, tenant_id: str, now: datetime, limit: int) -> int:
        """What was only held is let go of in its EHR by that id, and deleted soon."""
        over = and_(B.ends_at <= now, B.patient_id.is_(None), B.ehr_id.is_not(None), B.status.not_in(ONLY_HELD))
        return await self._empty(("ehr_id",), tenant_id, over, limit)

    async def forget_patients(self, tenant_id: str, before: datetime, now: datetime, limit: int) -> int:
        old = B.tenant_id == tenant_id, B.ends_at < before, B.patient_id.is_not(None), B.asked.is_(None)
        found = select(B.id).where(*old).limit(limit).with_for_update(skip_locked=True)
        ids = list((await self._connection.execute(found)).scalars())
        if not ids:
            return 0
        await self._connection.execute(
            update(BOOKING).where(B.tenant_id == tenant_id, B.id.in_(ids)).values(without_person(now))
        )
        action = "booking.pseudonymised"
        said: dict[str, Any] = {"actor_kind": SYSTEM.kind.value, "action": action, "target": "booking", "details": {}}
        rows = [{"tenant_id": tenant_id, "id": uuid4(), "at": now, "target_id": id, **said} for id in ids]
        await self._connection.execute(insert(AUDIT), rows)
        return len(ids)

    async def forget_exports(self, tenant_id: str, now: datetime, limit: int) -> int:
        return await self._delete(DATA_EXPORT, tenant_id, DATA_EXPORT.c.expires_at <= now, limit)

    async def forget_consents(self, tenant_id: str, before: datetime, limit: int) -> int:
        C, later = CONSENT.c, CONSENT.alias("later")
        L = later.c
        same = and_(L.tenant_id == C.tenant_id, L.patient_id == C.patient_id, L.kind == C.kind, L.number > C.number)
        return await self._delete(CONSENT, tenant_id, exists().where(same, L.at < before), limit)

    async def forget_erased(self, tenant_id: str, before: datetime, limit: int) -> int:
        return await self._delete(ERASED_SIGN_IN, tenant_id, ERASED_SIGN_IN.c.at < before, limit)

    async def forget_audit(self, tenant_id: str, before: datetime, limit: int) -> int:
        return await self._delete(AUDIT, tenant_id, AUDIT.c.at < before, limit)

    async def _empty(self, names: Sequence[str], tenant_id: str, old: ColumnElement[bool], limit: int) -> int:
        """Those columns of bookings, but where a question to their EHR is open."""
        own = B.tenant_id == tenant_id
        ids = select(B.id).where(own, old, B.asked.is_(None)).limit(limit).with_for_update(skip_locked=True)
        values = {**dict.fromkeys(names), "version": B.version + 1}
        return (await self._connection.execute(update(BOOKING).where(own, B.id.in_(ids)).values(values))).rowcount

    async def _delete(self, table: Table, tenant_id: str, old: ColumnElement[bool], limit: int) -> int:
        key = table.primary_key.columns
        rows = select(*key).where(table.c.tenant_id == tenant_id, old).limit(limit)
        gone = await self._connection.execute(
            delete(table).where(table.c.tenant_id == tenant_id, tuple_(*key).in_(rows))
        )
        return gone.rowcount
