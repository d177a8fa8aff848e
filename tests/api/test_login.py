"""A browser signs in: to the identity provider and back, with its held time, and not for longer than told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest

from api.bootstrap import build_app
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_clients import APP, web_client
from integrations.store.tables import SESSION
from tests.databases import raw
from tests.living import BY_SCRIPT, OTHER, Client, Town, in_process, sign_in
from tests.oidc.serving import MovableClock, query_of, served
from tests.planted import HOOKS
from tests.system.journey import Journey

HOUSE = "http://127.0.0.1"
HOME = f"{HOUSE}/app"
VIEWER = "{ viewer { patient { name } sessionExpiresAt } }"
HELD = "query($token: String!) { hold(token: $token) { expiresAt serverTime } }"
LOGIN_URL = """query($to: URL!, $hold: String) { tenant { identityProviders { id
    loginUrl(returnTo: $to, holdToken: $hold) } } }"""
LIFETIME, CAP = timedelta(seconds=600), timedelta(seconds=900)


async def begin(client: Client, login: str, to: str = HOME, hold: str | None = None) -> httpx2.Response:
    """What the identity provider sends the browser back with, over real HTTP."""
    providers = (await client(LOGIN_URL, to=to, hold=hold))["tenant"]["identityProviders"]
    url = next(each["loginUrl"] for each in providers if each["id"] == "bankid-no")
    began = await client.http.get(f"{url}&login_hint={login}")
    assert began.status_code == 302, began.text
    async with httpx2.AsyncClient() as web:
        return await web.get(began.headers["location"])


async def log_in(client: Client, login: str = "kari", **more: Any) -> httpx2.Response:
    back = await begin(client, login, **more)
    assert back.status_code in (302, 303), back.text
    return await client.http.get(back.headers["location"])


async def name_of(client: Client) -> str | None:
    viewer = (await client(VIEWER))["viewer"]
    return viewer and str(viewer["patient"]["name"])


def house(town: Town, url: str, **changes: Any) -> Any:
    return in_process(town.settings(url, public_url=HOUSE, **changes))


async def test_a_browser_comes_back_signed_in_with_a_cookie_no_script_can_read(town: Town, filled_url: str) -> None:
    async with house(town, filled_url) as (client, _):
        assert await name_of(client) is None
        answer = await log_in(client, to=f"{HOME}?step=2")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?step=2")
        [cookie] = [c for c in answer.headers.get_list("set-cookie") if c.startswith("sid=")]
        told = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"httponly", "samesite=lax", "path=/"} <= told
        assert not any(part.startswith(("secure", "domain")) for part in told)
        assert len(client.http.cookies["sid"]) >= 43  # 256 bits
        assert await name_of(client) == "Kari Testesen"


async def names_behind(client: Client, *secrets: str | None) -> list[str | None]:
    """Whom each session's secret stands for."""
    client.http.cookies.clear()
    names = []
    for secret in secrets:
        answer = await client.http.post(
            "/graphql", json={"query": VIEWER}, headers={"Cookie": f"sid={secret}", **BY_SCRIPT}
        )
        viewer = answer.json()["data"]["viewer"]
        names.append(viewer and str(viewer["patient"]["name"]))
    return names


async def test_a_login_takes_no_session_over_and_ends_the_browsers_former_one(town: Town, filled_url: str) -> None:
    async with house(town, filled_url) as (client, _):
        client.http.cookies.set("sid", "chosen-by-an-attacker", domain="127.0.0.1")
        first = (await log_in(client)).cookies["sid"]
        client.http.cookies.clear()
        client.http.cookies.set("sid", first, domain="127.0.0.1")
        second = (await log_in(client, "ola")).cookies["sid"]
        assert len({"chosen-by-an-attacker", first, second}) == 3
        assert await names_behind(client, "chosen-by-an-attacker", first, second) == [None, None, "Ola Prøvemann"]


async def test_a_login_at_another_tenant_ends_the_browsers_session_at_the_first(town: Town, filled_url: str) -> None:
    """One host, one cookie: what it stood for would live on for hours, for whoever had kept it."""
    async with house(town, filled_url) as (client, _):
        secrets = []
        for slug in ("nordhelse", OTHER):
            client.http.headers["X-Tenant"] = slug
            await log_in(client)
            assert await name_of(client) == "Kari Testesen"
            secrets.append(client.http.cookies["sid"])
        assert await names_behind(client, *secrets) == [None, "Kari Testesen"]
        client.http.headers["X-Tenant"] = "nordhelse"
        assert await names_behind(client, *secrets) == [None, None]
    async with raw(filled_url) as connection:
        assert [row.tenant_id for row in await connection.execute(SESSION.select())] == [OTHER]


@pytest.mark.parametrize("planted", ["*.x", "nowhere.x", "annan.x", "annan.", ".", "%00.x", "%FF.x", "x" * 200 + ".x"])
async def test_a_cookie_that_names_any_tenant_is_in_no_logins_way(
    town: Town, sqlite_filled_url: str, planted: str
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        client.http.cookies.set("sid", planted, domain="127.0.0.1")
        answer = await log_in(client)
        assert answer.headers["location"] == HOME
        assert await names_behind(client, planted, answer.cookies["sid"]) == [None, "Kari Testesen"]


async def expiry(client: Client, token: str) -> datetime:
    held = (await client(HELD, token=token))["hold"]
    return datetime.fromisoformat(held["expiresAt"])


async def held_slot(client: Client) -> tuple[str, datetime]:
    journey = Journey(client, "bryggen-legesenter")
    held = await journey.hold((await journey.slots())[0]["id"])
    assert held["hold"], held["errors"]
    return held["hold"]["token"], datetime.fromisoformat(held["hold"]["expiresAt"]) - LIFETIME


async def test_a_held_time_is_kept_longer_once_at_login(town: Town, filled_url: str, clock: MovableClock) -> None:
    async with house(town, filled_url) as (client, _):
        token, made = await held_slot(client)
        clock.ahead = timedelta(minutes=4)
        await log_in(client, hold=token)
        longer = await expiry(client, token)
        assert made + timedelta(minutes=14) <= longer <= made + CAP
        clock.ahead = timedelta(minutes=4, seconds=20)
        client.http.cookies.clear()  # whoever is signed in would have to log in afresh, by the clock that was moved
        await log_in(client, hold=token)
        assert await expiry(client, token) == longer


async def test_no_login_keeps_a_held_time_beyond_the_cap(
    town: Town, sqlite_filled_url: str, clock: MovableClock
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        token, made = await held_slot(client)
        clock.ahead = timedelta(minutes=9)
        await log_in(client, hold=token)
        assert await expiry(client, token) == made + CAP


async def test_a_lapsed_hold_costs_the_renewal_and_not_the_login(
    town: Town, sqlite_filled_url: str, clock: MovableClock
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        token, _ = await held_slot(client)
        clock.ahead = LIFETIME + timedelta(seconds=1)
        assert (await log_in(client, hold=token)).headers["location"] == HOME
        assert await name_of(client) == "Kari Testesen"
        assert (await client(HELD, token=token))["hold"] is None
        client.http.cookies.clear()  # another browser
        assert (await log_in(client, "ola", hold="spoilt")).headers["location"] == HOME
        assert await name_of(client) == "Ola Prøvemann"


async def test_a_hold_signed_in_with_is_that_patients_alone(town: Town, filled_url: str) -> None:
    async with house(town, filled_url) as (client, _):
        token, _ = await held_slot(client)
        await log_in(client, hold=token)
        await expiry(client, token)
        own_cookie = client.http.cookies["sid"]
        client.http.cookies.clear()  # another browser
        await log_in(client, "ola", hold=token)  # who got hold of the link is too late
        assert (await client(HELD, token=token))["hold"] is None
        journey = Journey(client, "bryggen-legesenter", token=await sign_in(town, "ola"))
        assert [error["code"] for error in (await journey.confirm(token))["errors"]] == ["HOLD_NOT_FOUND"]
        client.http.cookies.clear()
        assert (await client(HELD, token=token))["hold"] is None
        client.http.cookies.set("sid", own_cookie, domain="127.0.0.1")
        journey.token = None
        booked = await journey.confirm(token)
        assert booked["booking"]["status"] == "BOOKED", booked["errors"]
        await journey.cancel(booked["booking"])


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        "http://127.0.0.1\\@evil.example",
        "",
    ],
)
async def test_a_login_ends_nowhere_else(town: Town, sqlite_filled_url: str, elsewhere: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        answer = await client.http.get(f"/login/bankid-no?returnTo={quote(elsewhere, safe='')}&login_hint=kari")
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")
        assert "location" not in answer.headers
        assert (await client.http.get("/login/bankid-no")).status_code == 400


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/login/nobody?returnTo={HOME}", 404, "BAD_USER_INPUT"),
        (f"/login/bankid-no?tenant=nobody&returnTo={HOME}", 400, "BAD_USER_INPUT"),
        (f"/login/bankid-no?tenant=a%00b&returnTo={HOME}", 400, "BAD_USER_INPUT"),
    ],
)
async def test_a_login_that_cannot_begin_is_a_coded_answer(
    town: Town, filled_url: str, path: str, status: int, code: str
) -> None:
    async with house(town, filled_url) as (client, _):
        answer = await client.http.get(path)
        told = answer.json()["errors"][0]["extensions"]
        assert (answer.status_code, told["code"]) == (status, code)
        assert answer.headers["cache-control"] == "no-store" and answer.headers["x-request-id"] == told["requestId"]


@pytest.mark.parametrize(
    ("to", "back"),
    [
        (HOME, f"{HOME}?login=failed"),
        (f"{HOME}?step=2", f"{HOME}?step=2&login=failed"),
        (f"{HOME}#step", f"{HOME}?login=failed#step"),
    ],
)
async def test_whoever_turns_back_comes_home_with_a_word_for_the_frontend(
    town: Town, sqlite_filled_url: str, to: str, back: str
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        answered = query_of(await begin(client, "kari", to=to))
        turned = {"error": "access_denied", "state": answered["state"], "iss": answered["iss"]}
        answer = await client.http.get("/login/callback/bankid-no", params=turned)
        assert (answer.status_code, answer.headers["location"]) == (303, back)
        assert "sid" not in client.http.cookies
        used = {"code": answered["code"], "state": answered["state"], "iss": answered["iss"]}
        again = await client.http.get("/login/callback/bankid-no", params=used)
        assert again.headers["location"] == f"{HOUSE}?login=failed"
        assert await name_of(client) is None


async def test_a_code_caught_on_the_way_is_worth_nothing_in_another_browser(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        back = await begin(client, "kari")
        client.http.cookies.clear()
        answer = await client.http.get(back.headers["location"])
        assert (answer.status_code, "sid" in client.http.cookies) == (303, False)


@pytest.mark.parametrize("synthetic", [True, False])
async def test_nobody_is_named_in_addresses_but_synthetic_people(
    town: Town, sqlite_filled_url: str, synthetic: bool
) -> None:
    async with house(town, sqlite_filled_url, synthetic_people=synthetic) as (client, _):
        answer = await client.http.get(f"/login/bankid-no?returnTo={HOME}&login_hint=13116900216")
        assert ("13116900216" in answer.headers["location"]) is synthetic


async def test_an_identity_provider_that_is_gone_is_a_failed_login(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url, oidc_issuer="http://127.0.0.1:9") as (client, _):
        answer = await client.http.get(f"/login/bankid-no?returnTo={HOME}&login_hint=kari")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?login=failed")


async def test_a_session_ends_twenty_idle_minutes_after_the_last_sight(
    town: Town, filled_url: str, clock: MovableClock
) -> None:
    async with house(town, filled_url) as (client, _):
        await log_in(client)
        for minutes in (18, 36, 54):
            clock.ahead = timedelta(minutes=minutes)
            assert await name_of(client) == "Kari Testesen"
        clock.ahead = timedelta(minutes=75)
        assert await name_of(client) is None


async def test_a_session_ends_after_eight_hours_however_active(
    town: Town, sqlite_filled_url: str, clock: MovableClock
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        await log_in(client)
        last = None
        for quarters in range(1, 32):
            clock.ahead = timedelta(minutes=15 * quarters)
            last = (await client(VIEWER))["viewer"]
            assert last, f"gone after {clock.ahead}"
        assert datetime.fromisoformat(last["sessionExpiresAt"]) <= clock.now() + timedelta(minutes=16)
        clock.ahead = timedelta(hours=8, seconds=1)
        assert await name_of(client) is None


async def test_another_tenant_does_not_know_the_cookie(town: Town, filled_url: str) -> None:
    async with house(town, filled_url) as (client, _):
        await log_in(client)
        cookie = {"Cookie": f"sid={client.http.cookies['sid']}"}
        named = {**cookie, "X-Tenant": OTHER}  # where both tenants are served, whoever comes from one may look around
        answer = await client.http.post("/graphql", json={"query": VIEWER}, headers=named)
        assert answer.json()["data"] == {"viewer": None}
        elsewhere = {**cookie, "Host": "annan.example"}
        answer = await client.http.post("/graphql", json={"query": VIEWER}, headers=elsewhere)
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
        assert await name_of(client) == "Kari Testesen"


@pytest.mark.parametrize("path", ["/graphql", "/login/bankid-no", "/logout"])
async def test_nobody_acts_for_one_tenant_at_the_host_of_another(town: Town, sqlite_filled_url: str, path: str) -> None:
    """What is signed in at one would be replaced, ended or used under the other's address."""
    async with house(town, sqlite_filled_url) as (client, _):
        await log_in(client)
        headers = {"Cookie": f"sid={client.http.cookies['sid']}", "Host": "annan.example"}
        ask = partial(client.http.post, json={"query": VIEWER}) if path == "/graphql" else client.http.get
        answer = await ask(f"{path}?tenant=nordhelse&returnTo={HOME}", headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
        assert "set-cookie" not in answer.headers
        assert await name_of(client) == "Kari Testesen"


@asynccontextmanager
async def house_over_https(town: Town, url: str, written: str = "https://127.0.0.1") -> AsyncIterator[Client]:
    house = "https://127.0.0.1"
    with served(create_identity_provider(clients=(APP, web_client(f"{house}/")))) as issuer:
        app = await build_app(town.settings(url, public_url=written, oidc_issuer=issuer))
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app)
            asked: dict[str, Any] = {"headers": BY_SCRIPT, "event_hooks": HOOKS}
            async with httpx2.AsyncClient(transport=transport, base_url=house, **asked) as http:
                yield Client(http)


def is_bound(answer: httpx2.Response, name: str) -> bool:
    """As browsers want it of `__Host-`: else they drop the cookie. Lax, since the person comes back from elsewhere."""
    [cookie] = [c for c in answer.headers.get_list("set-cookie") if name in c.partition("=")[0]]
    told = {part.strip().lower() for part in cookie.split(";")[1:]}
    bound = {"secure", "httponly", "samesite=lax", "path=/"} <= told and not any(p.startswith("domain") for p in told)
    return cookie.startswith(f"__Host-{name}") and bound


@pytest.mark.parametrize("written", ["https://127.0.0.1", "HTTPS://127.0.0.1/"])
async def test_over_https_the_cookie_is_bound_to_its_host_and_never_plain(
    town: Town, sqlite_filled_url: str, written: str
) -> None:
    """No other setting has a say in it, so that a public URL with https and a plain cookie never meet."""
    async with house_over_https(town, sqlite_filled_url, written) as client:
        back = await begin(client, "kari", to=HOME)
        assert parse_qs(urlsplit(back.headers["location"]).query)["code"]
        answer = await client.http.get(back.headers["location"])
        assert is_bound(answer, "sid") and await name_of(client) == "Kari Testesen"
        secret = client.http.cookies["__Host-sid"]
        client.http.cookies.clear()
        plain = await client.http.post(
            "/graphql", json={"query": VIEWER}, headers={"Cookie": f"sid={secret}", **BY_SCRIPT}
        )
        assert plain.json()["data"] == {"viewer": None}


async def test_over_https_so_are_the_cookies_of_logins_under_way(town: Town, sqlite_filled_url: str) -> None:
    """A neighbouring host could else plant a login that it began itself, for somebody to come back with."""
    async with house_over_https(town, sqlite_filled_url) as client:
        url = (await client(LOGIN_URL, to=HOME, hold=None))["tenant"]["identityProviders"][0]["loginUrl"]
        assert is_bound(await client.http.get(url), "login-")
        client.http.cookies.clear()
        back = await begin(client, "kari")
        [own] = client.http.cookies.jar
        client.http.cookies.clear()
        planted = f"{own.name.removeprefix('__Host-')}={own.value}"
        answer = await client.http.get(back.headers["location"], headers={"Cookie": planted})
        assert answer.headers["location"].endswith("?login=failed") and not client.http.cookies
        answer = await client.http.get(back.headers["location"], headers={"Cookie": f"{own.name}={own.value}"})
        assert is_bound(answer, "sid") and is_bound(answer, "login-")
        assert await name_of(client) == "Kari Testesen"
