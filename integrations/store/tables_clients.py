"""The table of agencies' API keys: digests only, from which nobody makes a key again."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, Uuid
from sqlmodel import Field

from integrations.store.tables import WORDS, StoreRow, table_of
from integrations.store.types import Instant


class ApiKeyRow(StoreRow, table=True):
    """A key is looked up before anybody knows whose it is, so that its id is unique across tenants.

    That look-up is the only question across tenants, and always for one key id.
    """

    __tablename__ = "api_key"
    __table_args__ = (Index("uq_api_key_key_id", "key_id", unique=True),)

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    key_id: str
    agency: str
    kind: str
    last_four: str
    pepper: int
    digest: bytes
    scopes: Any = Field(sa_type=WORDS, nullable=False)
    origins: Any = Field(sa_type=WORDS, nullable=False)
    rate_per_minute: int
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime | None = Field(default=None, sa_type=Instant)
    revoked_at: datetime | None = Field(default=None, sa_type=Instant)
    last_used_at: datetime | None = Field(default=None, sa_type=Instant)


API_KEY = table_of(ApiKeyRow)
