"""Who opened a connection has to be there later, and a page that is only left open keeps nobody signed in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from api.app import House, create_app
from api.bootstrap import open_house
from api.context import Context
from api.conversation import SIGNED_IN_NO_MORE
from api.sse import StreamRules
from domain.patient import Identity
from domain.usecases.sign_in import IDLE
from tests.api.test_counts import statements
from tests.living import BY_SCRIPT, Town, sign_in
from tests.oidc.serving import MovableClock
from tests.planted import HOOKS
from tests.store.making import a_number
from tests.transports.bounds import SHORT, ends_soon
from tests.transports.small import running, served
from tests.transports.talking import begun, talking

FOREVER = "subscription { forever }"
WHO = "{ viewer { patient { id } } }"
MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def opened(town: Town, url: str, recheck: float = 30) -> AsyncIterator[House]:
    house = open_house(town.settings(url, recheck_seconds=recheck))
    try:
        yield house
    finally:
        await house.close()


async def session(house: House, clock: MovableClock) -> dict[str, str]:
    """A new session's cookie, as a header."""
    identity = Identity(
        issuer="https://idp.example",
        subject="kari",
        name="Kari Testesen",
        birth_date=date(1980, 1, 1),
        national_id=None,
        phone=None,
        email=None,
        language=None,
        authenticated_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=1),
    )
    tenant = await house.tenants.of(host="127.0.0.1", slug=None)
    secret, _ = await house.use.sign_in.open_session(tenant, identity, "r1")
    return {"Cookie": f"sid={secret}"}


HOST = {"host": "127.0.0.1"}


async def context(house: House, headers: dict[str, str]) -> Context:
    raw = [(name.lower().encode(), value.encode()) for name, value in (HOST | BY_SCRIPT | headers).items()]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw}
    return await house.context(Request(scope), Response(), "r1")


async def test_a_connection_that_stays_open_keeps_no_session_alive(
    town: Town, filled_url: str, clock: MovableClock
) -> None:
    async with opened(town, filled_url) as house:
        cookie = await session(house, clock)
        connection = await context(house, cookie)
        for minutes in (0, 5, 10, 15, 19):
            clock.ahead = minutes * MINUTE
            assert await house.still(connection)
        clock.ahead = IDLE + MINUTE
        assert not await house.still(connection)
        assert await (await context(house, cookie)).viewer() is None


async def test_who_asks_something_meanwhile_stays(town: Town, sqlite_filled_url: str, clock: MovableClock) -> None:
    async with opened(town, sqlite_filled_url) as house:
        cookie = await session(house, clock)
        connection = await context(house, cookie)
        assert await house.still(connection)
        clock.ahead = 15 * MINUTE
        assert await (await context(house, cookie)).viewer()
        clock.ahead = 30 * MINUTE
        assert await house.still(connection)


@pytest.mark.parametrize("how", ["cookie", "bearer"])
async def test_looking_again_writes_nothing(town: Town, filled_url: str, clock: MovableClock, how: str) -> None:
    async with opened(town, filled_url) as house:
        bearer = {"Authorization": f"Bearer {await sign_in(town, 'kari')}"}
        connection = await context(house, await session(house, clock) if how == "cookie" else bearer)
        clock.ahead = 2 * MINUTE
        with statements() as seen:
            assert await house.still(connection) and await house.still(connection)
        assert all(statement.upper().startswith("SELECT") for statement in seen)
        assert seen


async def test_a_bearer_is_over_when_its_token_is(town: Town, sqlite_filled_url: str, clock: MovableClock) -> None:
    async with opened(town, sqlite_filled_url) as house:
        connection = await context(house, {"Authorization": f"Bearer {await sign_in(town, 'kari')}"})
        assert await house.still(connection)
        clock.ahead = timedelta(days=1)
        assert not await house.still(connection)


async def test_a_socket_whose_session_ends_before_it_was_looked_at_again_is_closed(
    town: Town, sqlite_filled_url: str, clock: MovableClock
) -> None:
    house = open_house(town.settings(sqlite_filled_url, recheck_seconds=SHORT))
    cookie = await session(house, clock)
    with served(create_app(house, [])) as (address, _, _):
        url = f"ws://{address}/graphql"
        async with talking(url, additional_headers=cookie) as talk, begun(url) as unnamed:
            await talk.begin()
            clock.ahead = IDLE + MINUTE
            assert await ends_soon(f"http://{address}", talk.closed()) == (4403, SIGNED_IN_NO_MORE)
            assert await unnamed.data(WHO) == {"viewer": None}


async def test_a_stream_of_events_is_looked_at_before_anything_is_sent() -> None:
    """Else who leaves between the first result and the first look would pass for somebody who never was there."""
    looked: list[str] = []

    async def still(_: Context) -> bool:
        await asyncio.sleep(0.3)
        looked.append("looked")
        return True

    with running(events=StreamRules(heartbeat=3600, recheck=3600, still=still)) as api:
        async with (
            httpx2.AsyncClient(timeout=60, event_hooks=HOOKS) as http,
            http.stream("POST", api.http, json={"query": FOREVER}, headers={"Accept": "text/event-stream"}),
        ):
            assert looked


async def test_who_turns_out_to_be_somebody_else_comes_again(town: Town, filled_url: str, clock: MovableClock) -> None:
    """A browser's login tells a number that the app's token, of the same person at the same provider, does not."""
    async with opened(town, filled_url) as house:
        token = await sign_in(town, "turist")
        bearer = {"Authorization": f"Bearer {token}"}
        connection, lasting = await context(house, bearer), await context(house, bearer)
        assert await house.still(lasting)  # known to nobody yet
        viewer = await connection.viewer()
        assert viewer and await house.still(connection) and await house.still(lasting)
        tenant = await house.tenants.of(host="127.0.0.1", slug=None)
        identity = replace(await house.who_asks.bearer.identity(tenant, token), authenticated_at=clock.now())
        _, known = await house.use.sign_in.open_session(tenant, replace(identity, name="Kari Testesen"), "r1")
        assert known.patient.id == viewer.patient.id and await house.still(connection)
        for number, still in (("13116900216", True), ("01929900126", False)):
            told = replace(identity, national_id=a_number(number))
            await house.use.sign_in.open_session(tenant, told, "r2")
            assert [await house.still(each) for each in (connection, lasting)] == [still, still]
