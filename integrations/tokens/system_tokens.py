"""System tokens: JWT access tokens (RFC 9068) that we sign for agencies and read again ourselves.

The signing keys follow from the installation's secret and a number (HKDF, RFC 5869): every process has the same ones
without asking anybody. The numbers next to the present one are accepted as well, so that a token lives on while the
number is changed in one process after the other.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from joserfc.jws import JWSRegistry
from joserfc.util import json_b64decode

from domain.client import SYSTEM_SCOPES
from domain.ports import Clock, SystemToken, TokenUnreadable

ALGORITHM = "ES256"
KIND = "at+jwt"
LEEWAY_SECONDS = 60
MUST: Any = {"essential": True}
LONGEST = 4096
"""Characters; a token with every scope has a fifth of it."""

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (SEC 2, 2.4.2)."""
_BYTES = 48
"""128 bits more than the order has, so that taking the remainder favours no key (FIPS 186-5, A.2.1)."""


class EcSystemTokens:
    """`issuer` is this installation's public URL, and whom its tokens are for. `number` says which key signs."""

    def __init__(self, secret: str, number: int, issuer: str, clock: Clock) -> None:
        self._issuer = issuer
        self._clock = clock
        near = [_key(secret, each) for each in range(max(number - 1, 0), number + 2)]
        self._signing = _key(secret, number)
        self._keys = KeySet([*near])
        self._ids = frozenset(key.kid for key in near)
        self._signatures = JWSRegistry(algorithms=[ALGORITHM])

    def sign(self, token: SystemToken) -> str:
        header = {"alg": ALGORITHM, "typ": KIND, "kid": self._signing.kid}
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": token.agency,
            "azp": token.key_id,
            "tenant": token.tenant,
            "scope": " ".join(sorted(token.scopes)),
            "jti": uuid4().hex,
            "iat": int(token.issued_at.timestamp()),
            "nbf": int(token.issued_at.timestamp()),
            "exp": int(token.expires_at.timestamp()),
        }
        return jwt.encode(header, claims, self._signing, registry=self._signatures)

    def read(self, text: str) -> SystemToken:
        try:
            if not self.is_ours(text):
                raise TokenUnreadable("not a system token of this installation")
            claims = jwt.decode(text, self._keys, registry=self._signatures).claims
            self._claims().validate(claims)
            return _token(claims)
        except JoseError as error:
            raise TokenUnreadable(error.error) from None
        except (KeyError, TypeError, ValueError):
            # joserfc lets these through for headers and claims of the wrong shape.
            raise TokenUnreadable("malformed") from None

    def is_ours(self, text: str) -> bool:
        """By a header that is exactly as we write it, so that rubbish costs no signature."""
        header = _header(text)
        return header.get("alg") == ALGORITHM and header.get("typ") == KIND and header.get("kid") in self._ids

    def public_keys(self) -> Mapping[str, Any]:
        return {"keys": [{**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM} for key in self._keys]}

    def _claims(self) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._issuer},
            **dict.fromkeys(("sub", "azp", "tenant", "scope", "exp", "nbf", "iat", "jti"), MUST),
        )


def _header(text: str) -> Mapping[str, Any]:
    """Unchecked. Nothing, for what has none."""
    if len(text) > LONGEST:
        return {}
    try:
        header = json_b64decode(text.partition(".")[0].encode())
    except (TypeError, ValueError):
        return {}
    return header if isinstance(header, dict) and isinstance(header.get("kid"), str) else {}


def _token(claims: Mapping[str, Any]) -> SystemToken:
    """Never more than system scopes, whatever it says."""
    granted = str(claims["scope"]).split()
    return SystemToken(
        agency=str(claims["sub"]),
        key_id=str(claims["azp"]),
        tenant=str(claims["tenant"]),
        scopes=frozenset(scope for scope in SYSTEM_SCOPES if scope in granted),
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )


def _key(secret: str, number: int) -> ECKey:
    info = f"itb system token key {number}".encode()
    derived = HKDF(SHA256(), length=_BYTES, salt=None, info=info).derive(secret.encode())
    private = ec.derive_private_key(int.from_bytes(derived) % (_ORDER - 1) + 1, ec.SECP256R1())
    key: ECKey = ECKey.import_key(private)
    return ECKey.import_key(private, {"kid": key.thumbprint()})
