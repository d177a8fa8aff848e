"""Redis for tests: the usual server when it answers, else one of our own; and listeners that only look like one.

Keys are prefixed by test, so that suites side by side never meet. Tests that stop a server start their own.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from integrations.redis.resting import Resting

USUAL = ("127.0.0.1", 6379)


def pongs(address: tuple[str, int]) -> bool:
    with suppress(OSError), socket.create_connection(address, timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(7).startswith(b"+PONG")
    return False


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The usual server when it answers, else one of our own. In CI there must be one."""
    if pongs(USUAL):
        yield f"redis://{USUAL[0]}:{USUAL[1]}/0"
        return
    with OwnRedis(_binary(), tmp_path_factory.mktemp("redis")) as own:
        yield own.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator["OwnRedis"]:
    """One that may be killed and started again."""
    with OwnRedis(_binary(), tmp_path) as own:
        yield own


def calls_of_redis(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whatever is asked of any Redis from here on, each round once."""
    asked, original = list[Any](), Resting.ask

    async def counted(self: Resting, call: Any) -> Any:
        asked.append(call)
        return await original(self, call)

    monkeypatch.setattr(Resting, "ask", counted)
    return asked


def _binary() -> str:
    binary = shutil.which("redis-server")
    if binary is None:
        missing = "no Redis answers, and there is no redis-server to start"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return str(binary)


@dataclass
class OwnRedis:
    """A server that keeps nothing, on a port that stays its own."""

    binary: str
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> "OwnRedis":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([self.binary, *options], cwd=self.folder, **quiet)  # type: ignore[call-overload]
        deadline = time.monotonic() + 30
        while not pongs(("127.0.0.1", self.port)):
            assert self.process.poll() is None and time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def prefix(worker_name: str) -> str:
    """What this test counts under: nobody else's on a shared server."""
    return f"{worker_name}:{uuid4()}:"


@asynccontextmanager
async def listener(
    speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Any]:
    """A server on a free port that says what it is told to; it counts who connects."""
    calls: list[int] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        with suppress(OSError, asyncio.CancelledError):
            await speak(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"redis://127.0.0.1:{port}/0", calls
    finally:
        server.close()


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        continue
