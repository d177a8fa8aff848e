"""One WebSocket from its opening to its end, by the protocol `graphql-transport-ws`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from api.context import Context
from api.errors import BadInput, CodedError, Forbidden, RateLimited, Unauthenticated
from api.messages import in_english
from api.operations import Operation, Operations, failed
from api.outlet import Outlet
from api.socket_messages import ClientMessage, Closed, Malformed, read
from api.standing import Still, everybody_stays, what_ended, what_ended_before

log = logging.getLogger(__name__)

MakeSocketContext = Callable[[HTTPConnection, Mapping[str, Any], str], Awaitable[Context]]
"""From the handshake, the payload of `connection_init` and a request id; as for HTTP, but without a response."""

GONE = Closed(None, "The client is gone")
SILENT = Closed(None, "The client reads nothing")
LONG_ENOUGH = Closed(1012, "Open for long enough: connect again")
SIGNED_IN_NO_MORE = "The sign-in has ended"
_LOST = (OSError, WebSocketDisconnect, WebSocketDisconnected)


@dataclass(frozen=True, kw_only=True)
class SocketRules:
    """Times in seconds, `longest` of a socket from its welcome. `most_operations` are those of one that run at once."""

    init_timeout: float = 5
    send_timeout: float = 10
    recheck: float = 20
    longest: float = 8 * 3600
    most_operations: int = 50
    still: Still = everybody_stays


def forbidden(refused: CodedError, otherwise: str = "Forbidden") -> Closed:
    """In English, for whoever wrote the client: no frame has room for more than a short line."""
    return Closed(4403, otherwise if refused.message == refused.code else in_english(refused.message))


class Conversation:
    """Runs what is asked for, each operation in a task with a context of its own.

    When `run` returns there is no task and no open result left, whoever ended it and at whatever moment.
    """

    def __init__(
        self, socket: WebSocket, operations: Operations, make_context: MakeSocketContext, rules: SocketRules
    ) -> None:
        self._socket = socket
        self._operations = operations
        self._make_context = make_context
        self._rules = rules
        self._out = Outlet(socket.send, rules.send_timeout, lambda: self._stop(SILENT))
        self._payload: Mapping[str, Any] | None = None
        self._first: Context | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: Closed | None = None

    async def run(self) -> None:
        try:
            async with asyncio.timeout(self._rules.init_timeout) as self._limit:
                await self._listen()
        except Closed as closed:
            self._closing = closed
        except TimeoutError:
            self._closing = self._closing or Closed(4408, "Connection initialisation timeout")
        finally:
            await self._end()

    async def _listen(self) -> None:
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                return
            await self._take(read(event.get("text")))
            await asyncio.sleep(0)  # messages that came together must not keep the others' waiting

    async def _take(self, message: ClientMessage) -> None:
        if message.kind == "connection_init":
            await self._begin(message.payload or {})
        elif message.kind == "ping":
            payload = {} if message.payload is None else {"payload": message.payload}
            await self._say({"type": "pong", **payload})
        elif message.kind == "subscribe":
            await self._subscribe(message.id, message.operation)
        elif message.kind == "complete" and (task := self._running.pop(message.id, None)):
            task.cancel()

    async def _begin(self, payload: Mapping[str, Any]) -> None:
        if self._payload is not None:
            raise Closed(4429, "Too many initialisation requests")
        self._payload = payload
        self._limit.reschedule(None)
        self._first = await self._welcome(payload)
        if ended := await what_ended_before(self._rules.still, self._first):
            raise forbidden(ended) if isinstance(ended, Unauthenticated) else Closed(1013, ended.message)
        await self._say({"type": "connection_ack"})
        self._start(self._watch(self._first))

    async def _welcome(self, payload: Mapping[str, Any]) -> Context:
        try:
            return await self._make_context(self._socket, payload, uuid4().hex)
        except (Unauthenticated, Forbidden) as refused:
            raise forbidden(refused) from None
        except BadInput as wrong:
            raise Malformed(wrong.message) from wrong
        except CodedError as refused:  # what we depend on is down: clients come back after this code
            raise Closed(1013, refused.message) from refused
        except Exception as failure:  # most likely the database; 4500 would be the end for clients
            log.error("a socket's context cannot be made", exc_info=failure)
            raise Closed(1013, "Internal server error") from None

    async def _subscribe(self, id: str, operation: Operation) -> None:
        if self._first is None:
            raise Closed(4401, "Unauthorized")
        if id in self._running:
            raise Closed(4409, f"Subscriber for {id} already exists")
        most = self._rules.most_operations
        # those that were stopped and are not over yet count too, or starting and stopping would heap them up
        if len(self._running) >= most or len(self._tasks) > 2 * most:
            await self._say({"id": id, "type": "error", "payload": failed(RateLimited(), self._first).errors})
            return
        self._running[id] = self._start(self._operate(id, operation, self._first))

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _operate(self, id: str, operation: Operation, first: Context) -> None:
        try:
            context = await self._make_context(self._socket, self._payload or {}, uuid4().hex)
            async with aclosing(self._operations.stream(operation, context)) as results:
                refused = await self._send_results(id, results)
            await self._finish(id, refused)
        except (Unauthenticated, Forbidden) as refused:
            self._stop(forbidden(refused))
        except _LOST:
            return  # `_listen` hears of it
        except Exception as failure:
            with suppress(*_LOST):
                await self._finish(id, failed(failure, first).errors)

    async def _send_results(self, id: str, results: Any) -> list[Any] | None:
        """Answers the errors of a request that was refused."""
        before = f'{{"id":{orjson.dumps(id).decode()},"type":"next","payload":'
        send, task = self._out.send, asyncio.current_task()
        async for result in results:
            if task and task.cancelling():  # the source made an error of being stopped: that is nobody's any more
                return None
            if result.errors is not None:
                errors: list[Any] = result.errors
                return errors
            await send({"type": "websocket.send", "text": f"{before}{result.text}}}"})
        return None

    async def _finish(self, id: str, errors: list[Any] | None) -> None:
        """Frees the id before the client hears that it may use it again."""
        if self._running.get(id) is not asyncio.current_task():
            return
        del self._running[id]
        await self._say(
            {"id": id, "type": "complete"} if errors is None else {"id": id, "type": "error", "payload": errors}
        )

    async def _say(self, message: Mapping[str, Any]) -> None:
        await self._out.send({"type": "websocket.send", "text": orjson.dumps(message).decode()})

    async def _watch(self, first: Context) -> None:
        """Nobody stays for ever, not even where nobody signed in: what a process has open is bounded in time, too."""
        try:
            async with asyncio.timeout(self._rules.longest):
                ended = await self._ending(first)
        except TimeoutError:
            return self._stop(LONG_ENOUGH)  # clients come back after this code, and go on after their last cursor
        self._stop(forbidden(ended, SIGNED_IN_NO_MORE))

    async def _ending(self, first: Context) -> Unauthenticated:
        """Returns when who is there has to leave: why."""
        while True:
            await asyncio.sleep(self._rules.recheck)
            if ended := await what_ended(self._rules.still, first):
                return ended

    def _stop(self, closed: Closed) -> None:
        """Wakes `run`, which alone ends the conversation."""
        if self._closing is None:
            self._closing = closed
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _end(self) -> None:
        """Operations first: none may send after the socket is closed. Those that are stopping are left to it."""
        closing = self._closing = self._closing or GONE
        tasks = list(self._tasks)
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        self._out.close()
        if closing.code is not None:
            with suppress(TimeoutError, *_LOST):
                async with asyncio.timeout(self._rules.send_timeout):
                    await self._socket.close(closing.code, closing.reason)
        await asyncio.gather(*tasks, return_exceptions=True)
