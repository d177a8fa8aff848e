"""The unit of work, and what takes part in it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.audit import AuditEntry
from domain.catalogue import (
    CatalogueImport,
    Seed,
)
from domain.changes import Change
from domain.client import ClientKey
from domain.clinic import Clinic
from domain.events import Event
from domain.patient import Identity, LogoutToken, Patient, ProviderLogin
from domain.ports.bookings import Bookings
from domain.ports.clients import ApiKeys
from domain.ports.jobs import Jobs
from domain.ports.keys import Keys
from domain.ports.news import Feeds
from domain.ports.outbox import Outbox
from domain.ports.rights import AuditLog, Consents, DataExports, Retention, Traces

EVERY_TENANT = "*"
"""Instead of a tenant's id: work that looks through what all tenants have, and belongs to none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What an idempotency key was first used for."""

    input_hash: str
    booking_id: UUID


class Idempotency(Protocol):
    async def remember(
        self, tenant_id: str, scope: str, operation: str, key: str, value: Remembered, now: datetime
    ) -> Remembered | None:
        """None when the key is new; else what it was first used for. Part of this work: rolled back with it.

        A patient's key comes after the lock of the patient (`Bookings.queue_for_patient`), whose erasure deletes it.
        """
        ...

    async def forget(self, tenant_id: str, now: datetime, limit: int) -> int:
        """Keys that would be new again, at most so many; returns how many."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that is signed in; `id` is the hash of what its cookie holds."""

    tenant_id: str
    id: str
    patient_id: UUID
    authenticated_at: datetime
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


class Patients(Protocol):
    async def recognise(
        self,
        tenant_id: str,
        identity: Identity,
        new_id: UUID,
        request_id: str | None = None,
        through: ClientKey | None = None,
    ) -> Patient:
        """The patient with that national number, else that issuer and subject; created or brought up to date.

        What is written is noted in the audit trail, as done by the patient in that request, through that key.
        """
        ...

    async def get(self, tenant_id: str, id: UUID) -> Patient | None: ...
    async def save(self, patient: Patient) -> None:
        """As the patient has changed it; what they typed, `edited`, no login writes over."""
        ...

    async def sign_out(self, tenant_id: str, id: UUID, now: datetime) -> None:
        """Logins before now count no more."""
        ...

    async def left_at(self, tenant_id: str, identity: Identity) -> datetime | None:
        """Logins of this identity until then count no more; None when all count, or nobody here has that identity."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """One that was there until now; `login` is None where nothing is kept of it, or it cannot be read any more."""

    patient_id: UUID
    login: ProviderLogin | None


class Sessions(Protocol):
    async def add(self, session: Session, login: ProviderLogin | None = None) -> None:
        """`login` is kept sealed."""
        ...

    async def get(self, tenant_id: str, id: str) -> Session | None: ...
    async def touch(self, tenant_id: str, id: str, now: datetime) -> None: ...
    async def end(self, tenant_id: str, id: str) -> EndedSession | None:
        """None when there is no such session any more."""
        ...

    async def end_all(self, tenant_id: str, patient_id: UUID) -> int: ...
    async def end_told(self, tenant_id: str, token: LogoutToken) -> Sequence[UUID]:
        """Ends what the token is about; whose sessions they were, each once."""
        ...

    async def remember(self, tenant_id: str, token: LogoutToken) -> bool:
        """False when a token of that issuer and `jti` was here before."""
        ...

    async def forget_tokens(self, tenant_id: str, now: datetime, limit: int) -> int:
        """Logout tokens that have run out by then, at most so many; returns how many."""
        ...

    async def forget(self, tenant_id: str, now: datetime, limit: int) -> int:
        """Those that have ended by then, at most so many; returns how many."""
        ...


class SessionReads(Protocol):
    """Who is signed in, without a unit of work."""

    async def session(self, tenant_id: str, id: str) -> tuple[Session, Patient] | None:
        """Also one that has run out: whether it still counts is for the caller to say."""
        ...

    async def known(self, tenant_id: str, identity: Identity) -> Patient | None:
        """The patient whom `Patients.recognise` would answer without writing anything; else None."""
        ...


class NameTaken(Exception):
    """A host or slug that another has already; one line says whose and which."""


class CatalogueWrites(Protocol):
    async def clinics_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Clinic]:
        """As `Catalogue` reads them, within this work: it waits for no other connection."""
        ...

    async def put_seed(self, seed: Seed) -> None:
        """Tenant, endpoints and areas: what is gone is switched off, and what the back office has edited stays."""
        ...

    async def merge(self, tenant_id: str, found: CatalogueImport) -> None:
        """Bring one endpoint's catalogue in line: add, change, withdraw what is gone; what was edited stays.

        Merging the same import again changes no byte.
        """
        ...


class UnitOfWork(Protocol):
    """One database transaction. Leaving the block without `commit()` rolls back. Never spans a remote call."""

    @property
    def bookings(self) -> Bookings: ...
    @property
    def patients(self) -> Patients: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def idempotency(self) -> Idempotency: ...
    @property
    def catalogue(self) -> CatalogueWrites: ...
    @property
    def feeds(self) -> Feeds: ...
    @property
    def jobs(self) -> Jobs: ...
    @property
    def api_keys(self) -> ApiKeys: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def consents(self) -> Consents: ...
    @property
    def exports(self) -> DataExports: ...
    @property
    def traces(self) -> Traces: ...
    @property
    def audit_log(self) -> AuditLog: ...
    @property
    def retention(self) -> Retention: ...
    @property
    def keys(self) -> Keys: ...

    async def audit(self, entry: AuditEntry) -> None: ...
    async def tell(self, event: Event) -> None:
        """Into the outbox, with the job that delivers it."""
        ...

    def hint(self, change: Change) -> None:
        """Told to every process after the commit, as changes of bookings are by themselves."""
        ...

    async def commit(self) -> None: ...


class StartWork(Protocol):
    def __call__(self, tenant_id: str) -> AbstractAsyncContextManager[UnitOfWork]:
        """Work on that tenant's rows and nobody else's, or `EVERY_TENANT`."""
        ...
