"""The table of the tenants' own keys, which nothing here can read without a master key."""

from datetime import datetime

from sqlmodel import Field

from integrations.store.tables import StoreRow, table_of
from integrations.store.types import Instant


class TenantKeyRow(StoreRow, table=True):
    """`master` is the number of the master key that `wrapped` opens by. Without its rows a tenant's people are gone."""

    __tablename__ = "tenant_key"

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    purpose: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    state: str
    master: int
    wrapped: bytes
    created_at: datetime = Field(sa_type=Instant)
    retired_at: datetime | None = Field(default=None, sa_type=Instant)


TENANT_KEY = table_of(TenantKeyRow)
