"""Each trouble of the proxy as a client meets it: an HTTP client, a plain connection, PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import asyncpg
import pytest
from sqlalchemy import make_url

from tests.databases import owner_of
from tests.living import until
from tests.proxy import HOST, FaultProxy, whole_http_answer

SHORT, LONG = 0.2, 2.0
PATIENCE = 60
REQUEST = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
ANSWER = [b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", b"answered"]


class Upstream:
    """Answers every request, in two pieces, and keeps the connection open; `on` holds the second piece back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.connections = 0
        self.port = 0
        self.on = asyncio.Event()
        self.on.set()

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head.split()[1].decode().removeprefix("/"))
                writer.write(ANSWER[0])
                await self.on.wait()
                writer.write(ANSWER[1])
        except (asyncio.IncompleteReadError, OSError):
            writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.speak, HOST, 0)
    upstream.port = server.sockets[0].getsockname()[1]
    yield upstream
    server.close()


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(upstream.port) as proxy:
        yield proxy


@asynccontextmanager
async def browser(proxy: FaultProxy, patience: float = PATIENCE) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that keeps its connections."""
    timeout = aiohttp.ClientTimeout(total=patience)
    async with aiohttp.ClientSession(f"http://{HOST}:{proxy.port}", timeout=timeout) as session:
        yield session


async def ask(session: aiohttp.ClientSession, name: str) -> str:
    async with session.post(f"/{name}") as answer:
        return await answer.text()


class Plain:
    """A connection without a protocol of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, name: str) -> None:
        self.writer.write(REQUEST % name.encode())

    async def read(self, patience: float = PATIENCE) -> bytes:
        async with asyncio.timeout(patience):
            return await self.reader.read(1)

    async def piece(self, number: int, patience: float = PATIENCE) -> bytes:
        async with asyncio.timeout(patience):
            return await self.reader.readexactly(len(ANSWER[number]))

    async def whole(self) -> bytes:
        return await self.piece(0) + await self.piece(1)


@asynccontextmanager
async def plain(proxy: FaultProxy) -> AsyncIterator[Plain]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    yield Plain(reader, writer)
    writer.close()


async def forwarded_more(proxy: FaultProxy, than: int) -> bool:
    return proxy.forwarded > than


async def test_bytes_pass_and_are_counted(proxy: FaultProxy, upstream: Upstream) -> None:
    async with plain(proxy) as connection:
        for name in ("one", "two"):
            connection.send(name)
            assert await connection.whole() == b"".join(ANSWER)
    assert upstream.asked == ["one", "two"]
    assert (proxy.accepted, proxy.forwarded) == (1, 2 * len(REQUEST % b"one"))


async def test_a_client_that_leaves_leaves_the_server_too(proxy: FaultProxy) -> None:
    left = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()
        writer.close()

    async with await asyncio.start_server(speak, HOST, 0) as server:
        proxy.upstream = server.sockets[0].getsockname()[1]
        async with plain(proxy):
            pass
        async with asyncio.timeout(PATIENCE):
            await left.wait()


async def test_a_server_that_is_not_there_is_a_reset(proxy: FaultProxy) -> None:
    async with FaultProxy(0) as nobody:
        proxy.upstream = nobody.port
        await nobody.switch("refuse")
        async with plain(proxy) as connection:
            with pytest.raises(ConnectionResetError):
                await connection.read()


async def test_refuse_refuses_and_listens_again_on_the_same_port(proxy: FaultProxy, upstream: Upstream) -> None:
    for number in range(3):
        await proxy.switch("refuse")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, proxy.port)
        await proxy.switch("pass")
        async with browser(proxy) as session:
            assert await ask(session, str(number)) == "answered"
    assert proxy.accepted == 3


async def test_refuse_cuts_off_whoever_was_connected(proxy: FaultProxy) -> None:
    async with plain(proxy) as connection:
        connection.send("one")
        await connection.whole()
        await proxy.switch("refuse")
        with pytest.raises(ConnectionResetError):
            await connection.read()


async def test_a_blackhole_accepts_and_nothing_comes_of_it(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("blackhole")
    async with browser(proxy, SHORT) as session:
        with pytest.raises(TimeoutError):
            await ask(session, "one")
    assert (proxy.accepted, proxy.forwarded, upstream.connections) == (1, 0, 0)


async def test_a_blackhole_swallows_what_open_connections_send(proxy: FaultProxy, upstream: Upstream) -> None:
    async with plain(proxy) as lost, plain(proxy) as quiet:
        for connection in (lost, quiet):
            connection.send("before")
            await connection.whole()
        await proxy.switch("blackhole")
        lost.send("one")
        with pytest.raises(TimeoutError):
            await lost.read(SHORT)
        await proxy.switch("pass")
        lost.send("two")
        quiet.send("three")
        await quiet.whole()
        with pytest.raises(TimeoutError):
            await lost.read(SHORT)
    assert upstream.asked == ["before", "before", "three"]


async def test_a_blackhole_swallows_the_rest_of_an_answer(proxy: FaultProxy, upstream: Upstream) -> None:
    upstream.on.clear()
    async with plain(proxy) as connection:
        connection.send("one")
        await connection.piece(0)
        await proxy.switch("blackhole")
        upstream.on.set()
        with pytest.raises(TimeoutError):
            await connection.read(SHORT)


async def test_whoever_is_connected_to_what_is_full_stays_and_nobody_else_comes_in(
    proxy: FaultProxy, upstream: Upstream
) -> None:
    async with plain(proxy) as connection:
        connection.send("one")
        await connection.whole()
        await proxy.switch("full")
        connection.send("two")
        assert await connection.whole() == b"".join(ANSWER)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, proxy.port)
        await proxy.switch("pass")
        async with browser(proxy) as session:
            assert await ask(session, "three") == "answered"
    assert upstream.asked == ["one", "two", "three"]


@pytest.mark.parametrize("mode", ["swallow", "cut"])
async def test_only_requests_that_match_never_arrive(proxy: FaultProxy, upstream: Upstream, mode: str) -> None:
    await proxy.switch(mode, when=lambda sent: b"/two" in sent)
    async with plain(proxy) as connection, plain(proxy) as other:
        connection.send("one")
        await connection.whole()
        before = proxy.forwarded
        connection.send("two")
        with pytest.raises(ConnectionResetError if mode == "cut" else TimeoutError):
            await connection.read(PATIENCE if mode == "cut" else SHORT)
        assert proxy.forwarded == before
        other.send("three")
        assert await other.whole() == b"".join(ANSWER)
    assert upstream.asked == ["one", "three"]


async def test_a_delayed_answer_comes_late_and_whole(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("delay", seconds=LONG)
    async with plain(proxy) as connection:
        connection.send("one")
        with pytest.raises(TimeoutError):
            await connection.read(SHORT)
        assert await connection.whole() == b"".join(ANSWER)
    assert upstream.asked == ["one"]


async def test_only_the_beginning_of_an_answer_is_delayed(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("delay", seconds=LONG)
    upstream.on.clear()
    async with plain(proxy) as connection:
        connection.send("one")
        await connection.piece(0)
        upstream.on.set()
        assert await connection.piece(1, LONG / 2) == ANSWER[1]


async def test_a_dropped_reply_is_a_reset_after_the_request_arrived(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("drop_reply")
    async with browser(proxy) as session:
        with pytest.raises(aiohttp.ClientOSError):
            await ask(session, "one")
    async with plain(proxy) as connection:
        connection.send("two")
        with pytest.raises(ConnectionResetError):
            await connection.read()
    assert upstream.asked == ["one", "two"]


async def test_only_replies_to_what_matches_are_dropped(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("drop_reply", when=lambda sent: b"/two" in sent)
    async with browser(proxy) as session:
        assert await ask(session, "one") == "answered"
        with pytest.raises(aiohttp.ClientOSError):
            await ask(session, "two")
        assert await ask(session, "three") == "answered"
    assert upstream.asked == ["one", "two", "three"]


async def test_what_was_answered_before_matches_no_more(proxy: FaultProxy) -> None:
    async with plain(proxy) as connection:
        connection.send("one")
        await connection.whole()
        await proxy.switch("drop_reply", when=lambda sent: b"/one" in sent)
        connection.send("two")
        assert await connection.whole() == b"".join(ANSWER)


async def test_what_matches_may_come_in_pieces(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("drop_reply", when=lambda sent: b"/two" in sent)
    async with plain(proxy) as connection:
        connection.send("one")
        await connection.whole()
        before = proxy.forwarded
        connection.writer.write((REQUEST % b"two")[:7])
        await until(lambda: forwarded_more(proxy, before))
        connection.writer.write((REQUEST % b"two")[7:])
        with pytest.raises(ConnectionResetError):
            await connection.read()


async def test_a_hanging_reply_never_comes_though_the_request_arrived(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("hang")
    async with plain(proxy) as connection:
        connection.send("one")
        with pytest.raises(TimeoutError):
            await connection.read(SHORT)
        await proxy.switch("pass")
        with pytest.raises(TimeoutError):
            await connection.read(SHORT)
    assert upstream.asked == ["one"]


async def test_a_reset_comes_in_the_middle_of_the_answer(proxy: FaultProxy, upstream: Upstream) -> None:
    await proxy.switch("reset")
    async with plain(proxy) as connection:
        connection.send("one")
        async with asyncio.timeout(PATIENCE):
            got = b""
            with pytest.raises(ConnectionResetError):
                while piece := await connection.reader.read(1):
                    got += piece
    assert got and ANSWER[0].startswith(got) and got != ANSWER[0]
    assert upstream.asked == ["one"]


async def test_a_kept_connection_is_closed_in_order_after_its_whole_answer(
    proxy: FaultProxy, upstream: Upstream
) -> None:
    await proxy.switch("close_idle")
    upstream.on.clear()
    async with plain(proxy) as connection:
        connection.send("one")
        await connection.piece(0)
        upstream.on.set()
        assert await connection.piece(1) == ANSWER[1]
        assert await connection.read() == b""


async def test_a_connection_that_is_idle_already_is_closed_at_once(proxy: FaultProxy) -> None:
    async with plain(proxy) as idle, plain(proxy) as new:
        idle.send("one")
        await idle.whole()
        await proxy.switch("close_idle")
        assert await idle.read() == b""
        new.send("two")
        assert await new.whole() == b"".join(ANSWER)


async def test_a_client_that_keeps_connections_needs_a_new_one_for_every_call(proxy: FaultProxy) -> None:
    async with browser(proxy) as session:
        assert [await ask(session, name) for name in "ab"] == ["answered"] * 2
        assert proxy.accepted == 1
        await proxy.switch("close_idle")
        for name in "cd":
            async with session.get(f"/{name}") as answer:
                assert await answer.text() == "answered"
        assert proxy.accepted == 3


async def test_a_mode_nobody_knows_is_refused(proxy: FaultProxy) -> None:
    with pytest.raises(ValueError, match="mode"):
        await proxy.switch("sulky")


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", True),
        (b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", True),
    ],
)
def test_an_http_answer_is_whole_when_its_body_is(answer: bytes, whole: bool) -> None:
    assert whole_http_answer(answer) is whole


async def test_a_commit_is_carried_out_though_nobody_hears_of_it(postgres_url: str) -> None:
    url = make_url(owner_of(postgres_url))
    async with FaultProxy(url.port or 5432) as proxy:
        address = url.set(drivername="postgresql", host=HOST, port=proxy.port).render_as_string(hide_password=False)
        connection = await asyncpg.connect(address, timeout=PATIENCE)
        await connection.execute("CREATE TABLE said (word text)")
        await proxy.switch("drop_reply", when=lambda sent: b"COMMIT" in sent)
        with pytest.raises((OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
            async with connection.transaction():
                await connection.execute("INSERT INTO said VALUES ($1)", "yes")
        connection = await asyncpg.connect(address, timeout=PATIENCE)
        assert await connection.fetchval("SELECT word FROM said") == "yes"
        await connection.close()
