"""A TCP proxy that goes wrong on request, for whatever speaks TCP: record systems, PostgreSQL, Redis.

    async with FaultProxy(5432) as proxy:
        await proxy.switch("drop_reply", when=lambda sent: b"COMMIT" in sent)

It lives in the loop it was opened in: a client that blocks that loop waits for ever.

    pass         bytes go through.
    refuse       nobody listens, and whoever was connected is cut off; the port stays the proxy's own.
    full         nobody listens, and whoever was connected stays: kept connections work, new ones are refused.
    blackhole    connections are accepted and nothing goes in or out; on open ones, what is sent meanwhile is lost, too.
    swallow      a request never arrives; nothing tells the client.
    cut          a request never arrives; a reset tells the client.
    delay        an answer begins `seconds` late.
    drop_reply   a request arrives; instead of the answer comes a reset.
    hang         a request arrives; its answer never comes.
    reset        a reset in the middle of an answer, of its first piece to be exact.
    close_idle   a connection is closed in order as soon as its answer is whole, and at once where it is idle now.

`when` says which requests the middle six concern, by what a client has sent since the last answer; all of them unless
told otherwise. `ends` says whether an answer is whole; HTTP answers are known. An answer fares as the mode was when its
request went through, so a switch never changes half of a conversation.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

HOST = "127.0.0.1"
MIDDLE = ("swallow", "cut", "delay", "drop_reply", "hang", "reset")
MODES = ("pass", "refuse", "full", "blackhole", *MIDDLE, "close_idle")
_PIECE = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def whole_http_answer(answer: bytes) -> bool:
    """Does an HTTP/1.1 answer with a length, in chunks or without a body end here?"""
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    length = _LENGTH.search(head)
    if length:
        return len(body) >= int(length[1])
    return body.endswith(b"0\r\n\r\n") if b"chunked" in head.lower() else True


@dataclass(frozen=True)
class Mode:
    """How the proxy behaves, and toward which requests."""

    name: str = "pass"
    seconds: float = 0.0
    when: Callable[[bytes], bool] = lambda sent: True
    ends: Callable[[bytes], bool] = whole_http_answer


class FaultProxy:
    """Stands before a port of this machine; `accepted` counts connections, `forwarded` bytes of requests."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.mode = Mode()
        self.accepted = 0
        self.forwarded = 0
        self._listener: asyncio.Server | None = None
        self._open: set[Connection] = set()
        # Bound and never listening: while nobody listens beside it, nobody else can take the port either.
        self._reserved = _bound(0)
        self.port: int = self._reserved.getsockname()[1]

    async def __aenter__(self) -> "FaultProxy":
        await self.switch("pass")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.switch("refuse")
        await asyncio.gather(*(each.task for each in self._open), return_exceptions=True)
        self._reserved.close()

    async def switch(self, name: str, **more: object) -> None:
        """Behave like that from now on; `more` is what else a Mode has."""
        if name not in MODES:
            raise ValueError(f"A mode is one of {MODES}")
        self.mode = Mode(name, **more)  # type: ignore[arg-type]
        for each in list(self._open):
            if name == "refuse":
                each.cut()
            elif name == "close_idle" and each.is_idle:
                each.task.cancel()
        await self._listen(name not in ("refuse", "full"))

    async def _listen(self, wanted: bool) -> None:
        if self._listener is not None and not wanted:
            self._listener.close()
            self._listener = None
        if self._listener is None and wanted:
            self._listener = await asyncio.start_server(self._accept, sock=_bound(self.port), backlog=1000)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = Connection(self, reader, writer)
        self._open.add(connection)
        # Whatever ends a connection has closed it, too: there is nobody to tell of it.
        with suppress(OSError, asyncio.CancelledError):
            await connection.carry()
        self._open.discard(connection)


class Connection:
    """One client, and the server it reaches through the proxy."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self.task = task
        self._proxy = proxy
        self._from_client, self._to_client = reader, writer
        self._sent, self._answer = b"", b""
        self._fate = Mode()

    @property
    def is_idle(self) -> bool:
        """Has the last request been answered to the end?"""
        return bool(self._answer) and self._proxy.mode.ends(self._answer)

    async def carry(self) -> None:
        """Both directions, until one side or the proxy ends them."""
        upward = None
        try:
            if self._proxy.mode.name == "blackhole":
                self._to_client.transport.pause_reading()
                await _for_ever()
            from_server, upward = await self._connected()
            await _first_of(self._requests(upward), self._answers(from_server))
        finally:
            for each in (self._to_client, upward):
                if each is not None:
                    each.close()

    def cut(self) -> None:
        """End it with a reset."""
        self._reset()
        self.task.cancel()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(HOST, self._proxy.upstream)
        except OSError:
            self._reset()
            raise

    async def _requests(self, to_server: asyncio.StreamWriter) -> None:
        while piece := await self._from_client.read(_PIECE):
            mode = self._proxy.mode
            if mode.name == "blackhole":
                await _for_ever()
            if self._answer:
                self._sent, self._answer = b"", b""
            self._sent += piece
            self._fate = mode if mode.when(self._sent) else Mode()
            if self._fate.name == "swallow":
                await _for_ever()
            if self._fate.name == "cut":
                return self._reset()
            self._proxy.forwarded += len(piece)
            to_server.write(piece)
            await to_server.drain()

    async def _answers(self, from_server: asyncio.StreamReader) -> None:
        while piece := await from_server.read(_PIECE):
            fate, self._fate = self._fate, Mode()
            if fate.name == "hang" or self._proxy.mode.name == "blackhole":
                await _for_ever()
            if fate.name == "drop_reply":
                return self._reset()
            if fate.name == "reset":
                self._to_client.write(piece[: len(piece) // 2])
                return self._reset()
            if fate.name == "delay":
                await asyncio.sleep(fate.seconds)
            self._answer += piece
            self._to_client.write(piece)
            await self._to_client.drain()
            if self._proxy.mode.name == "close_idle" and self.is_idle:
                return

    def _reset(self) -> None:
        # Closing without lingering is what sends a reset; `abort` also drops what was not sent yet.
        with suppress(OSError):
            lost = self._to_client.get_extra_info("socket")
            lost.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._to_client.transport.abort()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


async def _first_of(*directions: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.ensure_future(each) for each in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _for_ever() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("For ever is over")
