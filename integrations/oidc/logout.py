"""Reads the logout tokens that providers send (OpenID Connect Back-Channel Logout 1.0, section 2.6)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from domain.patient import LogoutToken
from domain.ports import Clock
from integrations.oidc.keys import KeyRing
from integrations.oidc.provider import OidcSettings
from integrations.oidc.signed import LEEWAY_SECONDS, SignedTokens, TokenRefused

LOGOUT_TOKEN_TYPES = frozenset({"logout+jwt", "application/logout+jwt"})
EVENT = "http://schemas.openid.net/event/backchannel-logout"
LONGEST = 3600
"""Seconds that such a token may be good for: as long its `jti` has to be remembered."""


class LogoutTokens:
    def __init__(self, clock: Clock, keys: KeyRing) -> None:
        self._clock = clock
        self._signed = SignedTokens(keys)

    async def read(self, token: str, accepted: Sequence[OidcSettings]) -> LogoutToken:
        """What is over. Whether the token was here before is for the caller to know.

        Raises `TokenRefused` or `IdentityProviderUnavailable`.
        """
        claims, theirs = await self._signed.claims(token, accepted, LOGOUT_TOKEN_TYPES)
        refused: Exception = TokenRefused("nobody reads it")
        for each in theirs:
            try:
                return self._checked(claims, each)
            except (JoseError, TypeError, ValueError, OverflowError) as error:
                refused = TokenRefused(getattr(error, "error", "malformed"))
            except TokenRefused as error:
                refused = error
        raise refused from None

    def _checked(self, claims: Mapping[str, Any], settings: OidcSettings) -> LogoutToken:
        now = int(self._clock.now().timestamp())
        expected = jwt.JWTClaimsRegistry(
            now=now,
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": settings.issuer},
            aud={"essential": True, "value": settings.client_id},
            iat={"essential": True},
            exp={"essential": True},
            jti={"essential": True},
            events={"essential": True},
        )
        expected.validate(dict(claims))
        if not settings.is_for_nobody_else(claims["aud"]):
            raise TokenRefused("for others as well")
        if "nonce" in claims:
            raise TokenRefused("an ID token is no logout token")
        if not _is_logout(claims["events"]):
            raise TokenRefused("another event")
        if claims["exp"] > now + LONGEST:
            raise TokenRefused("good for too long")
        sid, subject, jti = (_text(claims, name) for name in ("sid", "sub", "jti"))
        if jti is None or (sid is None and subject is None):
            raise TokenRefused("about nobody")
        until = datetime.fromtimestamp(claims["exp"], UTC) + timedelta(seconds=LEEWAY_SECONDS)
        return LogoutToken(issuer=settings.issuer, jti=jti, sid=sid, subject=subject, expires_at=until)


def _is_logout(events: object) -> bool:
    return isinstance(events, dict) and isinstance(events.get(EVENT), dict)


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    """None where it is absent. Raises `TokenRefused` for anything but text."""
    value = claims.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise TokenRefused(f"{name} is not text")
    return value
