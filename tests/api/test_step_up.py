"""What cannot be taken back asks for a fresh login, gets one from the provider, and loses no held time over it."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from integrations.sandbox.identity import create_identity_provider
from tests.api.test_login import HOME, HOUSE, LOGIN_URL, begin, house, log_in
from tests.api.test_own_data import ERASE, EXPORT
from tests.living import Client, Town, sign_in
from tests.oidc.serving import MovableClock, query_of, served
from tests.system.journey import CANCEL, CONFIRM, RESCHEDULE, Journey, key

PLACE = "bryggen-legesenter"


class Remembering:
    """A provider that signs people in by what it remembers of them, `ago` seconds old, unless asked for less."""

    def __init__(self) -> None:
        self.ago = 0

    def __call__(self) -> float:
        return time.time() - self.ago


@pytest.fixture
def remembering() -> Iterator[tuple[Remembering, str]]:
    memory = Remembering()
    with served(create_identity_provider(now=memory)) as issuer:
        yield memory, issuer


async def code_of(client: Client, query: str, given: dict[str, Any], token: str | None = None) -> str | None:
    body = await client.raw(query, token, input={"idempotencyKey": key(), **given})
    return body["errors"][0]["extensions"]["code"] if "errors" in body else None


def confirming(hold: str, terms: str = "2026-01") -> dict[str, Any]:
    return {"holdToken": hold, "acceptedTermsVersion": terms, "smsConfirmation": False}


BOOKING = "Qm9va2luZzowMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDA"
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "confirm": (CONFIRM, confirming("x")),
    "reschedule": (RESCHEDULE, {"bookingId": BOOKING, "expectedVersion": 1, "holdToken": "x"}),
    "cancel": (CANCEL, {"bookingId": BOOKING, "expectedVersion": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["cookie", "bearer"])
async def test_half_an_hour_after_the_login_a_fresh_one_is_asked_for(
    town: Town, sqlite_filled_url: str, clock: MovableClock, change: str, how: str
) -> None:
    query, given = CHANGES[change]
    async with house(town, sqlite_filled_url) as (client, _):
        token = await sign_in(town, "kari") if how == "bearer" else None
        if token is None:
            await log_in(client)
        for minutes in (15, 29):
            clock.ahead = timedelta(minutes=minutes)
            assert await code_of(client, query, given, token) != "STEP_UP_REQUIRED"
        clock.ahead = timedelta(minutes=31)
        assert await code_of(client, query, given, token) == "STEP_UP_REQUIRED"
        viewer = await client("{ viewer { patient { name } } }", token)
        assert viewer["viewer"]["patient"]["name"] == "Kari Testesen"


@pytest.mark.parametrize(("wish", "granted"), [(EXPORT, "downloadUrl"), (ERASE, "erased")], ids=["export", "erase"])
@pytest.mark.parametrize("how", ["cookie", "bearer"])
async def test_whoever_finds_a_page_left_open_neither_takes_the_patients_data_along_nor_erases_it(
    town: Town, sqlite_filled_url: str, clock: MovableClock, wish: str, granted: str, how: str
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        token = await sign_in(town, "kari") if how == "bearer" else None
        if token is None:
            await log_in(client)
        for minutes in (15, 31):
            clock.ahead = timedelta(minutes=minutes)
            viewer = await client("{ viewer { patient { name } } }", token)
            assert viewer["viewer"]["patient"]["name"] == "Kari Testesen"
        for _ in range(2):  # the first has done nothing
            assert await code_of(client, wish, {}, token) == "STEP_UP_REQUIRED"
        clock.ahead = timedelta(minutes=29)
        [answer] = (await client(wish, token, input={"idempotencyKey": key()})).values()
        assert answer[granted] and answer["errors"] == []


@pytest.mark.parametrize("how", ["cookie", "bearer"])
async def test_the_file_of_ones_data_takes_a_fresh_login_and_shows_the_way_to_one(
    town: Town, sqlite_filled_url: str, clock: MovableClock, how: str
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        token = await sign_in(town, "kari") if how == "bearer" else None
        if token is None:
            await log_in(client)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = (await client(EXPORT, token, input={"idempotencyKey": key()}))["requestDataExport"]["downloadUrl"]
        clock.ahead = timedelta(minutes=15)
        assert b"Kari" in (await client.http.get(url, headers=headers)).content
        clock.ahead = timedelta(minutes=29)
        await client("{ viewer { id } }", token)
        clock.ahead = timedelta(minutes=31)
        for address in (url, f"{HOUSE}/exports/{uuid4()}.json?tenant=nordhelse"):
            told = await client.http.get(address, headers={**headers, "Accept-Language": "en"})
            assert (told.status_code, told.headers["cache-control"]) == (403, "no-store")
            code, *ways = told.text.splitlines()
            assert code == "STEP_UP_REQUIRED: Sign in again to go on." and "Kari" not in told.text
        [bank_id] = [line for line in ways if f": {HOUSE}/login/bankid-no?" in line]
        assert bank_id.startswith("Norwegian BankID: ") and len(ways) > 1


async def test_from_the_file_over_a_fresh_login_back_to_the_file(
    town: Town, sqlite_filled_url: str, remembering: tuple[Remembering, str]
) -> None:
    memory, issuer = remembering
    async with house(town, sqlite_filled_url, oidc_issuer=issuer) as (client, _):
        await log_in(client)
        url = (await client(EXPORT, input={"idempotencyKey": key()}))["requestDataExport"]["downloadUrl"]
        memory.ago = 40 * 60
        client.http.cookies.clear()
        await log_in(client)
        stale = await client.http.get(url)
        assert stale.status_code == 403
        way = next(line for line in stale.text.splitlines() if "/login/bankid-no?" in line).partition(": ")[2]
        memory.ago = 0
        began = await client.http.get(f"{way}&login_hint=kari")
        async with httpx2.AsyncClient() as web:
            back = await web.get(began.headers["location"])
        again = await client.http.get(back.headers["location"])
        assert again.headers["location"] == url
        assert b"Kari" in (await client.http.get(url)).content


async def test_a_setting_shortens_it(town: Town, sqlite_filled_url: str, clock: MovableClock) -> None:
    async with house(town, sqlite_filled_url, step_up_seconds=60.0) as (client, _):
        await log_in(client)
        clock.ahead = timedelta(seconds=90)
        assert await code_of(client, *CHANGES["cancel"]) == "STEP_UP_REQUIRED"


async def test_it_is_told_in_the_readers_language(town: Town, sqlite_filled_url: str, clock: MovableClock) -> None:
    words = {"nb": "Logg inn på nytt", "sv": "Logga in igen", "en": "Sign in again"}
    async with house(town, sqlite_filled_url) as (client, _):
        token = await sign_in(town, "kari")
        clock.ahead = timedelta(minutes=31)
        for language, beginning in words.items():
            client.http.headers["Accept-Language"] = language
            body = await client.raw(CANCEL, token, input={"idempotencyKey": key(), **CHANGES["cancel"][1]})
            assert body["errors"][0]["message"].startswith(beginning)


async def test_the_login_is_fresh_and_the_held_time_is_kept(
    town: Town, filled_url: str, remembering: tuple[Remembering, str]
) -> None:
    """Signed in by an old login, by which the provider knew the person still."""
    memory, issuer = remembering
    async with house(town, filled_url, oidc_issuer=issuer) as (client, _):
        memory.ago = 40 * 60
        await log_in(client)
        journey = Journey(client, PLACE)
        held = (await journey.hold((await journey.slots())[0]["id"]))["hold"]
        assert await code_of(client, CONFIRM, confirming(held["token"])) == "STEP_UP_REQUIRED"

        asked = query_of(await start(client, held["token"]))
        assert asked["max_age"] == "60"
        refused = await client.http.get((await begin(client, "kari", hold=held["token"])).headers["location"])
        assert refused.headers["location"] == f"{HOME}?login=failed"  # the provider did not care
        assert await code_of(client, CONFIRM, confirming(held["token"])) == "STEP_UP_REQUIRED"

        memory.ago = 0
        assert (await log_in(client, hold=held["token"])).headers["location"] == HOME
        booked = await journey.confirm(held["token"])
        assert booked["booking"]["status"] == "BOOKED", booked["errors"]
        await journey.cancel(booked["booking"])


async def start(client: Client, hold: str | None = None) -> httpx2.Response:
    providers = (await client(LOGIN_URL, to=HOME, hold=hold))["tenant"]["identityProviders"]
    return await client.http.get(next(each["loginUrl"] for each in providers if each["id"] == "bankid-no"))


async def test_who_is_not_signed_in_is_not_asked_for_a_fresh_login(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        assert "max_age" not in query_of(await start(client))
        client.http.cookies.set("sid", "nobody's", domain="127.0.0.1")
        assert "max_age" not in query_of(await start(client))
