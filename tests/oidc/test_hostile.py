"""Every lie of a hostile provider, in every way in which it can be told: each is one cell of a table."""

import base64
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from integrations.oidc.attempts import LoginAttempts
from integrations.oidc.bearer import BearerTokens, IdentityProviderUnavailable, TokenRefused
from integrations.oidc.kept import REST
from integrations.oidc.keys import ASK_AGAIN_AFTER, KeyRing
from integrations.oidc.login import BrowserLogin
from integrations.oidc.logout import EVENT, LogoutTokens
from integrations.oidc.provider import ALGORITHMS, OidcSettings
from integrations.oidc.strict import StrictClient
from tests.oidc.hostile import Claims, HostileProvider, Misbehaviour, signed_with_the_public_key, unsigned
from tests.oidc.serving import MovableClock, served, served_afar
from tests.oidc.test_login import Browser, house, settings

LOGINS = ("login", "login with UserInfo", "step-up")
TOKENS = ("bearer", "back-channel logout")
EVERY_MODE = (*LOGINS, *TOKENS)
FOR_OUR_CLIENT = (*LOGINS, "back-channel logout")
NUMBER = "13116900216"
A_DAY = 86_400
TYPES = {"bearer": "at+jwt", "back-channel logout": "logout+jwt"}

Sign = Callable[[HostileProvider, Claims, str], str]


@dataclass(frozen=True)
class Lie:
    """What is wrong, where the rest is right, and in which modes it can be told at all.

    `{near}` in discovery is the provider's address on loopback, when the issuer itself is `afar`.
    """

    claims: Claims = field(default_factory=dict)
    sign: Sign | None = None
    answer: Claims = field(default_factory=dict)
    discovery: Claims = field(default_factory=dict)
    token: Claims = field(default_factory=dict)
    userinfo: Claims = field(default_factory=dict)
    keys: Callable[[list[Claims]], Any] = lambda published: published
    afar: bool = False
    modes: tuple[str, ...] = EVERY_MODE


def by_a_strangers_key(kid: str | None = None) -> Sign:
    def sign(provider: HostileProvider, claims: Claims, typ: str) -> str:
        header = {"alg": "ES256", "typ": typ, "kid": kid or provider.key.kid}
        return jwt.encode(header, claims, ECKey.generate_key("P-256"))

    return sign


def by_a_withdrawn_key(provider: HostileProvider, claims: Claims, typ: str) -> str:
    old = provider.rotate()
    return jwt.encode({"alg": "ES256", "typ": typ, "kid": old.kid}, claims, old)


LIES = {
    "alg none": Lie(sign=lambda _, claims, typ: unsigned(claims, typ)),
    "HS256 with the public key": Lie(sign=lambda p, claims, typ: signed_with_the_public_key(claims, p.key, typ)),
    "a stranger's key under a known kid": Lie(sign=by_a_strangers_key()),
    "unknown kid": Lie(sign=by_a_strangers_key("nobody's")),
    "rotated keys, signed by the old one": Lie(sign=by_a_withdrawn_key),
    "rubbish": Lie(sign=lambda *_: "rubbish"),
    "foreign aud": Lie(claims={"aud": "somebody-else"}),
    "foreign aud with our azp": Lie(claims={"aud": "somebody-else", "azp": "itb-web"}),
    "our aud with a foreign azp": Lie(claims={"aud": "itb-web", "azp": "x"}, modes=LOGINS),
    "a stranger beside our aud": Lie(claims={"aud": ["itb-web", "x"], "azp": "itb-web"}, modes=FOR_OUR_CLIENT),
    "our own API beside our aud, without azp": Lie(claims={"aud": ["itb-web", "itb-api"]}, modes=LOGINS),
    "no aud": Lie(claims={"aud": None}),
    "wrong iss": Lie(claims={"iss": "https://evil.example"}),
    "no iss": Lie(claims={"iss": None}),
    "expired": Lie(claims={"exp": int(time.time()) - 61}),
    "never expires": Lie(claims={"exp": None}),
    "future iat": Lie(claims={"iat": int(time.time()) + A_DAY}),
    "not valid yet": Lie(claims={"nbf": int(time.time()) + A_DAY}),
    "missing id_token": Lie(token={"id_token": None}, modes=LOGINS),
    "wrong nonce": Lie(claims={"nonce": "another"}, modes=LOGINS),
    "no nonce": Lie(claims={"nonce": None}, modes=LOGINS),
    "a nonce where none belongs": Lie(claims={"nonce": "n"}, modes=TOKENS),
    "no subject": Lie(claims={"sub": None}),  # and so about nobody, where no session is named either
    "wrong at_hash": Lie(claims={"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, modes=LOGINS),
    "stale auth_time": Lie(claims={"auth_time": int(time.time()) - 600}, modes=("step-up",)),
    "missing auth_time": Lie(claims={"auth_time": None}, modes=("step-up",)),
    "an auth_time beyond all time": Lie(claims={"auth_time": 10**400}, modes=(*LOGINS, "bearer")),
    "future auth_time": Lie(claims={"auth_time": int(time.time()) + A_DAY}, modes=(*LOGINS, "bearer")),
    "too low a level": Lie(claims={"acr": "low-high"}, modes=(*LOGINS, "bearer")),
    "no level": Lie(claims={"acr": None}, modes=(*LOGINS, "bearer")),
    "answered by another issuer": Lie(answer={"iss": "https://evil.example"}, modes=LOGINS),
    "iss promised and not given": Lie(discovery={"authorization_response_iss_parameter_supported": True}, modes=LOGINS),
    "other sub in UserInfo": Lie(userinfo={"sub": "another"}, modes=("login with UserInfo",)),
    "no sub in UserInfo": Lie(userinfo={"sub": None}, modes=("login with UserInfo",)),
    "discovery of another issuer": Lie(discovery={"issuer": "https://evil.example"}),
    "discovery pointing elsewhere for tokens": Lie(discovery={"token_endpoint": "http://evil.example/token"}),
    "discovery pointing elsewhere for keys": Lie(discovery={"jwks_uri": "http://evil.example/jwks"}),
    "a remote issuer's door for browsers on loopback": Lie(
        afar=True, discovery={"authorization_endpoint": "{near}/authorize"}
    ),
    "a remote issuer's door for tokens on loopback": Lie(afar=True, discovery={"token_endpoint": "{near}/token"}),
    "a remote issuer's keys on loopback": Lie(afar=True, discovery={"jwks_uri": "{near}/jwks"}),
    "a remote issuer's UserInfo on loopback": Lie(afar=True, discovery={"userinfo_endpoint": "{near}/userinfo"}),
    "discovery without keys": Lie(discovery={"jwks_uri": None}),
}
CELLS = [pytest.param(mode, lie, id=f"{mode}-{lie}") for lie, told in LIES.items() for mode in told.modes]

A_POINT = ECKey.generate_key("P-256").as_dict(private=False)
NOT_UNDERSTOOD: dict[str, Any] = {
    "a curve nobody knows": {**A_POINT, "crv": "brainpoolP256r1", "use": "enc"},
    "a point beside its curve": {**A_POINT, "y": A_POINT["x"]},
    "no modulus": {"kty": "RSA", "e": "AQAB"},
    "an exponent of one": {"kty": "RSA", "e": "AQ", "n": A_POINT["x"]},
    "a use and operations that nobody knows": {**A_POINT, "use": ["sig"], "key_ops": ["verify"]},
    "an unknown kind": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
    "no kind": {"kid": "k"},
    "a kind that is no text": {"kty": ["EC"]},
    "a kid that is no text": {**A_POINT, "kid": 7},
    "no object": "key",
}
NO_KEYS: dict[str, Callable[[list[Claims]], Any]] = {
    "a shared secret alone": lambda published: published[:1],
    "none that is understood": lambda _: list(NOT_UNDERSTOOD.values()),
    "none": lambda _: [],
    "no list": lambda _: "keys",
}

SIGNERS: dict[str, tuple[Any, Any]] = {
    "ES256": (ECKey.generate_key("P-256", {"kid": "EC"}), hashlib.sha256),
    "RS256": (RSAKey.generate_key(2048, {"kid": "RSA"}), hashlib.sha256),
    "PS256": (RSAKey.generate_key(2048, {"kid": "PSS"}), hashlib.sha256),
    "EdDSA": (OKPKey.generate_key("Ed25519", {"kid": "Ed"}), hashlib.sha512),
    "Ed25519": (OKPKey.generate_key("Ed25519", {"kid": "Ed25519"}), hashlib.sha512),
}
"""A key for each algorithm, and what it hashes with; `at_hash` is made with the same (OpenID Connect Core 3.1.3.6)."""


def signed_by(algorithm: str, at_hash: str | None = None) -> Lie:
    """No lie, where `at_hash` is none."""
    key, _ = SIGNERS[algorithm]

    def sign(_: HostileProvider, claims: Claims, typ: str) -> str:
        told = {**claims, "at_hash": at_hash} if at_hash else claims
        return jwt.encode({"alg": algorithm, "typ": typ, "kid": key.kid}, told, key, [algorithm])

    return Lie(sign=sign, keys=lambda published: [*published, key.as_dict(private=False)])


@dataclass
class Stage:
    """One house, new to the provider, and one browser in front of it."""

    provider: HostileProvider
    near: OidcSettings
    afar: OidcSettings
    browser: Browser
    clock: MovableClock
    keys: KeyRing

    async def let_in(self, mode: str, lie: Lie) -> bool:
        return await self.answer(mode, lie) == "let in"

    async def answer(self, mode: str, lie: Lie) -> str:
        """Let in, or why not."""
        near = self.near.issuer
        told = {name: v.format(near=near) if isinstance(v, str) else v for name, v in lie.discovery.items()}
        sign = lie.sign and (lambda claims: lie.sign(self.provider, claims, "JWT"))  # type: ignore[misc]
        userinfo = {"sub": "somebody", "pid": NUMBER, **lie.userinfo}
        self.provider.wrong = Misbehaviour(lie.claims, sign, lie.answer, told, 200, lie.token, userinfo, lie.keys)
        if mode in TOKENS:
            return await self._answer_to_token(mode, lie)
        began = await self.browser.house.get("/start", params=asked_in(mode, afar=lie.afar))
        if began.status_code == 400:
            return str(began.json()["failed"])
        back = await self.browser.outside.get(began.headers["location"])
        got = await self.browser.come_back(back.headers["location"])
        assert ("name" in got) != ("failed" in got), got
        return str(got.get("failed", "let in"))

    async def _answer_to_token(self, mode: str, lie: Lie) -> str:
        at = self.afar if lie.afar else self.near
        claims = {name: v for name, v in {**_claims(mode, at.issuer), **lie.claims}.items() if v is not None}
        typ = TYPES[mode]
        token = lie.sign(self.provider, claims, typ) if lie.sign else self.provider.signed(claims, typ)
        clock, keys = self.clock, self.keys
        read: Callable[..., Awaitable[Any]] = (
            BearerTokens(clock, keys).identity if mode == "bearer" else LogoutTokens(clock, keys).read
        )
        try:
            return "let in" if await read(token, [at]) else "nobody"
        except TokenRefused:
            return "NOT_BELIEVED"
        except IdentityProviderUnavailable:
            return "PROVIDER_UNAVAILABLE"


def _claims(mode: str, issuer: str) -> Claims:
    now = int(time.time())
    claims = {"iss": issuer, "sub": "somebody", "iat": now, "exp": now + 600}
    if mode == "bearer":
        return {**claims, "aud": "itb-api", "auth_time": now, "client_id": "itb-app", "acr": "high:x"}
    return {**claims, "aud": "itb-web", "jti": uuid4().hex, "events": {EVENT: {}}}


def asked_in(mode: str, *, afar: bool = False) -> dict[str, str]:
    fresh = {"max_age": "60"} if mode == "step-up" else {}
    provider = "userinfo" if mode == "login with UserInfo" else "plain"
    return {"provider": f"{provider} afar" if afar else provider, **fresh}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HostileProvider, str, str]]:
    """The provider, its address on loopback, and one afar."""
    provider = HostileProvider()
    with served(provider.app) as near, served_afar(provider.app, tmp_path_factory.mktemp("tls")) as afar:
        yield provider, near, afar


@pytest.fixture
async def stage(server: tuple[HostileProvider, str, str]) -> AsyncIterator[Stage]:
    provider, near, afar = server
    provider.wrong = Misbehaviour()
    clock = MovableClock()
    sure = {"acr_prefixes": ("high",), "app_clients": ("itb-app",)}
    plain = {"plain": settings(near, **sure), "plain afar": settings(afar, **sure)}
    by_userinfo = {name.replace("plain", "userinfo"): replace(at, ask_userinfo=True) for name, at in plain.items()}
    browser = Browser(house(BrowserLogin(clock), plain | by_userinfo))
    async with browser.house, browser.outside:
        yield Stage(provider, plain["plain"], plain["plain afar"], browser, clock, KeyRing(clock))


@pytest.mark.parametrize("afar", [False, True], ids=["near", "afar"])
@pytest.mark.parametrize("mode", EVERY_MODE)
async def test_who_tells_the_truth_is_believed(stage: Stage, mode: str, afar: bool) -> None:
    assert await stage.let_in(mode, Lie(afar=afar))


@pytest.mark.parametrize("mode", FOR_OUR_CLIENT)
async def test_whoever_is_ours_may_stand_beside_us_as_audience(stage: Stage, mode: str) -> None:
    for audience in (["itb-web"], ["itb-web", "itb-api"], ["itb-app", "itb-web"]):
        assert await stage.let_in(mode, Lie(claims={"aud": audience, "azp": "itb-web"}))


@pytest.mark.parametrize(("mode", "lie"), CELLS)
async def test_a_lie_lets_nobody_in(stage: Stage, mode: str, lie: str) -> None:
    assert not await stage.let_in(mode, LIES[lie])


@pytest.mark.parametrize("mode", EVERY_MODE)
async def test_a_new_key_is_believed_after_a_rotation(stage: Stage, mode: str) -> None:
    assert await stage.let_in(mode, Lie())
    stage.provider.rotate()
    stage.clock.ahead = ASK_AGAIN_AFTER + timedelta(seconds=1)
    assert await stage.let_in(mode, Lie())


@pytest.mark.parametrize("odd", NOT_UNDERSTOOD)
@pytest.mark.parametrize("mode", EVERY_MODE)
async def test_a_key_that_is_not_understood_stands_in_no_others_way(stage: Stage, mode: str, odd: str) -> None:
    assert await stage.let_in(mode, Lie(keys=lambda published: [NOT_UNDERSTOOD[odd], *published]))


@pytest.mark.parametrize("left", NO_KEYS)
@pytest.mark.parametrize("mode", EVERY_MODE)
async def test_a_provider_without_a_usable_key_is_away_until_it_has_one(stage: Stage, mode: str, left: str) -> None:
    assert await stage.answer(mode, Lie(keys=NO_KEYS[left])) == "PROVIDER_UNAVAILABLE"
    stage.clock.ahead = REST + timedelta(seconds=1)
    assert await stage.let_in(mode, Lie())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", EVERY_MODE)
async def test_every_algorithm_is_believed_that_is_accepted(stage: Stage, mode: str, algorithm: str) -> None:
    assert await stage.let_in(mode, signed_by(algorithm))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", LOGINS)
async def test_the_access_token_is_bound_by_the_algorithms_own_hash(stage: Stage, mode: str, algorithm: str) -> None:
    for token, is_right in (("opaque", True), ("another", False)):
        digest = SIGNERS[algorithm][1](token.encode()).digest()
        half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
        assert await stage.let_in(mode, signed_by(algorithm, half)) is is_right


@pytest.mark.parametrize("mode", LOGINS)
async def test_a_state_works_once(stage: Stage, mode: str) -> None:
    back = await stage.browser.to_the_provider(**asked_in(mode))
    stage.provider.wrong = Misbehaviour(userinfo={"sub": "somebody", "pid": NUMBER})
    assert "name" in await stage.browser.come_back(back)
    assert (await stage.browser.come_back(back))["failed"] == "UNKNOWN_STATE"


@pytest.mark.parametrize("mode", LOGINS)
async def test_a_replayed_code_lets_nobody_in(stage: Stage, mode: str) -> None:
    """By a provider that redeems it again, for the login that it was given at."""
    stage.provider.wrong = Misbehaviour(userinfo={"sub": "somebody", "pid": NUMBER})
    first = await stage.browser.to_the_provider(**asked_in(mode))
    nonce = stage.provider.asked["nonce"]
    assert "name" in await stage.browser.come_back(first)
    second = await stage.browser.to_the_provider(**asked_in(mode))
    code = httpx2.URL(first).params["code"]
    stage.provider.wrong = Misbehaviour(claims={"nonce": nonce}, userinfo={"sub": "somebody", "pid": NUMBER})
    replayed = str(httpx2.URL(second).copy_set_param("code", code))
    assert (await stage.browser.come_back(replayed))["failed"] == "NOT_BELIEVED"


@pytest.mark.parametrize("mode", LOGINS)
async def test_mixed_up_states_let_nobody_in(stage: Stage, mode: str) -> None:
    """The answer of one tab with the state of another."""
    stage.provider.wrong = Misbehaviour(userinfo={"sub": "somebody", "pid": NUMBER})
    first = await stage.browser.to_the_provider(**asked_in(mode))
    second = await stage.browser.to_the_provider(**asked_in(mode))
    code = httpx2.URL(second).params["code"]
    mixed = str(httpx2.URL(first).copy_set_param("code", code))
    assert (await stage.browser.come_back(mixed))["failed"] == "NOT_BELIEVED"
    assert "name" in await stage.browser.come_back(second)


async def test_userinfo_says_nothing_of_the_login(stage: Stage) -> None:
    """It is not signed to us: how fresh and how sure a login is stands in the ID token, or nowhere."""
    stage.provider.wrong = Misbehaviour(claims={"auth_time": None}, userinfo={"sub": "somebody", "pid": NUMBER})
    stage.provider.wrong.userinfo |= {"auth_time": int(time.time()), "acr": "high", "sid": "of-another"}
    client = StrictClient(stage.near, LoginAttempts(stage.clock), stage.clock)
    told: Any = {"access_token": "opaque", "token_type": "Bearer"}
    claims = await client._with_userinfo(told, {"sub": "somebody"})
    assert claims == {"sub": "somebody", "pid": NUMBER}
