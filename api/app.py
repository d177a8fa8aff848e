"""The ASGI application: GraphQL, login and health under one roof."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from api.auth import WhoAsks
from api.context import Context
from api.conversation import SocketRules
from api.fanout import Fanout
from api.http import GraphQLEndpoint
from api.languages import wanted_languages
from api.loaders import Loaders
from api.operations import Operations
from api.schema.schema import schema
from api.settings import Settings
from api.signing import Signer
from api.sse import StreamRules
from api.tenants import TenantDirectory
from api.websocket import SocketEndpoint, as_over_http
from api.worker import work_forever
from domain.ports import BookingReads, Catalogue, Clock, JobReads, Limiter
from domain.usecases import UseCases

HOLD_WINDOW = timedelta(minutes=10)

COLLECT_AFTER = 50_000
"""New objects until the youngest are looked through; an answer of thousands of times makes as many and keeps none."""


@dataclass(frozen=True, kw_only=True)
class House:
    """Everything a request may need, put together by `bootstrap`."""

    settings: Settings
    catalogue: Catalogue
    reads: BookingReads
    jobs: JobReads
    clock: Clock
    use: UseCases
    signer: Signer
    tenants: TenantDirectory
    who_asks: WhoAsks
    limiter: Limiter
    database_ready: Callable[[], Awaitable[bool]]
    redis_ready: Callable[[], Awaitable[bool | None]]
    close: Callable[[], Awaitable[None]]

    async def context(self, request: Request, response: Response, request_id: str) -> Context:
        """Raises `BadInput` for an unknown tenant, `Unauthenticated` for a token that is not valid."""
        headers, query = request.headers, request.query_params  # links carry no header
        tenant = await self.tenants.of(host=headers.get("host"), slug=headers.get("x-tenant") or query.get("tenant"))
        languages = wanted_languages(headers.get("accept-language"), tenant.languages, tenant.default_language)
        response.headers["Content-Language"] = languages[0]
        response.headers["Vary"] = "Accept-Language, Authorization, Cookie, X-Tenant"
        address, asking = self._address(request), await self.who_asks(request, tenant)
        return Context(
            tenant=tenant,
            languages=languages,
            public_url=self.settings.base_url,
            catalogue=self.catalogue,
            booking_reads=self.reads,
            loaders=Loaders(self.catalogue, self.reads, self.use.see_sources, tenant.id),
            signer=self.signer,
            clock=self.clock,
            use=self.use,
            visitor=sha256(f"{address} {headers.get('user-agent', '')}".encode()).hexdigest(),
            request_id=request_id,
            find_viewer=asking.viewer,
            signed_in_until=asking.signed_in_until,
            may_hold=partial(self._may_hold, tenant.id, address),
        )

    async def _may_hold(self, tenant_id: str, address: str, visitor: str | None) -> bool:
        """`visitor` is None for nobody in particular, who counts by address alone."""
        asked = self.limiter.allows
        if visitor and not await asked(f"hold:{tenant_id}:{visitor}", self.settings.holds_per_visitor, HOLD_WINDOW):
            return False
        return await asked(f"hold:{tenant_id}:{address}", self.settings.holds_per_address, HOLD_WINDOW)

    async def still(self, context: Context) -> bool:
        """Whether who was signed in at the first look, when a connection was opened, still is; others need not be."""
        until = await context.signed_in_until()
        if context.was_signed_in is None:
            context.was_signed_in = until is not None
            return True
        return not context.was_signed_in or (until is not None and until > self.clock.now())

    def _address(self, request: Request) -> str:
        """The caller's; a proxy's header counts only from a proxy that is listed."""
        peer = request.client.host if request.client else ""
        if peer in self.settings.trusted_proxies.split(","):
            return request.headers.get("x-forwarded-for", peer).split(",")[-1].strip()
        return peer


def create_app(house: House, routes: Sequence[BaseRoute]) -> Starlette:
    """`routes` are the login's and health's. The house is closed when the server stops."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, 10, 10)
        work = asyncio.create_task(_work(house))
        try:
            yield
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await house.close()

    over_http, over_sockets = _endpoints(house)
    graphql = [Route("/graphql", over_http), WebSocketRoute("/graphql", over_sockets)]
    app = Starlette(routes=[Route("/", _home), *graphql, *routes], lifespan=lifespan)
    app.state.stop_streams = over_http.stop
    return app


def _endpoints(house: House) -> tuple[GraphQLEndpoint, SocketEndpoint]:
    operations = Operations(schema, Fanout(schema))
    seen_to: dict[str, Any] = {"still": house.still, "recheck": house.settings.recheck_seconds}
    origins = [each for each in house.settings.origins.split(",") if each]
    over_http = GraphQLEndpoint(schema, house.context, operations, StreamRules(**seen_to))
    context = as_over_http(house.context)
    return over_http, SocketEndpoint(operations, context, origins=origins, rules=SocketRules(**seen_to))


async def _work(house: House) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(house.use.news.follow(house.settings.log_seconds))
        if house.settings.worker:
            tasks.create_task(work_forever(house.use, house.settings.look_for_jobs))


async def _home(_: Request) -> Response:
    return PlainTextResponse("ITB: book care over every clinic's record system.\nPOST GraphQL to /graphql\n")
