"""The ASGI application: GraphQL, login and health under one roof."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from api.auth import NOBODY, Asking, WhoAsks, forget_cookie
from api.callers import Caller, Callers
from api.connections import Connections
from api.context import Context, Leaving
from api.conversation import SocketRules
from api.cors import SYSTEM_TOKEN, Cors, readable_by
from api.cross_site import CrossSite
from api.errors import BadInput, Forbidden, Unauthenticated
from api.fanout import Fanout
from api.http import GraphQLEndpoint
from api.languages import wanted_languages
from api.last_resort import LastResort
from api.limits import Limits, from_server
from api.loaders import Loaders
from api.operations import Operations
from api.schema.schema import schema
from api.security_headers import SecurityHeaders
from api.settings import Settings
from api.signing import Signer
from api.slow_bodies import SlowBodies
from api.sse import StreamRules
from api.standing import KeyEnded
from api.tenants import TenantDirectory, TenantsUnreadable, reached_under
from api.websocket import SocketEndpoint, as_over_http
from api.worker import work_forever
from domain.ports import BookingReads, Catalogue, Clock, JobReads, KeyReads
from domain.shares import Owner
from domain.tenant import Tenant
from domain.usecases import UseCases

VARY = "Accept-Language, Authorization, Cookie, X-ApiKey, X-Tenant"

COLLECT_AFTER = 50_000
"""New objects until the youngest are looked through; an answer of thousands of times makes as many and keeps none."""


@dataclass(frozen=True, kw_only=True)
class House:
    """Everything a request may need, put together by `bootstrap`."""

    settings: Settings
    catalogue: Catalogue
    reads: BookingReads
    jobs: JobReads
    api_keys: KeyReads
    clock: Clock
    use: UseCases
    signer: Signer
    tenants: TenantDirectory
    callers: Callers
    who_asks: WhoAsks
    limits: Limits
    cross_site: CrossSite
    database_ready: Callable[[], Awaitable[bool]]
    check_role: Callable[[], Awaitable[None]]
    shut_keys: Callable[[], Awaitable[Sequence[str]]]
    redis_ready: Callable[[], Awaitable[bool | None]]
    close: Callable[[], Awaitable[None]]

    async def context(self, request: Request, response: Response, request_id: str) -> Context:
        """Counts one operation. Raises `BadInput` for an unknown tenant, `Unauthenticated` for a key or token that is
        not valid, `Forbidden` for a key that may not be used so, another tenant's host and a cookie that a page
        elsewhere sent along, `RateLimited` for one operation too many."""
        caller = await self._caller(request)
        tenant, client, languages = caller.tenant, caller.client, _languages(request, caller.tenant)
        response.headers.update({"Content-Language": languages[0], "Vary": VARY})
        await self.cross_site.check(request, tenant, languages)
        asking = await self._asking(request, caller, languages, request_id)
        readable_by(request.scope, tenant, None if client.is_own else client.origins)
        await self.limits.operation(request, tenant.id, viewer=asking.told_by, client=client, languages=languages)
        return Context(
            tenant=tenant,
            languages=languages,
            public_url=reached_under(tenant, request.headers.get("host"), self.settings.base_url),
            **self._at_hand(tenant),
            request_id=request_id,
            find_viewer=asking.viewer,
            standing=asking.standing,
            **self._counted_as(request, caller, asking.told_by),
            caller=client,
            caller_stands=caller.stands,
            **self._signed_in(asking.secret, response),
        )

    def _counted_as(self, request: Request, caller: Caller, told_by: str | None) -> dict[str, Any]:
        """By address, but for those behind an agency's server, who all have the same."""
        address, agent = self.limits.address(request), request.headers.get("user-agent", "")
        visitor, server = self.limits.pseudonym(f"{address} {agent}"), None
        owner = Owner(visitor, of=address)
        if from_server(request, caller.client):
            server = caller.client
            owner = Owner(self.limits.pseudonym(told_by) if told_by else None, of=f"key:{server.key_id}")
        may_hold = partial(self.limits.may_hold, caller.tenant.id, address, server)
        return {"visitor": visitor, "owner": owner, "may_hold": may_hold}

    def _at_hand(self, tenant: Tenant) -> dict[str, Any]:
        """What is the same for every request of a tenant."""
        return {
            "catalogue": self.catalogue,
            "booking_reads": self.reads,
            "loaders": Loaders(self.catalogue, self.reads, self.use.see_sources, tenant.id),
            "signer": self.signer,
            "clock": self.clock,
            "use": self.use,
        }

    def _signed_in(self, secret: str | None, response: Response) -> dict[str, Any]:
        """How long a login is fresh, and how it is ended."""
        leaving = Leaving(secret=secret, forget=partial(forget_cookie, response, https=self.settings.is_https))
        return {"leaving": leaving, "step_up_after": timedelta(seconds=self.settings.step_up_seconds)}

    async def _tenant(self, connection: HTTPConnection) -> Tenant:
        """Raises `BadInput`, `Forbidden` or `TenantsUnreadable`."""
        headers, query = connection.headers, connection.query_params  # links carry no header
        return await self.tenants.of(
            host=headers.get("host"), slug=headers.get("x-tenant") or query.get("tenant") or _in_path(connection)
        )

    async def tenant_if_known(self, connection: HTTPConnection) -> Tenant | None:
        try:
            return await self._tenant(connection)
        except (BadInput, Forbidden, TenantsUnreadable):
            return None

    async def _caller(self, request: Request) -> Caller:
        """Who names no tenant, or brings a key that opens nothing, is counted too, as somebody of that address."""
        try:
            return await self.callers(request)
        except (BadInput, Forbidden, Unauthenticated):
            await self.limits.operation(request, "")
            raise

    async def _asking(self, request: Request, caller: Caller, languages: Sequence[str], request_id: str) -> Asking:
        """Who is not recognised is counted likewise. A system token is never anybody's."""
        if caller.client.is_system:
            return NOBODY
        try:
            return await self.who_asks(request, caller, request_id)
        except (Forbidden, Unauthenticated):
            await self.limits.operation(request, caller.tenant.id, languages=languages)
            raise

    async def may_open_socket(self, origin: str, connection: HTTPConnection) -> bool:
        tenant = await self.tenant_if_known(connection)
        return await self.cross_site.origins.are_known(origin, connection.headers.get("host"), tenant)

    async def still(self, context: Context) -> bool:
        """Whether who was signed in at the first look, when a connection was opened, still is, and as the same patient;
        others need not be.

        A key or token that was brought must still stand in any case; raises `KeyEnded`.
        """
        if not await context.caller_stands():
            raise KeyEnded(context.languages)
        standing = await context.standing()
        if context.was_signed_in is None:
            context.was_signed_in = standing is not None
        if not context.was_signed_in:
            return True
        if standing is None or standing.until <= self.clock.now():
            return False
        context.signed_in_as = context.signed_in_as or standing.patient_id
        return standing.patient_id in (context.signed_in_as, None)


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
            await operations.stop()
            await house.close()

    operations = Operations(schema, Fanout(schema), query_seconds=house.settings.query_seconds)
    over_http, over_sockets = _endpoints(house, operations)
    graphql = [Route("/graphql", over_http), WebSocketRoute("/graphql", over_sockets)]
    app = Starlette(routes=[Route("/", _home), *graphql, *routes], middleware=_around(house), lifespan=lifespan)
    app.state.stop_streams = over_http.stop
    return app


def _endpoints(house: House, operations: Operations) -> tuple[GraphQLEndpoint, SocketEndpoint]:
    settings = house.settings
    seen_to: dict[str, Any] = {
        "still": house.still,
        "recheck": settings.recheck_seconds,
        "longest": settings.connection_seconds,
    }
    connections = Connections(
        house.limits.address, per_address=settings.connections_per_address, most=settings.most_connections
    )
    over_http = GraphQLEndpoint(schema, house.context, operations, StreamRules(**seen_to), connections=connections)
    over_sockets = SocketEndpoint(
        operations,
        as_over_http(house.context),
        may_come=house.may_open_socket,
        connections=connections,
        rules=SocketRules(**seen_to),
    )
    return over_http, over_sockets


def _around(house: House) -> list[Middleware]:
    return [
        Middleware(SecurityHeaders, https=house.settings.is_https),
        Middleware(Cors, origins=house.cross_site.origins, tenant_of=house.tenant_if_known),
        Middleware(LastResort),
        Middleware(SlowBodies, seconds=house.settings.body_seconds),
    ]


def _languages(request: Request, tenant: Tenant) -> tuple[str, ...]:
    return wanted_languages(request.headers.get("accept-language"), tenant.languages, tenant.default_language)


def _in_path(connection: HTTPConnection) -> str | None:
    """Where system tokens are given out, the tenant's slug begins the path."""
    path = str(connection.scope["path"])
    return path.split("/")[1] if path.endswith(SYSTEM_TOKEN) else None


async def _work(house: House) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(house.use.news.follow(house.settings.log_seconds))
        if house.settings.worker:
            tasks.create_task(work_forever(house.use, house.settings.look_for_jobs))


async def _home(_: Request) -> Response:
    return PlainTextResponse("ITB: book care over every clinic's record system.\nPOST GraphQL to /graphql\n")
