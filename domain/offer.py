"""A treatment by a practitioner at a clinic: what can be booked."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from domain.text import LocalText


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """`text` is how the clinic words it; the amount may be absent ("from 400 kr")."""

    text: LocalText
    amount: Decimal | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    tenant_id: str
    id: UUID
    endpoint_id: str
    clinic_id: UUID
    treatment_id: UUID
    practitioner_id: UUID
    duration: timedelta
    price: Price | None = None
    booking_url: str | None = None
