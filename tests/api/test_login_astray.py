"""A login that comes back where, or when, nobody waits for it: refused, and shown a way on."""

from dataclasses import replace
from urllib.parse import quote_plus
from uuid import uuid4

import httpx2
import pytest

from tests.api.test_login import HOME, HOUSE, begin, house
from tests.living import Town, fill, seeds


async def test_a_login_comes_back_at_its_own_providers_address_alone(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        for path in ("/login/callback/vipps", "/login/callback/nobody", "/login/callback"):
            back = httpx2.URL((await begin(client, "kari", to=f"{HOME}?step=2")).headers["location"])
            answer = await client.http.get(back.copy_with(path=path))
            assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?step=2&login=failed")
            assert not client.http.cookies  # neither signed in, nor to be tried again


ASTRAY = ["", "?state=x&code=y", "?state=x&error=access_denied", "?code=y"]


@pytest.mark.parametrize("query", ASTRAY)
@pytest.mark.parametrize("path", ["/login/callback/bankid-no", "/login/callback"])
async def test_who_comes_back_to_no_login_is_shown_the_tenants_own_page(
    town: Town, sqlite_filled_url: str, path: str, query: str
) -> None:
    """It has expired, six tabs were open, or somebody went back: a person stands there, whom JSON tells nothing."""
    async with house(town, sqlite_filled_url) as (client, _):
        answer = await client.http.get(f"{path}{query}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{HOUSE}?login=failed")
        assert answer.headers["cache-control"] == "no-store" and not client.http.cookies


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("sv,en;q=0.5", "Inloggningen lyckades inte."),
        ("en", "You were not signed in."),
        ("fr", "Du ble ikke logget inn."),
    ],
)
async def test_at_a_host_that_is_nobodys_they_are_told_so_in_their_language(
    town: Town, sqlite_filled_url: str, told: str, words: str
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        headers = {"Host": "nobody.example", "Accept-Language": told}
        answer = await client.http.get("/login/callback/bankid-no?state=x", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
        assert answer.text.startswith(words) and answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("return_to", "home"),
    [((), None), (("example.clinic.app", "https://annan.example/app"), "https://annan.example/app?login=failed")],
)
async def test_only_an_address_is_gone_to(
    town: Town, sqlite_filled_url: str, return_to: tuple[str, ...], home: str | None
) -> None:
    """A tenant may list none, and what its addresses begin with need not be one."""
    other = seeds(town)[1]
    await fill(town, sqlite_filled_url, replace(other, tenant=replace(other.tenant, return_to=return_to)))
    async with house(town, sqlite_filled_url) as (client, _):
        answer = await client.http.get("/login/callback/bankid-no?state=x", headers={"Host": "annan.example"})
        assert answer.headers.get("location") == home
        assert answer.status_code == (303 if home else 400)
        link = await client.http.get(f"/bookings/{uuid4()}.ics", headers={"Host": "annan.example"})
        ways = link.text.splitlines()[1:]
        assert bool(ways) == bool(home) and all(f"returnTo={quote_plus(return_to[1])}" in way for way in ways)
