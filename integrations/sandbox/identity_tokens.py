"""What the demo provider signs: its key, the claims about a person, ID tokens and access tokens."""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from integrations.sandbox.people import Person

ACR = "urn:sandbox:loa:high"
ALGORITHM = "ES256"
API_AUDIENCE = "itb-api"
TOKEN_SECONDS = 3600
NATIONAL_NUMBER_CLAIMS = {"NO": "pid", "SE": "personnummer"}
CLAIMS_BY_METHOD = {"vipps": {"NO": "nin"}, "bankid-se": {"SE": "ssn"}}
"""Brokers pass on what each method tells, under that method's own names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One login, from the answered authorization request to the tokens."""

    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    scope: str
    person: Person
    session: str
    signed_in_at: int
    audience: str = API_AUDIENCE
    method: str = ""


class SigningKeys:
    """The provider's key, kept in a file so that a restart leaves tokens valid."""

    def __init__(self, key_file: Path | None) -> None:
        self._keys = [self._from_file(key_file) if key_file else _new_key()]

    @property
    def current(self) -> ECKey:
        return self._keys[-1]

    @property
    def all(self) -> KeySet:
        return KeySet(list(self._keys))

    def sign(self, kind: str, claims: dict[str, Any]) -> str:
        """A JWT whose header says what kind it is, so that nobody takes one kind for another."""
        header = {"alg": ALGORITHM, "typ": kind, "kid": self.current.kid}
        return jwt.encode(header, claims, self.current, algorithms=[ALGORITHM])

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token of our own. Raises joserfc's errors and ValueError."""
        return jwt.decode(token, self.all, algorithms=[ALGORITHM]).claims

    def rotate(self) -> None:
        """Signs with a new key from now on; the old one stays published."""
        self._keys.append(_new_key())

    @staticmethod
    def _from_file(key_file: Path) -> ECKey:
        if not key_file.exists():
            _write_new_key(key_file)
        key = ECKey.import_key(key_file.read_bytes(), {"use": "sig", "alg": ALGORITHM})
        key.ensure_kid()
        return key


def _write_new_key(key_file: Path) -> None:
    """Linked into place when whole: of two processes that start at once, both read the same key."""
    key_file.parent.mkdir(parents=True, exist_ok=True)
    draft = key_file.with_name(f".{key_file.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    try:
        draft.write_bytes(_new_key().as_pem(private=True))
        with suppress(FileExistsError):
            key_file.hardlink_to(draft)
    finally:
        draft.unlink()


def _new_key() -> ECKey:
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": ALGORITHM}, private=True)
    key.ensure_kid()
    return key


def subject(person: Person) -> str:
    """The same on every start, and not the login name: subjects are opaque."""
    return uuid5(NAMESPACE_URL, f"https://sandbox.example/people/{person.login}").hex


def person_claims(person: Person, method: str = "") -> dict[str, Any]:
    """Standard claims, and the national number under the name that the country's brokers use."""
    name = {**NATIONAL_NUMBER_CLAIMS, **CLAIMS_BY_METHOD.get(method, {})}[person.country]
    number = {name: person.number} if person.number else {}
    phone = {"phone_number": person.phone_at_login} if person.phone_at_login else {}
    return {
        "sub": subject(person),
        "name": person.name,
        "given_name": person.given_name,
        "family_name": person.family_name,
        "birthdate": person.birth_date.isoformat(),
        "email": person.email,
        "locale": person.locale,
        **phone,
        **number,
    }


def id_token(keys: SigningKeys, issuer: str, grant: Grant, now: int, *, lean: bool = False) -> str:
    """Proof of the login for the application. A lean one leaves the person to UserInfo, as some brokers do."""
    about = {"sub": subject(grant.person)} if lean else person_claims(grant.person, grant.method)
    nonce = {"nonce": grant.nonce} if grant.nonce else {}
    return keys.sign("JWT", {**about, **nonce, **_login_claims(issuer, grant, now), "aud": grant.client_id})


def access_token(keys: SigningKeys, issuer: str, grant: Grant, now: int) -> str:
    """A token for the booking API, by RFC 9068."""
    claims = {**person_claims(grant.person, grant.method), **_login_claims(issuer, grant, now), "aud": grant.audience}
    claims |= {"client_id": grant.client_id, "scope": grant.scope, "jti": secrets.token_hex(16)}
    return keys.sign("at+jwt", claims)


def _login_claims(issuer: str, grant: Grant, now: int) -> dict[str, Any]:
    return {
        "iss": issuer,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "auth_time": grant.signed_in_at,
        "acr": f"{ACR}:{grant.method}" if grant.method else ACR,
        "sid": grant.session,
    }
