"""One request on one connection: sent once, bounded in time and size, and with every way of failing named."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from domain.ports import Outage
from integrations.fhir.failures import Unanswered, failure_in
from integrations.fhir.wire import decode

LARGEST_BODY = 20 * 1024 * 1024
UNTIL_CANCELLED = aiohttp.ClientTimeout(total=None)
PASSING = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
"""Failures of a connection; an answer that is no HTTP is none."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """In the loop's time. `seconds` is how long it was when it was set."""

    until: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: URL
    body: bytes | None
    headers: Mapping[str, str]
    reading: bool


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def resource(self) -> dict[str, Any]:
        """The whole resource, also what we know nothing of. Raises `Unreadable`."""
        return decode(self.body, dict[str, Any])


class _Broken(aiohttp.ClientConnectionError):
    """A request's connection failed. Not the error aiohttp raises, for after that it would send PUT and GET again."""


async def _not_again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken(str(error) or type(error).__name__) from error


class Connections:
    """A pool that is kept, and connections for one request each. The bound on calls is not theirs."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def of(self, *, pooled: bool) -> aiohttp.ClientSession:
        if pooled not in self._sessions:
            self._sessions[pooled] = _session(force_close=not pooled)
        return self._sessions[pooled]

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()


async def exchange(session: aiohttp.ClientSession, request: Request, deadline: Deadline) -> Answer:
    """Raises `FhirFailure` for a no, also one under HTTP 200, and `Unanswered`."""
    progress = SimpleNamespace(connected=False, reused=False)
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(deadline.until):
            answer = await _sent(session, request, progress)
    except TimeoutError as late:
        reason, fair = f"no answer to {request.method} in time", deadline.until - began >= deadline.seconds / 2
        raise Unanswered(reason, outage=Outage.TIMEOUT, sent=progress.connected, blames=fair) from late
    except (aiohttp.ClientError, OSError) as error:
        stale = progress.reused and isinstance(error, _Broken)
        again = isinstance(error, (*PASSING, OSError))
        reason = f"{type(error).__name__}: {error}"
        raise Unanswered(reason, sent=progress.connected, blames=not stale, again=again) from error
    if failure := failure_in(answer.status, answer.headers, answer.body):
        raise failure
    return answer


async def _sent(session: aiohttp.ClientSession, request: Request, progress: SimpleNamespace) -> Answer:
    async with session.request(
        request.method,
        request.url,
        data=request.body,
        headers=request.headers,
        allow_redirects=False,
        trace_request_ctx=progress,
    ) as response:
        return Answer(response.status, response.headers, await _whole_body(response))


async def _whole_body(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_BODY:
            response.close()
            raise Unanswered(f"more than {LARGEST_BODY} bytes")
    return b"".join(chunks)


def _session(*, force_close: bool) -> aiohttp.ClientSession:
    """A connector's own bound on connections would not count towards a caller's deadline: none is set."""
    watch = aiohttp.TraceConfig()
    watch.on_connection_create_end.append(_connected)
    watch.on_connection_reuseconn.append(_reused)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
        timeout=UNTIL_CANCELLED,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=(_not_again,),
        trace_configs=[watch],
    )


async def _connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.connected = True


async def _reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.connected = context.trace_request_ctx.reused = True
