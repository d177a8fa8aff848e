"""Which tenant a request is for, and what it costs to find out."""

import asyncio
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any

import pytest

from domain.api_key import KeyKind, KeyText
from tests.agencies import minted
from tests.api.test_login import HOME
from tests.databases import statements_sent
from tests.living import OTHER, Town, in_process
from tests.redises import calls_of_redis

SLUG = "{ tenant { slug } }"
PREFLIGHT = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}


def look_ups(table: str) -> AbstractContextManager[list[str]]:
    """Every statement of this process that reads it meanwhile."""
    return statements_sent(lambda line: f"FROM {table} " in line)


async def test_names_that_somebody_invents_ask_the_database_for_nothing(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):

        async def ask(**headers: str) -> int:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await client.http.post("/graphql", json={"query": SLUG}, headers=named)).status_code

        assert await ask() == 200
        with look_ups("tenant") as seen:
            for n in range(20):
                name = f"nobody-{n}"
                assert (await client.http.options(f"/graphql?tenant={name}", headers=PREFLIGHT)).status_code == 204
                assert (await client.http.get(f"/logout?tenant={name}&returnTo={HOME}")).status_code == 400
                assert [await ask(X_Tenant=name), await ask(Host=f"{name}.example")] == [400, 400]
            assert [await ask(), await ask(Host="annan.example")] == [200, 200]
        assert seen == []


async def test_all_tenants_are_read_once_however_many_ask(
    town: Town, sqlite_filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):

        async def slugs() -> list[str]:
            named = [{"Host": host} for host in ("127.0.0.1", "annan.example", "ANNAN.example.:80")]
            asked = (client.http.post("/graphql", json={"query": SLUG}, headers=headers) for headers in named * 5)
            return [answer.json()["data"]["tenant"]["slug"] for answer in await asyncio.gather(*asked)]

        with look_ups("tenant") as seen:
            assert await slugs() == ["nordhelse", OTHER, OTHER] * 5
        assert len(seen) == 1
        monkeypatch.setattr("api.tenants.monotonic", later(11))
        with look_ups("tenant") as seen:
            assert await slugs() == ["nordhelse", OTHER, OTHER] * 5
        assert len(seen) == 1


def later(seconds: float) -> Any:
    return lambda: monotonic() + seconds


async def test_invented_keys_are_looked_up_until_the_limit_and_then_refused_unseen(
    town: Town, sqlite_filled_url: str
) -> None:
    settings = town.settings(
        sqlite_filled_url, operations_per_address=3, trusted_proxies="127.0.0.1", api_key_seconds=0.0
    )
    real = await minted(settings)
    async with in_process(settings) as (client, _):

        async def ask(key: KeyText, address: str = "10.0.0.1") -> int:
            headers = {"X-ApiKey": key.text, "X-Forwarded-For": address}
            return (await client.http.post("/graphql", json={"query": SLUG}, headers=headers)).status_code

        assert await ask(real) == 200
        with look_ups("api_key") as seen:
            told = [await ask(KeyText.new(KeyKind.TEST)) for _ in range(6)]
        assert (told, len(seen)) == ([401] * 3 + [429] * 3, 3)
        assert await ask(KeyText.new(KeyKind.TEST), "10.0.0.2") == 401
        assert await ask(real) == 200  # a key that was found before is in nobody's shadow


async def test_only_a_key_that_is_new_asks_the_limiter_twice(
    town: Town, sqlite_filled_url: str, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = calls_of_redis(monkeypatch)
    settings = town.settings(sqlite_filled_url, redis_url=redis_url, redis_prefix=prefix, api_key_seconds=0.0)
    key = await minted(settings)
    async with in_process(settings) as (client, _):
        counts = []
        for _ in range(3):
            asked.clear()
            answer = await client.http.post("/graphql", json={"query": SLUG}, headers={"X-ApiKey": key.text})
            assert answer.status_code == 200
            counts.append(len(asked))
    assert counts == [2, 1, 1]
