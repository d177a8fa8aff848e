"""A server that says exactly what a test tells it to, byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from domain.endpoint import Dialect, Endpoint
from integrations.fhir.client import FhirClient


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def asked(self) -> str:
        """What is searched for, in the address or in the body."""
        return self.target.partition("?")[2] or self.body.decode()


Script = Callable[[Request, asyncio.StreamWriter], object]


@dataclass
class Scripted:
    """`answers` are used up one by one; the last one stays."""

    answers: list[bytes]
    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    hang_up_after: bool = False
    stop_after: int = 0
    """After so many requests nobody listens any more: a further connection is refused."""
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        own = self.connections
        try:
            while request := await _request(reader, own):
                self.requests.append(request)
                if len(self.requests) == self.stop_after and self.server:
                    self.server.close()
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                writer.write(answer)
                await writer.drain()
                if answer == b"" or self.hang_up_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader, connection: int) -> Request | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, connection)


def answer(body: bytes | str, status: int = 200, **headers: str) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/fhir+json", f"Content-Length: {len(raw)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


@asynccontextmanager
async def scripted(*answers: bytes) -> AsyncIterator[tuple[Scripted, FhirClient]]:
    """The server, and a client that speaks to it."""
    script = Scripted(list(answers))
    script.server = server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    client = FhirClient(endpoint_at(script.url))
    try:
        yield script, client
    finally:
        await client.close()
        server.close()


def endpoint_at(url: str, dialect: Dialect = Dialect.IHE) -> Endpoint:
    return Endpoint(tenant_id="t", id="e", dialect=dialect, base_url=url)
