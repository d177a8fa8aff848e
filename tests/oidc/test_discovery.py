"""What a provider tells of itself: asked for once an hour, kept while it is silent, never taken when it is wrong."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from integrations.oidc import kept, login
from integrations.oidc.login import BrowserLogin
from integrations.oidc.provider import is_secure
from tests.oidc.hostile import HostileProvider, Misbehaviour
from tests.oidc.serving import MovableClock, served
from tests.oidc.test_login import Browser, house, settings

AN_HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)
A_BIT = timedelta(seconds=3)


@dataclass
class Discovery:
    """In front of the provider's discovery document: counts who asks for it, and may keep it back."""

    app: ASGIApp
    asked: int = 0
    seconds: float = 0.02
    is_silent: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/.well-known/"):
            self.asked += 1
            await asyncio.sleep(self.seconds)
            if self.is_silent:
                return await Response(status_code=503)(scope, receive, send)
        return await self.app(scope, receive, send)


@dataclass
class Stage:
    provider: HostileProvider
    discovery: Discovery
    clock: MovableClock
    browser: Browser

    async def sent_to(self) -> str:
        """The path at the provider that a login now is sent to, or why it is not."""
        answer = await self.browser.house.get("/start")
        if answer.status_code == 302:
            return urlsplit(answer.headers["location"]).path
        return str(answer.json()["failed"])


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[HostileProvider, Discovery, str]]:
    provider = HostileProvider()
    discovery = Discovery(provider.app)
    with served(discovery) as url:
        yield provider, discovery, url


@pytest.fixture
async def stage(running: tuple[HostileProvider, Discovery, str]) -> AsyncIterator[Stage]:
    provider, discovery, url = running
    provider.wrong = Misbehaviour()
    discovery.asked, discovery.seconds, discovery.is_silent = 0, 0.02, False
    clock = MovableClock()
    browser = Browser(house(BrowserLogin(clock), {"honest": settings(url)}))
    async with browser.house, browser.outside:
        yield Stage(provider, discovery, clock, browser)


async def test_a_provider_that_has_moved_is_followed_after_an_hour(stage: Stage) -> None:
    assert await stage.sent_to() == "/authorize"
    stage.provider.wrong = Misbehaviour(discovery={"authorization_endpoint": "https://new.example/elsewhere"})
    stage.clock.ahead = AN_HOUR - A_BIT
    assert (await stage.sent_to(), stage.discovery.asked) == ("/authorize", 1)
    stage.clock.ahead = AN_HOUR + A_BIT
    assert (await stage.sent_to(), stage.discovery.asked) == ("/elsewhere", 2)
    assert (await stage.sent_to(), stage.discovery.asked) == ("/elsewhere", 2)


async def test_logins_at_once_ask_once_and_whoever_gives_up_takes_it_from_nobody(stage: Stage) -> None:
    for asked, ahead in enumerate((timedelta(), AN_HOUR + A_BIT), start=1):
        stage.clock.ahead = ahead
        impatient, *others = (asyncio.create_task(stage.sent_to()) for _ in range(20))
        await asyncio.sleep(0.01)
        impatient.cancel()
        assert await asyncio.gather(*others) == ["/authorize"] * 19
        assert stage.discovery.asked == asked


async def test_what_a_silent_provider_told_last_is_good_for_a_day(stage: Stage) -> None:
    assert await stage.sent_to() == "/authorize"
    stage.discovery.is_silent = True
    stage.clock.ahead = A_DAY - A_BIT
    assert await stage.sent_to() == "/authorize"
    stage.clock.ahead = A_DAY + A_BIT
    assert await stage.sent_to() == "PROVIDER_UNAVAILABLE"
    stage.discovery.is_silent = False
    stage.clock.ahead += A_BIT
    assert await stage.sent_to() == "/authorize"


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_silent_provider_is_left_alone_for_a_moment(stage: Stage, is_known: bool) -> None:
    if is_known:
        await stage.sent_to()
        stage.clock.ahead = AN_HOUR + A_BIT
    stage.discovery.is_silent, before = True, stage.discovery.asked
    for times in (1, 2):
        for _ in range(3):
            assert await stage.sent_to() == ("/authorize" if is_known else "PROVIDER_UNAVAILABLE")
        assert stage.discovery.asked == before + times
        stage.clock.ahead += A_BIT


async def test_a_provider_that_hangs_leaves_a_login_time_to_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await stage.sent_to() == "/authorize"
    assert kept.DEADLINE_SECONDS <= login.DEADLINE_SECONDS / 2
    monkeypatch.setattr(kept, "DEADLINE_SECONDS", 0.2)
    stage.discovery.seconds, stage.clock.ahead = 3, AN_HOUR + A_BIT
    assert await stage.sent_to() == "/authorize"


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://evil.example", "authorization_endpoint": "https://evil.example/a"},
    "an endpoint without https": {"authorization_endpoint": "http://evil.example/a"},
    "no keys": {"authorization_endpoint": "https://evil.example/a", "jwks_uri": None},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_wrong_is_not_taken_however_old_the_rest(stage: Stage, wrong: str) -> None:
    assert await stage.sent_to() == "/authorize"
    stage.provider.wrong = Misbehaviour(discovery=WRONG[wrong])
    for ahead, answer in ((AN_HOUR, "/authorize"), (A_DAY, "PROVIDER_UNAVAILABLE")):
        stage.clock.ahead = ahead + A_BIT
        assert await stage.sent_to() == answer
        stage.clock.ahead += A_BIT
        assert await stage.sent_to() == answer
    assert stage.discovery.asked == 5


@pytest.mark.parametrize(
    ("url", "issuer", "secure"),
    [
        ("https://login.example/token", "https://login.example", True),
        ("http://login.example/token", "https://login.example", False),
        ("http://127.0.0.1:9/token", "http://localhost:9", True),
        ("http://127.0.0.1:9/token", "https://login.example", False),
        ("https://127.0.0.1:9/token", "https://login.example", False),
        ("https://[::1]/token", "https://login.example", False),
        ("ftp://login.example/token", "https://login.example", False),
    ],
)
def test_what_another_machine_tells_leads_nowhere_on_this_one(url: str, issuer: str, secure: bool) -> None:
    assert is_secure(url, issuer) is secure
