"""Screens that stay open: GraphQL subscriptions over a real WebSocket, and what clinic staff do meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from websockets.asyncio.client import ClientConnection, connect

from api.signing import from_text
from tests.living import Town
from tests.planted import SCAN
from tests.sandbox.conftest import Installation

PATIENCE = 120.0

SLOTS = """subscription($search: AvailabilitySearch!, $after: String) {
  slotChanges(search: $search, after: $after) {
    cursor resync taken opened { id start end practitioner { name } treatment { title } }
    availability { complete sources { state reason } days { date slotCount } } } }"""
BOOKINGS = """subscription($after: String) { bookingChanges(after: $after) { cursor resync
  booking { id status version start treatment { title } history { status actor } } } }"""


@dataclass
class Screen:
    """One subscription. `times` is what a patient sees: the ids of the free times, kept up as the API says."""

    socket: ClientConnection
    events: list[dict[str, Any]] = field(default_factory=list)
    times: set[str] = field(default_factory=set)

    @property
    def cursor(self) -> str:
        return str(self.events[-1]["cursor"])

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            text = await self.socket.recv()
        SCAN.heard(text)
        message: dict[str, Any] = json.loads(text)
        return message

    async def next(self) -> dict[str, Any]:
        """The next event, taken in."""
        message = await self.message()
        assert message["type"] == "next" and "errors" not in message["payload"], message
        [event] = message["payload"]["data"].values()
        self.events.append(event)
        if "opened" in event:
            self._take_in(event)
        return dict(event)

    async def until(self, seen: Callable[["Screen"], bool]) -> dict[str, Any]:
        """Events are taken in until that is to be seen; the last of them."""
        async with asyncio.timeout(PATIENCE):
            while not (self.events and seen(self)):
                await self.next()
        return self.events[-1]

    async def nothing(self, seconds: float) -> None:
        """That nothing comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                message = await self.socket.recv()
        except TimeoutError:
            return
        raise AssertionError(message)

    def _take_in(self, event: dict[str, Any]) -> None:
        opened = {slot["id"] for slot in event["opened"]}
        if event["resync"]:
            assert not event["taken"]
            self.times = set(opened)
            return
        taken = set(event["taken"])
        assert taken <= self.times, "taken, but never shown"
        self.times -= taken
        assert not opened & self.times, "opened, but shown already"
        self.times |= opened


@asynccontextmanager
async def watching(
    url: str, query: str, token: str | None = None, *, languages: str = "en", **variables: Any
) -> AsyncIterator[Screen]:
    """A browser's tab, until the block ends."""
    payload = {"Accept-Language": languages, **({"Authorization": f"Bearer {token}"} if token else {})}
    address = url.replace("http", "ws", 1) + "/graphql"
    async with connect(address, subprotocols=["graphql-transport-ws"], max_size=2**24) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        body = {"query": query, "variables": variables}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": body}))
        yield Screen(socket)


def appointment_of(ehr: Installation, booking_id: str) -> dict[str, Any]:
    """What the record system holds of a booking of ours."""
    number = UUID(from_text(booking_id).decode().partition(":")[2])
    asked = {"identifier": f"https://itb.example/identifiers/booking|{number}"}
    [entry] = ehr.get("/Appointment", params=asked)["entry"]
    resource: dict[str, Any] = entry["resource"]
    return resource


def role_of(town: Town, ehr: Installation, name: str) -> str:
    """The PractitionerRole of somebody, by name."""
    [role] = [each.id for each in ehr.server._sandbox.calendar.world.roles if each.name == name]
    return str(role)


def at_the_clinic(ehr: Installation, path: str, **asked: Any) -> dict[str, Any]:
    """What staff do there by hand."""
    answer = ehr.http.post(f"/_sandbox/{path}", json=asked)
    assert answer.status_code in (200, 201), answer.text
    done: dict[str, Any] = answer.json()
    return done
