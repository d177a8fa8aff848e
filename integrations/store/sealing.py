"""Encrypts what must not be readable in the database, and finds it again without reading it.

AES-256-GCM (NIST SP 800-38D) with tenant, column and row as associated data: a value that is copied to another row, or
another tenant, does not open. The blind index is HMAC-SHA256 under a key of its own. Both keys are derived for each
tenant from one secret (HKDF, RFC 5869); a key kept for each tenant, wrapped by that secret, would take the place of
`_derive`, and the first byte of what is sealed says which way it was made.
"""

import hmac
import secrets
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SHORTEST_SECRET = 32

_DERIVED = b"\x01"
_NONCE = 12


class Unsealable(Exception):
    """Sealed elsewhere, with another key, or changed since."""


class Sealing:
    """`secret` is a setting: at least 32 bytes of text that nobody can guess."""

    def __init__(self, secret: str) -> None:
        if len(secret.encode()) < SHORTEST_SECRET:
            raise ValueError(f"the secret that seals national numbers is shorter than {SHORTEST_SECRET} bytes")
        self._secret = secret.encode()
        self._key = lru_cache(maxsize=1024)(self._derive)

    def seal(self, tenant_id: str, column: str, row_id: str, plain: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        cipher = AESGCM(self._key(tenant_id, "seal"))
        return _DERIVED + nonce + cipher.encrypt(nonce, plain, _place(tenant_id, column, row_id))

    def open(self, tenant_id: str, column: str, row_id: str, sealed: bytes) -> bytes:
        """Raises `Unsealable` unless it was sealed for this very place."""
        if sealed[:1] != _DERIVED:
            raise Unsealable(f"{column}: made in a way that this version does not know")
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return AESGCM(self._key(tenant_id, "seal")).decrypt(nonce, rest, _place(tenant_id, column, row_id))
        except (InvalidTag, ValueError):
            raise Unsealable(f"{column} of {row_id} does not open") from None

    def index(self, tenant_id: str, column: str, plain: bytes) -> bytes:
        """The same for the same value in the same tenant, and telling nothing of the value."""
        return hmac.digest(self._key(tenant_id, "index"), _place(column) + b"\x00" + plain, sha256)

    def _derive(self, tenant_id: str, purpose: str) -> bytes:
        return HKDF(SHA256(), length=32, salt=None, info=_place("itb", purpose, tenant_id)).derive(self._secret)


def _place(*parts: str) -> bytes:
    """Each part with its length, so that no two places read alike."""
    return b"|".join(f"{len(part.encode())}:{part}".encode() for part in parts)
