"""A query that takes too long is cut, whoever waits for it; a mutation is not."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from tests.api.searching import FIND, search_for
from tests.living import BY_SCRIPT, Town, in_process
from tests.transports.small import OPEN, Running, running
from tests.transports.talking import begun

LIMIT = 0.5
"""Seconds; the setting's own default is 30."""
LONG = 5 * LIMIT
BOUND = 20 * LIMIT

Ask = Callable[[Running, str], Awaitable[Any]]


async def over_http(api: Running, query: str, **more: Any) -> Any:
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.post(api.http, json={"query": query, **more})
    assert answer.status_code == 200
    return answer.json()


async def by_get(api: Running, query: str) -> Any:
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.get(api.http, params={"query": query}, headers=BY_SCRIPT)
    assert answer.status_code == 200
    return answer.json()


async def as_events(api: Running, query: str) -> Any:
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.post(api.http, json={"query": query}, headers={"Accept": "text/event-stream"})
    assert answer.text.endswith("event: complete\ndata:\n\n")
    [line] = [line for line in answer.text.split("\n") if line.startswith("data: ")]
    return json.loads(line.removeprefix("data: "))


async def over_a_socket(api: Running, query: str) -> Any:
    async with begun(api.ws) as talk:
        await talk.ask("1", query)
        told = await talk.hear()
        assert told["type"] == "next"
        assert await talk.hear() == {"id": "1", "type": "complete"}
        assert await talk.lives()
        return told["payload"]


def is_cut(answer: Any) -> None:
    [error] = answer["errors"]
    assert answer["data"] is None
    assert error["extensions"]["code"] == "TIMEOUT" and error["extensions"]["requestId"]
    assert error["message"] == "This took too long. Please try again."


@pytest.mark.parametrize("ask", [over_http, by_get, as_events, over_a_socket])
async def test_a_query_is_cut_and_nothing_of_it_goes_on(ask: Ask) -> None:
    with running(query_seconds=LIMIT) as api:
        async with asyncio.timeout(BOUND):
            is_cut(await ask(api, "{ hello forever }"))
        assert OPEN["query"] == 0
        assert (await ask(api, "{ hello }"))["data"]


async def test_a_query_beside_a_mutation_is_one() -> None:
    with running(query_seconds=LIMIT) as api:
        async with asyncio.timeout(BOUND):
            both = "query Q { forever } mutation M { add(number: 1) }"
            is_cut(await over_http(api, both, operationName="Q"))


@pytest.mark.parametrize("ask", [over_http, as_events, over_a_socket])
async def test_a_mutation_is_let_finish(ask: Ask) -> None:
    with running(query_seconds=LIMIT) as api:
        query = f"mutation {{ addSlowly(number: 1, seconds: {LONG}) }}"
        assert await ask(api, query) == {"data": {"addSlowly": 2}}


async def test_a_subscription_goes_on() -> None:
    with running(query_seconds=LIMIT) as api:
        async with begun(api.ws) as talk:
            await talk.ask("1", "subscription { forever }")
            assert (await talk.hear())["type"] == "next"
            await asyncio.sleep(LONG)
            assert OPEN["forever"] == 1
            assert await talk.lives()


async def test_the_product_cuts_what_waits_for_too_many_others(town: Town, sqlite_filled_url: str) -> None:
    """Its own deadlines for record systems are long here, so that the query's comes first."""
    async with in_process(town.settings(sqlite_filled_url, query_seconds=LIMIT)) as (client, _):
        search = await search_for(client)
        for ehr in town.ehrs:
            town.fault(ehr, "slow", seconds=10 * LIMIT)
        answer = await client.raw(FIND, search=search)
        assert answer["data"] is None
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["TIMEOUT"]
