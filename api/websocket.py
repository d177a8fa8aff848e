"""GraphQL over WebSocket: who may open one, and who it is that asks over it.

The protocol is spoken by ourselves (`conversation`): Strawberry's handler breaks on frames that are not well-formed,
takes some that are not, and closes the whole socket for one syntax error.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.connections import Connections
from api.context import Context
from api.conversation import Conversation, MakeSocketContext, SocketRules
from api.cross_site import COMES_BY, SOCKET
from api.errors import BadInput, RateLimited
from api.operations import Operations

PROTOCOL = "graphql-transport-ws"

IN_PAYLOAD = ("authorization", "accept-language", "x-apikey", "x-tenant")
"""Headers that `connection_init` may carry, in any case, since browsers set none on a socket."""


MayCome = Callable[[str, HTTPConnection], Awaitable[bool]]
"""Whether a page of that origin may open a socket."""


class SocketEndpoint:
    """Pages that may not come are refused: browsers let any of them open sockets, with the visitor's cookies."""

    def __init__(
        self,
        operations: Operations,
        make_context: MakeSocketContext,
        *,
        may_come: MayCome,
        connections: Connections,
        rules: SocketRules | None = None,
    ) -> None:
        self._operations = operations
        self._make_context = make_context
        self._may_come = may_come
        self._connections = connections
        self._rules = rules or SocketRules()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        with suppress(OSError, WebSocketDisconnect):
            origin = socket.headers.get("origin")
            if origin is not None and not await self._may_come(origin, socket):
                await socket.close()  # before it is accepted: the handshake is answered with 403
            elif PROTOCOL not in scope["subprotocols"]:
                await socket.accept()
                await socket.close(4406, "Subprotocol not acceptable")
            else:
                await self._converse(socket)

    async def _converse(self, socket: WebSocket) -> None:
        try:
            leave = self._connections.enter(socket)
        except RateLimited:
            await socket.accept(PROTOCOL)  # of a handshake that is refused browsers learn neither code nor reason
            return await socket.close(1013, "Too many connections")
        try:
            await socket.accept(PROTOCOL)
            await Conversation(socket, self._operations, self._make_context, self._rules).run()
        finally:
            leave()


def as_over_http(make_context: Callable[[Request, Response, str], Awaitable[Context]]) -> MakeSocketContext:
    """For whoever makes contexts of HTTP requests."""

    async def made(connection: HTTPConnection, payload: Mapping[str, Any], request_id: str) -> Context:
        return await make_context(as_request(connection, payload), Response(), request_id)

    return made


def as_request(connection: HTTPConnection, payload: Mapping[str, Any]) -> Request:
    """The handshake, with headers from the payload in place of its own. Raises `BadInput`."""
    given = {name.lower(): value for name, value in payload.items() if name.lower() in IN_PAYLOAD}
    for name, value in given.items():
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise BadInput(f"`{name}` must be what a header may hold.")
    headers = [(name, value) for name, value in connection.scope["headers"] if name.decode("latin-1") not in given]
    headers += [(name.encode(), value.encode()) for name, value in given.items()]
    return Request({**connection.scope, "type": "http", "method": "GET", "headers": headers, COMES_BY: SOCKET})
