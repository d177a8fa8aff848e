"""How sockets end, and that nothing is left of them."""

import asyncio
import socket as sockets
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.websockets import WebSocket, WebSocketState

from api import serving
from api.conversation import SIGNED_IN_NO_MORE, Conversation, SocketRules
from api.errors import Unauthenticated
from api.operations import Result
from tests.living import until
from tests.transports.small import OPEN, Running, held, running
from tests.transports.talking import PATIENCE, Talk, begun, talking

FOREVER = "subscription { forever }"


class Session:
    """Somebody's, to be ended; or looked for in a store that is down."""

    def __init__(self) -> None:
        self.looked = 0
        self.failure: Exception | None = None
        self.ended = False

    async def still(self, context: Any) -> bool:
        assert context.request_id
        self.looked += 1
        if self.failure:
            raise self.failure
        return not self.ended

    async def is_looked_at(self) -> None:
        """Twice from now, so that what was found has had its effect."""
        enough = self.looked + 2

        async def look() -> bool:
            return self.looked >= enough

        await until(look)


@pytest.mark.parametrize("how", ["ended", "refused"])
async def test_when_the_session_ends_the_socket_does(how: str) -> None:
    session = Session()
    with running(SocketRules(recheck=0.02, still=session.still)) as api:
        async with begun(api.ws) as talk:
            await talk.ask("1", FOREVER)
            assert (await talk.hear())["type"] == "next"
            await session.is_looked_at()
            assert await talk.lives()
            session.ended, session.failure = how == "ended", Unauthenticated() if how == "refused" else None
            assert await talk.closed() == (4403, SIGNED_IN_NO_MORE)
        await api.closes("forever")


async def test_an_outage_sends_nobody_away() -> None:
    session = Session()
    with running(SocketRules(recheck=0.02, still=session.still)) as api:
        async with begun(api.ws) as talk:
            session.failure = OSError("no store")
            await session.is_looked_at()
            assert await talk.lives()


async def test_who_is_not_known_at_the_beginning_comes_again() -> None:
    """Nobody would be missed later, who may have been signed in."""
    session = Session()
    session.failure = OSError("no store")
    with running(SocketRules(recheck=0.02, still=session.still)) as api:
        async with talking(api.ws) as talk:
            await talk.say({"type": "connection_init"})
            assert (await talk.closed())[0] == 1013


async def test_an_operation_after_the_end_of_the_token_closes_4403() -> None:
    with running() as api:
        async with begun(api.ws) as talk:
            assert await talk.data("{ hello }")
            api.door.ended = True
            await talk.ask("1", "{ hello }")
            assert await talk.closed() == (4403, "Forbidden")


async def test_a_server_that_stops_closes_1012() -> None:
    with running() as api:
        async with begun(api.ws) as talk:
            await talk.ask("1", FOREVER)
            assert (await talk.hear())["type"] == "next"
            api.server.stop()
            assert (await talk.closed())[0] == 1012
        await api.closes("forever")


async def held_up(api: Running) -> None:
    """Until the source produces no more."""
    await api.opens("flood")

    async def look() -> bool:
        produced = OPEN["flooded"]
        await asyncio.sleep(0.2)
        return OPEN["flooded"] == produced

    await until(look)


async def test_who_reads_nothing_holds_up_the_source_and_is_left_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "UNREAD_SECONDS", 600)
    with running(SocketRules(send_timeout=1)) as api:
        before = OPEN["flooded"]
        async with begun(api.ws, max_queue=1) as talk:
            await talk.ask("1", "subscription { flood }")
            await held_up(api)
            assert OPEN["flooded"] - before < 200  # 100 kB each: what buffers on the way hold
            await api.closes("flood")
            talk.socket.transport.abort()


async def test_a_connection_nobody_reads_from_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "UNREAD_SECONDS", 1)
    with running(SocketRules(send_timeout=1)) as api:
        before = await api.at_rest()
        async with begun(api.ws, max_queue=1) as talk:
            await talk.ask("1", "subscription { flood }")
            await held_up(api)
            await api.comes_back_to(before)  # though what is unsent could not be sent
            talk.socket.transport.abort()


async def test_what_was_stopped_is_closed_in_peace_when_the_socket_ends() -> None:
    with running() as api:
        before = OPEN["closed in peace"]
        async with begun(api.ws) as talk:
            with held():
                await talk.ask("1", "subscription { slowToClose }")
                assert (await talk.hear())["type"] == "next"
                await talk.say({"type": "complete", "id": "1"})
                assert await talk.lives()
                await talk.socket.close()
        await api.closes("slow")
        assert OPEN["closed in peace"] == before + 1


async def test_who_reads_slowly_gets_everything() -> None:
    with running() as api:
        async with begun(api.ws, max_queue=1) as talk:
            await talk.ask("1", "subscription { flood }")
            for _ in range(150):
                assert (await talk.hear())["type"] == "next"
                await asyncio.sleep(0.01)
            assert OPEN["flood"] == 1
            talk.socket.transport.abort()
        await api.closes("flood")


async def test_who_sends_without_a_pause_keeps_nobody_waiting() -> None:
    left, turns = [{"type": "websocket.receive", "text": '{"type":"ping"}'}] * 500, []

    async def receive() -> Any:
        return left.pop() if left else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None: ...

    async def somebody_else() -> None:
        while left:
            turns.append(1)
            await asyncio.sleep(0)

    waiting = asyncio.create_task(somebody_else())
    socket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    socket.client_state = socket.application_state = WebSocketState.CONNECTED
    nobody: Any = None
    await Conversation(socket, nobody, nobody, SocketRules()).run()
    await waiting
    assert len(turns) > 400


def results_of(body: bytes) -> Callable[..., Any]:
    """Results that somebody else executed: bytes, and closed when nobody wants them."""

    class Shared:
        def __init__(self) -> None:
            OPEN["shared"] += 1
            self.left = 2

        def __aiter__(self) -> "Shared":
            return self

        async def __anext__(self) -> Result:
            if not self.left:
                raise RuntimeError("01017012345")
            self.left -= 1
            return Result(body)

        async def aclose(self) -> None:
            OPEN["shared"] -= 1

    return lambda operation, context: Shared() if "forever" in operation.query else None


async def test_shared_results_are_sent_as_they_are_and_closed() -> None:
    with running(shared=results_of(b'{"data": {"shared":  "\xc3\xb8"}}')) as api:
        async with begun(api.ws) as talk:
            await talk.ask("1", FOREVER)
            for _ in range(2):
                told = await talk.socket.recv()
                assert told == '{"id":"1","type":"next","payload":{"data": {"shared":  "ø"}}}'
            failed = await talk.hear()
            assert failed["type"] == "error"
            assert failed["payload"][0]["message"] == "Something went wrong."
            assert await talk.data("{ hello }", "1")
            await talk.ask("2", "subscription { count(to: 1) }")  # not shared, so executed
            assert (await talk.hear())["payload"] == {"data": {"count": 0}}
        await api.closes("shared")


def reset(talk: Talk) -> None:
    """As when a cable is cut and the other end hears of it: no close frame, no FIN."""
    raw = talk.socket.transport.get_extra_info("socket")
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    talk.socket.transport.abort()


async def subscribed(api: Running, query: str, end: Callable[[Talk], Any]) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", query)
        if "subscription" in query:
            await talk.hear()
        if isinstance(ending := end(talk), Awaitable):
            await ending


async def mid_handshake(api: Running, sent: bytes, rude: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(sent)
    await writer.drain()
    if rude:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


HANDSHAKE = (
    b"GET /graphql HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
HALF_A_FRAME = b"\x81\xfe\x10\x00abcd" + b"x" * 100


async def before_the_beginning(api: Running, end: Callable[[Talk], Any]) -> None:
    async with talking(api.ws) as talk:
        if isinstance(ending := end(talk), Awaitable):
            await ending


def politely(talk: Talk) -> Awaitable[None]:
    return talk.socket.close()


def rudely(talk: Talk) -> None:
    talk.socket.transport.abort()


async def stopping(talk: Talk) -> None:
    """While what it stopped is still being closed."""
    await talk.say({"type": "complete", "id": "1"})
    reset(talk)


WAYS: list[Callable[[Running], Awaitable[None]]] = [
    lambda api: subscribed(api, FOREVER, politely),
    lambda api: subscribed(api, FOREVER, rudely),
    lambda api: subscribed(api, FOREVER, reset),
    lambda api: subscribed(api, FOREVER, stopping),
    lambda api: subscribed(api, "{ forever }", reset),
    lambda api: subscribed(api, "subscription { slowToClose }", stopping),
    lambda api: subscribed(api, "subscription { flood }", reset),
    lambda api: before_the_beginning(api, politely),
    lambda api: before_the_beginning(api, reset),
    lambda api: mid_handshake(api, HANDSHAKE[:100], rude=False),
    lambda api: mid_handshake(api, HANDSHAKE[:100], rude=True),
    lambda api: mid_handshake(api, HANDSHAKE, rude=True),
    lambda api: mid_handshake(api, HANDSHAKE + HALF_A_FRAME, rude=True),
]


async def test_nothing_is_left_of_500_that_were_abandoned() -> None:
    with running() as api:
        await subscribed(api, FOREVER, politely)  # whatever is made once is made now
        await api.closes("forever")
        before = await api.at_rest()
        for _ in range(10):
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(WAYS[number % len(WAYS)](api) for number in range(50)))
        await api.comes_back_to(before)


async def test_who_leaves_while_asked_who_it_is_leaves_nothing() -> None:
    with running() as api:
        before = await api.at_rest()
        async with talking(api.ws) as talk:
            await talk.say({"type": "connection_init", "payload": {"Authorization": "Bearer slow"}})
            await api.opens("waiting")
            reset(talk)
        assert api.door.hold
        api.loop.call_soon_threadsafe(api.door.hold.set)
        await api.comes_back_to(before)
