"""A small schema over every transport, on a real server, with what a test may want to know of its inside."""

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import strawberry
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from api.connections import Connections
from api.conversation import SocketRules
from api.errors import BadInput, Schema, Unauthenticated, UpstreamDown
from api.http import GraphQLEndpoint
from api.operations import Operations
from api.origins import Origins
from api.serving import authority, listen, port_of, server
from api.sse import StreamRules
from api.websocket import SocketEndpoint, as_over_http
from tests.living import until

SECRET = "01017012345"
OPEN: Counter[str] = Counter()
"""Subscriptions whose source is open, by field; and what was produced."""

HELD: set[str] = set()
"""While anything is in it, `slowToClose` does not close, and `addAtLast` does not add."""


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "hello, Ærlig 🙂"

    @strawberry.field
    def who(self, info: strawberry.Info) -> list[str]:
        """What the context was made from: authorization, language, tenant, cookie, request id."""
        return [*info.context.told, info.context.request_id]

    @strawberry.field
    def fails(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.field
    async def forever(self) -> str:
        with opened("query"):
            await asyncio.Event().wait()
        return ""


@strawberry.type
class Mutation:
    @strawberry.mutation
    def add(self, number: int) -> int:
        return number + 1

    @strawberry.mutation
    async def add_slowly(self, number: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return number + 1

    @strawberry.mutation
    async def add_at_last(self, number: int) -> int:
        with opened("mutation"):
            while HELD:  # noqa: ASYNC110 - it is let go by another thread
                await asyncio.sleep(0.01)
        OPEN["added"] += 1
        return number + 1


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 3) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def fails(self) -> AsyncIterator[int]:
        yield 1
        raise RuntimeError(SECRET)

    @strawberry.subscription
    def never(self) -> AsyncIterator[int]:
        raise BadInput("not today")

    @strawberry.subscription
    async def forever(self) -> AsyncIterator[int]:
        with opened("forever"):
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)  # to be closed is not to be forgotten: this is awaited

    @strawberry.subscription
    async def slow_to_close(self) -> AsyncIterator[int]:
        with opened("slow"):
            try:
                yield 1
                await asyncio.Event().wait()
            finally:
                while HELD:  # noqa: ASYNC110 - it is let go by another thread
                    await asyncio.sleep(0.01)
                OPEN["closed in peace"] += 1

    @strawberry.subscription
    async def stubborn(self) -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            while HELD:  # noqa: ASYNC110 - it is let go by another thread
                await asyncio.sleep(0.01)
            raise RuntimeError(SECRET) from None

    @strawberry.subscription
    async def flood(self) -> AsyncIterator[str]:
        with opened("flood"):
            while True:
                OPEN["flooded"] += 1
                yield "x" * 100_000
                await asyncio.sleep(0)


@contextmanager
def held() -> Iterator[None]:
    HELD.add("closing")
    try:
        yield
    finally:
        HELD.clear()


@contextmanager
def opened(name: str) -> Iterator[None]:
    OPEN[name] += 1
    try:
        yield
    finally:
        OPEN[name] -= 1


schema = Schema(Query, Mutation, Subscription)


@dataclass
class Door:
    """Who may come in, and who has to leave."""

    made: list[str] = field(default_factory=list)
    ended: bool = False
    broken: bool = False
    hold: asyncio.Event | None = None

    async def context(self, request: Request, response: Response, request_id: str) -> Any:
        self.made.append(request_id)
        told = [
            request.headers.get("authorization", ""),
            request.headers.get("accept-language", ""),
            request.headers.get("x-tenant", ""),
            request.cookies.get("sid", ""),
        ]
        response.headers["Content-Language"] = "en"
        await self._refuse(told[0])
        if told[2] == "nobody":
            raise BadInput("There is no such tenant. " + "x" * 300)
        return SimpleNamespace(request_id=request_id, languages=("en",), told=told)

    async def _refuse(self, authorization: str) -> None:
        if self.ended or authorization == "Bearer wrong":
            raise Unauthenticated()
        if authorization == "Bearer down":
            raise UpstreamDown("No provider.")
        if authorization == "Bearer bug":
            raise RuntimeError(SECRET)
        if authorization == "Bearer slow":
            self.hold = asyncio.Event()
            with opened("waiting"):
                await self.hold.wait()

    async def still(self, context: Any) -> bool:
        if self.broken:
            raise RuntimeError(SECRET)
        return not self.ended


@dataclass
class Running:
    """A server in a thread of its own."""

    address: str
    loop: asyncio.AbstractEventLoop
    server: Any
    door: Door
    endpoint: GraphQLEndpoint

    @property
    def http(self) -> str:
        return f"http://{self.address}/graphql"

    @property
    def ws(self) -> str:
        return f"ws://{self.address}/graphql"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    async def counts(self) -> Mapping[str, int]:
        """What is alive in the server: tasks, async generators, connections, and open sources."""

        async def look() -> Mapping[str, int]:
            gc.collect()  # a generator that is over may wait in a circle of references
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            generators: Any = getattr(self.loop, "_asyncgens")  # noqa: B009 - only the loop knows them
            alive = {"tasks": len(tasks), "generators": len(list(generators))}
            open_now = {name: OPEN[name] for name in ("forever", "query", "mutation", "slow", "flood", "waiting")}
            return {**alive, "connections": len(self.server.server_state.connections), **open_now}

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(look(), self.loop))

    async def at_rest(self) -> Mapping[str, int]:
        """The same, once it stays so: what was there before may still be ending."""
        seen: list[Mapping[str, int]] = []

        async def look() -> bool:
            seen.append(await self.counts())
            await asyncio.sleep(0.1)
            return len(seen) >= 5 and all(each == seen[-1] for each in seen[-5:])

        await until(look, 60)
        return seen[-1]

    async def comes_back_to(self, before: Mapping[str, int]) -> None:
        async def look() -> bool:
            return await self.counts() == before

        try:
            await until(look, 60)
        except TimeoutError:
            now = await self.counts()
            assert now == before, (now, before)

    async def closes(self, name: str) -> None:
        async def look() -> bool:
            return OPEN[name] == 0

        await until(look, 60)

    async def opens(self, name: str, times: int = 1) -> None:
        async def look() -> bool:
            return OPEN[name] >= times

        await until(look, 60)


@contextmanager
def running(
    rules: SocketRules | None = None,
    events: StreamRules | None = None,
    *,
    shared: Any = None,
    origins: Any = (),
    connections: Connections | None = None,
    query_seconds: float = 30,
    patience: int = 1,
) -> Iterator[Running]:
    door = Door()
    rules = rules or SocketRules(still=door.still)
    operations = Operations(schema, shared, query_seconds=query_seconds)
    connections = connections or Connections(lambda connection: "all")
    endpoint = GraphQLEndpoint(schema, door.context, operations, events, connections=connections)
    listed = Origins(everywhere=frozenset(origins))

    async def may_come(origin: str, connection: HTTPConnection) -> bool:
        return await listed.are_known(origin, connection.headers.get("host"), None)

    socket = SocketEndpoint(
        operations, as_over_http(door.context), may_come=may_come, connections=connections, rules=rules
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await operations.stop()

    routes = [Route("/graphql", endpoint), WebSocketRoute("/graphql", socket)]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.stop_streams = endpoint.stop
    with served(app, patience) as (address, loop, running_server):
        yield Running(address, loop, running_server, door, endpoint)


@contextmanager
def served(app: Any, patience: int = 1) -> Iterator[tuple[str, asyncio.AbstractEventLoop, Any]]:
    """As `serve` does it, so with its limits."""
    listener, running_server = listen("127.0.0.1", 0), server(app, "critical", patience)
    started: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        started.append(asyncio.get_running_loop())
        await running_server.serve(sockets=[listener])

    port = port_of(listener)
    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    while not running_server.started:
        assert thread.is_alive()
        threading.Event().wait(0.005)
    try:
        yield authority("127.0.0.1", port), started[0], running_server
    finally:
        running_server.stop()
        thread.join(20)
        assert not thread.is_alive()
