"""GraphQL over HTTP: Strawberry's view with our context, and a coded JSON body for every error.

A subscription is answered as server-sent events to clients that read them, and refused to others. So is whatever else
a client asks for that reads nothing but events.
"""

import json
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from uuid import uuid4

import orjson
from cross_web import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionResult
from strawberry.types.graphql import OperationType

from api.accept import admits_json, names_events
from api.connections import Connections
from api.context import Context
from api.cross_site import HEADERS, is_made_by_a_script
from api.errors import CodedError, Forbidden, Schema
from api.operations import Operation, Operations
from api.slow_bodies import BodyTooSlow
from api.sse import EventStream, StreamRules
from api.wrong_input import NO_SUCH_OPERATION

MakeContext = Callable[[Request, Response, str], Awaitable[Context]]

MOST_BYTES = 256 * 1024
"""Of a request's body; the longest sensible operation is a tenth of it."""

STATUS = {
    **{"UNAUTHENTICATED": 401, "FORBIDDEN": 403, "STEP_UP_REQUIRED": 403},
    **{"RATE_LIMITED": 429, "UPSTREAM_UNAVAILABLE": 503, "INTERNAL_SERVER_ERROR": 500},
}
"""HTTP statuses of refusals before anything is executed; the others are 400."""

MAY_RUN = {
    "GET": frozenset({OperationType.QUERY}),
    "POST": frozenset({OperationType.QUERY, OperationType.MUTATION}),
}
"""A link on a foreign page makes a GET with the visitor's cookies: it may change nothing and start nothing."""


class GraphQLEndpoint(GraphQL[Context, None]):
    """One path for all that goes over HTTP. No IDE from a foreign server, no batches, no uploads."""

    def __init__(
        self,
        schema: Schema,
        make_context: MakeContext,
        operations: Operations | None = None,
        events: StreamRules | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=())
        self._make_context = make_context
        self._operations = operations or Operations(schema)
        self._events = events or StreamRules()
        self._connections = connections
        self._streams: set[EventStream] = set()

    def stop(self) -> None:
        """Ends every stream of events: a server that stops waits for them, and tells them nothing."""
        for stream in self._streams:
            stream.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError("GraphQL is served over HTTP only")
        request = Request(scope, _limited(receive))
        request.state.id = uuid4().hex
        try:
            response = await self.run(request)
        except HTTPException as refused:
            response = _problem(refused.status_code, "BAD_USER_INPUT", refused.reason, request.state.id)
            if refused.status_code == 405:
                response.headers["Allow"] = "POST" if request.method == "GET" else "GET, POST"
        except BodyTooSlow as late:
            response = _problem(late.status_code, "TIMEOUT", "The request did not come in time.", request.state.id)
            response.headers.update(late.headers or {})
        except CodedError as refused:
            response = refusal(refused, request.state.id)
        response.headers["X-Request-Id"] = request.state.id
        if isinstance(response, EventStream):
            self._streams.add(response)
        try:
            await response(scope, receive, send)
        finally:
            self._streams.discard(response)

    async def run(self, request: Any, context: Any = None, root_value: Any = None) -> Any:
        """Strawberry's, but for subscriptions: it knows no such refusal, and frames events so that urql reads none."""
        adapter, response = self.request_adapter_class(request), await self.get_sub_response(request)
        if not self.is_request_allowed(adapter):
            raise HTTPException(405, "GraphQL only supports GET and POST requests.")
        _check_form(request)
        context = await self.get_context(request, response)
        operation = _operation(await self.parse_http_body(adapter))
        accept = request.headers.get("accept")
        if self._operations.is_subscription(operation):
            if request.method == "GET" or not names_events(accept):
                raise _refused(OperationType.SUBSCRIPTION, request.method)
            return self._stream(request, operation, context, response)
        may_run = MAY_RUN[request.method]
        if names_events(accept) and not admits_json(accept):
            kind = self._operations.kind(operation)
            if kind and kind not in may_run:
                raise _refused(kind, request.method)
            return self._stream(request, operation, context, response, may_run)
        result = await self._execute(operation, context, request.method)
        return self.create_response(await self.process_result(request, result), response)

    def _stream(
        self,
        request: Request,
        operation: Operation,
        context: Context,
        response: Response,
        may_run: Collection[OperationType] | None = None,
    ) -> EventStream:
        """Raises `RateLimited` for one too many. It is run at once, or its place would not be given back."""
        leave = self._connections.enter(request, context.languages)
        results = self._operations.stream(operation, context, may_run)
        lasting = self._operations.is_subscription(operation)
        return EventStream(results, context, response.headers, self._events, leave, lasting=lasting)

    async def _execute(self, operation: Operation, context: Context, method: str) -> ExecutionResult:
        try:
            return await self._operations.answer(operation, context, MAY_RUN[method])
        except CannotGetOperationTypeError as wrong:
            raise HTTPException(400, NO_SUCH_OPERATION) from wrong
        except InvalidOperationTypeError as wrong:
            raise _refused(wrong.operation_type, method) from wrong
        except MissingQueryError as wrong:
            raise HTTPException(400, "No GraphQL query found in the request") from wrong

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


def _operation(sent: GraphQLRequestData | list[GraphQLRequestData]) -> Operation:
    assert not isinstance(sent, list)  # batches are off, and were refused
    return Operation(
        query=sent.query or "",
        variables=sent.variables,
        operation_name=sent.operation_name,
        extensions=sent.extensions,
    )


def _refused(kind: OperationType, method: str) -> HTTPException:
    if kind is OperationType.SUBSCRIPTION and method == "POST":
        return HTTPException(405, "Subscriptions need a client that accepts text/event-stream, or a WebSocket.")
    status = 405 if kind is OperationType.SUBSCRIPTION else 400
    return HTTPException(status, InvalidOperationTypeError(kind).as_http_error_reason(method))


def _check_form(request: Request) -> None:
    """Whatever a page elsewhere can have sent without a preflight is no request to us: a bare GET, which may be a link
    or an image, and the bodies of forms."""
    if request.method == "GET" and not is_made_by_a_script(request.headers):
        raise Forbidden(f"A GET must carry one of the headers {', '.join(HEADERS)}.", reason="NO_PREFLIGHT_HEADER")
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and media != "application/json":
        raise HTTPException(400, "Unsupported content type")


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


def refusal(refused: CodedError, request_id: str, status: int | None = None) -> Response:
    """Of a request that nothing was executed of; by another `status` than its code's, where one says more."""
    given = {name: value for name, value in (refused.extensions or {}).items() if name != "code"}
    response = _problem(status or STATUS.get(refused.code, 400), refused.code, refused.message, request_id, **given)
    response.headers.update({"X-Request-Id": request_id, **_when(refused)})
    return response


def plain_refusal(refused: CodedError) -> Response:
    """The same for whoever followed a link."""
    headers = {"Cache-Control": "no-store", **_when(refused)}
    return PlainTextResponse(f"{refused.message}\n", STATUS.get(refused.code, 400), headers)


def _when(refused: CodedError) -> dict[str, str]:
    wait = (refused.extensions or {}).get("retryAfter")
    return {} if wait is None else {"Retry-After": str(wait)}


def _problem(status: int, code: str, message: str, request_id: str, **more: Any) -> Response:
    body = {"errors": [{"message": message, "extensions": {**more, "code": code, "requestId": request_id}}]}
    return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})
