"""GraphQL over HTTP: Strawberry's view with our context, and a coded JSON body for every error."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import orjson
from cross_web import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse
from strawberry.schema import BaseSchema

from api.context import Context
from api.errors import CodedError

MakeContext = Callable[[Request, Response, str], Awaitable[Context]]

MOST_BYTES = 256 * 1024
"""Of a request's body; the longest sensible operation is a tenth of it."""

STATUS = {"UNAUTHENTICATED": 401, "UPSTREAM_UNAVAILABLE": 503}
"""HTTP statuses of refusals before anything is executed; the others are 400."""


class GraphQLEndpoint(GraphQL[Context, None]):
    """One path for queries and mutations. No IDE from a foreign server, no batches, no uploads."""

    def __init__(self, schema: BaseSchema, make_context: MakeContext) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=())
        self._make_context = make_context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError("GraphQL is served over HTTP only")
        request = Request(scope, _limited(receive))
        request.state.id = uuid4().hex
        try:
            response = await self.run(request)
        except HTTPException as refused:
            response = _problem(refused.status_code, "BAD_USER_INPUT", refused.reason, request.state.id)
        except CodedError as refused:
            response = _problem(STATUS.get(refused.code, 400), refused.code, refused.message, request.state.id)
        response.headers["X-Request-Id"] = request.state.id
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:
        assert isinstance(request, Request)
        assert isinstance(response, Response)
        return await self._make_context(request, response, request.state.id)

    def should_render_graphql_ide(self, request: Any) -> bool:
        return False

    def decode_json(self, data: str | bytes) -> object:
        """Objects only: `1`, `"x"` or `null` are no requests. A body that is not UTF-8 is not JSON either."""
        try:
            decoded = orjson.loads(data)
        except orjson.JSONDecodeError as wrong:
            raise json.JSONDecodeError(str(wrong), "", 0) from wrong
        if not isinstance(decoded, dict | list):
            raise HTTPException(400, "The request must be a JSON object.")
        return decoded

    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        response = super().create_response(response_data, sub_response)
        response.headers["Cache-Control"] = "no-store"
        return response


def _limited(receive: Receive) -> Receive:
    """Starlette's own limit answers in plain text. Raises `HTTPException` for a body that is too large."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_BYTES:
            raise HTTPException(413, "The request is too large.")
        return message

    return limited


def _problem(status: int, code: str, message: str, request_id: str) -> Response:
    body = {"errors": [{"message": message, "extensions": {"code": code, "requestId": request_id}}]}
    return JSONResponse(body, status_code=status)
