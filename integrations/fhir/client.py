"""One FHIR server over HTTP: bounded in time, in number of calls and in size, and with every failure named.

fhirpy builds addresses and headers. Sending is ours, because fhirpy opens a connection for every request, waits five
minutes, and forgets the HTTP status.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec
from fhirpy import AsyncFHIRClient
from yarl import URL

from domain.endpoint import Endpoint
from domain.ports import EhrUnavailable
from integrations.fhir.connections import Answer, Connections, Deadline, Request, exchange
from integrations.fhir.failures import FhirFailure, Unanswered
from integrations.fhir.protection import Protection
from integrations.fhir.wire import Unreadable

READS = ("GET", "HEAD")
JSON = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
USUAL_DEADLINE = 30.0
NO_SECRETS: Mapping[str, str] = MappingProxyType({})

_deadline: ContextVar[Deadline | None] = ContextVar("fhir_deadline", default=None)


@contextmanager
def asking(deadline: float) -> Iterator[None]:
    """Every call within ends `deadline` seconds from now, and a refusal that nobody expected is an outage."""
    token = _deadline.set(_from_now(deadline))
    try:
        yield
    except FhirFailure as failure:
        raise failure.as_outage() from failure
    except Unreadable as unreadable:
        raise EhrUnavailable(str(unreadable)) from unreadable
    finally:
        _deadline.reset(token)


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


class FhirClient(AsyncFHIRClient):
    """Reads share a pool of connections; each write opens one of its own, for a stale one would leave it in doubt."""

    def __init__(
        self, endpoint: Endpoint, secrets: Mapping[str, str] = NO_SECRETS, protection: Protection | None = None
    ) -> None:
        """`secrets`: where the variable is looked up that `endpoint.authorization_variable` names."""
        super().__init__(endpoint.base_url.rstrip("/"))
        self._searches_by_get = endpoint.searches_by_get
        self._variable = endpoint.authorization_variable
        self._secrets = secrets
        self._protection = protection or Protection(endpoint)
        self._connections = Connections()
        self.last_answer: datetime | None = None
        self.has_failed_since = False

    async def close(self) -> None:
        await self._connections.close()

    async def read_bytes(self, path: str, params: Mapping[str, Any] | None = None) -> bytes:
        """The body of an answer, for typed decoding. Raises `FhirFailure` or `EhrUnavailable`."""
        return (await self.send("GET", path, params)).body

    async def search_bytes(self, path: str, params: Mapping[str, Any]) -> bytes:
        """As `read_bytes`, for a search that names a person: in the body, since addresses are written into access logs.

        Only to a server that cannot take it so, it goes in the address.
        """
        if self._searches_by_get:
            return await self.read_bytes(path, params)
        return (await self.send("POST", f"{path}/_search", form=params)).body

    async def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; a read that failed in passing is sent once more, and nothing else is. A `form` is a search.

        Raises `FhirFailure` for a no, also one under HTTP 200, and `EhrUnavailable`.
        """
        url = self._build_request_url(path, params)
        own = {**self._build_request_headers(), **self._authorization()}
        body, kind = _body(data, form)
        reading = method.upper() in READS or form is not None
        request = Request(method.upper(), URL(url, encoded=True), body, {**own, **kind, **(headers or {})}, reading)
        try:
            answer = await self._protected(request)
        except Unanswered:
            self.has_failed_since = True
            raise
        self.last_answer, self.has_failed_since = datetime.now(UTC), False
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

    async def _protected(self, request: Request) -> Answer:
        reading, deadline = request.reading, _deadline.get() or _from_now(USUAL_DEADLINE)

        async def attempt(second: bool) -> Answer:
            session = self._connections.of(pooled=reading and not second)
            return await exchange(session, request, deadline)

        return await self._protection.ask(attempt, reading=reading, until=deadline.until)


def _body(data: Mapping[str, Any] | None, form: Mapping[str, Any] | None) -> tuple[bytes | None, Mapping[str, str]]:
    """And what header says what it is."""
    if form is not None:
        return urlencode(form, doseq=True).encode(), FORM
    return (None, NO_SECRETS) if data is None else (msgspec.json.encode(data), JSON)


def _from_now(seconds: float) -> Deadline:
    return Deadline(until=asyncio.get_running_loop().time() + seconds, seconds=seconds)


def under(base: str, url: str) -> bool:
    """Whether an address belongs to the server: the same scheme, host and port, and its path or below.

    The base itself is what HAPI's paging links are of (`[base]?_getpages=…`).
    """
    own, other = urlsplit(base), urlsplit(url)
    below = (other.path.rstrip("/") + "/").startswith(own.path.rstrip("/") + "/")
    same = (own.scheme, own.netloc) == (other.scheme, other.netloc)
    return same and below and ".." not in unquote(other.path).split("/")


def path_to(kind: str, id: str) -> str:
    """`Type/id`, whatever characters the id holds."""
    return f"{kind}/{quote(id, safe=':')}"


def token(system: str, value: str) -> str:
    """A search for exactly that identifier or code; what would separate two of them is escaped."""
    escaped = (part.replace("\\", r"\\").replace(",", r"\,").replace("|", r"\|") for part in (system, value))
    return "|".join(escaped)
