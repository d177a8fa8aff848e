"""One FHIR server over HTTP: bounded in time, in number of calls and in size, and with every failure named.

fhirpy builds addresses and headers. Sending is ours, because fhirpy opens a connection for every request, waits five
minutes, and forgets the HTTP status.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import msgspec
from fhirpy import AsyncFHIRClient
from yarl import URL

from domain.endpoint import Endpoint
from domain.ports import EhrUnavailable, Outage
from integrations.fhir.failures import FhirFailure, failure_in
from integrations.fhir.wire import Unreadable, decode

LARGEST_BODY = 20 * 1024 * 1024
READS = ("GET", "HEAD")
UNTIL_CANCELLED = aiohttp.ClientTimeout(total=None)
JSON = {"Content-Type": "application/fhir+json"}
NO_SECRETS: Mapping[str, str] = MappingProxyType({})

_until: ContextVar[float] = ContextVar("fhir_until")


@contextmanager
def asking(deadline: float) -> Iterator[None]:
    """Every call within ends `deadline` seconds from now, and a refusal that nobody expected is an outage."""
    token = _until.set(asyncio.get_running_loop().time() + deadline)
    try:
        yield
    except FhirFailure as failure:
        raise failure.as_outage() from failure
    except Unreadable as unreadable:
        raise EhrUnavailable(str(unreadable)) from unreadable
    finally:
        _until.reset(token)


@contextmanager
def only_reading() -> Iterator[None]:
    """What fails in here has changed nothing there: an outage is one before anything was sent."""
    try:
        yield
    except EhrUnavailable as outage:
        outage.sent = False
        raise
    except FhirFailure as failure:
        raise failure.as_outage(sent=False) from failure
    except Unreadable as unreadable:
        raise EhrUnavailable(str(unreadable), sent=False) from unreadable


@contextmanager
def after_writing() -> Iterator[None]:
    """Something was sent before: that nobody can be reached now does not mean that nothing has happened there."""
    try:
        yield
    except EhrUnavailable as outage:
        outage.sent = True
        raise


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def resource(self) -> dict[str, Any]:
        """The whole resource, also what we know nothing of. Raises `Unreadable`."""
        return decode(self.body, dict[str, Any])


class _Broken(Exception):
    """The connection failed under a request. Not an aiohttp error, for aiohttp would send PUT and GET once more."""


async def _not_again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Broken(str(error) or type(error).__name__) from error


class FhirClient(AsyncFHIRClient):
    """Reads share a pool of connections; each write opens one of its own, for a stale one would leave it in doubt."""

    def __init__(self, endpoint: Endpoint, secrets: Mapping[str, str] = NO_SECRETS) -> None:
        """`secrets`: where the variable is looked up that `endpoint.authorization_variable` names."""
        super().__init__(endpoint.base_url.rstrip("/"))
        self._variable = endpoint.authorization_variable
        self._secrets = secrets
        self._turns = asyncio.Semaphore(endpoint.max_concurrency)
        self._sessions: tuple[aiohttp.ClientSession, aiohttp.ClientSession] | None = None

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, None
        for session in sessions or ():
            await session.close()

    async def read_bytes(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """The body of an answer, for typed decoding. Raises `FhirFailure` or `EhrUnavailable`."""
        return (await self.send("GET", path, params)).body

    async def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, once. Raises `FhirFailure` for a no, also one under HTTP 200, and `EhrUnavailable`."""
        url = self._build_request_url(path, params)
        own = {**self._build_request_headers(), **self._authorization()}
        sent = {**own, **(JSON if data is not None else {}), **(headers or {})}
        body = msgspec.json.encode(data) if data is not None else None
        answer = await self._in_time(method.upper(), URL(url, encoded=True), body, sent)
        if failure := failure_in(answer.status, answer.headers, answer.body):
            raise failure
        return answer

    async def _do_request(
        self,
        method: str,
        path: str,
        data: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        extra_headers: dict[str, str] | None = None,
        *,
        returning_status: bool = False,
    ) -> Any:
        answer = await self.send(method, path, params, data=data, headers=extra_headers)
        content = answer.resource() if answer.body else None
        return (content, answer.status) if returning_status else content

    def _build_request_url(self, path: str, params: Any) -> str:
        """fhirpy's own check is satisfied by our address anywhere in a link: this one wants it in front."""
        if urlsplit(path).scheme and not under(self.url, path):
            raise EhrUnavailable("a link leads away from the server")
        url: str = super()._build_request_url(path, params)
        return url.removesuffix("?")

    def _authorization(self) -> dict[str, str]:
        """Looked up for every request, and told nobody but the server."""
        if not self._variable:
            return {}
        value = self._secrets.get(self._variable, "").strip()
        if not (value and value.isascii() and value.isprintable()):
            what = "cannot be sent as a header" if value else "is not set"
            raise EhrUnavailable(f"the environment variable {self._variable} {what}", sent=False)
        return {"Authorization": value}

    async def _in_time(self, method: str, url: URL, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        progress = SimpleNamespace(connected=False, reused=False)
        until = _until.get(asyncio.get_running_loop().time() + 30)
        try:
            async with asyncio.timeout_at(until), self._turns:
                return await self._attempt(method, url, body, headers, progress)
        except TimeoutError as late:
            reason = f"no answer to {method} in time"
            raise EhrUnavailable(reason, outage=Outage.TIMEOUT, sent=progress.connected) from late
        except (_Broken, aiohttp.ClientError, OSError) as error:
            raise EhrUnavailable(f"{type(error).__name__}: {error}", sent=progress.connected) from error

    async def _attempt(
        self, method: str, url: URL, body: bytes | None, headers: Mapping[str, str], progress: SimpleNamespace
    ) -> Answer:
        pooled, single = self._open_sessions()
        if method not in READS:
            return await self._exchange(single, method, url, body, headers, progress)
        try:
            return await self._exchange(pooled, method, url, body, headers, progress)
        except _Broken:
            if not progress.reused:
                raise
        return await self._exchange(single, method, url, body, headers, progress)

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        body: bytes | None,
        headers: Mapping[str, str],
        progress: SimpleNamespace,
    ) -> Answer:
        async with session.request(
            method, url, data=body, headers=headers, allow_redirects=False, trace_request_ctx=progress
        ) as response:
            return Answer(response.status, response.headers, await _whole_body(response))

    def _open_sessions(self) -> tuple[aiohttp.ClientSession, aiohttp.ClientSession]:
        if self._sessions is None:
            self._sessions = _session(force_close=False), _session(force_close=True)
        return self._sessions


def under(base: str, url: str) -> bool:
    """Whether an address belongs to the server: the same scheme, host and port, and below its path."""
    own, other = urlsplit(base), urlsplit(url)
    below = other.path.startswith(own.path.rstrip("/") + "/")
    same = (own.scheme, own.netloc) == (other.scheme, other.netloc)
    return same and below and ".." not in unquote(other.path).split("/")


def path_to(kind: str, id: str) -> str:
    """`Type/id`, whatever characters the id holds."""
    return f"{kind}/{quote(id, safe=':')}"


def token(system: str, value: str) -> str:
    """A search for exactly that identifier or code; what would separate two of them is escaped."""
    escaped = (part.replace("\\", r"\\").replace(",", r"\,").replace("|", r"\|") for part in (system, value))
    return "|".join(escaped)


async def _whole_body(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_BODY:
            response.close()
            raise EhrUnavailable(f"more than {LARGEST_BODY} bytes")
    return b"".join(chunks)


def _session(*, force_close: bool) -> aiohttp.ClientSession:
    """The bound on calls is the client's; a connector's own would not count towards a caller's deadline."""
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
