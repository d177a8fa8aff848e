"""Who is asking: a browser's session cookie or an app's bearer token."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from api.callers import Caller
from api.errors import BadInput, Forbidden, Unauthenticated, UpstreamDown
from api.tenants import TenantDirectory
from domain.patient import Identity
from domain.tenant import Tenant
from domain.usecases.sign_in import SignedOut, SignIn, Standing, Viewer, tenant_of


class Bearer(Protocol):
    """Validates access tokens. The two errors it may raise are given beside it: they belong to its package."""

    async def identity(self, tenant: Tenant, token: str) -> Identity: ...


def cookie_name(https: bool, name: str = "sid") -> str:
    """`__Host-` binds a cookie to this host over https, where it must have the path `/` and be Secure: no neighbouring
    host can plant one. HTTP clients drop such cookies over plain http."""
    return f"__Host-{name}" if https else name


def forget_cookie(response: Response, *, https: bool) -> None:
    response.delete_cookie(cookie_name(https), path="/", secure=https, httponly=True, samesite="lax")


@dataclass(frozen=True, slots=True)
class Asking:
    """Whoever asks. `standing` looks anew each time, and is no sign of life from them: it writes nothing.

    `told_by` tells one session or patient from others, as far as can be seen without looking it up; for counting.
    `secret` is what a session's cookie holds; None for whoever has none.
    """

    viewer: Callable[[], Awaitable[Viewer | None]]
    standing: Callable[[], Awaitable[Standing | None]]
    told_by: str | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class WhoAsks:
    sign_in: SignIn
    bearer: Bearer
    tenants: TenantDirectory
    refused: type[Exception]
    unavailable: type[Exception]
    https: bool

    async def __call__(self, request: Request, caller: Caller, request_id: str) -> Asking:
        """Checks a bearer at once, so that a bad one is refused whatever is asked; looks the patient up when needed.

        A key's scopes would hold nobody, were an agency's app free to leave the key out. Raises `Unauthenticated`,
        `Forbidden` for a session at another tenant's own host, or `UpstreamDown`.
        """
        tenant = caller.tenant
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            identity = await self._identity(tenant, token.strip())
            if caller.client.is_own and not identity.by_own_app:
                raise Unauthenticated("This app's access tokens count beside its X-ApiKey only.")
            known = partial(self._of_token, caller, identity, request_id)
            stands = partial(self.sign_in.standing, tenant, identity)
            return Asking(known, stands, f"{identity.issuer} {identity.subject}")
        if scheme:
            raise Unauthenticated("Only bearer tokens are understood.")
        secret = request.cookies.get(cookie_name(self.https))
        await self._check_host(request, secret)

        async def of_session(*, touch: bool = True) -> Viewer | None:
            return await self.sign_in.viewer(tenant, secret, touch=touch) if secret else None

        async def standing() -> Standing | None:
            viewer = await of_session(touch=False)
            return Standing(viewer.expires_at, viewer.patient.id) if viewer else None

        return Asking(of_session, standing, secret, secret)

    async def _check_host(self, request: Request, secret: str | None) -> None:
        """No browser brings a cookie to another host than where it was set. Where several tenants share one, whoever is
        signed in at another is nobody here, and so is whoever was: a host may change hands."""
        owner = await self.tenants.owner(request.headers.get("host"))
        with suppress(BadInput):  # names no tenant that there is
            if owner and secret and (slug := tenant_of(secret)) != owner.slug:
                other = await self.tenants.of(host=None, slug=slug)
                if await self.sign_in.viewer(other, secret, touch=False):
                    raise Forbidden("Another tenant is served under this host.")

    async def _of_token(self, caller: Caller, identity: Identity, request_id: str) -> Viewer | None:
        try:
            return await self.sign_in.of_token(caller.tenant, identity, request_id, caller.client.key)
        except SignedOut:
            raise Unauthenticated("This login has been signed out everywhere: log in anew.") from None

    async def _identity(self, tenant: Tenant, token: str) -> Identity:
        try:
            return await self.bearer.identity(tenant, token)
        except self.refused as refused:
            raise Unauthenticated("The access token is not valid here.") from refused
        except self.unavailable as down:
            raise UpstreamDown("The identity provider cannot be reached.") from down


async def _nobody() -> None:
    return None


NOBODY = Asking(_nobody, _nobody)
"""Whoever comes with a system token: never a patient, whatever else the request brings."""
