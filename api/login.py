"""Sign a browser in: to the identity provider and back, with the held time kept."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode
from uuid import UUID, uuid4

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from api.attempt_cookies import AttemptCookies
from api.auth import cookie_name
from api.errors import BadInput, Forbidden, RateLimited
from api.http import refusal
from api.languages import wanted_languages
from api.limits import Limits
from api.messages import message
from api.return_to import first_home, return_to_allowed
from api.signing import Signer, Tampered
from api.tenants import TenantDirectory, reached_under
from domain.audit import Actor, ActorKind
from domain.patient import Identity, ProviderLogin
from domain.tenant import IdentityProvider, Tenant
from domain.text import LANGUAGES
from domain.usecases import UseCases
from domain.usecases.sign_in import SignedOut, tenant_of

log = logging.getLogger(__name__)

FRESH_SECONDS = 60
"""How old a login at the provider may be, where somebody who is signed in signs in again."""


class Attempt(Protocol):
    """What a browser brought along when its login began."""

    @property
    def provider(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def return_to(self) -> str: ...
    @property
    def hold_token(self) -> str | None: ...
    @property
    def max_age(self) -> int | None: ...


class BrowserLogin(Protocol):
    def start(
        self, request: Request, redirect_uri: str, attempt: Any, settings: Any, *, login_hint: str | None = None
    ) -> Awaitable[Response]: ...
    def begun(self, request: Request, provider: str) -> Attempt: ...
    def finish(self, request: Request, attempt: Any, settings: Any) -> Awaitable[tuple[Identity, ProviderLogin]]: ...


@dataclass(frozen=True, kw_only=True)
class Login:
    """`failed` is what the provider's side raises; `attempt` makes an attempt's data, `settings_for` a provider's
    settings."""

    browser: BrowserLogin
    attempt: type[Any]
    settings_for: Callable[[Tenant, IdentityProvider], Any]
    failed: type[Exception]
    tenants: TenantDirectory
    use: UseCases
    signer: Signer
    limits: Limits
    base_url: str
    https: bool

    def route(self) -> BaseRoute:
        """All under /login. Its signed cookies carry login attempts only, never who is signed in."""
        attempts = Middleware(AttemptCookies, signer=self.signer, https=self.https)
        finish = limited(self.finish, self.limits.login_comes_back)
        start = limited(self.start, self.limits.login)
        routes = [Route("/callback/{provider}", finish), Route("/callback", finish), Route("/{provider}", start)]
        return Mount("/login", routes=routes, middleware=[attempts])

    async def start(self, request: Request) -> Response:
        try:
            tenant = await self.tenants.of(host=request.headers.get("host"), slug=request.query_params.get("tenant"))
        except (BadInput, Forbidden) as refused:
            return refusal(refused, uuid4().hex)
        provider = tenant.identity_provider(request.path_params["provider"])
        if provider is None:
            return refusal(BadInput("There is no such way to sign in."), uuid4().hex, 404)
        return_to = request.query_params.get("returnTo", "")
        if not return_to_allowed(tenant, return_to):
            return refusal(BadInput("returnTo is not among this tenant's addresses."), uuid4().hex)
        attempt = self.attempt(
            provider=provider.id,
            tenant_id=tenant.slug,
            return_to=return_to,
            hold_token=request.query_params.get("holdToken"),
            max_age=FRESH_SECONDS if await self._is_signed_in(request, tenant) else None,
        )
        return await self._begin(request, tenant, provider, attempt, request.query_params.get("login_hint"))

    async def _begin(
        self, request: Request, tenant: Tenant, provider: IdentityProvider, attempt: Any, hint: str | None = None
    ) -> Response:
        back = self._back(request, tenant, provider)
        try:
            settings = self.settings_for(tenant, provider)
            return await self.browser.start(request, back, attempt, settings, login_hint=hint)
        except self.failed as failure:
            return _failed(failure, attempt.return_to)

    def _back(self, request: Request, tenant: Tenant, provider: IdentityProvider) -> str:
        """An address for each provider: whose answer it is can be told by nothing else, where it does not say so."""
        return f"{reached_under(tenant, request.headers.get('host'), self.base_url)}/login/callback/{provider.id}"

    async def _is_signed_in(self, request: Request, tenant: Tenant) -> bool:
        """Who signs in again does so because something asks for a fresh login, or as somebody else."""
        secret = request.cookies.get(cookie_name(self.https))
        return bool(secret and await self.use.sign_in.viewer(tenant, secret, touch=False))

    async def finish(self, request: Request) -> Response:
        try:
            attempt = self.browser.begun(request, request.path_params.get("provider", ""))
        except self.failed as failure:
            return await self._came_to_nothing(request, failure, getattr(failure, "attempt", None))
        try:
            tenant = await self.tenants.of(host=request.headers.get("host"), slug=attempt.tenant_id)
            provider = tenant.identity_provider(attempt.provider)
            if provider is None:  # gone since the login began
                return _failed(LookupError("provider"), attempt.return_to)
            settings = self.settings_for(tenant, provider)
            identity, login = await self.browser.finish(request, attempt, settings)
        except self.failed as failure:
            return await self._came_to_nothing(request, failure, attempt)
        except (BadInput, Forbidden) as refused:
            return refusal(refused, uuid4().hex)
        try:
            return await self._signed_in(request, tenant, identity, login, attempt)
        except SignedOut as over:
            return await self._ask_again(request, tenant, provider, attempt, over)

    async def _ask_again(
        self, request: Request, tenant: Tenant, provider: IdentityProvider, attempt: Attempt, over: SignedOut
    ) -> Response:
        """The provider went by what it remembers, which may be whoever has found the computer: it is to ask for a login
        after the sign-out, once."""
        if attempt.max_age is not None:
            return await self._came_to_nothing(request, over, attempt)
        again = self.attempt(
            provider=provider.id,
            tenant_id=attempt.tenant_id,
            return_to=attempt.return_to,
            hold_token=attempt.hold_token,
            max_age=max(1, min(FRESH_SECONDS, int(over.ago.total_seconds()))),
        )
        return await self._begin(request, tenant, provider, again)

    async def _came_to_nothing(self, request: Request, failure: Exception, attempt: Attempt | None) -> Response:
        if attempt is None:  # any page can send somebody here, and must not use up their tries
            home = await self._home(request)
            return _failed(failure, home) if home else _astray(failure, request)
        await self.limits.login_failed(request)
        return _failed(failure, attempt.return_to)

    async def _home(self, request: Request) -> str | None:
        """The first page of whose host it is."""
        try:
            tenant = await self.tenants.of(host=request.headers.get("host"), slug=None)
        except BadInput:
            return None
        return first_home(tenant)

    async def _signed_in(
        self, request: Request, tenant: Tenant, identity: Identity, login: ProviderLogin, attempt: Attempt
    ) -> Response:
        """Raises `SignedOut`."""
        request_id, name = str(uuid4()), cookie_name(self.https)
        former = request.cookies.get(name)
        secret, viewer = await self.use.sign_in.open_session(tenant, identity, request_id, login=login, former=former)
        await self._end_elsewhere(tenant, former)
        if hold_id := self._hold_id(tenant, attempt.hold_token):
            actor = Actor(kind=ActorKind.PATIENT, id=str(viewer.patient.id), request_id=request_id)
            await self.use.renew_hold(tenant, actor, viewer.patient, hold_id)
        response = RedirectResponse(attempt.return_to, status_code=303)
        response.set_cookie(name, secret, httponly=True, secure=self.https, samesite="lax", path="/")
        return response

    async def _end_elsewhere(self, tenant: Tenant, former: str | None) -> None:
        """A browser has one session at a host, whichever tenants it is served for: the other tenant's ends."""
        slug = tenant_of(former) if former else ""
        try:
            other = await self.tenants.of(host=None, slug=slug) if slug else tenant
        except BadInput:
            return
        if former and other.id != tenant.id:
            await self.use.sign_in.end_former(other, former)

    def _hold_id(self, tenant: Tenant, token: str | None) -> UUID | None:
        """A spoilt token costs the renewal, not the login."""
        try:
            return UUID(bytes=self.signer.open(f"hold:{tenant.id}", token)) if token else None
        except (Tampered, ValueError):
            return None


def limited(
    handle: Callable[[Request], Awaitable[Response]], take: Callable[..., Awaitable[None]]
) -> Callable[[Request], Awaitable[Response]]:
    """Asks `take` first, which may raise `RateLimited`."""

    async def limited(request: Request) -> Response:
        try:
            await take(request, _languages(request))
        except RateLimited as refused:
            return refusal(refused, uuid4().hex)
        return await handle(request)

    return limited


def _failed(failure: Exception, return_to: str) -> Response:
    """Back to where the person came from, with a word for the frontend."""
    _note(failure)
    address, hash, fragment = return_to.partition("#")
    mark = "&" if "?" in address else "?"
    return RedirectResponse(address + mark + urlencode({"login": "failed"}) + hash + fragment, status_code=303)


def _astray(failure: Exception, request: Request) -> Response:
    """For a person of whom nothing is known but that they came back."""
    _note(failure)
    words = message("LOGIN_ASTRAY", _languages(request))
    return PlainTextResponse(f"{words}\n", 400, {"Cache-Control": "no-store"})


def _note(failure: Exception) -> None:
    log.info("login failed: %s", getattr(failure, "reason", type(failure).__name__))


def _languages(request: Request) -> Sequence[str]:
    return wanted_languages(request.headers.get("accept-language"), LANGUAGES, LANGUAGES[0])
