"""What of strangers' documents a process remembers: short ones, and only so many."""

from collections.abc import Callable
from typing import Any

import pytest
from strawberry.extensions import ParserCache, ValidationCache

from api import fanout, operations
from api.remembered import LONGEST_REMEMBERED, REMEMBERED
from tests.living import Client, Town, in_process

CACHES: dict[str, Callable[[], Any]] = {
    "parsed": ParserCache(maxsize=REMEMBERED).cached_parse_document.cache_info,
    "validated": ValidationCache(maxsize=REMEMBERED).cached_validate_document.cache_info,
    "kinds": operations._kinds.cache_info,
    "shapes": fanout._shape.cache_info,
}
WATCHING = "subscription A { slotChanges(search: 1) { resync } } "


def looked_for() -> dict[str, int]:
    """How often anything was asked of each: what was not looked for there was not put there."""
    return {name: info().hits + info().misses for name, info in CACHES.items()}


async def asked(client: Client, query: str) -> str:
    headers = {"Accept": "text/event-stream"} if "subscription" in query else {}
    return (await client.http.post("/graphql", json={"query": query}, headers=headers)).text


@pytest.mark.parametrize("query", ["query A { nothing } ", WATCHING])
async def test_a_long_document_is_remembered_nowhere(town: Town, sqlite_filled_url: str, query: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        before = looked_for()
        assert "GRAPHQL_VALIDATION_FAILED" in await asked(client, query + "#" + "x" * LONGEST_REMEMBERED)
        assert looked_for() == before


async def test_what_is_short_is_read_once(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        await asked(client, WATCHING)
        before = {name: info() for name, info in CACHES.items()}
        assert "GRAPHQL_VALIDATION_FAILED" in await asked(client, WATCHING)
    for name, info in CACHES.items():
        assert info().hits > before[name].hits and info().misses == before[name].misses, name
        assert info().maxsize == REMEMBERED, name


async def test_a_long_document_is_held_to_every_other_limit(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        assert '"slug":' in await asked(client, "{ tenant { slug } } #" + "x" * 250_000)
        assert "GRAPHQL_PARSE_FAILED" in await asked(client, "{" + " tenant { slug }" * 1000 + " }")
        several = "query A { tenant { slug } } query B { tenant { slug } } #" + "x" * 250_000
        assert "several operations" in await asked(client, several)
