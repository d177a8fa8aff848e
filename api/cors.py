"""Cross-origin resource sharing (the Fetch standard, §3.2): which pages read our answers, exact to tenant and caller.

Starlette's CORSMiddleware has one list for everybody, made when the process starts. Ours differs by tenant, which host,
path or header tell, and by API key, which only the request itself brings; and it changes while we run.

A preflight brings neither key nor cookie: it passes for the tenant's own pages, and for those of any key that stands.
The answer itself can be read by the tenant's own pages, with credentials, where no key was brought, and by the key's
pages, without, where one was. What failed before anybody knew who asks is read by whom the preflight would let pass.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.cross_site import HEADERS
from api.origins import Origins, normal
from domain.tenant import Tenant

READERS = "itb.readers"
SYSTEM_TOKEN = "/auth/system-token"

ANSWERS_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": ", ".join(
        ("accept-language", "authorization", "content-type", "x-apikey", "x-tenant", *HEADERS)
    ),
    "Access-Control-Max-Age": "600",
}
EXPOSED = "Content-Language, Retry-After, X-Request-Id"

TenantOf = Callable[[HTTPConnection], Awaitable[Tenant | None]]
"""Raises nothing."""


@dataclass(slots=True)
class Readers:
    """What is known of who asks: nothing until `tenant` is. `key_origins` are None where no key was brought."""

    tenant: Tenant | None = None
    key_origins: Collection[str] | None = None


def readable_by(scope: MutableMapping[str, Any], tenant: Tenant, key_origins: Collection[str] | None = None) -> None:
    """Said by whoever finds out who asks, before the answer begins."""
    if readers := scope.get(READERS):
        readers.tenant, readers.key_origins = tenant, key_origins


class Cors:
    """For GraphQL, login and system tokens; nothing else here is for pages elsewhere.

    It marks what `LastResort` answers as well, and so lies around it, with nothing to catch what goes wrong here: what
    cannot be looked up is nobody's.
    """

    def __init__(self, app: ASGIApp, *, origins: Origins, tenant_of: TenantOf) -> None:
        self._app = app
        self._origins = origins
        self._tenant_of = tenant_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _for_pages(scope["path"]):
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return await (await self._preflight(scope, headers))(scope, receive, send)
        readers = scope[READERS] = Readers()

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._mark(message, HTTPConnection(scope), readers)
            await send(message)

        return await self._app(scope, receive, send_on)

    async def _preflight(self, scope: Scope, headers: Headers) -> Response:
        response = Response(status_code=204, headers={"Vary": "Origin"})
        if marks := await self._marks(HTTPConnection(scope), Readers()):
            response.headers.update({**marks, **ANSWERS_PREFLIGHT})
        return response

    async def _mark(self, message: Message, connection: HTTPConnection, readers: Readers) -> None:
        headers = MutableHeaders(scope=message)
        headers.add_vary_header("Origin")
        if marks := await self._marks(connection, readers):
            headers.update({**marks, "Access-Control-Expose-Headers": EXPOSED})

    async def _marks(self, connection: HTTPConnection, readers: Readers) -> dict[str, str]:
        """Nothing for pages that may not read the answer."""
        origin = normal(connection.headers.get("origin", ""))
        if origin is None:
            return {}
        tenant = readers.tenant or await self._tenant_of(connection)
        may_read = {"Access-Control-Allow-Origin": origin}
        if readers.key_origins is not None:
            return may_read if origin in readers.key_origins else {}
        if self._origins.are_ours(origin, connection.headers.get("host"), tenant):
            return {**may_read, "Access-Control-Allow-Credentials": "true"}
        nobody_known = readers.tenant is None
        return may_read if nobody_known and await self._origins.are_found_an_agencys(origin, tenant) else {}


def _for_pages(path: str) -> bool:
    return path == "/graphql" or path.startswith("/login/") or path.endswith(SYSTEM_TOKEN)
