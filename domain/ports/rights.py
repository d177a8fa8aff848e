"""What people's rights over their data need from the store: consents, exports, erasure, and the log of who did what."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from domain.audit import AuditEntry
from domain.booking import Booking
from domain.consent import Consent, ConsentKind
from domain.pages import Page, PageRequest
from domain.patient import Identity


class Consents(Protocol):
    """Append-only; the latest of a kind is what counts. Part of a unit of work."""

    async def add(self, consent: Consent) -> None:
        """After the last of its kind. The patient is locked by then (`Bookings.queue_for_patient`)."""
        ...

    async def of_patient(self, tenant_id: str, patient_id: UUID) -> Mapping[ConsentKind, Consent]:
        """The latest of each kind that was ever asked for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataExport:
    """Everything we have of one patient, prepared for that patient; `content` is sealed where it is kept."""

    tenant_id: str
    id: UUID
    patient_id: UUID
    created_at: datetime
    expires_at: datetime
    content: bytes


class DataExports(Protocol):
    async def put(self, export: DataExport) -> None:
        """In place of the patient's former ones: what is there twice is there to be lost twice."""
        ...

    async def get(self, tenant_id: str, id: UUID) -> DataExport | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What the tables hold of a patient, by table, in plain values; not `complete` where a table has too much."""

    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    complete: bool


class Traces(Protocol):
    """All that is a patient's, wherever it is kept. Part of a unit of work."""

    async def of_patient(self, tenant_id: str, patient_id: UUID) -> Belongings:
        """All but the person, which `Patients` reads; bookings with their history."""
        ...

    async def bookings(self, tenant_id: str, patient_id: UUID) -> Sequence[Booking]:
        """Every booking of the patient that is kept, locked."""
        ...

    async def erase(self, tenant_id: str, patient_id: UUID, now: datetime, let_go: Collection[UUID] = ()) -> None:
        """Everything but the audit trail. Bookings stay, nobody's; visits still to come keep their `ehr_id`.

        `let_go` are holds that were the patient's until a moment ago: their idempotency keys go, too.

        For thirty days the patient's sign-ins are remembered by a keyed hash, so that a token from before does not
        bring them back.
        """
        ...

    async def erased_at(self, tenant_id: str, identity: Identity) -> datetime | None:
        """When the patient who last had this identity was erased; None if nobody who had it was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """`since` counts, `until` does not. `actor_id` is a patient's or a member's; `target_id` of a row."""

    since: datetime | None = None
    until: datetime | None = None
    action: str | None = None
    actor_kind: str | None = None
    actor_id: str | None = None
    target_id: UUID | None = None


class AuditLog(Protocol):
    async def find(self, tenant_id: str, where: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        """Oldest first."""
        ...


class Retention(Protocol):
    """What has been kept long enough, tenant by tenant: at most `limit` rows a call, which returns how many."""

    async def tenants(self) -> Sequence[str]:
        """Also those that are switched off: what they have is kept no longer for that."""
        ...

    async def forget_numbers(self, tenant_id: str, before: datetime, limit: int) -> int:
        """Phone numbers that were to be sent a message about a visit that ended before then."""
        ...

    async def forget_visits(self, tenant_id: str, now: datetime, limit: int) -> int:
        """Which visit of its EHR a booking was that is nobody's, and over."""
        ...

    async def forget_patients(self, tenant_id: str, before: datetime, now: datetime, limit: int) -> int:
        """Whose a booking was that ended before then, with what they wrote; each noted in the audit trail."""
        ...

    async def forget_exports(self, tenant_id: str, now: datetime, limit: int) -> int:
        """Those that have expired."""
        ...

    async def forget_consents(self, tenant_id: str, before: datetime, limit: int) -> int:
        """Those that were replaced, by a later one of the same kind, before then."""
        ...

    async def forget_erased(self, tenant_id: str, before: datetime, limit: int) -> int:
        """The hashes of sign-ins whose patients were erased before then."""
        ...

    async def forget_audit(self, tenant_id: str, before: datetime, limit: int) -> int: ...
