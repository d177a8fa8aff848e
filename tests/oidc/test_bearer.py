"""Access tokens: which open the door, and which do not, whoever signed them."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from domain.patient import Identity
from integrations.oidc.bearer import BearerTokens, IdentityProviderUnavailable, TokenRefused
from integrations.oidc.provider import OidcSettings
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_tokens import SigningKeys
from integrations.sandbox.people import PEOPLE
from tests.oidc.hostile import signed_with_the_public_key, unsigned
from tests.oidc.serving import MovableClock, served, tokens_of

Claims = dict[str, Any]


class CountKeyRequests:
    """Notes each request for the keys, and takes its time so that several can meet."""

    def __init__(self, app: ASGIApp, seen: list[str]) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/jwks":
            self.seen.append("jwks")
            await asyncio.sleep(0.02)
        await self.app(scope, receive, send)


class Reading:
    """Tokens, by one set of settings or several."""

    def __init__(self, settings: OidcSettings, clock: MovableClock, *more: OidcSettings) -> None:
        self.accepted, self.tokens = [settings, *more], BearerTokens(clock)

    async def identity(self, token: str) -> Identity:
        return await self.tokens.identity(token, self.accepted)


class Provider:
    def __init__(self, url: str, app: Starlette, key_requests: list[str]) -> None:
        self.url, self.key_requests = url, key_requests
        self.keys: SigningKeys = app.state.provider.keys

    def claims(self, **changes: Any) -> Claims:
        now = int(time.time())
        about = {"iss": self.url, "aud": "itb-api", "sub": "p1", "name": "Kari", "client_id": "itb-app"}
        claims = {**about, "iat": now, "exp": now + 600, "auth_time": now - 5, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, typ: str = "at+jwt", **changes: Any) -> str:
        return self.keys.sign(typ, self.claims(**changes))


@pytest.fixture(scope="module")
def running_provider() -> Iterator[Provider]:
    seen: list[str] = []
    app = create_identity_provider(people=PEOPLE)
    app.user_middleware.append(Middleware(CountKeyRequests, seen=seen))
    with served(app) as url:
        yield Provider(url, app, seen)


@pytest.fixture
def provider(running_provider: Provider) -> Provider:
    running_provider.key_requests.clear()
    return running_provider


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


def settings(provider: Provider, **changes: Any) -> OidcSettings:
    return OidcSettings(**{"issuer": provider.url, "client_id": "itb-web", "synthetic_allowed": True, **changes})


@pytest.fixture
def bearer(provider: Provider, clock: MovableClock) -> Reading:
    return Reading(settings(provider), clock)


async def test_the_providers_access_token_tells_who_it_is(bearer: Reading, provider: Provider) -> None:
    got = await bearer.identity((await tokens_of(provider.url, "astrid"))["access_token"])
    astrid = next(person for person in PEOPLE if person.login == "astrid")
    assert got.national_id is not None and got.national_id.number == astrid.number
    assert (got.issuer, got.name, got.birth_date) == (provider.url, astrid.name, astrid.birth_date)
    assert (got.phone, got.email, got.language) == (astrid.phone_at_login, astrid.email, "sv")
    assert timedelta() <= datetime.now(UTC) - got.authenticated_at < timedelta(seconds=10)
    assert got.expires_at - got.authenticated_at == timedelta(hours=1)


async def test_an_id_token_is_no_access_token(provider: Provider, clock: MovableClock) -> None:
    proof = (await tokens_of(provider.url))["id_token"]
    for lenient in (False, True):
        bearer = Reading(settings(provider, plain_jwt_allowed=lenient), clock)
        with pytest.raises(TokenRefused):
            await bearer.identity(proof)
        with pytest.raises(TokenRefused):  # even were it meant for us
            await bearer.identity(provider.token("JWT", nonce="n"))


WRONG = {
    "expired": {"exp": int(time.time()) - 61},
    "never expires": {"exp": None},
    "expires at no time": {"exp": "never"},
    "expires beyond the calendar": {"exp": 10**30},
    "not valid yet": {"nbf": int(time.time()) + 86_400},
    "issued in the future": {"iat": int(time.time()) + 86_400},
    "for somebody else": {"aud": "another-api"},
    "for nobody": {"aud": None},
    "from somebody else": {"iss": "https://evil.example"},
    "from nobody": {"iss": None},
    "about nobody": {"sub": None},
    "about a number": {"sub": 7},
    "about a national number": {"sub": "NO:13116900216"},
    "logged in at no time": {"auth_time": "just now"},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_signed_token_with_wrong_claims_is_refused(bearer: Reading, provider: Provider, wrong: str) -> None:
    assert (await bearer.identity(provider.token())).subject == "p1"
    with pytest.raises(TokenRefused):
        await bearer.identity(provider.token(**WRONG[wrong]))


async def test_a_level_that_one_method_of_a_broker_must_have_any_must(provider: Provider, clock: MovableClock) -> None:
    """Which method it was does not stand in the token, and the app chooses. Another audience is another matter."""
    lax, strict = settings(provider), settings(provider, acr_prefixes=("urn:high", "urn:higher"))
    elsewhere = settings(provider, acr_prefixes=("urn:high",), audience="another-api")
    for beside in ((lax, strict), (strict, lax)):
        bearer = Reading(beside[0], clock, beside[1])
        assert (await bearer.identity(provider.token(acr="urn:high:bankid"))).subject == "p1"
        assert (await bearer.identity(provider.token(acr="urn:higher", aud=["x", "itb-api"]))).subject == "p1"
        for told in ({"acr": "urn:low"}, {"acr": None}, {"acr": ["urn:high"]}, {"acr": "urn:low", "aud": ["itb-api"]}):
            with pytest.raises(TokenRefused):
                await bearer.identity(provider.token(**told))
    assert (await Reading(lax, clock, elsewhere).identity(provider.token(acr="urn:low"))).subject == "p1"


async def test_clocks_may_differ_by_a_minute(bearer: Reading, provider: Provider) -> None:
    now = int(time.time())
    token = provider.token(exp=now - 50, nbf=now + 50, iat=now + 50, aud=["itb-api", "another-api"])
    assert (await bearer.identity(token)).subject == "p1"


async def test_unsigned_and_secretly_signed_tokens_are_refused(bearer: Reading, provider: Provider) -> None:
    key = provider.keys.current
    forged = [
        unsigned(provider.claims(), "at+jwt"),
        signed_with_the_public_key(provider.claims(), key, "at+jwt"),
        jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}, provider.claims(), ECKey.generate_key("P-256")),
    ]
    for token in forged:
        with pytest.raises(TokenRefused):
            await bearer.identity(token)


async def test_a_tampered_token_is_refused(bearer: Reading, provider: Provider) -> None:
    header, payload, signature = provider.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    altered = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "p2"}).encode()).rstrip(b"=").decode()
    for token in (f"{header}.{altered}.{signature}", f"{header}.{payload}.", f"{header}.{payload}"):
        with pytest.raises(TokenRefused):
            await bearer.identity(token)


@pytest.mark.parametrize("rubbish", ["", ".", "..", "a.b.c", "é.é.é", "e30.e30.e30", "W10.W10.W10", "x" * 200_000])
async def test_rubbish_is_refused_without_asking_the_provider(
    bearer: Reading, provider: Provider, rubbish: str
) -> None:
    with pytest.raises(TokenRefused):
        await bearer.identity(rubbish)
    assert provider.key_requests == []


@pytest.mark.parametrize("typ", ["JWT", "", "logout+jwt", "dpop+jwt"])
async def test_other_types_of_token_are_refused(provider: Provider, clock: MovableClock, typ: str) -> None:
    with pytest.raises(TokenRefused):
        await Reading(settings(provider), clock).identity(provider.token(typ))


async def test_plain_tokens_pass_only_where_the_setting_says_so(provider: Provider, clock: MovableClock) -> None:
    bearer = Reading(settings(provider, plain_jwt_allowed=True), clock)
    assert (await bearer.identity(provider.token("JWT"))).subject == "p1"
    assert (await bearer.identity(provider.token("application/at+jwt"))).subject == "p1"
    with pytest.raises(TokenRefused):
        await bearer.identity(provider.token("logout+jwt"))


async def test_a_login_of_unknown_age_counts_as_long_ago(bearer: Reading, provider: Provider) -> None:
    assert (await bearer.identity(provider.token(auth_time=None))).authenticated_at.year == 1970


async def test_a_rotated_key_is_noticed_and_the_old_one_goes_on(
    bearer: Reading, provider: Provider, clock: MovableClock
) -> None:
    before = provider.token()
    await bearer.identity(before)
    provider.keys.rotate()
    clock.ahead += timedelta(seconds=31)
    assert (await bearer.identity(provider.token())).subject == "p1"
    assert (await bearer.identity(before)).subject == "p1"
    assert len(provider.key_requests) == 2


async def test_invented_key_ids_reach_the_provider_at_most_every_thirty_seconds(
    bearer: Reading, provider: Provider, clock: MovableClock
) -> None:
    await bearer.identity(provider.token())
    stranger = ECKey.generate_key("P-256", {"kid": "invented"})
    forged = jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": "invented"}, provider.claims(), stranger)
    for _ in range(5):
        with pytest.raises(TokenRefused):
            await bearer.identity(forged)
    assert len(provider.key_requests) == 1
    clock.ahead += timedelta(seconds=31)
    for _ in range(5):
        with pytest.raises(TokenRefused):
            await bearer.identity(forged)
    assert len(provider.key_requests) == 2


async def test_many_at_once_ask_for_the_keys_once_and_again_after_an_hour(
    bearer: Reading, provider: Provider, clock: MovableClock
) -> None:
    lasting = provider.token(exp=int(time.time()) + 9000)
    assert len(await asyncio.gather(*(bearer.identity(lasting) for _ in range(50)))) == 50
    assert len(provider.key_requests) == 1
    clock.ahead += timedelta(minutes=61)
    await bearer.identity(lasting)
    assert len(provider.key_requests) == 2


async def test_one_caller_giving_up_does_not_take_the_keys_from_the_others(bearer: Reading, provider: Provider) -> None:
    impatient, patient = (asyncio.create_task(bearer.identity(provider.token())) for _ in range(2))
    await asyncio.sleep(0.005)
    impatient.cancel()
    assert (await patient).subject == "p1"
    assert len(provider.key_requests) == 1


async def test_known_keys_outlast_the_provider_and_unknown_ones_are_an_outage(clock: MovableClock) -> None:
    app = create_identity_provider(people=PEOPLE)
    with served(app) as url:
        provider = Provider(url, app, [])
        known = Reading(settings(provider), clock)
        lasting = provider.token(exp=int(time.time()) + 9000)
        await known.identity(lasting)
    clock.ahead += timedelta(minutes=61)
    assert (await known.identity(lasting)).subject == "p1"
    with pytest.raises(IdentityProviderUnavailable):
        await Reading(settings(provider), clock).identity(lasting)


async def test_a_provider_that_has_not_answered_is_left_alone_for_a_moment(clock: MovableClock) -> None:
    app = create_identity_provider(people=PEOPLE)
    with served(app) as url:
        provider = Provider(url, app, [])
        token = provider.token()
    asked = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", urlsplit(url).port):
        bearer = Reading(settings(provider), clock)
        for ahead, times in ((0, 1), (0, 1), (3, 2)):
            clock.ahead += timedelta(seconds=ahead)
            with pytest.raises(IdentityProviderUnavailable):
                await bearer.identity(token)
            assert asked == times


async def test_a_provider_that_hangs_is_given_up(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def black_hole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr("integrations.oidc.kept.DEADLINE_SECONDS", 0.1)
    server = await asyncio.start_server(black_hole, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        bearer = Reading(settings(provider, issuer=url), MovableClock())
        with pytest.raises(IdentityProviderUnavailable):
            await asyncio.wait_for(bearer.identity(provider.token(iss=url)), 2)


@pytest.mark.parametrize(
    ("claims", "number", "born"),
    [
        ({"pid": "13116900216"}, "13116900216", date(1969, 11, 13)),
        ({"pid": "13116900216", "birthdate": "1970-01-02"}, "13116900216", date(1970, 1, 2)),
        ({"pid": "13116900217", "birthdate": "1970-01-02"}, None, date(1970, 1, 2)),
        ({"pid": "13116900217"}, None, None),
        ({"pid": 13116900216}, None, None),
        ({"pid": "13116900216", "birthdate": "0000-01-02"}, "13116900216", date(1969, 11, 13)),
        ({"pid": "13116900216", "birthdate": "1970"}, "13116900216", date(1969, 11, 13)),
        ({"personnummer": "701063-2391"}, "197010632391", date(1970, 10, 3)),
        ({"pid": "wrong", "personnummer": "701063-2391"}, "197010632391", date(1970, 10, 3)),
        ({"sn": "13116900216"}, None, None),
    ],
)
async def test_numbers_and_birth_dates_come_from_verified_claims(
    bearer: Reading, provider: Provider, claims: Claims, number: str | None, born: date | None
) -> None:
    got = await bearer.identity(provider.token(**claims))
    assert (got.national_id.number if got.national_id else None, got.birth_date) == (number, born)


async def test_test_people_are_nobody_where_they_are_not_allowed(provider: Provider, clock: MovableClock) -> None:
    kari = next(person for person in PEOPLE if person.login == "kari")
    strict = Reading(settings(provider, synthetic_allowed=False), clock)
    assert (await strict.identity(provider.token(pid=kari.number))).national_id is None


@pytest.mark.parametrize(("locale", "language"), [("nb-NO", "nb"), ("no", "nb"), ("sv_SE", "sv"), (None, None)])
async def test_the_language_is_the_first_part_of_the_locale(
    bearer: Reading, provider: Provider, locale: str | None, language: str | None
) -> None:
    assert (await bearer.identity(provider.token(locale=locale))).language == language
