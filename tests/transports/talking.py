"""The client's side of a WebSocket, message by message."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.planted import SCAN

PATIENCE = 60
"""Seconds; far beyond what anything takes."""


class Talk:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, *messages: Any) -> None:
        """Objects are sent as JSON, text and bytes as they are."""
        for message in messages:
            await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            text = await self.socket.recv()
        assert isinstance(text, str), "a binary frame"
        SCAN.heard(text)
        return json.loads(text)

    async def begin(self, **payload: Any) -> None:
        await self.say({"type": "connection_init", "payload": payload})
        assert await self.hear() == {"type": "connection_ack"}

    async def ask(self, id: str, query: str, **more: Any) -> None:
        await self.say(subscribe(id, query, **more))

    async def data(self, query: str, id: str = "a", **more: Any) -> Any:
        """Of an operation with one result."""
        await self.ask(id, query, **more)
        told = await self.hear()
        assert told["type"] == "next", told
        assert await self.hear() == {"id": id, "type": "complete"}
        return told["payload"]["data"]

    async def closed(self) -> tuple[int, str]:
        """The code and reason it is closed with; what is still said before that does not matter."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    SCAN.heard(await self.socket.recv())
        except ConnectionClosed as closed:
            assert closed.rcvd, "lost without a close frame"
            SCAN.look("the reason of a closing", closed.rcvd.reason)
            return closed.rcvd.code, closed.rcvd.reason

    async def lives(self) -> bool:
        await self.say({"type": "ping"})
        while (await self.hear())["type"] != "pong":
            continue
        return True


def subscribe(id: str, query: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "subscribe", "payload": {"query": query, **more}}


@asynccontextmanager
async def talking(url: str, *, protocols: Any = ("graphql-transport-ws",), **options: Any) -> AsyncIterator[Talk]:
    options = {"compression": None, "max_size": None, "open_timeout": PATIENCE, **options}
    async with connect(url, subprotocols=protocols or None, **options) as socket:
        yield Talk(socket)


@asynccontextmanager
async def begun(url: str, **options: Any) -> AsyncIterator[Talk]:
    async with talking(url, **options) as talk:
        await talk.begin()
        yield talk
