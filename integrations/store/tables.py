"""Tables of tenants, people and what was done: rows as the database keeps them, seen by nothing outside this package.

`tenant_id` comes first in every primary key, unique key and index: no question can be asked across tenants by
accident, and each tenant's rows lie together.
"""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, MetaData, Table, Uuid
from sqlmodel import Field, SQLModel

from domain.rules import RuleValues
from domain.tenant import Banner, DisplaySettings, IdentityProvider, PortalTexts
from integrations.store.types import Instant, Json

WORDS = Json(tuple[str, ...])

metadata = MetaData(
    # Alembic can only change on SQLite what has a name.
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class StoreRow(SQLModel):
    metadata: ClassVar[MetaData] = metadata


def table_of(row: type[SQLModel]) -> Table:
    return metadata.tables[str(row.__tablename__)]


class TenantRow(StoreRow, table=True):
    """`edited` names the fields that the back office has changed: no seed writes over them."""

    __tablename__ = "tenant"
    __table_args__ = (Index("uq_tenant_slug", "slug", unique=True),)

    tenant_id: str = Field(primary_key=True)
    slug: str
    name: str
    languages: Any = Field(sa_type=WORDS, nullable=False)
    default_language: str
    phone: str | None = None
    email: str | None = None
    terms_version: str
    terms_url: str | None = None
    privacy_url: str | None = None
    display: Any = Field(sa_type=Json(DisplaySettings), nullable=False)
    texts: Any = Field(sa_type=Json(PortalTexts), nullable=False)
    banner: Any = Field(sa_type=Json(Banner | None), nullable=False)
    identity_providers: Any = Field(sa_type=Json(tuple[IdentityProvider, ...]), nullable=False)
    return_to: Any = Field(sa_type=WORDS, nullable=False)
    origins: Any = Field(sa_type=WORDS, nullable=False, sa_column_kwargs={"server_default": "[]"})
    rules: Any = Field(sa_type=Json(RuleValues), nullable=False)
    double_booking: str
    active: bool
    edited: Any = Field(sa_type=WORDS, nullable=False)


class TenantHostRow(StoreRow, table=True):
    """A host serves one tenant, so this one key is unique across tenants."""

    __tablename__ = "tenant_host"
    __table_args__ = (Index("uq_tenant_host_host", "host", unique=True),)

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    host: str = Field(primary_key=True)
    position: int


class PatientRow(StoreRow, table=True):
    """Who it is, is sealed; the national number is found by a keyed hash. `edited` names what the patient typed.

    `name`, `birth_date`, `phone` and `email` hold what an earlier version wrote, until it is sealed.
    """

    __tablename__ = "patient"
    __table_args__ = (Index("uq_patient_national_index", "tenant_id", "national_index", unique=True),)

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    name: str
    birth_date: date | None = None
    national_sealed: bytes | None = None
    national_index: bytes | None = None
    person_sealed: bytes | None = None
    phone: str | None = None
    email: str | None = None
    language: str | None = None
    edited: Any = Field(sa_type=WORDS, nullable=False)
    signed_out_at: datetime | None = Field(default=None, sa_type=Instant)


class PatientIdentityRow(StoreRow, table=True):
    """Who an issuer's subject is: one patient may sign in through several issuers."""

    __tablename__ = "patient_identity"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "patient_id"], ["patient.tenant_id", "patient.id"]),
        Index(None, "tenant_id", "patient_id"),
    )

    tenant_id: str = Field(primary_key=True)
    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    patient_id: UUID = Field(sa_type=Uuid)


class SessionRow(StoreRow, table=True):
    """What the provider gave at login is sealed, and found by keyed hashes: nobody signs in with what stands here."""

    __tablename__ = "session"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "patient_id"], ["patient.tenant_id", "patient.id"]),
        Index(None, "tenant_id", "patient_id"),
        Index(None, "tenant_id", "sid_index"),
        Index(None, "tenant_id", "subject_index"),
    )

    tenant_id: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    patient_id: UUID = Field(sa_type=Uuid)
    authenticated_at: datetime = Field(sa_type=Instant)
    created_at: datetime = Field(sa_type=Instant)
    last_seen_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    login_sealed: bytes | None = None
    sid_index: bytes | None = None
    subject_index: bytes | None = None


class LogoutTokenRow(StoreRow, table=True):
    """Back-channel logout tokens that have been here, each by a hash of its issuer and `jti`."""

    __tablename__ = "logout_token"

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_type=Instant)


class IdempotencyRow(StoreRow, table=True):
    __tablename__ = "idempotency"

    tenant_id: str = Field(primary_key=True)
    scope: str = Field(primary_key=True)
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    input_hash: str
    booking_id: UUID = Field(sa_type=Uuid)
    created_at: datetime = Field(sa_type=Instant)


class AuditRow(StoreRow, table=True):
    """Triggers refuse to change a row, and to delete one within five years."""

    __tablename__ = "audit"
    __table_args__ = (
        Index(None, "tenant_id", "target_id", "at"),
        Index(None, "tenant_id", "actor_id", "at"),
        Index(None, "tenant_id", "at", "id"),
    )

    tenant_id: str = Field(primary_key=True)
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    at: datetime = Field(sa_type=Instant)
    actor_kind: str
    actor_id: str | None = None
    request_id: str | None = None
    action: str
    target: str
    target_id: UUID = Field(sa_type=Uuid)
    details: Any = Field(sa_type=Json(dict[str, str]), nullable=False)


class OutboxRow(StoreRow, table=True):
    __tablename__ = "outbox"
    __table_args__ = (Index(None, "tenant_id", "at"),)

    tenant_id: str = Field(primary_key=True)
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    kind: str
    booking_id: UUID = Field(sa_type=Uuid)
    version: int
    at: datetime = Field(sa_type=Instant)
    delivered_at: datetime | None = Field(default=None, sa_type=Instant)


TENANT = table_of(TenantRow)
TENANT_HOST = table_of(TenantHostRow)
PATIENT = table_of(PatientRow)
PATIENT_IDENTITY = table_of(PatientIdentityRow)
SESSION = table_of(SessionRow)
LOGOUT_TOKEN = table_of(LogoutTokenRow)
IDEMPOTENCY = table_of(IdempotencyRow)
AUDIT = table_of(AuditRow)
OUTBOX = table_of(OutboxRow)
