"""Tokens that we hand out and recognise again: nobody else can make one or change one."""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

MAC_BYTES = 16
"""HMAC-SHA256 cut to 128 bits, as RFC 2104 §5 allows: out of reach for guessing, and tokens stay short."""

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


class Tampered(Exception):
    """Not a token of ours, changed on the way, or made for another purpose."""


class Signer:
    """Deterministic: the same payload for the same purpose is the same token, in every process with the secret.

    A token is readable by whoever holds it, so nothing secret belongs in a payload.
    """

    def __init__(self, secret: bytes) -> None:
        if not secret:
            raise ValueError("a signer needs a secret")
        self._secret = secret

    def seal(self, purpose: str, payload: bytes) -> str:
        return to_text(payload + self._mac(purpose, payload))

    def open(self, purpose: str, token: str) -> bytes:
        """The payload. Raises `Tampered`."""
        try:
            sealed = from_text(token)
        except ValueError as malformed:
            raise Tampered("not a token") from malformed
        payload, mac = sealed[:-MAC_BYTES], sealed[-MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(purpose, payload)):
            raise Tampered("made by somebody else or for something else")
        return payload

    def _mac(self, purpose: str, payload: bytes) -> bytes:
        key = hmac.digest(self._secret, purpose.encode(), sha256)
        return hmac.digest(key, payload, sha256)[:MAC_BYTES]


def to_text(content: bytes) -> str:
    """base64url without padding (RFC 4648 §5): safe in URLs and headers."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """The reverse, for what `to_text` writes and nothing that merely decodes to the same. Raises `ValueError`."""
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise ValueError("not base64url")
    content = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_text(content) != text:
        raise ValueError("not the canonical form")
    return content
