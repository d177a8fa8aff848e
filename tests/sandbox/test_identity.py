"""The demo provider keeps to OAuth 2.1 and OpenID Connect."""

import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.routing import Mount

from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_clients import APP, web_client
from integrations.sandbox.people import PEOPLE
from tests.oidc.serving import CALLBACK, MovableClock, authorization, new_verifier, query_of, redeem, served, tokens_of

BY_LOGIN = {person.login: person for person in PEOPLE}
WEB = {"client_id": "itb-web", "redirect_uri": "https://book.example/auth/callback/no"}
SECRET = "demo-only-not-a-secret"


@pytest.fixture(scope="module")
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(scope="module")
def issuer(clock: MovableClock) -> Iterator[str]:
    clients = (APP, web_client("https://book.example/auth/"))
    with served(create_identity_provider(clients=clients, now=lambda: clock.now().timestamp())) as url:
        yield url


@pytest.fixture
async def app(issuer: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=issuer) as http:
        yield http


async def verified(app: httpx2.AsyncClient, token: str) -> jwt.Token:
    keys = KeySet.import_key_set((await app.get("/jwks")).json())
    return jwt.decode(token, keys, algorithms=["ES256"])


async def code_for(app: httpx2.AsyncClient, **changes: Any) -> tuple[str, str]:
    verifier, challenge = new_verifier()
    back = await app.get("/authorize", params=authorization(challenge, **changes))
    return query_of(back)["code"], verifier


async def test_discovery_names_the_address_it_was_asked_at(app: httpx2.AsyncClient, issuer: str) -> None:
    document = (await app.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == issuer
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["code_challenge_methods_supported"] == ["S256"]
    published = (await app.get(document["jwks_uri"])).json()["keys"]
    assert all("d" not in key and key["kid"] for key in published)


async def test_mounted_below_a_path_the_issuer_carries_it() -> None:
    with served(Starlette(routes=[Mount("/idp", create_identity_provider(people=PEOPLE))])) as url:
        assert "id_token" in await tokens_of(f"{url}/idp")
        async with httpx2.AsyncClient() as http:
            document = (await http.get(f"{url}/idp/.well-known/openid-configuration")).json()
        assert document["token_endpoint"] == f"{url}/idp/token"


async def test_a_login_hint_signs_in_without_a_page_and_answers_with_state_and_iss(
    app: httpx2.AsyncClient, issuer: str
) -> None:
    _, challenge = new_verifier()
    back = await app.get("/authorize", params=authorization(challenge, prompt="login", acr_values="x", kc_idp_hint="y"))
    assert back.status_code == 302 and back.headers["location"].startswith(f"{CALLBACK}?")
    assert query_of(back).items() >= {"state": "s1", "iss": issuer}.items()


async def test_without_a_hint_a_page_lists_everybody_to_choose_from(app: httpx2.AsyncClient) -> None:
    _, challenge = new_verifier()
    page = await app.get("/authorize", params=authorization(challenge, login_hint=None, state='"><script>'))
    assert page.status_code == 200
    assert all(f'value="{person.login}"' in page.text for person in PEOPLE)
    assert "crowd-" not in page.text and "<script>" not in page.text


@pytest.mark.parametrize(("login", "claim"), [("kari", "pid"), ("astrid", "personnummer"), ("turist", None)])
async def test_tokens_carry_the_person(app: httpx2.AsyncClient, issuer: str, login: str, claim: str | None) -> None:
    tokens = await tokens_of(issuer, login)
    proof = (await verified(app, tokens["id_token"])).claims
    access = await verified(app, tokens["access_token"])
    person = BY_LOGIN[login]
    assert (proof["iss"], proof["aud"], proof["nonce"]) == (issuer, "itb-app", "n1")
    assert (access.header["typ"], access.claims["aud"], access.claims["client_id"]) == ("at+jwt", "itb-api", "itb-app")
    for claims in (proof, access.claims):
        assert (claims["name"], claims["birthdate"]) == (person.name, person.birth_date.isoformat())
        numbers = {name: claims[name] for name in ("pid", "personnummer") if name in claims}
        assert numbers == ({claim: person.number} if claim else {})
        assert {"acr", "auth_time", "email", "locale", "phone_number"} <= claims.keys()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "profile"}, "invalid_scope"),
    ],
)
async def test_a_faulty_request_goes_back_with_its_error(
    app: httpx2.AsyncClient, changes: dict[str, Any], error: str
) -> None:
    _, challenge = new_verifier()
    back = await app.get("/authorize", params=authorization(challenge, **changes))
    assert (query_of(back)["error"], query_of(back)["state"]) == (error, "s1")
    assert "code" not in query_of(back)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"redirect_uri": None},
        {"redirect_uri": "http://evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:80@evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1.evil.example/callback"},
        {"redirect_uri": "https://127.0.0.1:4711/callback"},
        {"redirect_uri": "http://127.0.0.1:4711/elsewhere"},
        {"redirect_uri": "http://127.0.0.1:4711/callback#code"},
        {"redirect_uri": "http://127.0.0.1:port/callback"},
        {**WEB, "redirect_uri": "https://book.example/other"},
        {**WEB, "redirect_uri": "https://book.example/auth/../other"},
        {**WEB, "redirect_uri": "https://book.example:444/auth/callback"},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_the_clients(
    app: httpx2.AsyncClient, changes: dict[str, Any]
) -> None:
    _, challenge = new_verifier()
    page = await app.get("/authorize", params=authorization(challenge, **changes))
    assert page.status_code == 400 and "location" not in page.headers


@pytest.mark.parametrize("address", ["http://localhost:9/callback", "http://127.0.0.1/callback"])
async def test_the_app_may_listen_on_any_loopback_port(app: httpx2.AsyncClient, address: str) -> None:
    _, challenge = new_verifier()
    back = await app.get("/authorize", params=authorization(challenge, redirect_uri=address))
    assert back.status_code == 302 and "code" in query_of(back)


async def test_a_code_works_once(app: httpx2.AsyncClient) -> None:
    code, verifier = await code_for(app)
    assert (await app.post("/token", data=redeem(code, verifier))).status_code == 200
    again = await app.post("/token", data=redeem(code, verifier))
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


async def test_a_code_is_worth_nothing_after_a_minute(app: httpx2.AsyncClient, clock: MovableClock) -> None:
    code, verifier = await code_for(app)
    before = clock.ahead
    clock.ahead += type(before)(seconds=61)
    answer = await app.post("/token", data=redeem(code, verifier))
    clock.ahead = before
    assert answer.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_grant"),
        ({"redirect_uri": "http://127.0.0.1:1/callback"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": "itb-web", "client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "itb-web", "client_secret": SECRET}, "invalid_grant"),
    ],
)
async def test_tokens_need_the_right_proof(app: httpx2.AsyncClient, changes: dict[str, str], error: str) -> None:
    code, verifier = await code_for(app)
    answer = await app.post("/token", data=redeem(code, verifier, **changes))
    assert answer.json()["error"] == error
    assert answer.status_code == (401 if error == "invalid_client" else 400)


async def test_the_web_client_proves_itself_with_its_secret_in_either_way(app: httpx2.AsyncClient) -> None:
    code, verifier = await code_for(app, **WEB)
    form = redeem(code, verifier, **WEB)
    assert (await app.post("/token", data={**form, "client_secret": SECRET})).status_code == 200
    code, verifier = await code_for(app, **WEB)
    answer = await app.post("/token", data=redeem(code, verifier, **WEB), auth=("itb-web", SECRET))
    assert answer.status_code == 200


async def test_userinfo_takes_a_live_access_token_and_nothing_else(app: httpx2.AsyncClient, issuer: str) -> None:
    tokens = await tokens_of(issuer, "astrid")

    async def ask(token: str) -> httpx2.Response:
        return await app.get("/userinfo", headers={"Authorization": f"Bearer {token}"})

    assert (await ask(tokens["access_token"])).json()["personnummer"] == BY_LOGIN["astrid"].number
    assert [(await ask(token)).status_code for token in (tokens["id_token"], "rubbish")] == [401, 401]
    out = await app.get("/end_session", params={"id_token_hint": tokens["id_token"]})
    assert out.status_code == 200
    assert (await ask(tokens["access_token"])).status_code == 401


async def test_signing_out_goes_back_only_where_the_client_may(app: httpx2.AsyncClient) -> None:
    asked = {"client_id": "itb-app", "post_logout_redirect_uri": CALLBACK, "state": "bye"}
    assert (await app.get("/end_session", params=asked)).headers["location"] == f"{CALLBACK}?state=bye"
    elsewhere = await app.get("/end_session", params={**asked, "post_logout_redirect_uri": "https://evil.example/"})
    assert elsewhere.status_code == 200


async def test_tokens_outlive_a_restart_because_the_key_is_kept(tmp_path: Path) -> None:
    key_file = tmp_path / "keys" / "identity.pem"
    with served(create_identity_provider(issuer="http://127.0.0.1:1", key_file=key_file, people=PEOPLE)) as url:
        token = (await tokens_of(url))["access_token"]
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == ["identity.pem"]
    with served(create_identity_provider(issuer="http://127.0.0.1:1", key_file=key_file, people=PEOPLE)) as url:
        async with httpx2.AsyncClient(base_url=url) as http:
            assert (await verified(http, token)).claims["name"] == "Kari Testesen"


async def test_everybody_in_the_crowd_can_log_in(issuer: str, app: httpx2.AsyncClient) -> None:
    claims = (await verified(app, (await tokens_of(issuer, "crowd-321"))["access_token"])).claims
    assert len(claims["personnummer"]) == 12


async def test_a_lean_id_token_leaves_the_person_to_userinfo() -> None:
    with served(create_identity_provider(people=PEOPLE, lean_id_token=True)) as url:
        tokens = await tokens_of(url)
        async with httpx2.AsyncClient(base_url=url) as http:
            proof = (await verified(http, tokens["id_token"])).claims
            bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
            person = (await http.get("/userinfo", headers=bearer)).json()
    assert "pid" not in proof and person["pid"] == BY_LOGIN["kari"].number
    assert proof["sub"] == person["sub"]
