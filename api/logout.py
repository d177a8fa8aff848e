"""Sign a browser out, here and at its identity provider; and hear from providers who was signed out there."""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from api.auth import cookie_name, forget_cookie
from api.cross_site import is_cross_site
from api.errors import BadInput, Forbidden, RateLimited
from api.http import refusal
from api.languages import wanted_languages
from api.limits import Limits
from api.login import limited
from api.return_to import return_to_allowed
from api.signing import Signer, Tampered
from api.tenants import TenantDirectory, reached_under
from domain.patient import LogoutToken, ProviderLogin
from domain.tenant import IdentityProvider, Tenant
from domain.usecases import UseCases
from domain.usecases.sign_in import tenant_of
from domain.usecases.sign_out import HearLogout

MOST_BYTES = 64 * 1024
"""Of what a provider sends; a logout token is a hundredth of it."""

NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

GO_ON = {"nb": "Fortsett utloggingen", "sv": "Fortsätt utloggningen", "en": "Continue signing out"}

PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{words}</title></head><body>
<form method="post" action="{url}">{hidden}<button>{words}</button></form>
<script nonce="{nonce}">document.forms[0].submit()</script>
</body></html>
"""


class Ending(Protocol):
    """Where the provider ends a login, with what, and whether that tells of the person."""

    @property
    def url(self) -> str: ...
    @property
    def parameters(self) -> Mapping[str, str]: ...
    @property
    def is_personal(self) -> bool: ...


class BrowserEnding(Protocol):
    def ending(self, settings: Any, login: ProviderLogin, back_to: str, state: str) -> Awaitable[Ending | None]: ...


@dataclass(frozen=True, kw_only=True)
class Logout:
    """The browser's own way out. What it was given is worth nothing from the first answer on."""

    browser: BrowserEnding
    settings_for: Callable[[Tenant, IdentityProvider], Any]
    failed: type[Exception]
    tenants: TenantDirectory
    use: UseCases
    signer: Signer
    limits: Limits
    base_url: str
    https: bool

    def routes(self) -> list[BaseRoute]:
        return [Route("/logout", self.leave, methods=["GET", "POST"]), Route("/logout/done", self.done)]

    async def leave(self, request: Request) -> Response:
        if is_cross_site(request.headers):
            return refusal(Forbidden("Another site may not sign anybody out."), uuid4().hex)
        return_to, secret = request.query_params.get("returnTo", ""), request.cookies.get(cookie_name(self.https))
        own = await self._signed_in_at(secret)
        named = request.query_params.get("tenant") or (own.slug if own else None)
        try:
            tenant = await self.tenants.of(host=request.headers.get("host"), slug=named)
        except (BadInput, Forbidden) as refused:
            return refusal(refused, uuid4().hex)
        if not return_to_allowed(tenant, return_to):
            return refusal(BadInput("returnTo is not among this tenant's addresses."), uuid4().hex)
        try:
            await self.limits.operation(request, tenant.id, viewer=secret, languages=_languages(request, tenant))
        except RateLimited as refused:
            return refusal(refused, uuid4().hex)
        ending = await self._ended(request, own, secret, tenant, return_to) if own and secret else None
        response = _sent(ending, request, tenant) if ending else RedirectResponse(return_to, 303, NO_STORE)
        forget_cookie(response, https=self.https)
        return response

    async def _signed_in_at(self, secret: str | None) -> Tenant | None:
        """Whose session it is, whichever tenant of the host is left for; None for one that is over or was none."""
        try:
            own = await self.tenants.of(host=None, slug=tenant_of(secret)) if secret else None
        except BadInput:
            return None
        return own if own and secret and await self.use.sign_in.viewer(own, secret, touch=False) else None

    async def _ended(self, request: Request, own: Tenant, secret: str, tenant: Tenant, return_to: str) -> Ending | None:
        """The `own` tenant's session, and where the browser goes on to end the login as well; from there back here."""
        login = await self.use.sign_out(own, secret, str(uuid4()))
        provider = own.identity_provider(login.provider) if login else None
        if login is None or provider is None:
            return None
        state = self.signer.seal("logout", json.dumps([tenant.slug, return_to]).encode())
        here = reached_under(tenant, request.headers.get("host"), self.base_url)
        try:
            settings = self.settings_for(own, provider)
        except self.failed:
            return None
        return await self.browser.ending(settings, login, f"{here}/logout/done", state)

    async def done(self, request: Request) -> Response:
        """Back from the provider: on to where the browser was to end up."""
        try:
            slug, return_to = json.loads(self.signer.open("logout", request.query_params.get("state", "")))
            tenant = await self.tenants.of(host=None, slug=slug)
        except (Tampered, ValueError, BadInput):
            return refusal(BadInput("Nobody was signing out with this address."), uuid4().hex)
        if not return_to_allowed(tenant, return_to):  # no longer
            return refusal(BadInput("returnTo is not among this tenant's addresses."), uuid4().hex)
        return RedirectResponse(return_to, 303, NO_STORE)


def _sent(ending: Ending, request: Request, tenant: Tenant) -> Response:
    """What tells of the person goes in a form: addresses stay in histories and logs."""
    if not ending.is_personal:
        joint = "&" if "?" in ending.url else "?"
        return RedirectResponse(f"{ending.url}{joint}{urlencode(ending.parameters)}", 303, NO_STORE)
    language = next((each for each in _languages(request, tenant) if each in GO_ON), "en")
    nonce = secrets.token_urlsafe(16)
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in ending.parameters.items()
    )
    page = PAGE.format(
        language=language, words=escape(GO_ON[language]), url=escape(ending.url), hidden=hidden, nonce=nonce
    )
    policy = f"default-src 'none'; script-src 'nonce-{nonce}'; frame-ancestors 'none'"
    return HTMLResponse(page, 200, {**NO_STORE, "Content-Security-Policy": policy})


def _languages(request: Request, tenant: Tenant) -> Sequence[str]:
    return wanted_languages(request.headers.get("accept-language"), tenant.languages, tenant.default_language)


@dataclass(frozen=True, kw_only=True)
class BackChannel:
    """Where providers tell of logouts. `read` checks a token; it raises `refused`, or `unavailable` if it cannot.

    A provider may tell of many at once, so what is counted is what was refused: by address, as logins that fail.
    """

    read: Callable[[Tenant, str], Awaitable[LogoutToken]]
    refused: type[Exception]
    unavailable: type[Exception]
    tenants: TenantDirectory
    limits: Limits
    hear: HearLogout

    def route(self) -> BaseRoute:
        told = limited(self.told, self.limits.logout)
        return Route("/logout/backchannel/{tenant}", told, methods=["POST"])

    async def told(self, request: Request) -> Response:
        try:
            tenant = await self.tenants.of(host=None, slug=request.path_params["tenant"])
            token = await self.read(tenant, await _token(request))
        except (BadInput, self.refused) as wrong:
            return await self._refused(request, str(wrong))
        except self.unavailable:
            return Response(status_code=503, headers={"Cache-Control": "no-store"})
        if not await self.hear(tenant, token):
            return await self._refused(request, "this token was here before")
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    async def _refused(self, request: Request, why: str) -> Response:
        await self.limits.logout_refused(request)
        body = {"error": "invalid_request", "error_description": why}
        return JSONResponse(body, 400, {"Cache-Control": "no-store"})


async def _token(request: Request) -> str:
    """Raises `BadInput`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BadInput("too large")
    found = [value for name, value in parse_qsl(body.decode("latin-1")) if name == "logout_token"]
    if len(found) != 1:
        raise BadInput("there is to be one logout_token")
    return found[0]
