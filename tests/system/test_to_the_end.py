"""A booking that the record system is being asked for becomes what the record system says, though its patient has left.

No worker runs: nothing but the operation itself can have settled it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from api.app import House, create_app
from api.bootstrap import open_house
from api.settings import Settings
from domain.api_key import KeyText
from domain.client import SYSTEM_SCOPES, Scope
from integrations.store.tables_bookings import BOOKING
from tests.agencies import minted, revoked
from tests.databases import raw
from tests.living import Client, Server, Town, over_http, running, sign_in, until
from tests.system.journey import CONFIRM, Journey, key
from tests.transports.bounds import SHORT, ends_soon
from tests.transports.small import served
from tests.transports.talking import Talk, talking
from tests.transports.test_websocket_ends import reset

CLINIC = "sentrum-legesenter"
SLOW = 4.0
"""Seconds that the record system takes; what ends a connection does so after SHORT."""


@dataclass(frozen=True)
class Asked:
    """A patient whose confirmation is to be sent, by a key, and how it is told what has become of it."""

    town: Town
    settings: Settings
    server: Server
    key: KeyText
    headers: dict[str, str]
    body: dict[str, Any]

    async def status(self) -> str:
        async with raw(self.settings.database_url) as connection:
            [status] = (await connection.execute(select(BOOKING.c.status))).scalars().all()
            return str(status)

    async def becomes(self, wanted: str) -> None:
        async def look() -> bool:
            return await self.status() == wanted

        await until(look)

    @asynccontextmanager
    async def over_a_socket(self) -> AsyncIterator[Talk]:
        async with talking(f"{self.server.url.replace('http', 'ws', 1)}/graphql") as talk:
            await talk.begin(**self.headers)
            await talk.say({"id": "1", "type": "subscribe", "payload": self.body})
            await is_called(self.town)
            yield talk

    async def posted(self, accept: str) -> None:
        """And left."""
        async with httpx2.AsyncClient(timeout=60) as http:
            url, headers = f"{self.server.url}/graphql", {**self.headers, "Accept": accept}
            asked = asyncio.create_task(http.post(url, json=self.body, headers=headers))
            await is_called(self.town)
            asked.cancel()
            await asyncio.wait([asked])


async def is_called(town: Town) -> None:
    async def look() -> bool:
        return town.calls(town.norway).get("book", 0) == 1

    await until(look)


async def held(client: Client, token: str) -> dict[str, Any]:
    """The whole request that confirms a held time."""
    journey = Journey(client, CLINIC, token=token)
    hold = (await journey.hold((await journey.slots())[0]["id"]))["hold"]
    terms = (await client("{ tenant { termsVersion } }"))["tenant"]["termsVersion"]
    given = {"idempotencyKey": key(), "holdToken": hold["token"], "acceptedTermsVersion": terms}
    return {"query": CONFIRM, "variables": {"input": {**given, "smsConfirmation": False}}}


@asynccontextmanager
async def asked(town: Town, url: str, folder: Path, slow: float = SLOW) -> AsyncIterator[Asked]:
    settings = town.settings(url, recheck_seconds=SHORT, api_key_seconds=SHORT)
    agency, token = await minted(settings, scopes=SYSTEM_SCOPES | {Scope.BOOK}), await sign_in(town, "kari")
    with running(settings, folder / "log") as server:
        async with over_http(server.url) as client:
            client.http.headers["X-ApiKey"] = agency.text
            body = await held(client, token)
        town.fault(town.norway, "slow", operation="book", seconds=slow)
        headers = {"X-ApiKey": agency.text, "Authorization": f"Bearer {token}"}
        yield Asked(town, settings, server, agency, headers, body)


async def a_socket_that_is_cut(of: Asked) -> None:
    async with of.over_a_socket() as talk:
        reset(talk)


async def a_socket_whose_key_is_revoked(of: Asked) -> None:
    async with of.over_a_socket() as talk:
        await revoked(of.settings, of.key)
        assert (await ends_soon(of.server.url, talk.closed()))[0] == 4403


async def events(of: Asked) -> None:
    await of.posted("text/event-stream")


async def plain(of: Asked) -> None:
    await of.posted("application/json")


@pytest.mark.parametrize("left", [a_socket_that_is_cut, a_socket_whose_key_is_revoked, events, plain])
async def test_who_leaves_has_booked(
    town: Town, sqlite_filled_url: str, tmp_path: Path, left: Callable[[Asked], Awaitable[None]]
) -> None:
    async with asked(town, sqlite_filled_url, tmp_path) as of:
        await left(of)
        await of.becomes("BOOKED")


async def test_a_server_that_is_told_to_stop_books_first(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    """It waits for five seconds at most."""
    async with asked(town, sqlite_filled_url, tmp_path, slow=0.5) as of:
        async with of.over_a_socket() as talk:
            of.server.process.terminate()
            assert (await talk.closed())[0] == 1012
        assert await asyncio.to_thread(of.server.process.wait, 60) == 0
        assert await of.status() == "BOOKED"


async def test_whatever_a_server_has_waited_for_in_vain_is_over_before_its_house_is_closed(
    town: Town, sqlite_filled_url: str
) -> None:
    house = open_house(town.settings(sqlite_filled_url))
    token, left = await sign_in(town, "kari"), []
    with served(create_app(_noting(house, left), [])) as (address, _, server):
        async with over_http(f"http://{address}") as client:
            body = await held(client, token)
        town.fault(town.norway, "slow", operation="book", seconds=SLOW)
        async with talking(f"ws://{address}/graphql") as talk:
            await talk.begin(Authorization=f"Bearer {token}")
            await talk.say({"id": "1", "type": "subscribe", "payload": body})
            await is_called(town)
            server.stop()
            assert (await talk.closed())[0] == 1012
        await until(lambda: asyncio.sleep(0, left))
    assert left == [[]]


def _noting(house: House, left: list[list[str]]) -> House:
    """What of operations is still going on when it is closed."""

    async def close() -> None:
        running = [task for task in asyncio.all_tasks() if "Unbroken" in repr(task.get_coro())]
        left.append([repr(task) for task in running])
        await house.close()

    return replace(house, close=close)
