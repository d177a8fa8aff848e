"""Messages on their way to subscribers: in the background, in order for each, with a few tries and then the next.

Nothing here is kept over a restart, and a queue that is full loses its oldest message: news may get lost, as in the
field, and event numbers show it.
"""

import asyncio
import hmac
import ssl
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2
import orjson

from integrations.sandbox.calendar import Calendar
from integrations.sandbox.subscriber import Subscriber
from integrations.sandbox.topics import notification
from integrations.sandbox.wire import FHIR_JSON

DEADLINE = 5.0
PAUSES = (0.0, 0.2, 0.5)
MOST_WAITING = 1000
REMEMBERED = 100


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes to send; the answer to a handshake decides whether the Subscription is active."""

    body: bytes
    is_handshake: bool = False


class Line:
    """What waits for one subscriber."""

    def __init__(self) -> None:
        self.waiting: deque[Message] = deque(maxlen=MOST_WAITING)
        self.task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()

    def add(self, message: Message) -> None:
        """Behind everything that waits; the oldest gives way when there is no room."""
        self.waiting.append(message)
        self._arrived.set()

    async def next(self, patience: float | None) -> Message | None:
        """The oldest message, or nothing when none came within so many seconds."""
        while not self.waiting:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), patience)
            except TimeoutError:
                return None
        return self.waiting.popleft()


class Deliveries:
    """Every line, and how the last messages fared."""

    def __init__(self, calendar: Calendar, stopping: asyncio.Event) -> None:
        self.last: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)
        self._calendar = calendar
        self._stopping = stopping
        self._lines: dict[str, Line] = {}

    def start(self) -> None:
        """After a restart: signs of life go on."""
        for each in self._calendar.subscribers.values():
            if each.heartbeat:
                self._line(each)

    def send(self, subscriber: Subscriber, message: Message) -> None:
        """Have a message delivered; returns at once."""
        if not self._stopping.is_set():
            self._line(subscriber).add(message)

    def drop(self, subscriber: Subscriber) -> None:
        """Deliver nothing more to it, what waits included."""
        line = self._lines.pop(subscriber.id, None)
        if line is not None and line.task is not None:
            line.task.cancel()

    def forget(self) -> None:
        """Deliver nothing more to anybody; how earlier messages fared is forgotten, too."""
        for each in list(self._calendar.subscribers.values()):
            self.drop(each)
        self.last.clear()

    def stop(self) -> None:
        """End all of it; to be called in the server's loop."""
        for each in self._lines.values():
            if each.task is not None:
                each.task.cancel()

    async def ended(self) -> None:
        """Wait until nothing is under way, after `stop`."""
        tasks = [each.task for each in self._lines.values() if each.task is not None]
        self._lines.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _line(self, subscriber: Subscriber) -> Line:
        if subscriber.id not in self._lines:
            line = self._lines[subscriber.id] = Line()
            line.task = asyncio.create_task(self._carry(subscriber, line))
        return self._lines[subscriber.id]

    async def _carry(self, subscriber: Subscriber, line: Line) -> None:
        # No proxy of the surroundings: subscribers are beside the sandbox, often on the same machine.
        async with httpx2.AsyncClient(verify=_trusted(), timeout=DEADLINE, trust_env=False) as client:
            while True:
                message = await line.next(subscriber.heartbeat)
                status = subscriber.status(self._calendar.now())
                if message is None and status == "active":
                    message = Message(_heartbeat(subscriber, self._calendar))
                if message is not None and status in ("active", "requested"):
                    await self._deliver(client, subscriber, message)

    async def _deliver(self, client: httpx2.AsyncClient, subscriber: Subscriber, message: Message) -> None:
        status, succeeded = None, False
        for pause in PAUSES:
            await asyncio.sleep(pause)
            status = await _post(client, subscriber, message.body)
            succeeded = status is not None and 200 <= status < 300
            if succeeded:
                break
        self.last.append({"subscription": subscriber.id, "status": status, "ok": succeeded})
        if message.is_handshake and subscriber.resource["status"] == "requested":
            subscriber.resource = subscriber.resource | {"status": "active" if succeeded else "error"}
            self._calendar.write()


async def _post(client: httpx2.AsyncClient, subscriber: Subscriber, body: bytes) -> int | None:
    try:
        async with asyncio.timeout(DEADLINE):
            answer = await client.post(subscriber.channel["endpoint"], content=body, headers=_headers(subscriber, body))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return None
    return answer.status_code


def _headers(subscriber: Subscriber, body: bytes) -> httpx2.Headers:
    headers = httpx2.Headers(subscriber.headers)
    if body:
        headers["Content-Type"] = FHIR_JSON
    if subscriber.secret:
        headers["X-Signature"] = hmac.digest(subscriber.secret.encode(), body, "sha256").hex()
    return headers


def _heartbeat(subscriber: Subscriber, calendar: Calendar) -> bytes:
    return orjson.dumps(notification(subscriber, "heartbeat", calendar.now()))


@cache
def _trusted() -> ssl.SSLContext:
    # Reading every certificate authority takes long enough to be felt: once is enough.
    return ssl.create_default_context()
