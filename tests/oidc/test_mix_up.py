"""Two providers, of whom one passes its requests on to the other: nobody's code gets to the wrong one (RFC 9700 §4.4).

None of them says in its answer who it is.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from integrations.oidc.login import BrowserLogin
from integrations.oidc.provider import OidcSettings
from tests.oidc.hostile import HostileProvider
from tests.oidc.serving import MovableClock, served
from tests.oidc.test_login import HOUSE, Browser, house, settings


@pytest.fixture(scope="module")
def issuers() -> Iterator[list[str]]:
    with served(HostileProvider().app) as first, served(HostileProvider().app) as second:
        yield [first, second]


@pytest.fixture
def providers(issuers: list[str]) -> dict[str, OidcSettings]:
    return {name: settings(issuer) for name, issuer in zip(("first", "second"), issuers, strict=True)}


@pytest.fixture
async def browser(providers: dict[str, OidcSettings]) -> AsyncIterator[Browser]:
    browser = Browser(house(BrowserLogin(MovableClock()), providers))
    async with browser.house, browser.outside:
        yield browser


async def passed_on(browser: Browser, issuer: str, **changes: Any) -> httpx2.URL:
    """Where a browser that begins at the first provider comes back to, when that one has sent it on to another."""
    began = await browser.house.get("/start", params={"provider": "first", "return_to": "/slots"})
    asked = {**httpx2.URL(began.headers["location"]).params, **changes}
    answer = await browser.outside.get(f"{issuer}/authorize", params=asked)
    return httpx2.URL(answer.headers["location"])


async def test_a_code_that_comes_to_another_providers_address_is_given_to_nobody(
    browser: Browser, issuers: list[str]
) -> None:
    back = await passed_on(browser, issuers[1], redirect_uri=f"{HOUSE}/callback/second")
    got = await browser.come_back(str(back))
    assert (got["failed"], got["return_to"]) == ("MIXED_UP", "/slots")
    again = await browser.come_back(str(back.copy_with(path="/callback/first")))
    assert again["failed"] == "UNKNOWN_STATE"  # it is used up


async def test_a_code_of_an_issuer_that_was_not_asked_for_it_is_given_to_nobody(
    browser: Browser, issuers: list[str], providers: dict[str, OidcSettings]
) -> None:
    """The provider has moved to another issuer since the login began."""
    back = await passed_on(browser, issuers[1])
    providers["first"] = providers["second"]
    got = await browser.come_back(str(back))
    assert (got.get("failed"), got["return_to"]) == ("UNKNOWN_STATE", "/slots")
