"""What was prepared for patients who asked for their data, sealed."""

from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ports import DataExport
from integrations.store.tables_rights import DATA_EXPORT
from integrations.store.tenant_keys import WorkSealing

C = DATA_EXPORT.c

SEALED = "data_export.sealed"


class SqlDataExports:
    def __init__(self, connection: AsyncConnection, sealing: WorkSealing) -> None:
        self._connection = connection
        self._sealing = sealing

    async def put(self, export: DataExport) -> None:
        own = C.tenant_id == export.tenant_id, C.patient_id == export.patient_id
        await self._connection.execute(delete(DATA_EXPORT).where(*own))
        await self._connection.execute(
            insert(DATA_EXPORT).values(
                tenant_id=export.tenant_id,
                id=export.id,
                patient_id=export.patient_id,
                created_at=export.created_at,
                expires_at=export.expires_at,
                sealed=await self._sealing.seal(export.tenant_id, SEALED, str(export.id), export.content),
            )
        )

    async def get(self, tenant_id: str, id: UUID) -> DataExport | None:
        found = await self._connection.execute(select(DATA_EXPORT).where(C.tenant_id == tenant_id, C.id == id))
        row = found.first()
        if row is None:
            return None
        return DataExport(
            tenant_id=row.tenant_id,
            id=row.id,
            patient_id=row.patient_id,
            created_at=row.created_at,
            expires_at=row.expires_at,
            content=await self._sealing.open(tenant_id, SEALED, str(id), row.sealed),
        )
