"""Browser logins: what an honest provider's person gets, and what a hostile provider does not."""

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.attempt_cookies import AttemptCookies
from api.signing import Signer
from domain.patient import ProviderLogin
from integrations.oidc.login import BrowserLogin, LoginAttempt, LoginFailed
from integrations.oidc.provider import OidcSettings
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.people import PEOPLE
from tests.oidc.hostile import HostileProvider, Misbehaviour, signed_with_the_public_key, unsigned
from tests.oidc.serving import MovableClock, query_of, served
from tests.planted import HOOKS

HOUSE = "http://127.0.0.1:4712"
SECRET = "demo-only-not-a-secret"


def settings(issuer: str, **changes: Any) -> OidcSettings:
    web = {"client_id": "itb-web", "client_secret": SECRET, "synthetic_allowed": True}
    return OidcSettings(issuer=issuer, **{**web, **changes})


def house(login: BrowserLogin, providers: dict[str, OidcSettings]) -> Starlette:
    """The least application around a login; it answers with what it learnt."""

    async def start(request: Request) -> Response:
        asked = dict(request.query_params)
        max_age = int(asked["max_age"]) if "max_age" in asked else None
        attempt = LoginAttempt(
            provider=asked.get("provider", "honest"),
            tenant_id="fjord",
            return_to=asked.get("return_to", "/"),
            hold_token=asked.get("hold"),
            max_age=max_age,
        )
        try:
            hint = asked.get("who", "kari")
            at = providers[attempt.provider]
            return await login.start(request, f"{HOUSE}/callback/{attempt.provider}", attempt, at, login_hint=hint)
        except LoginFailed as failed:
            return JSONResponse({"failed": failed.reason}, 400)

    async def callback(request: Request) -> Response:
        try:
            attempt = login.begun(request, request.path_params["provider"])
            identity, _ = await login.finish(request, attempt, providers[attempt.provider])
        except LoginFailed as failed:
            known = failed.attempt.return_to if failed.attempt else None
            return JSONResponse({"failed": failed.reason, "detail": failed.detail, "return_to": known}, 400)
        number = identity.national_id.number if identity.national_id else None
        who = {"name": identity.name, "born": str(identity.birth_date), "number": number, "phone": identity.phone}
        return JSONResponse({**who, "return_to": attempt.return_to, "hold": attempt.hold_token})

    attempts = Middleware(AttemptCookies, signer=Signer(b"test"), https=False)
    return Starlette(routes=[Route("/start", start), Route("/callback/{provider}", callback)], middleware=[attempts])


class Browser:
    """A browser at the house; the way to the provider and back is over real HTTP."""

    def __init__(self, app: Starlette) -> None:
        self.house = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=HOUSE, event_hooks=HOOKS)
        self.outside = httpx2.AsyncClient()

    async def to_the_provider(self, **asked: str) -> str:
        """Starts a login and gives the address on which the provider sends the browser back."""
        start = await self.house.get("/start", params=asked)
        assert start.status_code == 302, start.text
        back = await self.outside.get(start.headers["location"])
        return str(back.headers["location"])

    async def come_back(self, address: str) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.house.get(address)).json()
        return answer

    async def log_in(self, **asked: str) -> dict[str, Any]:
        return await self.come_back(await self.to_the_provider(**asked))


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with served(create_identity_provider(people=PEOPLE)) as url:
        yield url


@pytest.fixture(scope="module")
def hostile_server() -> Iterator[tuple[HostileProvider, str]]:
    provider = HostileProvider()
    with served(provider.app) as url:
        yield provider, url


@pytest.fixture
def hostile(hostile_server: tuple[HostileProvider, str]) -> HostileProvider:
    hostile_server[0].wrong = Misbehaviour()
    return hostile_server[0]


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def app(issuer: str, hostile_server: tuple[HostileProvider, str], clock: MovableClock) -> Starlette:
    at_hostile = settings(hostile_server[1])
    providers = {
        "honest": settings(issuer, kc_idp_hint="bankid"),
        "hostile": at_hostile,
        "high": settings(hostile_server[1], acr_prefixes=("high",)),
        "strict": settings(issuer, synthetic_allowed=False),
        "by-userinfo": settings(hostile_server[1], ask_userinfo=True),
        "gone": settings("http://127.0.0.1:9"),
    }
    return house(BrowserLogin(clock), providers)


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[Browser]:
    browser = Browser(app)
    async with browser.house, browser.outside:
        yield browser


async def test_a_person_comes_back_with_number_birth_date_and_what_they_were_doing(browser: Browser) -> None:
    got = await browser.log_in(return_to="/confirm?x=1", hold="h-1")
    kari = next(person for person in PEOPLE if person.login == "kari")
    assert got == {
        "name": "Kari Testesen",
        "born": str(date(1986, 3, 14)),
        "number": kari.number,
        "phone": kari.phone_at_login,
        "return_to": "/confirm?x=1",
        "hold": "h-1",
    }


async def test_who_has_no_national_number_still_logs_in(browser: Browser) -> None:
    got = await browser.log_in(who="turist")
    assert (got["name"], got["number"]) == ("Tom Tourist", None)


async def test_the_request_carries_pkce_nonce_and_the_brokers_hint(browser: Browser) -> None:
    asked = query_of(await browser.house.get("/start"))
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert len(asked["nonce"]) >= 20 and len(asked["state"]) >= 20
    assert (asked["kc_idp_hint"], asked["login_hint"]) == ("bankid", "kari")


async def test_only_synthetic_people_are_named_in_addresses(browser: Browser) -> None:
    asked = query_of(await browser.house.get("/start", params={"provider": "strict", "who": "+4790000000"}))
    assert "login_hint" not in asked and asked["client_id"] == "itb-web"


async def test_two_tabs_both_succeed_in_either_order(browser: Browser) -> None:
    first = await browser.to_the_provider(who="kari", return_to="/one")
    second = await browser.to_the_provider(who="astrid", return_to="/two")
    got = [await browser.come_back(second), await browser.come_back(first)]
    assert [(each["name"], each["return_to"]) for each in got] == [
        ("Astrid Påhittad", "/two"),
        ("Kari Testesen", "/one"),
    ]


@pytest.mark.parametrize("length", [400, 1200, 2000])
async def test_many_tabs_never_outgrow_their_cookies_and_the_newest_work(browser: Browser, length: int) -> None:
    backs = [await browser.to_the_provider(return_to="/" + "x" * length) for _ in range(9)]
    sizes = [len(f"{cookie.name}={cookie.value}; ") for cookie in browser.house.cookies.jar]
    assert max(sizes) <= 4096 and sum(sizes) < 8000
    assert (await browser.come_back(backs[0]))["failed"] == "UNKNOWN_STATE"
    assert [(await browser.come_back(back))["name"] for back in backs[-2:]] == ["Kari Testesen"] * 2


async def test_a_return_address_too_long_for_the_cookie_is_refused_at_the_start(browser: Browser) -> None:
    answer = await browser.house.get("/start", params={"return_to": "/" + "x" * 4000})
    assert answer.json() == {"failed": "RETURN_TO_TOO_LONG"}


async def test_an_answer_works_once(browser: Browser) -> None:
    back = await browser.to_the_provider()
    assert "name" in await browser.come_back(back)
    assert (await browser.come_back(back))["failed"] == "UNKNOWN_STATE"


async def test_an_answer_from_another_browser_is_refused(browser: Browser, app: Starlette) -> None:
    back = await browser.to_the_provider()
    other = Browser(app)
    async with other.house, other.outside:
        await other.to_the_provider()
        assert (await other.come_back(back))["failed"] == "UNKNOWN_STATE"


async def test_codes_swapped_between_two_tabs_are_refused(browser: Browser) -> None:
    first, second = await browser.to_the_provider(), await browser.to_the_provider()
    code = httpx2.URL(second).params["code"]
    mixed = str(httpx2.URL(first).copy_set_param("code", code))
    assert (await browser.come_back(mixed))["failed"] == "PROVIDER_REFUSED"


async def test_a_code_spent_elsewhere_is_refused(browser: Browser, issuer: str) -> None:
    back = httpx2.URL(await browser.to_the_provider())
    form = {"grant_type": "authorization_code", "code": back.params["code"], "redirect_uri": f"{HOUSE}/callback/honest"}
    stolen = await browser.outside.post(f"{issuer}/token", data=form, auth=("itb-web", SECRET))
    assert stolen.json()["error"] == "invalid_grant"
    assert (await browser.come_back(str(back)))["failed"] == "PROVIDER_REFUSED"


async def test_an_attempt_is_forgotten_after_fifteen_minutes(browser: Browser, clock: MovableClock) -> None:
    back = await browser.to_the_provider()
    clock.ahead += timedelta(minutes=15, seconds=1)
    assert (await browser.come_back(back))["failed"] == "UNKNOWN_STATE"


async def test_a_step_up_login_must_be_recent(browser: Browser, hostile: HostileProvider) -> None:
    assert "name" in await browser.log_in(provider="hostile", max_age="60")
    assert hostile.asked["max_age"] == "60"
    hostile.wrong = Misbehaviour(claims={"auth_time": 1})
    assert (await browser.log_in(provider="hostile", max_age="60"))["detail"] == "stale_auth_time"
    hostile.wrong = Misbehaviour(claims={"auth_time": None})
    assert (await browser.log_in(provider="hostile", max_age="60"))["detail"] == "missing_auth_time"


async def test_who_turns_back_at_the_provider_goes_where_they_came_from(
    browser: Browser, hostile: HostileProvider
) -> None:
    hostile.wrong = Misbehaviour(answer={"error": "access_denied"})
    got = await browser.log_in(provider="hostile", return_to="/slots")
    assert (got["failed"], got["return_to"]) == ("CANCELLED", "/slots")


async def test_a_provider_that_does_not_answer_fails_the_login(browser: Browser, hostile: HostileProvider) -> None:
    answer = await browser.house.get("/start", params={"provider": "gone"})
    assert answer.json() == {"failed": "PROVIDER_UNAVAILABLE"}
    hostile.wrong = Misbehaviour(token_status=503)
    assert (await browser.log_in(provider="hostile"))["failed"] == "PROVIDER_UNAVAILABLE"


LIES = {
    "wrong nonce": {"claims": {"nonce": "another"}},
    "no nonce": {"claims": {"nonce": None}},
    "foreign audience with our azp": {"claims": {"aud": "somebody-else", "azp": "itb-web"}},
    "audience among others without azp": {"claims": {"aud": ["itb-web", "somebody-else"]}},
    "another issuer": {"claims": {"iss": "http://127.0.0.1:1"}},
    "expired": {"claims": {"exp": 1}},
    "not a number for a time": {"claims": {"exp": "later"}},
    "no subject": {"claims": {"sub": None}},
    "wrong access token hash": {"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
    "unsigned": {"sign": unsigned},
    "rubbish": {"sign": lambda claims: "rubbish"},
    "no id token": {"token": {"id_token": None}},
    "answered by another issuer": {"answer": {"iss": "https://evil.example"}},
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lying_provider_logs_nobody_in(browser: Browser, hostile: HostileProvider, lie: str) -> None:
    hostile.wrong = Misbehaviour(**LIES[lie])
    got = await browser.log_in(provider="hostile")
    assert got["failed"] == "NOT_BELIEVED", got


@pytest.mark.parametrize("subject", ["13116900216", "kari@example.no", "+4790000001", "Kari Nordmann"])
async def test_a_provider_that_names_people_by_what_is_theirs_is_told_apart(
    browser: Browser, hostile: HostileProvider, subject: str
) -> None:
    """Nobody lies there: an operator has to set it to another kind of subject."""
    hostile.wrong = Misbehaviour(claims={"sub": subject})
    got = await browser.log_in(provider="hostile")
    assert (got["failed"], got["detail"]) == ("SUBJECT_NOT_OPAQUE", "SubjectNotOpaque")


async def test_the_public_key_is_no_shared_secret(browser: Browser, hostile: HostileProvider) -> None:
    hostile.wrong = Misbehaviour(sign=lambda claims: signed_with_the_public_key(claims, hostile.key))
    assert (await browser.log_in(provider="hostile"))["failed"] == "NOT_BELIEVED"


async def test_a_level_is_matched_by_its_beginning(browser: Browser, hostile: HostileProvider) -> None:
    hostile.wrong = Misbehaviour(claims={"acr": "high:bankid", "name": "N"})
    assert (await browser.log_in(provider="high"))["name"] == "N"
    hostile.wrong = Misbehaviour(claims={"acr": "low-high"})
    assert (await browser.log_in(provider="high"))["detail"] == "acr_too_low"


async def test_userinfo_adds_the_number_of_the_same_person_only(browser: Browser, hostile: HostileProvider) -> None:
    hostile.wrong = Misbehaviour(userinfo={"sub": "somebody", "pid": "13116900216"})
    assert (await browser.log_in(provider="by-userinfo"))["number"] == "13116900216"
    hostile.wrong = Misbehaviour(userinfo={"sub": "another", "pid": "13116900216"})
    assert (await browser.log_in(provider="by-userinfo"))["detail"] == "userinfo_of_somebody_else"


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": None},
    ],
)
async def test_discovery_that_is_unsafe_to_follow_starts_no_login(
    browser: Browser, hostile: HostileProvider, discovery: dict[str, Any]
) -> None:
    hostile.wrong = Misbehaviour(discovery=discovery)
    answer = await browser.house.get("/start", params={"provider": "hostile"})
    assert answer.json() == {"failed": "PROVIDER_UNAVAILABLE"}


async def test_discovery_cannot_turn_our_settings_off(browser: Browser, hostile: HostileProvider) -> None:
    hostile.wrong = Misbehaviour(discovery={"code_challenge_method": "plain", "scope": "profile", "verify": False})
    asked = query_of(await browser.house.get("/start", params={"provider": "hostile"}))
    assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "openid profile")


@pytest.mark.parametrize(
    ("claims", "is_personal"),
    [
        ({"sub": "7c1f0d9e-5d43-4c11-9b59-0a3f5a1f7b11", "sid": "s", "acr": "high"}, False),
        ({"sub": "13116900217"}, False),  # digits, and nobody's number
        ({"sub": "somebody", "name": "N"}, True),
        ({"sub": "13116900216"}, True),
        ({"sub": "no:131169 00216@broker"}, True),
        ({"sub": "fnr-13116900216"}, True),
        ({"sub": next(str(person.number) for person in PEOPLE if person.login == "kari")}, True),  # synthetic
        ({"sub": "19701063-2391"}, True),
        ({"sub": "7010632391"}, True),
        ({"sub": "kari@example.org"}, True),
        ({}, True),
    ],
)
async def test_an_id_token_with_a_person_in_it_belongs_in_no_address(
    hostile_server: tuple[HostileProvider, str], hostile: HostileProvider, claims: dict[str, Any], is_personal: bool
) -> None:
    at = settings(hostile_server[1])
    hostile.wrong = Misbehaviour(discovery={"end_session_endpoint": f"{at.issuer}/end"})
    id_token = hostile.signed({"iss": at.issuer, "aud": "itb-web", **claims})
    ended = ProviderLogin(provider="hostile", issuer=at.issuer, subject="somebody", id_token=id_token)
    ending = await BrowserLogin(MovableClock()).ending(at, ended, HOUSE, "state")
    assert ending is not None and ending.parameters["id_token_hint"] == id_token
    assert ending.is_personal is is_personal


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://login.example"},
        {"algorithms": ("HS256",)},
        {"algorithms": ()},
        {"scope": "profile"},
        {"audience": "itb-web"},
    ],
)
def test_settings_that_would_not_be_safe_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        settings(**{"issuer": "https://login.example", **changes})


def test_the_secret_is_not_printed() -> None:
    assert SECRET not in repr(settings("https://login.example"))
