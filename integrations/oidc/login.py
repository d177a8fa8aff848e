"""Logs a person in through the browser: to the provider and back, as OpenID Connect's code flow with PKCE and nonce.

The session these functions use holds login attempts and nothing else; who is signed in is kept elsewhere.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

import httpx2
from authlib.common.errors import AuthlibBaseError
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import RedirectResponse

from domain.patient import Identity, ProviderLogin
from domain.ports import Clock
from integrations.oidc.attempts import AttemptTooLarge, LoginAttempt, LoginAttempts
from integrations.oidc.claims import SubjectNotOpaque, identity_from
from integrations.oidc.kept import IdentityProviderUnavailable
from integrations.oidc.provider import OidcSettings
from integrations.oidc.strict import DEADLINE_SECONDS, NotBelieved, StrictClient, tells_of_the_person

__all__ = ["BrowserLogin", "Ending", "LoginAttempt", "LoginFailed", "LoginProblem"]

UNREACHABLE = (IdentityProviderUnavailable, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, TimeoutError)
UNBELIEVABLE = (
    *(AuthlibBaseError, JoseError),
    *(AttributeError, KeyError, OverflowError, RuntimeError, TypeError, ValueError),
)
"""What Authlib and joserfc raise for answers of the wrong shape, besides their own errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Where to send a browser to end its login, and with what; `is_personal` things do not belong in an address."""

    url: str
    parameters: Mapping[str, str] = field(repr=False)
    is_personal: bool


class LoginProblem(StrEnum):
    """Why a login came to nothing."""

    CANCELLED = "CANCELLED"  # the person turned back at the provider
    UNKNOWN_STATE = "UNKNOWN_STATE"  # not begun in this browser, already used, or too long ago
    MIXED_UP = "MIXED_UP"  # it came back at another provider's address
    PROVIDER_REFUSED = "PROVIDER_REFUSED"  # it answered with an error
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"  # no usable answer within the deadline
    NOT_BELIEVED = "NOT_BELIEVED"  # its answer failed a check
    SUBJECT_NOT_OPAQUE = "SUBJECT_NOT_OPAQUE"  # it names people by a number, address or name of theirs
    RETURN_TO_TOO_LONG = "RETURN_TO_TOO_LONG"


class LoginFailed(Exception):
    """The login did not succeed; `attempt`, where known, says where the person wanted to go.

    `detail` is for the log: a short code, never a token or a person's claims.
    """

    def __init__(self, reason: LoginProblem, detail: str = "", attempt: LoginAttempt | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason, self.detail, self.attempt = reason, detail, attempt


class BrowserLogin:
    """Logins at whatever provider the caller has settings of; our clients there are kept for a while."""

    def __init__(self, clock: Clock, most_clients: int = 500) -> None:
        self._attempts = LoginAttempts(clock)
        self._clock = clock
        self._client = lru_cache(most_clients)(self._new_client)

    def _new_client(self, settings: OidcSettings) -> StrictClient:
        return StrictClient(settings, self._attempts, self._clock)

    async def start(
        self,
        request: Request,
        redirect_uri: str,
        attempt: LoginAttempt,
        settings: OidcSettings,
        *,
        login_hint: str | None = None,
    ) -> RedirectResponse:
        """Sends the browser to the attempt's provider, to come back to `redirect_uri`. Raises `LoginFailed`.

        `login_hint` names somebody, and stands in an address: it is passed on for synthetic people only.
        """
        asked = _extra_parameters(settings, attempt, login_hint)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                began = await self._client(settings).create_authorization_url(redirect_uri, **asked)
        except (*UNREACHABLE, *UNBELIEVABLE) as error:
            raise LoginFailed(LoginProblem.PROVIDER_UNAVAILABLE, type(error).__name__, attempt) from error
        proof = {"redirect_uri": redirect_uri, "nonce": began["nonce"], "code_verifier": began["code_verifier"]}
        try:
            self._attempts.remember(request.session, began["state"], attempt, {**proof, "issuer": settings.issuer})
        except AttemptTooLarge as error:
            raise LoginFailed(LoginProblem.RETURN_TO_TOO_LONG, attempt=attempt) from error
        return RedirectResponse(began["url"], 302, {"Cache-Control": "no-store"})

    def begun(self, request: Request, provider: str) -> LoginAttempt:
        """The attempt that whoever comes back, at that provider's address, began in this browser.

        One that began at another provider is used up: a provider may pass our requests on to another, for the code that
        comes of it to be given to itself (RFC 9700 §4.4). Raises `LoginFailed`.
        """
        state = request.query_params.get("state")
        attempt = self._attempts.attempt(request.session, state)
        if attempt is None:
            raise LoginFailed(LoginProblem.UNKNOWN_STATE)
        if attempt.provider != provider:
            self._attempts.forget(request.session, state)
            raise LoginFailed(LoginProblem.MIXED_UP, attempt=attempt)
        return attempt

    async def finish(
        self, request: Request, attempt: LoginAttempt, settings: OidcSettings
    ) -> tuple[Identity, ProviderLogin]:
        """Who came back, verified; each state works once. Raises `LoginFailed`."""
        state = request.query_params.get("state")
        try:
            proof = await self._attempts.get_state_data(request.session, state)
            if proof is None or proof["issuer"] != settings.issuer:  # a code goes to the issuer it was asked from
                raise LoginFailed(LoginProblem.UNKNOWN_STATE, attempt=attempt)
            async with asyncio.timeout(DEADLINE_SECONDS):
                token = await self._client(settings).authorize_access_token(request, max_age=attempt.max_age)
            identity = identity_from(token["userinfo"], settings, today=self._clock.now().date())
            return identity, _kept(attempt, identity, token)
        except UNREACHABLE as error:
            raise LoginFailed(LoginProblem.PROVIDER_UNAVAILABLE, type(error).__name__, attempt) from error
        except UNBELIEVABLE as error:
            raise LoginFailed(_problem(error), _detail(error), attempt) from error
        finally:
            self._attempts.forget(request.session, state)

    async def ending(self, settings: OidcSettings, login: ProviderLogin, back_to: str, state: str) -> Ending | None:
        """How to end the login at its provider as well (OpenID Connect RP-Initiated Logout 1.0).

        None where the provider does not offer it, does not answer, or is another by now: here it is ended already.
        """
        if login.issuer != settings.issuer:
            return None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                metadata = await self._client(settings).load_server_metadata()
        except (*UNREACHABLE, *UNBELIEVABLE):
            return None
        if "end_session_endpoint" not in metadata:
            return None
        asked = {"client_id": settings.client_id, "post_logout_redirect_uri": back_to, "state": state}
        hint = {"id_token_hint": login.id_token} if login.id_token else {}
        today = self._clock.now().date()
        tells = login.id_token is not None and tells_of_the_person(login.id_token, today)
        return Ending(url=str(metadata["end_session_endpoint"]), parameters={**hint, **asked}, is_personal=tells)


def _extra_parameters(settings: OidcSettings, attempt: LoginAttempt, login_hint: str | None) -> dict[str, Any]:
    asked = {
        "kc_idp_hint": settings.kc_idp_hint,
        "acr_values": settings.acr_values,
        "max_age": attempt.max_age,
        "login_hint": login_hint if settings.synthetic_allowed else None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _kept(attempt: LoginAttempt, identity: Identity, token: Mapping[str, Any]) -> ProviderLogin:
    sid, refresh = token["userinfo"].get("sid"), token.get("refresh_token")
    return ProviderLogin(
        provider=attempt.provider,
        issuer=identity.issuer,
        subject=identity.subject,
        sid=sid if isinstance(sid, str) else None,
        id_token=token["id_token"],
        refresh_token=refresh if isinstance(refresh, str) else None,
    )


def _problem(error: Exception) -> LoginProblem:
    """An OAuth error is the provider's own no, unless it is one of our checks."""
    if isinstance(error, SubjectNotOpaque):
        return LoginProblem.SUBJECT_NOT_OPAQUE
    if isinstance(error, NotBelieved) or not isinstance(error, AuthlibBaseError):
        return LoginProblem.NOT_BELIEVED
    return LoginProblem.CANCELLED if _detail(error) == "access_denied" else LoginProblem.PROVIDER_REFUSED


def _detail(error: Exception) -> str:
    """The error's own code, cut short: the provider may have written it."""
    return str(getattr(error, "error", None) or type(error).__name__)[:60]
