"""Which client calls, and for which tenant: by host name, X-Tenant header, API key or system token."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from api.errors import Forbidden, Unauthenticated
from api.limits import Limits
from api.tenants import TenantDirectory
from domain.api_key import PREFIX
from domain.client import OWN_CLIENT, Client
from domain.tenant import Tenant
from domain.usecases.know_client import CredentialRefused, KnowClient, KnownClient

KEY_HEADER = "x-apikey"
JWT = "eyJ"
"""How every one begins: a brace and a quotation mark in base64url."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`stands` looks anew whether the client's key or token still opens anything; our own frontends need none."""

    client: Client
    tenant: Tenant
    stands: Callable[[], Awaitable[bool]]


class Callers:
    def __init__(self, tenants: TenantDirectory, know: KnowClient, limits: Limits) -> None:
        self._tenants = tenants
        self._know = know
        self._limits = limits

    async def __call__(self, request: Request) -> Caller:
        """Raises `BadInput` for no tenant, `Unauthenticated` for a key or token that is not valid, `Forbidden` for one
        of another tenant, for another tenant's host and for a page that may not use it; `RateLimited` for a key that
        would have to be looked up, from where too many came that open nothing."""
        headers, query = request.headers, request.query_params  # links carry no header
        host, slug = headers.get("host"), headers.get("x-tenant") or query.get("tenant")
        if (credential := self._credential(request)) is None:
            return Caller(OWN_CLIENT, await self._tenants.of(host=host, slug=slug), _always)
        return await self._named(credential, request, slug)

    async def by_key(self, request: Request, slug: str) -> Caller:
        """For what takes an API key and nothing else, of the tenant that the path names. Raises as above."""
        key = request.headers.get(KEY_HEADER, "")
        if not key.startswith(PREFIX):
            raise Unauthenticated("An API key is needed, as X-ApiKey.")
        return await self._named(key, request, slug)

    async def _named(self, credential: str, request: Request, slug: str | None) -> Caller:
        known = await self._known(credential, partial(self._limits.look_up, request))
        tenant = await self._own_tenant(known, request.headers.get("host"), slug)
        check_origin(known.client, request.headers.get("origin"))
        return Caller(known.client, tenant, partial(self._stands, credential))

    def _credential(self, request: Request) -> str | None:
        """The key or system token that came along. A bearer token that is not ours is a patient's."""
        key = request.headers.get(KEY_HEADER)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if token.strip().startswith(PREFIX):
            raise Unauthenticated("An API key is sent as X-ApiKey, not in Authorization.")
        given = token.strip() if scheme.lower() == "bearer" and self._know.tokens.is_ours(token.strip()) else None
        if key is not None and given is not None:
            raise Unauthenticated("Either an X-ApiKey or a system token as bearer: one client asks at a time.")
        return key if key is not None else given

    async def _known(self, credential: str, before_asking: Callable[[], Awaitable[None]] | None = None) -> KnownClient:
        try:
            if credential.startswith(JWT):
                return await self._know.by_token(credential)
            return await self._know.by_key(credential, before_asking)
        except CredentialRefused as refused:
            raise Unauthenticated(str(refused)) from None

    async def _own_tenant(self, known: KnownClient, host: str | None, slug: str | None) -> Tenant:
        """The key's own tenant, which whatever else names one must name as well."""
        named = [await self._tenants.of(host=None, slug=slug)] if slug else []
        owner = await self._tenants.owner(host)
        if any(each.id != known.tenant_id for each in (*named, *((owner,) if owner else ()))):
            raise Forbidden("The key is another tenant's.")
        return await self._tenants.of(host=None, slug=known.tenant_slug)

    async def _stands(self, credential: str) -> bool:
        try:
            await self._known(credential)
        except Unauthenticated:
            return False
        return True


def check_origin(client: Client, origin: str | None) -> None:
    """Servers send no Origin. Raises `Forbidden`."""
    if origin is not None and client.origins and origin.lower() not in client.origins:
        raise Forbidden("The key may not be used from pages of this origin.")


async def _always() -> bool:
    return True
