"""Our logins against a certified provider, npm's `oidc-provider`: a browser's, an app's, and how they end."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest
import uvicorn

from api.bootstrap import build_app
from integrations.sandbox.people import PEOPLE
from tests.living import BY_SCRIPT, Client, Town, until
from tests.oidc.serving import CALLBACK, authorization, new_verifier, redeem
from tests.planted import HOOKS

PROVIDER = Path(__file__).parent / "certified"
KARI = next(person for person in PEOPLE if person.login == "kari")
VIEWER = "{ viewer { patient { name maskedNationalNumber } } }"
LOGIN_URL = "query($to: URL!) { tenant { identityProviders { id loginUrl(returnTo: $to) } } }"


@dataclass(frozen=True)
class Place:
    """Our address, what speaks GraphQL to it as a browser does, and the provider's issuer."""

    house: str
    issuer: str
    browser: Client


@pytest.fixture(scope="session")
def provider_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script with what it needs. In CI there must be Node.js."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing = "there is no node with npm"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    folder = tmp_path_factory.mktemp("certified") / "provider"
    shutil.copytree(PROVIDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    asked = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def certified(folder: Path, house: str) -> Iterator[str]:
    """The issuer, while it runs."""
    claims = {"name": KARI.name, "pid": KARI.number, "birthdate": str(KARI.birth_date), "locale": "nb"}
    command = ["node", "provider.mjs", house, json.dumps({KARI.login: claims})]
    with (folder / f"stderr-{urlsplit(house).port}").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout
        yield process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@asynccontextmanager
async def place(town: Town, database_url: str, folder: Path, **changes: Any) -> AsyncIterator[Place]:
    """The API over real HTTP, since the provider calls it, too; it listens before either is told the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    house = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with certified(folder, house) as issuer:
        app = await build_app(town.settings(database_url, oidc_issuer=issuer, public_url=house, **changes))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        async with httpx2.AsyncClient(base_url=house, timeout=60, headers=BY_SCRIPT, event_hooks=HOOKS) as http:
            yield Place(house, issuer, Client(http))
        server.should_exit = True
        await asyncio.to_thread(thread.join, 30)


async def follow(http: httpx2.AsyncClient, url: str, stop: str) -> str:
    """From redirect to redirect, as a browser with its cookies, to the first address that begins with `stop`."""
    for _ in range(10):
        if url.startswith(stop):
            return url
        answer = await http.get(url)
        assert answer.is_redirect, (url, answer.status_code, answer.text)
        url = urljoin(url, answer.headers["location"])
    raise AssertionError(f"never came to {stop}")


async def log_in(here: Place) -> None:
    home = f"{here.house}/app"
    providers = (await here.browser(LOGIN_URL, to=home))["tenant"]["identityProviders"]
    url = next(each["loginUrl"] for each in providers if each["id"] == "bankid-no")
    assert await follow(here.browser.http, f"{url}&login_hint={KARI.login}", home) == home


async def test_a_browser_signs_in(town: Town, sqlite_filled_url: str, provider_folder: Path) -> None:
    async with place(town, sqlite_filled_url, provider_folder) as here:
        assert (await here.browser(VIEWER))["viewer"] is None
        await log_in(here)
        assert KARI.number
        patient = (await here.browser(VIEWER))["viewer"]["patient"]
        assert patient["name"] == KARI.name and patient["maskedNationalNumber"].endswith(KARI.number[-2:])


async def test_an_app_signs_in_and_refreshes(town: Town, sqlite_filled_url: str, provider_folder: Path) -> None:
    async with place(town, sqlite_filled_url, provider_folder) as here, httpx2.AsyncClient() as app:
        verifier, challenge = new_verifier()
        asked = httpx2.QueryParams(authorization(challenge, KARI.login))
        back = await follow(app, f"{here.issuer}/auth?{asked}", CALLBACK)
        [code] = parse_qs(urlsplit(back).query)["code"]
        first = (await app.post(f"{here.issuer}/token", data=redeem(code, verifier))).json()
        again = {"grant_type": "refresh_token", "client_id": "itb-app", "refresh_token": first["refresh_token"]}
        second = (await app.post(f"{here.issuer}/token", data=again)).json()
        assert second["access_token"] != first["access_token"]
        for tokens in (first, second):
            viewer = (await here.browser(VIEWER, tokens["access_token"]))["viewer"]
            assert viewer["patient"]["name"] == KARI.name


async def test_who_signs_out_here_is_signed_out_there(
    town: Town, sqlite_filled_url: str, provider_folder: Path
) -> None:
    """With a form, since that provider's ID tokens tell of the person; what the browser had is worth nothing."""
    async with place(town, sqlite_filled_url, provider_folder) as here:
        await log_in(here)
        secret = here.browser.http.cookies["sid"]
        home = f"{here.house}/app"
        answer = await here.browser.http.get("/logout", params={"returnTo": home})
        assert "sid" not in here.browser.http.cookies
        assert await ended_at_the_provider(here, answer) == home
        assert (await here.browser(VIEWER))["viewer"] is None
        here.browser.http.cookies.set("sid", secret, domain="127.0.0.1")
        assert (await here.browser(VIEWER))["viewer"] is None


async def test_the_provider_tells_of_a_logout_by_the_back_channel(
    town: Town, sqlite_filled_url: str, provider_folder: Path
) -> None:
    """Somebody leaves the provider itself, by its own page; our session of that login is over."""
    async with place(town, sqlite_filled_url, provider_folder) as here:
        await log_in(here)
        assert (await here.browser(VIEWER))["viewer"]
        page = await here.browser.http.get(f"{here.issuer}/session/end")
        await confirmed(here, page)

        async def is_over() -> bool:
            return (await here.browser(VIEWER))["viewer"] is None

        assert await until(is_over, 60)


async def ended_at_the_provider(here: Place, answer: httpx2.Response) -> str:
    """The form that our answer holds is sent, the provider's question answered with yes, and its redirects followed."""
    page = await here.browser.http.post(f"{here.issuer}/session/end", data=fields_of(answer.text))
    back = await confirmed(here, page)
    assert back.is_redirect, (answer.text, page.text, back.text)
    return await follow(here.browser.http, urljoin(here.issuer, back.headers["location"]), f"{here.house}/app")


async def confirmed(here: Place, page: httpx2.Response) -> httpx2.Response:
    yes = {**fields_of(page.text), "logout": "yes"}
    return await here.browser.http.post(f"{here.issuer}/session/end/confirm", data=yes)


def fields_of(page: str) -> dict[str, str]:
    found = re.findall(r'name="([^"]+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in found}
