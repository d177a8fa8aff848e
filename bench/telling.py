"""A server that tells thousands of a change: `python -m bench.telling shared | each | plain`.

`shared` is the API as it is; in `each` every watcher has an execution of their own; `plain` is the floor, the same
server and the same bytes out of a plain loop. Settings come from the environment, as for `python -m api`.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import api.app
from api.bootstrap import build_app
from api.serving import listen, port_of, serve_until_told
from api.settings import read_settings
from bench.processes import SERVING
from domain.watch import Watch

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

began = {"at": 0.0, "cpu": 0.0}
"""When the last change was known to the server and nobody had been told yet, and the CPU time until then."""


def mark() -> None:
    began.update(at=time.monotonic(), cpu=time.process_time())


def so_far() -> Response:
    spent = time.process_time() - began["cpu"]
    return Response(orjson.dumps({"began": began["at"], "cpu": spent}), media_type="application/json")


async def _so_far(_: Request) -> Response:
    return so_far()


async def api_app(kind: str) -> Any:
    """The API, but that the moment is noted at which a watched search has changed."""
    take = Watch.take

    def noted(self: Watch, *found: Any) -> bool:
        is_new = take(self, *found)
        if is_new:
            mark()
        return is_new

    Watch.take = noted  # type: ignore[method-assign]
    if kind == "each":
        api.app.Fanout = lambda _: None  # type: ignore[assignment,misc]
    app = await build_app(read_settings(os.environ))
    app.router.routes.append(Route("/_bench", _so_far))
    return app


class Plain:
    """Takes anybody who speaks, and sends all of them what is posted."""

    def __init__(self) -> None:
        self._sends: list[Send] = []

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._talk(receive, send)
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": f"{(await receive())['type']}.complete"})
            return None
        request = Request(scope, receive)
        if request.method == "POST":
            await self._tell((await request.body()).decode())
        await so_far()(scope, receive, send)

    async def _talk(self, receive: Any, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if "subscribe" in message["text"]:
                self._sends.append(send)
                await send({"type": "websocket.send", "text": '{"id":"1","type":"next"}'})

    async def _tell(self, text: str) -> None:
        message = {"type": "websocket.send", "text": text}
        mark()
        for send in self._sends:
            await send(message)


async def main(kind: str) -> None:
    listener = listen("127.0.0.1", 0)
    app = Plain() if kind == "plain" else await api_app(kind)
    await serve_until_told(app, "error", listener, f"{SERVING}http://127.0.0.1:{port_of(listener)}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
