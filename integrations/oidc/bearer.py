"""Reads the access tokens that mobile apps and agencies' servers bring, and refuses all that is not one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from domain.patient import Identity
from domain.ports import Clock
from integrations.oidc.claims import UnusableClaims, identity_from
from integrations.oidc.keys import IdentityProviderUnavailable, KeyRing
from integrations.oidc.provider import OidcSettings
from integrations.oidc.signed import LEEWAY_SECONDS, SignedTokens, TokenRefused

__all__ = ["BearerTokens", "IdentityProviderUnavailable", "TokenRefused"]

ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash"})


class BearerTokens:
    """Access tokens of any provider that the caller accepts."""

    def __init__(self, clock: Clock, keys: KeyRing | None = None) -> None:
        self._clock = clock
        self._signed = SignedTokens(keys or KeyRing(clock))

    async def identity(self, token: str, accepted: Sequence[OidcSettings]) -> Identity:
        """The person the token stands for. Raises `TokenRefused` or `IdentityProviderUnavailable`.

        Several of `accepted` may be of one issuer: one that knows the person's national number goes first.
        """
        claims, theirs = await self._signed.claims(token, accepted, ACCESS_TOKEN_TYPES)
        _check_level(claims, theirs)
        people = self._people(claims, theirs)
        person = next((each for each in people if each.national_id), people[0])
        return replace(person, by_own_app=any(_is_own(claims, each) for each in theirs))

    def _people(self, claims: Mapping[str, Any], theirs: Sequence[OidcSettings]) -> Sequence[Identity]:
        """The person as each of the settings reads the claims; at least one does, or it raises `TokenRefused`."""
        people, refused = [], TokenRefused("nobody reads it")
        for each in theirs:
            try:
                self._check_claims(claims, each)
                people.append(identity_from(claims, each, today=self._clock.now().date()))
            except JoseError as error:
                refused = TokenRefused(error.error)
            except UnusableClaims as error:
                refused = TokenRefused(f"unusable claims: {error}")
            except (TypeError, ValueError):
                refused = TokenRefused("malformed")
            except TokenRefused as error:
                refused = error
        if not people:
            raise refused from None
        return people

    def _check_claims(self, claims: Mapping[str, Any], settings: OidcSettings) -> None:
        if ID_TOKEN_CLAIMS & claims.keys():
            raise TokenRefused("an ID token is no access token")
        now = int(self._clock.now().timestamp())
        expected = jwt.JWTClaimsRegistry(
            now=now,
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        expected.validate(dict(claims))
        if settings.tenant and claims.get("tenant") != settings.tenant:
            raise TokenRefused("another tenant's")
        if claims.get("auth_time", 0) > now + LEEWAY_SECONDS:
            raise TokenRefused("a login that is still to come")


def _check_level(claims: Mapping[str, Any], theirs: Sequence[OidcSettings]) -> None:
    """A token does not say by which of a broker's methods its person came: where one of them must be of a level, any
    must, or an app could choose the method that asks for none. Raises `TokenRefused`.
    """
    audience = claims.get("aud")
    told = audience if isinstance(audience, list) else [audience]
    prefixes = tuple(prefix for each in theirs if each.audience in told for prefix in each.acr_prefixes)
    if prefixes and not str(claims.get("acr", "")).startswith(prefixes):
        raise TokenRefused("level of assurance")


def _is_own(claims: Mapping[str, Any], settings: OidcSettings) -> bool:
    """By the client that the token was given to: `client_id` (RFC 9068), at older providers `azp`."""
    return claims.get("client_id", claims.get("azp")) in (settings.client_id, *settings.app_clients)
