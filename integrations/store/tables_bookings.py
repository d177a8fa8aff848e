"""Tables of bookings and their history. Holds and bookings are one table, under one guard.

The guard itself is made by the migration, an exclusion constraint on PostgreSQL and two triggers on SQLite: SQLAlchemy
can express neither for both. A booking has no foreign keys into the catalogue, which it may outlive.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, Uuid, text
from sqlmodel import Field

from domain.rules import BookingRules
from integrations.store.tables import WORDS, StoreRow, table_of
from integrations.store.types import Instant, Json, Seconds

IS_HELD = text("status = 'HELD'")
LAPSED = text("status IN ('EXPIRED', 'RELEASED')")
HAS_PATIENT = text("patient_id IS NOT NULL")
"""Spelled alike in an index and in the question that it answers, so that it is used."""

GUARD = "booking_one_patient_at_a_time"
"""The constraint's name, and what the triggers say when they refuse."""


class BookingRow(StoreRow, table=True):
    """`comment`, `sms_to` and `cancel_reason` hold what an earlier version wrote, until it is sealed."""

    __tablename__ = "booking"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "patient_id"], ["patient.tenant_id", "patient.id"]),
        UniqueConstraint("tenant_id", "reference"),
        CheckConstraint("starts_at < ends_at", name="ends_after_start"),
        Index(None, "tenant_id", "practitioner_id", "starts_at"),
        Index(None, "tenant_id", "patient_id", "starts_at"),
        Index(
            None,
            "tenant_id",
            "moves_booking_id",
            sqlite_where=text("moves_booking_id IS NOT NULL"),
            postgresql_where=text("moves_booking_id IS NOT NULL"),
        ),
        Index(
            None,
            "tenant_id",
            "endpoint_id",
            "ehr_id",
            sqlite_where=text("ehr_id IS NOT NULL"),
            postgresql_where=text("ehr_id IS NOT NULL"),
        ),
        Index(
            None,
            "tenant_id",
            "expires_at",
            sqlite_where=IS_HELD,
            postgresql_where=IS_HELD,
        ),
        Index("ix_booking_whose", "tenant_id", "ends_at", sqlite_where=HAS_PATIENT, postgresql_where=HAS_PATIENT),
        Index("ix_booking_lapsed", "tenant_id", "expires_at", sqlite_where=LAPSED, postgresql_where=LAPSED),
        Index(
            None,
            "tenant_id",
            "check_at",
            sqlite_where=text("check_at IS NOT NULL"),
            postgresql_where=text("check_at IS NOT NULL"),
        ),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    reference: str
    endpoint_id: str
    offer_id: UUID = Field(sa_type=Uuid)
    clinic_id: UUID = Field(sa_type=Uuid)
    treatment_id: UUID = Field(sa_type=Uuid)
    practitioner_id: UUID = Field(sa_type=Uuid)
    slot_reference: str
    resources: Any = Field(sa_type=WORDS, nullable=False)
    starts_at: datetime = Field(sa_type=Instant)
    ends_at: datetime = Field(sa_type=Instant)
    time_zone: str
    status: str
    version: int
    created_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant)
    rules: Any = Field(sa_type=Json(BookingRules), nullable=False)
    patient_id: UUID | None = Field(default=None, sa_type=Uuid)
    moves_booking_id: UUID | None = Field(default=None, sa_type=Uuid)
    any_practitioner: bool
    renewed: bool
    ehr_id: str | None = None
    booked_at: datetime | None = Field(default=None, sa_type=Instant)
    moves_made: int
    comment: str | None = None
    terms_version: str | None = None
    sms_confirmation: bool
    sms_to: str | None = None
    asked: str | None = None
    asked_at: datetime | None = Field(default=None, sa_type=Instant)
    check_at: datetime | None = Field(default=None, sa_type=Instant)
    empty_reads: int
    failure: str | None = None
    cancel_reason: str | None = None
    held_in_ehr: bool
    made_elsewhere: bool
    no_change_within: timedelta = Field(sa_type=Seconds)
    words_sealed: bytes | None = None
    sms_to_sealed: bytes | None = None


class BookingStepRow(StoreRow, table=True):
    __tablename__ = "booking_step"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "booking_id"], ["booking.tenant_id", "booking.id"]),)

    tenant_id: str = Field(primary_key=True)
    booking_id: UUID = Field(primary_key=True, sa_type=Uuid)
    number: int = Field(primary_key=True)
    at: datetime = Field(sa_type=Instant)
    version: int
    status: str
    actor: str
    starts_at: datetime = Field(sa_type=Instant)


BOOKING = table_of(BookingRow)
BOOKING_STEP = table_of(BookingStepRow)
