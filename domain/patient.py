"""Who is treated, and how a patient proves to be that person."""

from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from domain.national_id import NationalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A person as an identity provider vouches for them.

    `national_id` may be missing: such a person can sign in but not book. `birth_date` comes from the verified
    claim and, only where that is absent, from the national number; never from a form. `authenticated_at` is 1970 where
    the provider does not tell it. `by_own_app`: the login was made in one of the group's own frontends, and in no
    agency's.
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
    by_own_app: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLogin:
    """A login as its provider remembers it, so that it can be ended there as well. Nobody but the server reads it.

    `provider` is the tenant's id of it; `sid` the provider's name for the session, where it has told one.
    """

    provider: str
    issuer: str
    subject: str
    sid: str | None = None
    id_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutToken:
    """An issuer's word that a session, or all those of a subject, are over; verified (OpenID Connect Back-Channel
    Logout 1.0). `jti` counts once until `expires_at`."""

    issuer: str
    jti: str
    sid: str | None
    subject: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A person known to one tenant. The same person at another tenant is another patient.

    `edited` names what the patient has typed: of phone, email and language their own word counts, and no login writes
    over it. Name, birth date and number are as somebody vouches for them, and never typed. What an app was given at a
    login before `signed_out_at` is worth nothing any more.
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
    signed_out_at: datetime | None = None


def masked_phone(number: str | None) -> str | None:
    """Only the last three digits, enough to recognise one's own."""
    return f"••• {number[-3:]}" if number else None
