"""How many may be connected: so many from one address and in all, and a place is given back however it is left."""

import socket as sockets
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import pytest
from starlette.requests import HTTPConnection
from websockets.exceptions import ConnectionClosed

from api import serving
from api.app import create_app
from api.bootstrap import open_house
from api.connections import COME_BACK_SECONDS, Connections
from api.conversation import SocketRules
from api.sse import StreamRules
from tests.living import BY_SCRIPT, Town, until
from tests.transports.small import Running, running, served
from tests.transports.talking import Talk, begun, talking

FULL = (1013, "Too many connections")
FOREVER = "subscription { forever }"
EVENTS = {"Accept": "text/event-stream"}


def named(connection: HTTPConnection) -> str:
    """Tests say themselves where they come from."""
    return connection.headers.get("x-from", "")


def room(most: int, in_all: int = 100) -> Connections:
    return Connections(named, per_address=most, most=in_all)


def coming(address: str) -> dict[str, dict[str, str]]:
    return {"additional_headers": {"X-From": address}}


async def is_full(url: str, address: str = "") -> bool:
    """Whether one more is refused."""
    async with talking(url, **coming(address)) as talk:
        try:
            return not await talk.lives()
        except ConnectionClosed:
            assert await talk.closed() == FULL
            return True


async def has_room(url: str) -> None:
    async def look() -> bool:
        return not await is_full(url)

    await until(look)


async def test_whoever_only_shakes_hands_is_counted() -> None:
    with running(connections=room(2)) as api:
        async with talking(api.ws), talking(api.ws), talking(api.ws) as third:
            assert await third.closed() == FULL


async def test_each_address_has_room_of_its_own_and_the_process_an_end() -> None:
    with running(connections=room(2, in_all=3)) as api:
        async with talking(api.ws, **coming("a")), talking(api.ws, **coming("a")):
            assert await is_full(api.ws, "a")
            async with begun(api.ws, **coming("b")):
                assert await is_full(api.ws, "b")
                assert await is_full(api.ws, "c")
            await has_room(api.ws)


async def in_order(api: Running, talk: Talk) -> None:
    await talk.socket.close()


async def cut_off(api: Running, talk: Talk) -> None:
    raw = talk.socket.transport.get_extra_info("socket")
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    talk.socket.transport.abort()


async def malformed(api: Running, talk: Talk) -> None:
    await talk.say("{")
    assert (await talk.closed())[0] == 4400


async def out_of_time(api: Running, talk: Talk) -> None:
    assert (await talk.closed())[0] == 4408


async def asking(api: Running, talk: Talk) -> None:
    await talk.begin()
    await talk.ask("1", FOREVER)
    assert (await talk.hear())["type"] == "next"
    await talk.socket.close()


async def refused(api: Running, talk: Talk) -> None:
    await talk.say({"type": "connection_init", "payload": {"Authorization": "Bearer wrong"}})
    assert (await talk.closed())[0] == 4403


@pytest.mark.parametrize("leave", [in_order, cut_off, malformed, out_of_time, asking, refused])
async def test_a_socket_gives_its_place_back(leave: Callable[[Running, Talk], Awaitable[None]]) -> None:
    with running(SocketRules(init_timeout=1), connections=room(1)) as api:
        async with talking(api.ws) as talk:
            await leave(api, talk)
            await has_room(api.ws)


@asynccontextmanager
async def streaming(url: str, query: str = FOREVER, **headers: str) -> AsyncIterator[httpx2.Response]:
    async with (
        httpx2.AsyncClient(timeout=60) as http,
        http.stream("POST", url, json={"query": query}, headers={**EVENTS, **headers}) as answer,
    ):
        yield answer


async def test_a_stream_too_many_is_told_when_to_come_back() -> None:
    with running(connections=room(2)) as api:
        async with streaming(api.http) as first, talking(api.ws):
            assert first.status_code == 200
            assert await is_full(api.ws)
            for query in (FOREVER, "{ hello }"):
                async with streaming(api.http, query) as answer:
                    assert answer.status_code == 429
                    assert answer.headers["retry-after"] == str(COME_BACK_SECONDS)
                    await answer.aread()
                    [error] = answer.json()["errors"]
                    assert error["extensions"]["code"] == "RATE_LIMITED"
                    assert error["extensions"]["retryAfter"] == COME_BACK_SECONDS
            async with httpx2.AsyncClient(timeout=60) as http:  # what is answered at once needs no place
                assert (await http.post(api.http, json={"query": "{ hello }"})).status_code == 200


@pytest.mark.parametrize(
    "query", [FOREVER, "subscription { count }", "subscription { fails }", "subscription { never }", "{ fails }", "{"]
)
async def test_a_stream_gives_its_place_back(query: str) -> None:
    with running(connections=room(1)) as api:
        async with streaming(api.http, query) as answer:
            assert answer.status_code == 200
            if query == FOREVER:
                await anext(answer.aiter_bytes())
            else:
                await answer.aread()
        await has_room(api.ws)


async def test_a_stream_that_is_not_read_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "UNREAD_SECONDS", 1)
    with running(events=StreamRules(send_timeout=0.3), connections=room(1)) as api:
        async with streaming(api.http, "subscription { flood }") as answer:
            assert answer.status_code == 200
            await has_room(api.ws)


async def test_a_network_of_ipv6_is_one_address_and_a_proxy_is_none(town: Town, sqlite_filled_url: str) -> None:
    house = open_house(town.settings(sqlite_filled_url, connections_per_address=2, trusted_proxies="127.0.0.1"))
    with served(create_app(house, [])) as (address, _, _):
        url = f"ws://{address}/graphql"

        def behind(client: str) -> dict[str, dict[str, str]]:
            return {"additional_headers": {"X-Forwarded-For": client}}

        async with AsyncExitStack() as stack:
            for client in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"):
                await stack.enter_async_context(begun(url, **behind(client)))
            neighbour = await stack.enter_async_context(talking(url, **behind("2001:db8:1:2::3")))
            assert await neighbour.closed() == FULL
            async with begun(url, **behind("2001:db8:1:3::1")) as other:
                assert await other.lives()
            asked = {**EVENTS, **BY_SCRIPT, **behind("2001:db8:1:2::4")["additional_headers"]}
            async with streaming(f"http://{address}/graphql", "subscription { __typename }", **asked) as answer:
                assert answer.status_code == 429
