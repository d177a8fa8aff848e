"""Logs a person in through the browser: to the provider and back, as OpenID Connect's code flow with PKCE and nonce.

The session these functions use holds login attempts and nothing else; who is signed in is kept elsewhere.
"""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import RedirectResponse

from domain.patient import Identity
from domain.ports import Clock
from integrations.oidc.attempts import AttemptTooLarge, LoginAttempt, LoginAttempts
from integrations.oidc.claims import identity_from
from integrations.oidc.provider import OidcSettings
from integrations.oidc.strict import DEADLINE_SECONDS, NotBelieved, StrictClient

__all__ = ["BrowserLogin", "LoginAttempt", "LoginFailed", "LoginProblem"]

UNREACHABLE = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError)
UNBELIEVABLE = (AuthlibBaseError, JoseError, AttributeError, KeyError, RuntimeError, TypeError, ValueError)
"""What Authlib and joserfc raise for answers of the wrong shape, besides their own errors."""


class LoginProblem(StrEnum):
    """Why a login came to nothing."""

    CANCELLED = "CANCELLED"  # the person turned back at the provider
    UNKNOWN_STATE = "UNKNOWN_STATE"  # not begun in this browser, already used, or too long ago
    PROVIDER_REFUSED = "PROVIDER_REFUSED"  # it answered with an error
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"  # no usable answer within the deadline
    NOT_BELIEVED = "NOT_BELIEVED"  # its answer failed a check
    RETURN_TO_TOO_LONG = "RETURN_TO_TOO_LONG"


class LoginFailed(Exception):
    """The login did not succeed; `attempt`, where known, says where the person wanted to go.

    `detail` is for the log: a short code, never a token or a person's claims.
    """

    def __init__(self, reason: LoginProblem, detail: str = "", attempt: LoginAttempt | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason, self.detail, self.attempt = reason, detail, attempt


class BrowserLogin:
    """Logins at all providers, by the name each has in our settings."""

    def __init__(self, providers: Mapping[str, OidcSettings], clock: Clock) -> None:
        self._attempts = LoginAttempts(clock)
        self._clock = clock
        self._providers = dict(providers)
        self._clients = {name: StrictClient(each, self._attempts, clock) for name, each in providers.items()}

    async def start(
        self, request: Request, redirect_uri: str, attempt: LoginAttempt, *, login_hint: str | None = None
    ) -> RedirectResponse:
        """Sends the browser to the attempt's provider, to come back to `redirect_uri`. Raises `LoginFailed`."""
        client = self._clients[attempt.provider]
        asked = self._extra_parameters(attempt, login_hint)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                began = await client.create_authorization_url(redirect_uri, **asked)
        except (*UNREACHABLE, *UNBELIEVABLE) as error:
            raise LoginFailed(LoginProblem.PROVIDER_UNAVAILABLE, type(error).__name__, attempt) from error
        proof = {"redirect_uri": redirect_uri, "nonce": began["nonce"], "code_verifier": began["code_verifier"]}
        try:
            self._attempts.remember(request.session, began["state"], attempt, proof)
        except AttemptTooLarge as error:
            raise LoginFailed(LoginProblem.RETURN_TO_TOO_LONG, attempt=attempt) from error
        return RedirectResponse(began["url"], 302, {"Cache-Control": "no-store"})

    def _extra_parameters(self, attempt: LoginAttempt, login_hint: str | None) -> dict[str, Any]:
        settings = self._providers[attempt.provider]
        asked = {
            "kc_idp_hint": settings.kc_idp_hint,
            "acr_values": settings.acr_values,
            "max_age": attempt.max_age,
            "login_hint": login_hint,
        }
        return {name: value for name, value in asked.items() if value is not None}

    async def finish(self, request: Request) -> tuple[Identity, LoginAttempt]:
        """Who came back, verified, and the attempt that brought them; each state works once. Raises `LoginFailed`."""
        state = request.query_params.get("state")
        attempt = self._attempts.attempt(request.session, state)
        if attempt is None or attempt.provider not in self._clients:
            raise LoginFailed(LoginProblem.UNKNOWN_STATE)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                token = await self._clients[attempt.provider].authorize_access_token(request, max_age=attempt.max_age)
            settings = self._providers[attempt.provider]
            return identity_from(token["userinfo"], settings, today=self._clock.now().date()), attempt
        except UNREACHABLE as error:
            raise LoginFailed(LoginProblem.PROVIDER_UNAVAILABLE, type(error).__name__, attempt) from error
        except UNBELIEVABLE as error:
            raise LoginFailed(_problem(error), _detail(error), attempt) from error
        finally:
            await self._attempts.clear_state_data(request.session, state)


def _problem(error: Exception) -> LoginProblem:
    """An OAuth error is the provider's own no, unless it is one of our checks."""
    if isinstance(error, NotBelieved) or not isinstance(error, AuthlibBaseError):
        return LoginProblem.NOT_BELIEVED
    return LoginProblem.CANCELLED if _detail(error) == "access_denied" else LoginProblem.PROVIDER_REFUSED


def _detail(error: Exception) -> str:
    """The error's own code, cut short: the provider may have written it."""
    return str(getattr(error, "error", None) or type(error).__name__)[:60]
