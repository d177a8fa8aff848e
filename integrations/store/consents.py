"""What patients have agreed to: lines are added, the latest of a kind counts."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import ActorKind
from domain.consent import Consent, ConsentKind
from integrations.store.tables_rights import CONSENT
from integrations.store.types import AnyRow

C = CONSENT.c


class SqlConsents:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, consent: Consent) -> None:
        own = C.tenant_id == consent.tenant_id, C.patient_id == consent.patient_id, C.kind == consent.kind.value
        latest = select(func.max(C.number)).where(*own)
        await self._connection.execute(
            insert(CONSENT).values(
                tenant_id=consent.tenant_id,
                patient_id=consent.patient_id,
                kind=consent.kind.value,
                number=func.coalesce(latest.scalar_subquery(), 0) + 1,
                given=consent.given,
                document_version=consent.document_version,
                language=consent.language,
                at=consent.at,
                actor=consent.actor.value if consent.actor else ActorKind.PATIENT.value,
            )
        )

    async def of_patient(self, tenant_id: str, patient_id: UUID) -> Mapping[ConsentKind, Consent]:
        own = C.tenant_id == tenant_id, C.patient_id == patient_id
        rows = await self._connection.execute(select(CONSENT).where(*own).order_by(C.number))
        return {ConsentKind(row.kind): _consent(row) for row in rows}


def _consent(row: AnyRow) -> Consent:
    return Consent(
        tenant_id=row.tenant_id,
        patient_id=row.patient_id,
        kind=ConsentKind(row.kind),
        given=row.given,
        document_version=row.document_version,
        language=row.language,
        at=row.at,
        actor=ActorKind(row.actor),
    )
