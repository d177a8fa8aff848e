"""The table of jobs: what is to be done later, what was done of late, and what was given up."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, Uuid, text
from sqlmodel import Field

from integrations.store.tables import StoreRow, table_of
from integrations.store.types import Instant, Json

IS_READY = text("state = 'READY'")
IS_DEAD = text("state = 'DEAD'")
"""Spelled alike in indexes and questions: an index over some rows is used where the words of both are the same."""


class JobRow(StoreRow, table=True):
    """`due_at` is when to look at it next: at its time, when a failed attempt is repeated, when a lease runs out.

    Whoever works on it is named in `leased_by`. `wanted_at` is when it should have been done at first.
    """

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("tenant_id", "kind", "dedupe"),
        Index("ix_job_due", "kind", "due_at", sqlite_where=IS_READY, postgresql_where=IS_READY),
        Index(None, "tenant_id", "finished_at", sqlite_where=IS_DEAD, postgresql_where=IS_DEAD),
    )

    tenant_id: str = Field(primary_key=True)
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    kind: str
    dedupe: str
    payload: Any = Field(sa_type=Json(dict[str, str]), nullable=False)
    state: str
    wanted_at: datetime = Field(sa_type=Instant)
    due_at: datetime = Field(sa_type=Instant)
    leased_by: str | None = None
    attempts: int
    error: str
    finished_at: datetime | None = Field(default=None, sa_type=Instant)


JOB = table_of(JobRow)
