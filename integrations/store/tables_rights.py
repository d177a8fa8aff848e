"""Tables of people's rights: what they agreed to, what was prepared for them, and who is not to be brought back."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, Uuid
from sqlmodel import Field

from integrations.store.tables import StoreRow, table_of
from integrations.store.types import Instant


class ConsentRow(StoreRow, table=True):
    """One line for each time that a patient said yes or no; triggers refuse to change one."""

    __tablename__ = "consent"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "patient_id"], ["patient.tenant_id", "patient.id"]),)

    tenant_id: str = Field(primary_key=True)
    patient_id: UUID = Field(primary_key=True, sa_type=Uuid)
    kind: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    given: bool
    document_version: str | None = None
    language: str | None = None
    at: datetime = Field(sa_type=Instant)
    actor: str


class DataExportRow(StoreRow, table=True):
    """`sealed` holds everything that we have of the patient."""

    __tablename__ = "data_export"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "patient_id"], ["patient.tenant_id", "patient.id"]),
        Index(None, "tenant_id", "patient_id"),
    )

    tenant_id: str = Field(primary_key=True)
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    patient_id: UUID = Field(sa_type=Uuid)
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    sealed: bytes


class ErasedSignInRow(StoreRow, table=True):
    """A keyed hash of an issuer's subject whose patient was erased: a token from before is nobody's."""

    __tablename__ = "erased_sign_in"

    tenant_id: str = Field(primary_key=True)
    digest: bytes = Field(primary_key=True)
    at: datetime = Field(sa_type=Instant)


CONSENT = table_of(ConsentRow)
DATA_EXPORT = table_of(DataExportRow)
ERASED_SIGN_IN = table_of(ErasedSignInRow)
