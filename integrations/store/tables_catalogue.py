"""Tables of what can be booked.

Every row has `active`, false once its EHR or the seed knows it no more, and `edited`, the names of the fields that the
back office has changed: an import never writes over those.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index, UniqueConstraint, Uuid, text
from sqlmodel import Field

from domain.clinic import Image, OpeningHours
from domain.rules import RuleValues
from domain.text import LocalText
from integrations.store.tables import WORDS, StoreRow, table_of
from integrations.store.types import SORTED_TEXT, Json, Money, Seconds

TEXTS = Json(LocalText)
IMAGE = Json(Image | None)


class EndpointRow(StoreRow, table=True):
    __tablename__ = "endpoint"

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: str = Field(primary_key=True)
    dialect: str
    base_url: str
    name: str
    max_concurrency: int
    page_size: int
    book_parameter: str
    status_sent: str
    service_system: str
    booking_system: str
    longest_delay: timedelta = Field(sa_type=Seconds)
    authorization_variable: str
    calls_per_second: float
    longest_wait: timedelta = Field(sa_type=Seconds)
    news: str
    signs_news: bool
    topics: str
    finds_by: str
    holds: bool
    no_change_within: timedelta = Field(sa_type=Seconds)
    searches_by_get: bool
    active: bool
    edited: Any = Field(sa_type=WORDS, nullable=False)


class AreaRow(StoreRow, table=True):
    __tablename__ = "area"

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    name: Any = Field(sa_type=TEXTS, nullable=False)
    sort_key: int
    active: bool
    edited: Any = Field(sa_type=WORDS, nullable=False)


class ClinicRow(StoreRow, table=True):
    """`sort_name` and `search_text` are case-folded here: SQLite's lower() knows ASCII only."""

    __tablename__ = "clinic"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["endpoint.tenant_id", "endpoint.id"]),
        ForeignKeyConstraint(["tenant_id", "area_id"], ["area.tenant_id", "area.id"]),
        UniqueConstraint("tenant_id", "endpoint_id", "ehr_id"),
        Index(
            "uq_clinic_slug",
            "tenant_id",
            "slug",
            unique=True,
            sqlite_where=text("active"),
            postgresql_where=text("active"),
        ),
        Index(None, "tenant_id", "sort_name", "id"),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    endpoint_id: str
    ehr_id: str
    slug: str
    name: str
    time_zone: str
    area_id: UUID | None = Field(default=None, sa_type=Uuid)
    street: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country_code: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    phone: str | None = None
    email: str | None = None
    website: str | None = None
    opening_hours: Any = Field(sa_type=Json(tuple[OpeningHours, ...]), nullable=False)
    image: Any = Field(sa_type=IMAGE, nullable=False)
    directions: Any = Field(sa_type=TEXTS, nullable=False)
    parking: Any = Field(sa_type=TEXTS, nullable=False)
    about: Any = Field(sa_type=TEXTS, nullable=False)
    booking_information: Any = Field(sa_type=TEXTS, nullable=False)
    spoken_languages: Any = Field(sa_type=WORDS, nullable=False)
    booking: str
    external_booking_url: str | None = None
    rules: Any = Field(sa_type=Json(RuleValues), nullable=False)
    sort_name: str = Field(sa_type=SORTED_TEXT)
    search_text: str
    active: bool
    edited: Any = Field(sa_type=WORDS, nullable=False)


class TreatmentRow(StoreRow, table=True):
    __tablename__ = "treatment"
    __table_args__ = (
        UniqueConstraint("tenant_id", "code"),
        Index(None, "tenant_id", "sort_key", "id"),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    code: str
    title: Any = Field(sa_type=TEXTS, nullable=False)
    subtitle: Any = Field(sa_type=TEXTS, nullable=False)
    description: Any = Field(sa_type=TEXTS, nullable=False)
    sort_key: int
    search_text: str
    active: bool
    edited: Any = Field(sa_type=WORDS, nullable=False)


class PractitionerRow(StoreRow, table=True):
    __tablename__ = "practitioner"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["endpoint.tenant_id", "endpoint.id"]),
        ForeignKeyConstraint(["tenant_id", "clinic_id"], ["clinic.tenant_id", "clinic.id"]),
        UniqueConstraint("tenant_id", "endpoint_id", "ehr_id"),
        Index(None, "tenant_id", "clinic_id", "sort_name", "id"),
        Index(None, "tenant_id", "sort_name", "id"),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    endpoint_id: str
    ehr_id: str
    clinic_id: UUID = Field(sa_type=Uuid)
    name: str
    title: Any = Field(sa_type=TEXTS, nullable=False)
    role: str | None = None
    photo: Any = Field(sa_type=IMAGE, nullable=False)
    description: Any = Field(sa_type=TEXTS, nullable=False)
    schedule_ids: Any = Field(sa_type=WORDS, nullable=False)
    sort_name: str = Field(sa_type=SORTED_TEXT)
    active: bool
    edited: Any = Field(sa_type=WORDS, nullable=False)


class OfferRow(StoreRow, table=True):
    __tablename__ = "offer"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "endpoint_id"], ["endpoint.tenant_id", "endpoint.id"]),
        ForeignKeyConstraint(["tenant_id", "clinic_id"], ["clinic.tenant_id", "clinic.id"]),
        ForeignKeyConstraint(["tenant_id", "treatment_id"], ["treatment.tenant_id", "treatment.id"]),
        ForeignKeyConstraint(["tenant_id", "practitioner_id"], ["practitioner.tenant_id", "practitioner.id"]),
        UniqueConstraint("tenant_id", "clinic_id", "treatment_id", "practitioner_id"),
        Index(None, "tenant_id", "practitioner_id"),
        Index(None, "tenant_id", "treatment_id"),
    )

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.tenant_id")
    id: UUID = Field(primary_key=True, sa_type=Uuid)
    endpoint_id: str
    clinic_id: UUID = Field(sa_type=Uuid)
    treatment_id: UUID = Field(sa_type=Uuid)
    practitioner_id: UUID = Field(sa_type=Uuid)
    duration: timedelta = Field(sa_type=Seconds)
    price_text: Any = Field(sa_type=Json(LocalText | None), nullable=False)
    price_amount: Decimal | None = Field(default=None, sa_type=Money)
    price_currency: str | None = None
    booking_url: str | None = None
    active: bool
    edited: Any = Field(sa_type=WORDS, nullable=False)


ENDPOINT = table_of(EndpointRow)
AREA = table_of(AreaRow)
CLINIC = table_of(ClinicRow)
TREATMENT = table_of(TreatmentRow)
PRACTITIONER = table_of(PractitionerRow)
OFFER = table_of(OfferRow)
