"""What an agency's key may ask for in a minute: agreed on by key, whichever way it comes and from wherever."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2

from api.bootstrap import build_app
from api.settings import Settings
from domain.api_key import KeyText
from domain.client import SYSTEM_SCOPES, Scope
from integrations.sandbox.people import crowd
from tests.agencies import TENANT, minted
from tests.living import Client, Town, over_http, sign_in
from tests.system.journey import Journey, apart, codes
from tests.transports.small import served

NAME = {"query": "{ tenant { slug } }"}
TOKEN_PATH = f"/{TENANT}/1.0/R4/auth/system-token"


@asynccontextmanager
async def agency(town: Town, url: str, **limits: Any) -> AsyncIterator[tuple[Client, Settings]]:
    settings = town.settings(url, **limits)
    with served(await build_app(settings)) as (address, _, _):
        async with over_http(f"http://{address}") as client:
            yield client, settings


async def asked(client: Client, times: int, **headers: str) -> list[int]:
    """Each try's status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [(await client.http.post("/graphql", json=NAME, headers=named)).status_code for _ in range(times)]


async def token_for(client: Client, key: KeyText, **headers: str) -> httpx2.Response:
    return await client.http.post(TOKEN_PATH, headers={"X-ApiKey": key.text, **headers})


async def test_a_key_asks_as_much_as_was_agreed_on_and_no_more(town: Town, sqlite_filled_url: str) -> None:
    """Its server's address counts for nothing, be it less or more that an address may ask for."""
    for by_address in (1, 10**6):
        async with agency(town, sqlite_filled_url, operations_per_address=by_address) as (client, settings):
            few, more = [await minted(settings, rate_per_minute=rate) for rate in (3, 5)]
            assert await asked(client, 5, X_ApiKey=few.text) == [200] * 3 + [429] * 2
            assert await asked(client, 6, X_ApiKey=more.text, Accept="text/event-stream") == [200] * 5 + [429]
            refused = await client.http.post("/graphql", json=NAME, headers={"X-ApiKey": few.text})
            [error] = refused.json()["errors"]
            assert error["extensions"]["code"] == "RATE_LIMITED"
            assert 1 <= error["extensions"]["retryAfter"] == int(refused.headers["retry-after"]) <= 65


async def test_a_keys_system_tokens_are_counted_with_it(town: Town, sqlite_filled_url: str) -> None:
    """Both when they are asked for and when they are used: more of them let nobody ask for more."""
    async with agency(town, sqlite_filled_url) as (client, settings):
        key, other = [await minted(settings, rate_per_minute=4) for _ in range(2)]
        given = [await token_for(client, key) for _ in range(2)]
        tokens = [answer.json()["access_token"] for answer in given]
        assert await asked(client, 1, Authorization=f"Bearer {tokens[0]}") == [200]
        assert await asked(client, 2, X_ApiKey=tokens[1]) == [200, 429]
        assert await asked(client, 1, X_ApiKey=key.text) == [429]
        refused = await token_for(client, key)
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (429, "throttled")
        assert (await token_for(client, other)).status_code == 200


async def test_one_address_asks_for_so_many_system_tokens_whatever_keys_it_has(
    town: Town, sqlite_filled_url: str
) -> None:
    async with agency(town, sqlite_filled_url, tokens_per_address=3) as (client, settings):
        keys = [await minted(settings) for _ in range(4)]
        assert [(await token_for(client, key)).status_code for key in keys] == [200] * 3 + [429]
        assert await asked(client, 1, X_ApiKey=keys[0].text) == [200]


async def test_one_machine_does_not_use_up_a_pages_key_by_leaving_its_origin_out(
    town: Town, sqlite_filled_url: str
) -> None:
    """Whoever has read the key in a page need not be a page."""
    limits = {"operations_per_address": 3, "trusted_proxies": "127.0.0.1"}
    async with agency(town, sqlite_filled_url, **limits) as (client, settings):
        key = await minted(settings, rate_per_minute=5, origins=("https://booking.example",))
        assert await asked(client, 5, X_ApiKey=key.text, X_Forwarded_For="10.0.0.1") == [200] * 3 + [429] * 2
        visitor = {"X_ApiKey": key.text, "Origin": "https://booking.example"}
        assert await asked(client, 3, **visitor, X_Forwarded_For="10.0.0.2") == [200] * 2 + [429]
        server = await minted(settings, rate_per_minute=5)
        assert await asked(client, 6, X_ApiKey=server.text, X_Forwarded_For="10.0.0.1") == [200] * 5 + [429]


async def test_a_servers_patients_hold_by_themselves_and_not_by_its_address(town: Town, sqlite_filled_url: str) -> None:
    """Who has not signed in is one of many at its address, and so is a patient in a page."""
    async with agency(town, sqlite_filled_url, holds_per_address=2, holds_per_visitor=2) as (client, settings):
        scopes = SYSTEM_SCOPES | {Scope.BOOK}
        server = await minted(settings, scopes=scopes)
        page = await minted(settings, scopes=scopes, origins=("https://booking.example",))
        client.http.headers["X-Tenant"] = TENANT
        stranger = Journey(client, "sentrum-legesenter")
        patients = [replace(stranger, token=await sign_in(town, each.login)) for each in crowd(4)]
        times = [slot["id"] for slot in apart(await stranger.slots(), 9)]
        client.http.headers["X-ApiKey"] = server.text
        assert [codes(await patient.hold(times.pop())) for patient in patients] == [[]] * 4
        assert [codes(await patients[0].hold(time)) for time in times[:2]] == [[], ["HOLD_LIMIT"]]
        assert [codes(await stranger.hold(time)) for time in times[1:4]] == [[], [], ["HOLD_LIMIT"]]
        client.http.headers["X-ApiKey"] = page.text
        assert codes(await patients[1].hold(times[4])) == ["HOLD_LIMIT"]


async def test_too_many_system_tokens_are_refused_in_the_readers_language(town: Town, sqlite_filled_url: str) -> None:
    """Whether it is the address or the key that has asked for too much."""
    told = {
        "sv": "För många försök. Vänta lite och försök igen.",
        "en": "Too many attempts. Wait a little and try again.",
    }
    told["no"] = told["fi"] = "For mange forsøk. Vent litt og prøv igjen."
    for limits, rate in (({"tokens_per_address": 1}, 600), ({}, 1)):
        async with agency(town, sqlite_filled_url, **limits) as (client, settings):
            key = await minted(settings, rate_per_minute=rate)
            assert (await token_for(client, key)).status_code == 200
            for language, words in told.items():
                refused = await token_for(client, key, **{"Accept-Language": language})
                [issue] = refused.json()["issue"]
                assert (refused.status_code, issue["diagnostics"]) == (429, words)
