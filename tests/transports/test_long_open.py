"""Nobody is connected for ever: whoever comes back goes on where they were."""

import asyncio

import httpx2

from api.conversation import SocketRules
from api.sse import StreamRules
from tests.api.searching import search_for
from tests.living import BY_SCRIPT, Town, over_http
from tests.system.test_fanout import CLINIC, serving
from tests.system.watching import SLOTS, watching
from tests.transports.small import OPEN, running
from tests.transports.talking import begun

FOREVER = "subscription { forever }"
LONG_ENOUGH = (1012, "Open for long enough: connect again")
LIFE = 0.5
BOUND = 20 * LIFE
"""Seconds in which what lasts for `LIFE` is over, however busy the machine is; the settings' own are hours."""


async def test_an_unnamed_visitors_socket_is_closed_so_that_it_comes_back() -> None:
    with running(SocketRules(longest=LIFE, recheck=LIFE / 10)) as api:
        async with begun(api.ws) as talk:
            await talk.ask("1", FOREVER)
            assert (await talk.hear())["type"] == "next"
            async with asyncio.timeout(BOUND):
                assert await talk.closed() == LONG_ENOUGH
        await api.closes("forever")


async def test_a_socket_that_is_seldom_looked_at_ends_in_time_too() -> None:
    with running(SocketRules(longest=LIFE, recheck=3600)) as api:
        async with begun(api.ws) as talk, asyncio.timeout(BOUND):
            assert await talk.closed() == LONG_ENOUGH


async def test_a_stream_ends_as_if_it_were_cut_so_that_its_client_comes_back() -> None:
    with running(events=StreamRules(longest=LIFE)) as api:
        async with httpx2.AsyncClient(timeout=60) as http, asyncio.timeout(BOUND):
            events = {"Accept": "text/event-stream"}
            answer = await http.post(api.http, json={"query": FOREVER}, headers=events)
        assert "event: next" in answer.text and "complete" not in answer.text
        assert OPEN["forever"] == 0


async def test_the_product_ends_both_and_goes_on_by_the_cursor(town: Town, sqlite_filled_url: str) -> None:
    async with serving(town, sqlite_filled_url, connection_seconds=2.0) as (one, client):
        search = await search_for(client, "skin-check", CLINIC)
        async with watching(one.url, SLOTS, search=search) as screen:
            assert (await screen.next())["resync"]
            async with asyncio.timeout(40):
                await screen.socket.wait_closed()
            assert (screen.socket.close_code, screen.socket.close_reason) == LONG_ENOUGH
        async with watching(one.url, SLOTS, search=search, after=screen.cursor) as again:
            event = await again.next()
            assert not event["resync"] and not event["opened"] and not event["taken"]
        async with over_http(one.url) as other, asyncio.timeout(40):
            body = {"query": SLOTS, "variables": {"search": search}}
            headers = {"Accept": "text/event-stream", **BY_SCRIPT}
            answer = await other.http.post("/graphql", json=body, headers=headers)
            assert "event: next" in answer.text and "event: complete" not in answer.text
