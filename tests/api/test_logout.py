"""Signing out: in a browser, at its provider, everywhere, and because a provider says so."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import text

from integrations.oidc.logout import EVENT
from integrations.sandbox.identity import IdentityProvider, create_identity_provider
from tests.api.test_login import HOME, begin, house, log_in, name_of, names_behind
from tests.databases import raw
from tests.living import BY_SCRIPT, OTHER, Client, Town, sign_in
from tests.oidc.hostile import signed_with_the_public_key, unsigned
from tests.oidc.serving import MovableClock, served, tokens_of

SIGN_OUT = "mutation($everywhere: Boolean) { signOut(input: {everywhere: $everywhere}) { errors { code } } }"
WHO = "{ viewer { patient { name } } }"
TOLD = "/logout/backchannel/nordhelse"


@pytest.fixture(params=[True, False], ids=["lean", "full"])
def lean(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Provider:
    """An identity provider of the test's own, whose key the test may use."""

    def __init__(self, issuer: str, known: IdentityProvider) -> None:
        self.issuer, self.keys, self._known = issuer, known.keys, known

    def under_way(self) -> list[str]:
        """The `sid` of each login whose code is still to be redeemed."""
        return [grant.session for grant in self._known._grants.values()]

    def logout_token(self, typ: str = "logout+jwt", **changes: Any) -> str:
        return self.keys.sign(typ, self.claims(**changes))

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        about = {"iss": self.issuer, "aud": "itb-web", "jti": uuid4().hex, "events": {EVENT: {}}}
        claims = {**about, "iat": now, "exp": now + 120, **changes}
        return {name: value for name, value in claims.items() if value is not None}


@pytest.fixture
def provider() -> Iterator[Provider]:
    app = create_identity_provider(lean_id_token=False)
    with served(app) as issuer:
        yield Provider(issuer, app.state.provider)


async def leave(client: Client, to: str = HOME, method: str = "GET", **headers: str) -> httpx2.Response:
    return await client.http.request(method, "/logout", params={"returnTo": to}, headers=headers)


def cookie_is_cleared(answer: httpx2.Response) -> bool:
    return any(c.startswith('sid="";') and "Max-Age=0" in c for c in answer.headers.get_list("set-cookie"))


async def audited(database: str) -> list[tuple[str, str, str | None, Any]]:
    wanted = "SELECT action, actor_kind, actor_id, details FROM audit WHERE action = 'patient.sign_out' ORDER BY at"
    async with raw(database) as connection:
        return [(row[0], row[1], row[2], json.loads(row[3])) for row in await connection.execute(text(wanted))]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_browser_signs_out_here_and_at_its_provider(
    town: Town, filled_url: str, lean: bool, method: str
) -> None:
    app = create_identity_provider(lean_id_token=lean)
    with served(app) as issuer:
        async with house(town, filled_url, oidc_issuer=issuer) as (client, _):
            secret = (await log_in(client)).cookies["sid"]
            answer = await leave(client, f"{HOME}?step=2", method)
            assert cookie_is_cleared(answer)
            assert await names_behind(client, secret) == [None]
            async with httpx2.AsyncClient() as web:
                back = await to_the_provider(web, answer, issuer, is_personal=not lean)
            assert len(app.state.provider._ended) == 1
            home = await client.http.get(back.headers["location"])
            assert (home.status_code, home.headers["location"]) == (303, f"{HOME}?step=2")
        [(_, kind, who, details)] = await audited(filled_url)
        assert (kind, bool(who), details) == ("PATIENT", True, {"where": "browser"})


async def to_the_provider(
    web: httpx2.AsyncClient, answer: httpx2.Response, issuer: str, *, is_personal: bool
) -> httpx2.Response:
    """A hint that tells of the person goes in a form's body, any other in the address."""
    if not is_personal:
        assert answer.headers["location"].startswith(f"{issuer}/end_session?")
        return await web.get(answer.headers["location"])
    assert "location" not in answer.headers and answer.headers["cache-control"] == "no-store"
    fields = dict(part.split('" value="') for part in answer.text.split('name="')[1:])
    given = {name: unescape(value.partition('"')[0]) for name, value in fields.items()}
    assert given["id_token_hint"].count(".") == 2
    return await web.post(f"{issuer}/end_session", data=given)


async def test_who_is_signed_in_nowhere_is_sent_on(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        answer = await leave(client)
        assert (answer.status_code, answer.headers["location"]) == (303, HOME)


@pytest.mark.parametrize("named", ["", f"&tenant={OTHER}"])
@pytest.mark.parametrize("host", ["127.0.0.1", "api.example"])
async def test_whoever_is_signed_in_somewhere_at_a_host_leaves_there(
    town: Town, sqlite_filled_url: str, named: str, host: str
) -> None:
    """A link cannot name a tenant by a header, and it need not: the session says whose it is."""
    async with house(town, sqlite_filled_url) as (client, _):
        secret = (await log_in(client)).cookies["sid"]
        client.http.cookies.clear()
        headers = {"Cookie": f"sid={secret}", "Host": host}
        answer = await client.http.get(f"/logout?returnTo={HOME}{named}", headers=headers)
        assert cookie_is_cleared(answer) and town.issuer in answer.text  # goes on to the provider
        assert await names_behind(client, secret) == [None]


async def test_nobody_leaves_one_tenant_at_the_host_of_another(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        secret = (await log_in(client)).cookies["sid"]
        client.http.cookies.clear()
        headers = {"Cookie": f"sid={secret}", "Host": "annan.example"}
        answer = await client.http.get("/logout", params={"returnTo": HOME}, headers=headers)
        assert answer.status_code == 403 and "set-cookie" not in answer.headers
        assert await names_behind(client, secret) == ["Kari Testesen"]


async def test_a_provider_that_is_gone_keeps_nobody_signed_in(town: Town, sqlite_filled_url: str) -> None:
    with served(create_identity_provider()) as issuer:
        async with house(town, sqlite_filled_url, oidc_issuer=issuer) as (client, _):
            secret = (await log_in(client)).cookies["sid"]
    async with house(town, sqlite_filled_url, oidc_issuer=issuer) as (client, _):
        client.http.cookies.set("sid", secret, domain="127.0.0.1")
        answer = await leave(client)
        assert (answer.status_code, answer.headers["location"]) == (303, HOME)
        assert await names_behind(client, secret) == [None]


async def test_another_site_signs_nobody_out(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        await log_in(client)
        answer = await leave(client, **{"Sec-Fetch-Site": "cross-site"})
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
        assert await name_of(client) == "Kari Testesen"
        assert (await leave(client, **{"Sec-Fetch-Site": "same-site"})).status_code in (200, 303)


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example", ""])
async def test_signing_out_ends_nowhere_else(town: Town, sqlite_filled_url: str, to: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        assert (await leave(client, to)).status_code == 400
        for state in ("", "x", "bm8"):
            answer = await client.http.get("/logout/done", params={"state": state})
            assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_sign_out_ends_this_browsers_session_alone(town: Town, filled_url: str) -> None:
    async with house(town, filled_url) as (client, _):
        first = (await log_in(client)).cookies["sid"]
        client.http.cookies.clear()
        second = (await log_in(client)).cookies["sid"]
        answer = await client.http.post("/graphql", json={"query": SIGN_OUT}, headers=BY_SCRIPT)
        assert answer.json()["data"]["signOut"] == {"errors": []}
        assert cookie_is_cleared(answer)
        assert await names_behind(client, first, second) == ["Kari Testesen", None]
        assert (await client.raw(SIGN_OUT))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_sign_out_everywhere_ends_sessions_and_what_apps_were_given(
    town: Town, filled_url: str, clock: MovableClock
) -> None:
    async with house(town, filled_url) as (client, _):
        token, other = await sign_in(town, "kari"), await sign_in(town, "ola")
        assert (await client(WHO, token))["viewer"]
        secrets = []
        for _ in range(2):
            secrets.append((await log_in(client)).cookies["sid"])
            client.http.cookies.clear()
        await log_in(client)
        clock.ahead = timedelta(seconds=5)
        assert (await client(SIGN_OUT, everywhere=True))["signOut"] == {"errors": []}
        assert await names_behind(client, *secrets) == [None, None]
        refused = (await client.raw(WHO, token))["errors"][0]
        assert refused["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await client(WHO, other))["viewer"]["patient"]["name"] == "Ola Prøvemann"
        clock.ahead = timedelta(seconds=-5)
    [(_, kind, _, details)] = await audited(filled_url)
    assert (kind, details) == ("PATIENT", {"where": "everywhere"})


async def test_a_login_after_signing_out_everywhere_counts(
    town: Town, sqlite_filled_url: str, clock: MovableClock
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        clock.ahead = timedelta(seconds=-30)  # the sign-out lies before the next login
        await client(SIGN_OUT, await sign_in(town, "kari"), everywhere=True)
        assert (await client(WHO, await sign_in(town, "kari")))["viewer"]["patient"]["name"] == "Kari Testesen"


async def test_nothing_of_the_login_can_be_read_in_the_database(town: Town, filled_url: str) -> None:
    async with house(town, filled_url) as (client, _):
        secret = (await log_in(client)).cookies["sid"]
    async with raw(filled_url) as connection:
        [row] = (await connection.execute(text("SELECT * FROM session"))).all()
    kept = [bytes(value) for value in row if isinstance(value, bytes | memoryview)]
    assert len(kept) == 3 and len(max(kept, key=len)) > 500
    for part in (secret, "eyJ", "Kari", town.issuer, "bankid"):
        assert not any(part.encode() in value for value in kept) and part not in str(row)


async def told(client: Client, token: str, path: str = TOLD) -> int:
    return (await client.http.post(path, data={"logout_token": token})).status_code


async def session_of(client: Client, login: str = "kari") -> str:
    """A new browser's session, by its secret."""
    secret = (await log_in(client, login)).cookies["sid"]
    client.http.cookies.clear()
    return secret


async def subject_of(provider: Provider, login: str) -> str:
    return str(provider.keys.claims((await tokens_of(provider.issuer, login))["access_token"])["sub"])


async def test_a_provider_ends_the_sessions_of_a_subject(town: Town, filled_url: str, provider: Provider) -> None:
    async with house(town, filled_url, oidc_issuer=provider.issuer) as (client, _):
        kari, also, ola = [await session_of(client, login) for login in ("kari", "kari", "ola")]
        token = provider.logout_token(sub=await subject_of(provider, "kari"))
        assert await told(client, token) == 200
        assert await names_behind(client, kari, also, ola) == [None, None, "Ola Prøvemann"]
        again = (await log_in(client)).cookies["sid"]
        assert await told(client, token) == 400  # it was here before
        assert await names_behind(client, again) == ["Kari Testesen"]
    [(_, kind, who, details)] = await audited(filled_url)
    assert (kind, who, details) == ("SYSTEM", None, {"where": "provider"})


async def test_a_provider_ends_the_session_that_it_names(
    town: Town, sqlite_filled_url: str, provider: Provider
) -> None:
    async with house(town, sqlite_filled_url, oidc_issuer=provider.issuer) as (client, _):
        kari, back = await session_of(client), await begin(client, "kari")
        [sid] = provider.under_way()
        also = (await client.http.get(back.headers["location"])).cookies["sid"]
        client.http.cookies.clear()
        subject = await subject_of(provider, "kari")
        assert await told(client, provider.logout_token(sub=subject, sid="another")) == 200
        assert await names_behind(client, kari, also) == ["Kari Testesen"] * 2
        assert await told(client, provider.logout_token(sub=subject, sid=sid)) == 200
        assert await names_behind(client, kari, also) == ["Kari Testesen", None]


async def test_a_provider_may_tell_of_many_logouts_at_once(
    town: Town, sqlite_filled_url: str, provider: Provider
) -> None:
    """All its tokens come from one address: only what is refused is counted."""
    changes = {"oidc_issuer": provider.issuer, "failed_logins_per_address": 1}
    async with house(town, sqlite_filled_url, **changes) as (client, _):
        assert [await told(client, provider.logout_token(sub=f"{n}")) for n in range(4)] == [200] * 4
        assert await told(client, provider.logout_token(sub="5", aud="itb-app")) == 400
        assert await told(client, provider.logout_token(sub="6")) == 429


LIES: dict[str, dict[str, Any]] = {
    "no event": {"events": None},
    "another event": {"events": {"http://schemas.openid.net/event/other": {}}},
    "an event that is no object": {"events": {EVENT: True}},
    "events in a list": {"events": [EVENT]},
    "with a nonce": {"nonce": "n"},
    "for another client": {"aud": "itb-app"},
    "for nobody": {"aud": None},
    "from another issuer": {"iss": "https://evil.example"},
    "about nobody": {"sub": None},
    "about a number": {"sub": 7},
    "a sid that is no text": {"sid": ["s"]},
    "without a jti": {"jti": None},
    "a jti that is no text": {"jti": 7},
    "without iat": {"iat": None},
    "issued in the future": {"iat": int(time.time()) + 86_400},
    "expired": {"exp": int(time.time()) - 61},
    "never expires": {"exp": None},
    "good for a day": {"exp": int(time.time()) + 86_400},
}


@pytest.fixture
async def signed_in_at(town: Town, sqlite_filled_url: str, provider: Provider) -> Any:
    async with house(town, sqlite_filled_url, oidc_issuer=provider.issuer) as (client, _):
        yield client, await session_of(client), await subject_of(provider, "kari")


async def test_a_logout_token_that_lies_ends_nothing(signed_in_at: Any, provider: Provider) -> None:
    client, secret, subject = signed_in_at
    for lie, wrong in LIES.items():
        assert await told(client, provider.logout_token(**{"sub": subject, **wrong})) == 400, lie
    key, claims = provider.keys.current, provider.claims(sub=subject)
    forged = [
        unsigned(claims, "logout+jwt"),
        signed_with_the_public_key(claims, key, "logout+jwt"),
        *(provider.logout_token(typ, sub=subject) for typ in ("JWT", "at+jwt", "")),
        "rubbish",
        "",
        "x" * 100_000,
    ]
    for token in forged:
        assert await told(client, token) == 400, token[:60]
    assert await names_behind(client, secret) == ["Kari Testesen"]
    assert await told(client, provider.logout_token(sub=subject), "/logout/backchannel/annan") == 200  # its own
    assert await names_behind(client, secret) == ["Kari Testesen"]
    assert await told(client, provider.logout_token(sub=subject), "/logout/backchannel/nobody") == 400
    assert await told(client, provider.logout_token(sub=subject)) == 200
    assert await names_behind(client, secret) == [None]
