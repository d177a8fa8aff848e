"""Tables of what has changed: our own log of changes, and how far each record system has been listened to.

None of it is the truth about anything: it may be emptied at the cost of looking again.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, Uuid
from sqlmodel import Field

from integrations.store.tables import WORDS, StoreRow, table_of
from integrations.store.types import Instant, Json


class ChangeRow(StoreRow, table=True):
    """A hint to look again. `position` orders rows by when they were committed, over all tenants; `id` within it.

    PostgreSQL hands numbers out before a commit, so that a lower one may show up later: `position` is the transaction's
    own number there, and who reads on stops short of transactions that still run.
    """

    __tablename__ = "change"
    __table_args__ = (
        Index("ix_change_position", "position", "id"),
        Index(None, "tenant_id", "patient_id", "position", "id"),
    )

    tenant_id: str = Field(primary_key=True)
    id: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    position: int = Field(sa_type=BigInteger)
    at: datetime = Field(sa_type=Instant)
    endpoint_id: str
    practitioner_id: UUID | None = Field(default=None, sa_type=Uuid)
    starts_at: datetime | None = Field(default=None, sa_type=Instant)
    ends_at: datetime | None = Field(default=None, sa_type=Instant)
    booking_id: UUID | None = Field(default=None, sa_type=Uuid)
    patient_id: UUID | None = Field(default=None, sa_type=Uuid)


class FeedRow(StoreRow, table=True):
    """How far a record system has been listened to, by whom, and when it is to be asked next.

    `requests` grows with every wish to have it asked at once: one that comes while it is being asked is not lost.
    """

    __tablename__ = "feed"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["endpoint.tenant_id", "endpoint.id"]),
        Index(None, "tenant_id", "due_at"),
    )

    tenant_id: str = Field(primary_key=True)
    endpoint_id: str = Field(primary_key=True)
    since: datetime | None = Field(default=None, sa_type=Instant)
    seen: Any = Field(sa_type=WORDS, nullable=False)
    pending: Any = Field(sa_type=WORDS, nullable=False)
    due_at: datetime = Field(sa_type=Instant)
    interval: float
    failures: int
    requests: int
    leased_by: str | None = None
    leased_until: datetime | None = Field(default=None, sa_type=Instant)
    hooks: Any = Field(sa_type=Json(dict[str, str]), nullable=False)
    hooks_until: datetime | None = Field(default=None, sa_type=Instant)
    heard: Any = Field(sa_type=Json(dict[str, int]), nullable=False)


class NotificationRow(StoreRow, table=True):
    """What a record system has sent, by the hash of its body: a second time it is no news."""

    __tablename__ = "notification"
    __table_args__ = (Index(None, "tenant_id", "at"),)

    tenant_id: str = Field(primary_key=True)
    endpoint_id: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    at: datetime = Field(sa_type=Instant)


CHANGE = table_of(ChangeRow)
FEED = table_of(FeedRow)
NOTIFICATION = table_of(NotificationRow)
