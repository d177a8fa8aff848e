"""Encrypts what must not be readable in the database, and finds it again without reading it.

AES-256-GCM (NIST SP 800-38D) with tenant, column and row as associated data: a value that is copied to another place
does not open. The keys are each tenant's own and random, kept wrapped by a master key (`tenant_keys`); what is sealed
begins with the way it was made and its key's version. The blind index is HMAC-SHA256 under a key of its own.

What versions before envelope keys sealed, by keys derived from the secret (HKDF, RFC 5869), still opens.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from threading import Lock

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.ports import KeyShut, MasterKeyMissing, Unsealable

SHORTEST_SECRET = 32
KEY_BYTES = 32
MOST_TENANTS = 1000
"""Whose keys one process remembers at once."""

_DERIVED, ENVELOPE = b"\x01", b"\x02"
_VERSION, _NONCE = 2, 12
HEADER = 1 + _VERSION
"""Bytes that tell by which key something was sealed."""


class Purpose(StrEnum):
    SEAL = "seal"
    INDEX = "index"


class KeyState(StrEnum):
    """A key is known everywhere before it is used (NEXT), and opens what it sealed until nothing is left (OLD)."""

    NEXT = "NEXT"
    CURRENT = "CURRENT"
    OLD = "OLD"
    RETIRED = "RETIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantKey:
    """One version of a tenant's key, unwrapped."""

    purpose: Purpose
    version: int
    state: KeyState
    secret: bytes

    def __repr__(self) -> str:
        return f"TenantKey({self.purpose} {self.version} {self.state})"


def header_of(version: int) -> bytes:
    return ENVELOPE + version.to_bytes(_VERSION, "big")


class TenantKeys:
    """All that one tenant's values are sealed, opened and found by."""

    def __init__(self, tenant_id: str, derived: bytes, keys: Iterable[TenantKey]) -> None:
        self.tenant_id = tenant_id
        known = sorted((each for each in keys if each.state is not KeyState.RETIRED), key=lambda each: each.version)
        self._derived = AESGCM(derived)
        self._seals = {each.version: AESGCM(each.secret) for each in known if each.purpose is Purpose.SEAL}
        self._indexes = {each.version: each.secret for each in known if each.purpose is Purpose.INDEX}
        self._current = {each.purpose: each.version for each in known if each.state is KeyState.CURRENT}
        self.complete = len(self._current) == len(Purpose)

    @property
    def header(self) -> bytes:
        """What everything begins with that is sealed now."""
        return header_of(self._current[Purpose.SEAL])

    def seal(self, column: str, row_id: str, plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        cipher = self._seals[self._current[Purpose.SEAL]]
        return self.header + nonce + cipher.encrypt(nonce, plain, place(self.tenant_id, column, row_id))

    def open(self, column: str, row_id: str, sealed: bytes) -> bytes:
        """Raises `Unsealable` unless it was sealed for this very place."""
        cipher, rest = self._cipher_of(column, sealed)
        try:
            return cipher.decrypt(rest[:_NONCE], rest[_NONCE:], place(self.tenant_id, column, row_id))
        except (InvalidTag, ValueError):
            raise Unsealable(f"{column} of {row_id} does not open") from None

    def _cipher_of(self, column: str, sealed: bytes) -> tuple[AESGCM, bytes]:
        if sealed[:1] == _DERIVED:
            return self._derived, sealed[1:]
        version = int.from_bytes(sealed[1:HEADER], "big")
        if sealed[:1] != ENVELOPE or version not in self._seals:
            raise Unsealable(f"{column}: sealed by a key that is not there")
        return self._seals[version], sealed[HEADER:]

    def index(self, column: str, plain: bytes) -> bytes:
        """The same for the same value in the same tenant, and telling nothing of the value."""
        return self._index(self._current[Purpose.INDEX], column, plain)

    def indexes(self, column: str, plain: bytes) -> list[bytes]:
        """All that the value may be found by, the oldest first: more than one while keys are rotated."""
        return [self._index(version, column, plain) for version in self._indexes]

    def _index(self, version: int, column: str, plain: bytes) -> bytes:
        return hmac.digest(self._indexes[version], place(column) + b"\x00" + plain, sha256)


class Sealing:
    """Master keys, and the tenants' keys that this process has read.

    `secret` is a setting: at least 32 bytes of text that nobody can guess. Master key 0 follows from it; `masters` are
    further ones by number, and the highest wraps. `fresh_seconds`: how long keys that were read are gone by.
    """

    def __init__(self, secret: str, masters: Mapping[int, bytes] | None = None, *, fresh_seconds: float = 60.0) -> None:
        if len(secret.encode()) < SHORTEST_SECRET:
            raise ValueError(f"the secret that seals people's data is shorter than {SHORTEST_SECRET} bytes")
        self._secret = secret.encode()
        self._masters = {0: self._derive("itb", "master"), **(masters or {})}
        self._fresh = fresh_seconds
        self._known: OrderedDict[str, tuple[float, TenantKeys]] = OrderedDict()
        self._lock = Lock()

    @property
    def master(self) -> int:
        """The number of the master key that wraps."""
        return max(self._masters)

    def known(self, tenant_id: str) -> TenantKeys | None:
        with self._lock:
            read_at, keys = self._known.get(tenant_id, (0.0, None))
        return keys if keys and time.monotonic() - read_at < self._fresh else None

    def remember(self, keys: TenantKeys) -> TenantKeys:
        with self._lock:
            self._known[keys.tenant_id] = time.monotonic(), keys
            self._known.move_to_end(keys.tenant_id)
            while len(self._known) > MOST_TENANTS:
                self._known.popitem(last=False)
        return keys

    def keys_of(self, tenant_id: str, keys: Iterable[TenantKey] = ()) -> TenantKeys:
        return TenantKeys(tenant_id, self._derive("itb", "seal", tenant_id), keys)

    def derived_index(self, tenant_id: str) -> bytes:
        """The index key of versions before envelope keys, which what they wrote is found by."""
        return self._derive("itb", "index", tenant_id)

    def digest(self, tenant_id: str, column: str, plain: bytes) -> bytes:
        """A keyed hash that outlives rotations, for what is kept a few days only; its key follows from the secret."""
        return hmac.digest(self.derived_index(tenant_id), place(column) + b"\x00" + plain, sha256)

    def wrap(self, tenant_id: str, purpose: Purpose, version: int, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        cipher = AESGCM(self._masters[self.master])
        return nonce + cipher.encrypt(nonce, secret, _key_place(tenant_id, purpose, version))

    def unwrap(self, tenant_id: str, purpose: Purpose, version: int, master: int, wrapped: bytes) -> bytes:
        """Raises `KeyShut`, also for a key that was put in another's place."""
        if master not in self._masters:
            raise MasterKeyMissing(
                tenant_id, f"are wrapped by master key {master}, which ITB_MASTER_KEYS does not hold"
            )
        try:
            cipher = AESGCM(self._masters[master])
            return cipher.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _key_place(tenant_id, purpose, version))
        except (InvalidTag, ValueError):
            given = "that follows from ITB_SECRET" if master == 0 else "in ITB_MASTER_KEYS"
            raise KeyShut(tenant_id, f"do not open by the master key {master} {given}") from None

    def _derive(self, *purpose: str) -> bytes:
        return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=place(*purpose)).derive(self._secret)


def place(*parts: str) -> bytes:
    """Each part with its length, so that no two places read alike."""
    return b"|".join(f"{len(part.encode())}:{part}".encode() for part in parts)


def _key_place(tenant_id: str, purpose: Purpose, version: int) -> bytes:
    return place("tenant_key", tenant_id, purpose.value, str(version))
