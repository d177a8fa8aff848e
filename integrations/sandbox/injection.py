"""Where faults happen: between the server and the routes, on the bytes of the answer."""

import asyncio
from collections import Counter
from collections.abc import Callable, MutableMapping
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integrations.sandbox.faults import Fault, Faults, UnknownFaultError
from integrations.sandbox.late import LateRequests, body_of
from integrations.sandbox.wire import FHIR_JSON, Resource, outcome

_OPERATORS = {"$find": "find", "$book": "book", "$hold": "hold", "$get-schedule-context": "context"}


class Calls:
    """How often each operation was called, and how many of it ran at the same time at most."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.max_concurrent: Counter[str] = Counter()
        self._running: Counter[str] = Counter()

    def begin(self, operation: str) -> None:
        """A call came in."""
        self.counts[operation] += 1
        self._running[operation] += 1
        self.max_concurrent[operation] = max(self.max_concurrent[operation], self._running[operation])

    def end(self, operation: str) -> None:
        """It was answered, or is over."""
        self._running[operation] -= 1

    def clear(self) -> None:
        """Count from nothing again; calls that are running go on."""
        self.counts.clear()
        self.max_concurrent.clear()


def operation_of(scope: Scope) -> str | None:
    """What a request is, in the words faults are told by; nothing for what is no part of the EHR."""
    path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/").split("/")
    kind, method, alone = path[0], scope["method"], len(path) == 1 or path[-1] == "_search"
    if kind in ("_sandbox", "photos", ""):
        return None
    if path[-1] in _OPERATORS:
        return _OPERATORS[path[-1]]
    if kind in ("Patient", "Subscription"):
        return kind.lower()
    if kind == "Slot":
        return "slot-write" if method == "PUT" else "slot-search" if alone else "read"
    if kind == "Appointment" and (method == "PUT" or (method == "POST" and len(path) == 1 and not _is_form(scope))):
        return "appointment-write"
    return "search" if alone and kind != "metadata" else "read"


def _is_form(scope: Scope) -> bool:
    return any(name == b"content-type" and b"form" in value for name, value in scope["headers"])


class FaultInjection:
    """Counts calls, and lets the fault that is due happen to them."""

    def __init__(self, app: ASGIApp, faults: Faults, calls: Calls, late: LateRequests, stopping: asyncio.Event) -> None:
        self.app = app
        self.faults = faults
        self.calls = calls
        self.late = late
        self.stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = operation_of(scope) if scope["type"] == "http" else None
        if operation is None:
            return await self.app(scope, receive, send)
        self.calls.begin(operation)
        try:
            fault = self.faults.due(operation, scope)
            await (self._with(fault, scope, receive, send) if fault else self.app(scope, receive, send))
        except UnknownFaultError as error:
            await _answer(send, 400, outcome("value", str(error)))
        finally:
            self.calls.end(operation)

    async def _with(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "down":
            return await _answer(send, 503, outcome("transient", "The record system is down"))
        if fault.kind == "throttled":
            return await _answer(
                send, 429, outcome("throttled", "Too many requests"), (b"ratelimit", b'"all";r=0;t=60')
            )
        if fault.kind in ("hang", "hang-between-pages"):
            await self._silence(receive)
            return await cut(receive, send)
        if fault.kind in ("lost-request", "late"):
            return await self._unheard(fault.kind, scope, receive, send)
        await self._carried_out(fault, scope, receive, send)

    async def _unheard(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        if kind == "late" and body is not None:
            self.late.keep(self.app, scope, body)
        await cut(receive, send)

    async def _carried_out(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "slow":
            await self._pause(fault.seconds)
        scope["sandbox.fault"], scope["sandbox.past"] = fault.kind, fault.past
        if fault.kind in ("slow", "taken", "stale"):
            return await self.app(scope, receive, send)
        start, body = await self._recorded(scope, receive)
        if fault.kind == "lost-answer":
            return await cut(receive, send)
        if fault.kind == "hang-in-body":
            await send(start)
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            await self._silence(receive)
            return await cut(receive, send)
        await _send_changed(fault.kind, start, body, send)

    async def _recorded(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        return messages[0], b"".join(each.get("body", b"") for each in messages[1:])

    async def _silence(self, receive: Receive) -> None:
        waits = {asyncio.create_task(_gone(receive)), asyncio.create_task(self.stopping.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return


async def _gone(receive: Receive) -> object:
    while (await receive())["type"] != "http.disconnect":
        continue
    return None


async def cut(receive: Receive, send: Send) -> None:
    """Close the connection as it is: no further byte is sent."""
    transport = _transport(send)
    if transport is None:
        raise RuntimeError("This server does not let a connection be cut")
    transport.close()
    try:
        await asyncio.wait_for(_gone(receive), 1)
    except TimeoutError:
        return


def _transport(send: Send) -> Any:
    # ASGI has no word for hanging up, and middleware wraps `send` in closures: uvicorn's own is the innermost.
    waiting: list[Callable[..., Any]] = [send]
    for each in waiting:
        if hasattr(getattr(each, "__self__", None), "transport"):
            return each.__self__.transport  # type: ignore[attr-defined]
        cells = [cell.cell_contents for cell in getattr(each, "__closure__", None) or ()]
        waiting += [cell for cell in cells if callable(cell) and cell not in waiting]
    return None


async def _send_changed(kind: str, start: Message, body: bytes, send: Send) -> None:
    try:
        resource = orjson.loads(body)
    except orjson.JSONDecodeError:
        resource = {}
    status = start["status"]
    if kind == "sparse":
        return await _answer(send, status, _sparse(resource))
    if status < 400:
        await send(start)
        return await send({"type": "http.response.body", "body": body})
    told = _outcome_in(resource)
    wrapped = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": told}]}
    await _answer(send, 200, wrapped if kind == "outcome-200-wrapped" else told)


def _sparse(resource: Resource) -> Resource:
    if resource.get("resourceType") != "Bundle":
        return resource
    kept = {name: value for name, value in resource.items() if name not in ("total", "link")}
    if "entry" in kept:
        kept["entry"] = [{"resource": each["resource"]} for each in kept["entry"]]
    return kept


def _outcome_in(resource: MutableMapping[str, Any]) -> Resource:
    inside = [each["resource"] for each in resource.get("entry", ())]
    return next((each for each in inside if each["resourceType"] == "OperationOutcome"), dict(resource))


async def _answer(send: Send, status: int, resource: Resource, *headers: tuple[bytes, bytes]) -> None:
    body = orjson.dumps(resource)
    sent = [(b"content-type", FHIR_JSON.encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
