"""Who is treated, and how a patient proves to be that person."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from domain.national_id import NationalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person as an identity provider vouches for them.

    `national_id` may be missing: such a person can sign in but not book. `birth_date` comes from the verified
    claim and, only where that is absent, from the national number; never from a form.
    """

    issuer: str
    subject: str
    name: str
    birth_date: date | None
    national_id: NationalId | None
    phone: str | None
    email: str | None
    language: str | None
    authenticated_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A person known to one tenant. The same person at another tenant is another patient.

    `edited` names what the patient has typed: of phone, email and language their own word counts, and no login writes
    over it. Name, birth date and number are as somebody vouches for them, and never typed.
    """

    tenant_id: str
    id: UUID
    name: str
    birth_date: date | None
    national_id: NationalId | None
    phone: str | None
    email: str | None
    language: str | None
    edited: tuple[str, ...] = ()


def masked_phone(number: str | None) -> str | None:
    """Only the last three digits, enough to recognise one's own."""
    return f"••• {number[-3:]}" if number else None
