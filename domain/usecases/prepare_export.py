"""Everything we have of a patient, prepared for that patient to take along (GDPR articles 15 and 20)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from domain.audit import Actor, AuditEntry
from domain.patient import Patient
from domain.ports import Belongings, Clock, DataExport, Remembered, StartWork, UnitOfWork
from domain.refusals import IdempotencyKeyReused, NotFound, Refused
from domain.tenant import Tenant
from domain.usecases.audited_reading import read_noted

FORMAT = "itb-own-data/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """`scope` is whose `key` it is. `notes` say, in the patient's language, what is not ours to tell."""

    scope: str
    key: str
    input_hash: str
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareExport:
    """Prepared at once: a patient's rows are few. One transaction reads them all, so that they fit together."""

    start_work: StartWork
    clock: Clock
    kept: timedelta

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, request: ExportRequest) -> DataExport:
        """The same export for the same key, prepared anew where it has expired meanwhile. Raises `Refused`."""
        now = self.clock.now()

        async def read(work: UnitOfWork) -> DataExport:
            await work.bookings.queue_for_patient(tenant.id, patient.id)
            wanted = Remembered(input_hash=request.input_hash, booking_id=uuid4())
            operation = "requestDataExport"
            known = await work.idempotency.remember(tenant.id, request.scope, operation, request.key, wanted, now)
            if known and known.input_hash != request.input_hash:
                raise Refused(IdempotencyKeyReused())
            id = (known or wanted).booking_id
            ready = await work.exports.get(tenant.id, id) if known else None
            if ready and ready.expires_at > now:
                return ready
            return await self._prepared(work, tenant, patient.id, id, request.notes)

        return await read_noted(self.start_work, _entry(actor, patient, "patient.export", now), read)

    async def download(self, tenant: Tenant, actor: Actor, patient: Patient, id: UUID) -> bytes | None:
        """The file; None for one that is not there, has expired, or is somebody else's."""
        now = self.clock.now()
        async with self.start_work(tenant.id) as work:
            export = await work.exports.get(tenant.id, id)
            if export is None or export.patient_id != patient.id or export.expires_at <= now:
                return None
            await work.audit(_entry(actor, patient, "patient.export_downloaded", now))
            await work.commit()
        return export.content

    async def _prepared(
        self, work: UnitOfWork, tenant: Tenant, patient_id: UUID, id: UUID, notes: Sequence[str]
    ) -> DataExport:
        person = await work.patients.get(tenant.id, patient_id)
        if person is None:
            raise Refused(NotFound())  # erased by another of their windows meanwhile
        now = self.clock.now()
        found = await work.traces.of_patient(tenant.id, patient_id)
        content = json.dumps(_document(tenant, person, found, now, notes), ensure_ascii=False, indent=1)
        export = DataExport(
            tenant_id=tenant.id,
            id=id,
            patient_id=patient_id,
            created_at=now,
            expires_at=now + self.kept,
            content=content.encode(),
        )
        await work.exports.put(export)
        return export


def _document(
    tenant: Tenant, person: Patient, found: Belongings, now: datetime, notes: Sequence[str]
) -> Mapping[str, Any]:
    return {
        "format": FORMAT,
        "createdAt": now.isoformat(),
        "heldBy": {"tenant": tenant.id, "name": tenant.name, "phone": tenant.phone, "email": tenant.email},
        "notes": list(notes),
        "complete": found.complete,
        "patient": _person(person),
        **{name: list(rows) for name, rows in found.tables.items()},
    }


def _person(person: Patient) -> Mapping[str, Any]:
    number = person.national_id
    return {
        "id": str(person.id),
        "name": person.name,
        "birth_date": _told(person.birth_date),
        "national_number": {"country": number.country, "number": number.number} if number else None,
        "phone": person.phone,
        "email": person.email,
        "language": person.language,
        "typed_by_yourself": list(person.edited),
    }


def _told(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _entry(actor: Actor, patient: Patient, action: str, now: datetime) -> AuditEntry:
    return AuditEntry(
        tenant_id=patient.tenant_id, at=now, actor=actor, action=action, target="patient", target_id=patient.id
    )
