"""Turns verified claims into the person they vouch for."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from domain.national_id import InvalidNationalId, NationalId, national_id, of_any_country
from domain.patient import Identity
from integrations.oidc.provider import OidcSettings


class UnusableClaims(ValueError):
    """A claim that every token must have is missing or makes no sense."""


class SubjectNotOpaque(UnusableClaims):
    """The provider's name for a person, which is kept in the clear, would tell who they are. Never repeats it."""


_SCHEME = re.compile(r"(?:.*[:/|#])?(?:[a-z]{5}-)?", re.ASCII | re.IGNORECASE | re.DOTALL)
"""What may stand before a number: `NO:`, `urn:oid:…:`, `NO/NO/` (eIDAS), `f:…:` (Keycloak), `PNOSE-` (ETSI)."""

_PHONE = re.compile(r"(?:(?:.*[:/|#])?(?:\+|00(?=4[567]|35[48]))|tel:)\d(?:[().-]?\d){7,14}", re.ASCII | re.IGNORECASE)
"""One that says so itself: by a country's code, or as RFC 3966 has it."""
_FEWEST_DIGITS = 8


def identity_from(claims: Mapping[str, Any], settings: OidcSettings, *, today: date) -> Identity:
    """The person behind claims whose signature, issuer and audience have been checked.

    A national number that is absent or invalid is None, which lets the person in but not book. Without `auth_time`
    the login counts as long ago: a refreshed token would otherwise pass for a fresh login. Raises `UnusableClaims`.
    """
    number = _national_id(claims, settings, today)
    return Identity(
        issuer=settings.issuer,
        subject=_subject(claims, number, today),
        name=_name(claims),
        birth_date=_birth_date(claims) or (number.birth_date if number else None),
        national_id=number,
        phone=_text(claims, "phone_number"),
        email=_text(claims, "email"),
        language=_language(claims),
        authenticated_at=_instant(claims.get("auth_time", 0)),
        expires_at=_instant(claims.get("exp")),
    )


def has_national_id(claims: Mapping[str, Any], settings: OidcSettings) -> bool:
    """Whether any of the claims that may carry a national number is there at all."""
    return any(_text(claims, claim) for claim, _ in settings.national_id_claims)


def _national_id(claims: Mapping[str, Any], settings: OidcSettings, today: date) -> NationalId | None:
    for claim, country in settings.national_id_claims:
        raw = _text(claims, claim)
        if raw is None:
            continue
        try:
            return national_id(country, raw, today=today, synthetic_allowed=settings.synthetic_allowed)
        except InvalidNationalId:
            continue
    return None


def _birth_date(claims: Mapping[str, Any]) -> date | None:
    """OpenID Connect also allows a bare year, and 0000 for a year kept back; neither tells an age."""
    try:
        return date.fromisoformat(_text(claims, "birthdate") or "")
    except ValueError:
        return None


def _name(claims: Mapping[str, Any]) -> str:
    parts = filter(None, (_text(claims, "given_name"), _text(claims, "family_name")))
    return _text(claims, "name") or " ".join(parts)


def _language(claims: Mapping[str, Any]) -> str | None:
    """The language of a locale such as `nb-NO`; plain Norwegian (`no`) is Bokmål to us."""
    locale = _text(claims, "locale")
    if locale is None:
        return None
    language = locale.replace("_", "-").partition("-")[0].lower()
    return "nb" if language == "no" else language


def _subject(claims: Mapping[str, Any], number: NationalId | None, today: date) -> str:
    """Raises `SubjectNotOpaque` for what tells who the person is.

    A national number is the whole of it but for what may stand before. Beside the person's `number` one that is
    another's was none: 7 of 1,000 ten-digit ids could be one. Ten digits tell no century.
    """
    subject = _text(claims, "sub")
    if subject is None:
        raise UnusableClaims("sub")
    before = _SCHEME.match(subject)
    rest = subject[before.end() if before else 0 :]
    in_it = of_any_country(rest, today=today)
    if in_it and (number is None or in_it.number[-10:] == number.number[-10:]):
        raise SubjectNotOpaque("sub is a national number, and must be opaque")
    if names_somebody(subject) or _is_the_phone(rest, _text(claims, "phone_number")):
        raise SubjectNotOpaque("sub is an e-mail address, a phone or a name, and must be opaque")
    if not subject.isprintable():
        raise UnusableClaims("sub")
    return subject


def names_somebody(subject: str) -> bool:
    """Whether it is an e-mail address, a phone with its country's code, or words."""
    is_address = "@" in subject or "%40" in subject
    return is_address or any(each.isspace() for each in subject) or _PHONE.fullmatch(subject) is not None


def _is_the_phone(digits: str, phone: str | None) -> bool:
    """Digits are an id like any other, unless the provider tells them as the person's phone, too."""
    told = re.sub(r"\D", "", phone or "", flags=re.ASCII)
    if not re.fullmatch(r"\d+", digits, re.ASCII) or min(len(digits), len(told)) < _FEWEST_DIGITS:
        return False
    return told.endswith(digits) or digits.endswith(told)


def _instant(seconds: object) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise UnusableClaims("a time is not a number")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise UnusableClaims("a time is out of range") from None


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value.strip() or None if isinstance(value, str) else None
