"""Whose signature a token bears: only that of an issuer we know, by its own keys, and on the right kind of token."""

from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.util import json_b64decode

from integrations.oidc.keys import KeyRing
from integrations.oidc.provider import OidcSettings

LEEWAY_SECONDS = 60
PLAIN_TYPES = frozenset({"jwt", ""})


class TokenRefused(Exception):
    """No valid token for us. The message is a short reason, without anything out of the token."""


class SignedTokens:
    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    async def claims(
        self, token: str, accepted: Sequence[OidcSettings], kinds: frozenset[str]
    ) -> tuple[Mapping[str, Any], Sequence[OidcSettings]]:
        """The claims, signed by their issuer, and those of `accepted` that are that issuer's; the rest of the claims is
        for the caller to check. `kinds` are the types (`typ`) that will do.

        An issuer that is not accepted, and rubbish, are refused without asking anybody. Raises `TokenRefused` or
        `IdentityProviderUnavailable`.
        """
        try:
            header, told = (json_b64decode(part.encode()) for part in [*token.split("."), "", ""][:2])
            theirs = _candidates(header, told, accepted, kinds)
            kid = header.get("kid")
            if kid is not None and not isinstance(kid, str):
                raise TokenRefused("malformed")
            keys = await self._keys.of(theirs[0]).for_kid(kid)
            return jwt.decode(token, keys, registry=_signatures(theirs)).claims, theirs
        except JoseError as error:
            raise TokenRefused(error.error) from None
        except (AttributeError, TypeError, ValueError, RecursionError):
            # joserfc lets these through for headers and keys of the wrong shape.
            raise TokenRefused("malformed") from None


def _candidates(
    header: Any, told: Any, accepted: Sequence[OidcSettings], kinds: frozenset[str]
) -> Sequence[OidcSettings]:
    """Read before the signature is checked, to know whose keys to check it by. Raises `TokenRefused`."""
    if not isinstance(header, dict) or not isinstance(told, dict):
        raise TokenRefused("malformed")
    theirs = [each for each in accepted if each.issuer == told.get("iss")]
    if not theirs:
        raise TokenRefused("issuer not accepted")
    theirs = [each for each in theirs if header.get("alg") in each.algorithms]
    if not theirs:
        raise TokenRefused("algorithm not allowed")
    kind = str(header.get("typ", "")).lower()
    theirs = [each for each in theirs if kind in kinds or (each.plain_jwt_allowed and kind in PLAIN_TYPES)]
    if not theirs:
        raise TokenRefused("another kind of token")
    return theirs


def _signatures(theirs: Sequence[OidcSettings]) -> JWSRegistry:
    """Unknown header fields are ignored, as RFC 7515 asks; `crit` and known ones are checked all the same."""
    algorithms = {algorithm for each in theirs for algorithm in each.algorithms}
    return JWSRegistry(algorithms=sorted(algorithms), strict_check_header=False)
