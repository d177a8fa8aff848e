"""API keys, `itb_<live|test>_<key id>_<secret and check>`: as they are written, checked and kept.

A key is greppable by its beginning. Its last six characters are a CRC32 over all before them, so that a typing mistake
is found without asking anybody. 30 characters of 62 are 178 random bits: no slow hash is needed, HMAC-SHA256 with a
pepper is enough.
"""

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from string import ascii_lowercase, ascii_uppercase, digits
from uuid import UUID
from zlib import crc32

from domain.client import Client, ClientKind, Scope

ALPHABET = digits + ascii_uppercase + ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECK_LENGTH = 8, 30, 6
PREFIX = "itb_"
SHORTEST_PEPPER = 32

_FORM = re.compile(
    rf"itb_(live|test)_([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH + CHECK_LENGTH}}})", re.A
)


class KeyKind(StrEnum):
    """A `test` key counts only where synthetic people are accepted: one that gets lost opens nothing in production."""

    LIVE = "live"
    TEST = "test"


class KeyMistyped(Exception):
    """Not the form of a key, or not its check characters."""


class PeppersInvalid(ValueError):
    """The message says what is wrong, without the pepper."""


class PepperMissing(PeppersInvalid):
    """The one that new digests are to be made with is not among them."""


@dataclass(frozen=True, slots=True, repr=False)
class KeyText:
    """A key as its holder has it. Never printed but once, when it is made."""

    text: str
    kind: KeyKind
    key_id: str

    @classmethod
    def new(cls, kind: KeyKind) -> "KeyText":
        key_id, secret = _random(ID_LENGTH), _random(SECRET_LENGTH)
        unchecked = f"{PREFIX}{kind}_{key_id}_{secret}"
        return cls(unchecked + _check(unchecked), kind, key_id)

    @classmethod
    def parsed(cls, text: str) -> "KeyText":
        """Raises `KeyMistyped`."""
        form = _FORM.fullmatch(text)
        if form is None or _check(text[:-CHECK_LENGTH]) != text[-CHECK_LENGTH:]:
            raise KeyMistyped
        return cls(text, KeyKind(form[1]), form[2])

    @property
    def last_four(self) -> str:
        return self.text[-4:]


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _check(text: str) -> str:
    number, written = crc32(text.encode()), ""
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        written = ALPHABET[digit] + written
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One of an agency's keys as it is kept: by its digest, under the pepper of that version."""

    tenant_id: str
    id: UUID
    key_id: str
    agency: str
    kind: KeyKind
    last_four: str
    pepper: int
    digest: bytes
    scopes: frozenset[Scope]
    origins: tuple[str, ...]
    rate_per_minute: int
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def stands(self, now: datetime) -> bool:
        """Whether it opens anything; what is still to come is told by `expires_at`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def client(self) -> Client:
        return Client(
            id=f"agency:{self.agency}",
            kind=ClientKind.AGENCY,
            scopes=self.scopes,
            key_id=self.key_id,
            rate_per_minute=self.rate_per_minute,
            origins=self.origins,
        )


class Peppers:
    """Secrets outside the database, by version: who has only the database cannot try keys out.

    All of them read; `current`, the newest unless another is named, is for new digests. Version 0 is derived from the
    installation's secret, and is always there.
    """

    def __init__(self, secret: bytes, others: Mapping[int, bytes] | None = None, current: int | None = None) -> None:
        self._peppers = {0: hmac.digest(secret, b"api-key-pepper", sha256), **(others or {})}
        self.current = max(self._peppers) if current is None else current

    @classmethod
    def read(cls, secret: str, written: str, current: str = "") -> "Peppers":
        """From `1:…,2:…`, and the number of the current one. Raises `PeppersInvalid`."""
        others: dict[int, bytes] = {}
        for entry in filter(None, written.split(",")):
            version, colon, pepper = entry.partition(":")
            if not colon or not version.isascii() or not version.isdigit() or int(version) < 1:
                raise PeppersInvalid("must be `1:…,2:…`, numbers from 1 on with what belongs to each")
            if int(version) in others:
                raise PeppersInvalid(f"number {int(version)} is there twice")
            if len(pepper) < SHORTEST_PEPPER:
                raise PeppersInvalid(f"number {int(version)} must be at least {SHORTEST_PEPPER} characters long")
            others[int(version)] = pepper.encode()
        if current not in ("", "0", *map(str, others)):
            raise PepperMissing("must be the number of one of the peppers, or 0")
        return cls(secret.encode(), others, int(current) if current else None)

    def digest(self, key: KeyText) -> tuple[int, bytes]:
        """Under the current pepper, with its version."""
        return self.current, self._digest(self.current, key)

    def matches(self, key: KeyText, kept: ApiKey) -> bool:
        """In the same time wherever they differ. False, too, when the pepper is gone."""
        if kept.pepper not in self._peppers:
            return False
        return hmac.compare_digest(self._digest(kept.pepper, key), kept.digest)

    def _digest(self, version: int, key: KeyText) -> bytes:
        return hmac.digest(self._peppers[version], key.text.encode(), sha256)
