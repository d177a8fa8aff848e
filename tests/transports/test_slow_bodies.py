"""Who sends a request's body a byte at a time is not waited for."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.api.searching import search_for
from tests.living import Server, Town, over_http, running
from tests.system.watching import SLOTS

LIMIT = 1.0
"""Seconds; the setting's own default is 10."""
BOUND = 10 * LIMIT
GRAPHQL, NOTIFICATION, LOGOUT = "/graphql", "/webhooks/ehr/nordhelse/no", "/logout/backchannel/nordhelse"
BODY = json.dumps({"query": "{ tenant { slug } }"}).encode()


@pytest.fixture
def server(town: Town, sqlite_filled_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("slow") / "stderr"
    with running(town.settings(sqlite_filled_url, body_seconds=LIMIT), log) as process:
        yield process


class Sender:
    """Sends what of a request it likes, and reads until the server closes the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def begin(cls, server: Server, path: str, length: str, *, close: bool = False) -> "Sender":
        host, _, port = server.url.removeprefix("http://").partition(":")
        sender = cls(*await asyncio.open_connection(host, int(port)))
        head = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", length]
        await sender.send("\r\n".join([*head, *(["Connection: close"] if close else []), "", ""]).encode())
        return sender

    async def send(self, part: bytes) -> None:
        self._writer.write(part)
        await self._writer.drain()

    async def drip(self, part: bytes) -> None:
        """Again and again, so that the connection is never silent."""
        while not self._reader.at_eof():
            await self.send(part)
            await asyncio.sleep(LIMIT / 10)

    async def answer(self, *, bound: float = 60) -> tuple[bytes, bytes]:
        """Head and body, when the connection is closed."""
        told = b""
        async with asyncio.timeout(bound):
            with suppress(ConnectionResetError):  # by a drop that came when all was said and closed
                while part := await self._reader.read(65536):
                    told += part
        head, _, body = told.partition(b"\r\n\r\n")
        self._writer.close()
        return head, body


@pytest.mark.parametrize("path", [GRAPHQL, NOTIFICATION, LOGOUT])
@pytest.mark.parametrize("dripping", [False, True])
async def test_a_body_that_does_not_come_is_not_waited_for(server: Server, path: str, dripping: bool) -> None:
    sender = await Sender.begin(server, path, "Content-Length: 10000")
    await sender.send(BODY[:5])
    drops = asyncio.create_task(sender.drip(b" ")) if dripping else None
    head, body = await sender.answer(bound=BOUND)
    assert head.startswith(b"HTTP/1.1 408 ")
    if path == GRAPHQL:
        [error] = json.loads(body)["errors"]
        assert error["extensions"]["code"] == "TIMEOUT"
        assert f"x-request-id: {error['extensions']['requestId']}".encode() in head.lower()
    if drops:
        drops.cancel()
        await asyncio.gather(drops, return_exceptions=True)


async def test_chunks_without_an_end_are_not_waited_for_either(server: Server) -> None:
    sender = await Sender.begin(server, GRAPHQL, "Transfer-Encoding: chunked")
    drops = asyncio.create_task(sender.drip(b"1\r\n \r\n"))
    head, _ = await sender.answer(bound=BOUND)
    assert head.startswith(b"HTTP/1.1 408 ")
    drops.cancel()
    await asyncio.gather(drops, return_exceptions=True)


async def test_a_body_in_parts_that_comes_in_time_is_read(server: Server) -> None:
    sender = await Sender.begin(server, GRAPHQL, f"Content-Length: {len(BODY)}", close=True)
    await sender.send(BODY[:5])
    await asyncio.sleep(LIMIT / 10)
    await sender.send(BODY[5:])
    head, body = await sender.answer()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == {"data": {"tenant": {"slug": "nordhelse"}}}


async def test_a_stream_outlives_the_deadline_of_its_request(server: Server) -> None:
    async with over_http(server.url) as client:
        asked = {"query": SLOTS, "variables": {"search": await search_for(client)}}
        async with client.http.stream(
            "POST", "/graphql", json=asked, headers={"Accept": "text/event-stream"}
        ) as answer:
            parts = answer.aiter_bytes()
            assert await anext(parts)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3 * LIMIT):
                    async for _ in parts:
                        continue
