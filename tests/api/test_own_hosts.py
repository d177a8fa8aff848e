"""A tenant under host names of its own: whoever signs in there comes back there, where the cookies are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape

import httpx2
import pytest

from api.bootstrap import build_app
from api.tenants import reached_under
from domain.tenant import Tenant
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_clients import APP, web_client
from tests.api.test_login import HOME, LOGIN_URL, begin, log_in, name_of
from tests.living import BY_SCRIPT, OTHER, Client, Town, in_process
from tests.oidc.serving import served
from tests.planted import HOOKS

PUBLIC, OWN = "https://api.example", "https://annan.example"


@asynccontextmanager
async def house_at(town: Town, url: str, *hosts: str) -> AsyncIterator[list[Client]]:
    """One house behind several host names, and a browser at each of them. Only these may be come back to."""
    clients = (APP, web_client(*(f"{host}/" for host in hosts)))
    with served(create_identity_provider(clients=clients)) as issuer:
        app = await build_app(town.settings(url, public_url=PUBLIC, oidc_issuer=issuer))
        async with app.router.lifespan_context(app):
            browsers = [
                httpx2.AsyncClient(
                    transport=httpx2.ASGITransport(app), base_url=host, headers=BY_SCRIPT, event_hooks=HOOKS
                )
                for host in hosts
            ]
            yield [Client(http) for http in browsers]
            for http in browsers:
                await http.aclose()


async def test_a_browser_signs_in_and_out_at_the_tenants_own_host(town: Town, sqlite_filled_url: str) -> None:
    async with house_at(town, sqlite_filled_url, OWN) as [client]:
        back = await begin(client, "kari")
        assert back.headers["location"].startswith(f"{OWN}/login/callback/bankid-no?")
        answer = await client.http.get(back.headers["location"])
        assert (answer.status_code, answer.headers["location"]) == (303, HOME)
        assert await name_of(client) == "Kari Testesen"
        assert {cookie.domain for cookie in client.http.cookies.jar} == {"annan.example"}
        left = await client.http.get("/logout", params={"returnTo": HOME})
        assert sent(left, "post_logout_redirect_uri") == f"{OWN}/logout/done"
        home = await client.http.get(f"{OWN}/logout/done", params={"state": sent(left, "state")})
        assert (home.status_code, home.headers["location"]) == (303, HOME)
        assert await name_of(client) is None


def sent(page: httpx2.Response, name: str) -> str:
    """What a page's form sends on to the provider."""
    return unescape(page.text.partition(f'name="{name}" value="')[2].partition('"')[0])


async def test_at_a_host_that_is_nobodys_a_browser_signs_in_under_the_public_url(
    town: Town, sqlite_filled_url: str
) -> None:
    async with house_at(town, sqlite_filled_url, PUBLIC) as [client]:
        client.http.headers["X-Tenant"] = OTHER
        back = await begin(client, "kari")
        assert back.headers["location"].startswith(f"{PUBLIC}/login/callback/bankid-no?")
        await client.http.get(back.headers["location"])
        assert await name_of(client) == "Kari Testesen"


async def test_links_lead_to_the_host_that_was_asked_by_its_name_alone(town: Town, sqlite_filled_url: str) -> None:
    async with house_at(town, sqlite_filled_url, OWN) as [client]:
        await log_in(client)
        for said in ("annan.example", "ANNAN.example.", "annan.example:666"):
            client.http.headers["Host"] = said
            urls = [each["loginUrl"] for each in (await client(LOGIN_URL, to=HOME))["tenant"]["identityProviders"]]
            assert urls and all(url.startswith(f"{OWN}/login/") for url in urls)


async def test_a_login_comes_back_at_no_other_tenants_host(town: Town, sqlite_filled_url: str) -> None:
    """Its cookie stays with the host; who carries it along all the same is not signed in under another's address."""
    async with house_at(town, sqlite_filled_url, PUBLIC) as [client]:
        client.http.headers["X-Tenant"] = "nordhelse"
        back = await begin(client, "kari")
        [attempt] = client.http.cookies.jar
        carried = {"Host": "annan.example", "Cookie": f"{attempt.name}={attempt.value}"}
        client.http.cookies.clear()
        answer = await client.http.get(back.headers["location"], headers=carried)
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
        assert "__Host-sid" not in client.http.cookies


async def test_a_page_under_development_signs_in_by_the_name_of_loopback_that_it_goes_by(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url, public_url="http://127.0.0.1"), "localhost") as (client, _):
        client.http.headers |= {"Origin": "http://localhost:5173", "Sec-Fetch-Site": "same-site"}
        back = await begin(client, "kari", to="http://localhost:5173/")
        assert back.headers["location"].startswith("http://localhost/login/callback")
        home = await client.http.get(back.headers["location"])
        assert home.headers["location"] == "http://localhost:5173/"
        assert await name_of(client) == "Kari Testesen"


async def test_a_cookie_of_a_session_that_is_over_locks_nobody_out(town: Town, sqlite_filled_url: str) -> None:
    """A host may change hands, and no page can take such a cookie away."""
    async with house_at(town, sqlite_filled_url, OWN) as [client]:
        client.http.cookies.set("__Host-sid", "nordhelse.longover", domain="annan.example")
        assert await name_of(client) is None
        answer = await client.http.get("/logout", params={"returnTo": HOME})
        assert (answer.status_code, answer.headers["location"]) == (303, HOME)
        assert any("__Host-sid=" in each and "Max-Age=0" in each for each in answer.headers.get_list("set-cookie"))


async def test_over_plain_http_no_login_comes_back_off_loopback(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url, public_url="http://127.0.0.1")) as (client, _):
        client.http.headers["Host"] = "annan.example"
        urls = [each["loginUrl"] for each in (await client(LOGIN_URL, to=HOME))["tenant"]["identityProviders"]]
        assert urls and all(url.startswith("http://127.0.0.1/login/") for url in urls)


@pytest.mark.parametrize(
    ("host", "base", "url"),
    [
        ("a.example", "https://api.example", "https://a.example"),
        ("a.example:1", "https://api.example:8443", "https://a.example:8443"),
        ("a.example", "https://api.example/itb", "https://a.example/itb"),
        ("[2001:db8::1]:443", "https://api.example", "https://[2001:db8::1]"),
        ("b.example", "https://api.example", "https://api.example"),
        ("a.example", "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.0.0.1", "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost:1", "http://127.0.0.1:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://127.0.0.1:8000", "http://[::1]:8000"),
        ("localhost", "https://api.example", "https://api.example"),
        (None, "https://api.example", "https://api.example"),
    ],
)
def test_what_a_host_says_is_its_name_at_most(host: str | None, base: str, url: str) -> None:
    tenant = Tenant(id="a", slug="a", name="A", hosts=("a.example", "2001:db8::1", "127.0.0.1", "localhost"))
    assert reached_under(tenant, host, base) == url
