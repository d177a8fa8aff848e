"""Reads the access tokens that mobile apps and agencies' servers bring, and refuses all that is not one."""

from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.util import json_b64decode

from domain.patient import Identity
from domain.ports import Clock
from integrations.oidc.claims import UnusableClaims, identity_from
from integrations.oidc.keys import IdentityProviderUnavailable, ProviderKeys
from integrations.oidc.provider import OidcSettings

__all__ = ["BearerTokens", "IdentityProviderUnavailable", "TokenRefused"]

LEEWAY_SECONDS = 60
ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
PLAIN_TYPES = frozenset({"jwt", ""})
ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash"})


class TokenRefused(Exception):
    """No valid access token for us. The message is a short reason, without anything out of the token."""


class BearerTokens:
    """The access tokens of one provider."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = ProviderKeys(settings, clock)
        # Unknown header fields are ignored, as RFC 7515 asks; `crit` and known ones are checked all the same.
        self._signatures = JWSRegistry(algorithms=list(settings.algorithms), strict_check_header=False)

    async def identity(self, token: str) -> Identity:
        """The person the token stands for. Raises `TokenRefused` or `IdentityProviderUnavailable`."""
        try:
            kid = self._kid_of_acceptable_header(token)
            keys = await self._keys.for_kid(kid)
            claims = jwt.decode(token, keys, registry=self._signatures).claims
            self._check_claims(claims)
            return identity_from(claims, self._settings, today=self._clock.now().date())
        except JoseError as error:
            raise TokenRefused(error.error) from None
        except UnusableClaims as error:
            raise TokenRefused(f"unusable claims: {error}") from None
        except (TypeError, ValueError):
            # joserfc lets these through for headers and keys of the wrong shape.
            raise TokenRefused("malformed") from None

    def _kid_of_acceptable_header(self, token: str) -> str | None:
        """The key id, read before the signature is checked so that rubbish never reaches the provider."""
        header = json_b64decode(token.partition(".")[0].encode())
        if not isinstance(header, dict) or header.get("alg") not in self._settings.algorithms:
            raise TokenRefused("algorithm not allowed")
        kind = str(header.get("typ", "")).lower()
        if kind not in ACCESS_TOKEN_TYPES and not (self._settings.plain_jwt_allowed and kind in PLAIN_TYPES):
            raise TokenRefused("not an access token")
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenRefused("malformed")
        return kid

    def _check_claims(self, claims: Mapping[str, Any]) -> None:
        if ID_TOKEN_CLAIMS & claims.keys():
            raise TokenRefused("an ID token is no access token")
        expected = jwt.JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": self._settings.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        expected.validate(dict(claims))
        acr = str(claims.get("acr", ""))
        if self._settings.acr_prefixes and not acr.startswith(self._settings.acr_prefixes):
            raise TokenRefused("level of assurance")
