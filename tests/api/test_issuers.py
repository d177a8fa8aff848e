"""Each tenant believes its own identity providers, by its own settings, and nobody else's."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from api.bootstrap import open_house
from domain.client import Scope
from domain.tenant import IdentityProvider
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.identity_clients import APP, Client, web_client
from integrations.sandbox.people import PEOPLE
from tests.agencies import minted
from tests.api.test_login import HOME, house, log_in, name_of
from tests.living import OTHER, Town, fill, seeds, sign_in
from tests.oidc.serving import query_of, served, tokens_of
from tests.system.journey import Journey, codes

VIEWER = "{ viewer { patient { name maskedNationalNumber } } }"
SECRET = "another-throw-away-secret"
BROKER = Client(client_id="nordhelse-web", secret=SECRET, redirect_prefixes=("http://127.0.0.1/",))
KARI = next(person for person in PEOPLE if person.login == "kari")


class Broker:
    """Another identity provider, and how many times it was asked for anything."""

    def __init__(self, issuer: str, app: Any) -> None:
        self.issuer, self.keys = issuer, app.state.provider.keys

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        about = {"iss": self.issuer, "aud": "nordhelse-api", "sub": "kari-there", "name": "Kari Testesen"}
        claims = {**about, "iat": now, "exp": now + 600, "auth_time": now, "client_id": "app", **changes}
        return str(self.keys.sign("at+jwt", {name: value for name, value in claims.items() if value is not None}))


@pytest.fixture
def broker() -> Iterator[Broker]:
    app = create_identity_provider(clients=(APP, web_client("http://127.0.0.1/"), BROKER))
    with served(app) as issuer:
        yield Broker(issuer, app)


def at(broker: Broker, **more: Any) -> IdentityProvider:
    own = {"client_id": "nordhelse-web", "client_secret_variable": "NORDHELSE_SECRET", "audience": "nordhelse-api"}
    own |= {"app_clients": ("app",)}
    return IdentityProvider(id="bankid-no", name={"en": "Broker"}, issuer=broker.issuer, **{**own, **more})


async def configure(town: Town, url: str, *providers: IdentityProvider, other: bool = False) -> None:
    """The providers of the first tenant, or of the other."""
    seed = seeds(town)[other]
    await fill(town, url, replace(seed, tenant=replace(seed.tenant, identity_providers=providers)))


async def code_of(client: Any, token: str, **headers: str) -> str | None:
    """Of a refusal before anything is done; None when the token is believed."""
    told = {"Authorization": f"Bearer {token}", **headers}
    answer = await client.http.post("/graphql", json={"query": VIEWER}, headers=told)
    body = answer.json()
    return body["errors"][0]["extensions"]["code"] if "errors" in body else None


async def test_a_browser_logs_in_by_the_tenants_own_client_and_secret(
    town: Town, filled_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORDHELSE_SECRET", SECRET)
    await configure(town, filled_url, at(broker, hint="bankid-no", acr_values="urn:level:high"))
    async with house(town, filled_url) as (client, _):
        await log_in(client)
        assert await name_of(client) == "Kari Testesen"
        asked = query_of(await client.http.get(f"/login/bankid-no?returnTo={HOME}"))
        assert (asked["client_id"], asked["kc_idp_hint"]) == ("nordhelse-web", "bankid-no")
        assert asked["acr_values"] == "urn:level:high"


@pytest.mark.parametrize("secret", [None, "wrong"])
async def test_a_secret_that_is_missing_or_wrong_is_a_failed_login(
    town: Town, sqlite_filled_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch, secret: str | None
) -> None:
    monkeypatch.delenv("NORDHELSE_SECRET", raising=False)
    if secret:
        monkeypatch.setenv("NORDHELSE_SECRET", secret)
    await configure(town, sqlite_filled_url, at(broker))
    async with house(town, sqlite_filled_url) as (client, _):
        answer = await client.http.get(f"/login/bankid-no?returnTo={HOME}&login_hint=kari")
        if secret:
            answer = await log_in(client)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?login=failed")


async def test_a_provider_that_was_added_later_can_be_signed_in_at(
    town: Town, sqlite_filled_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORDHELSE_SECRET", SECRET)
    monkeypatch.setattr("api.tenants.KEPT_SECONDS", 0.0)
    async with house(town, sqlite_filled_url) as (client, _):
        assert (await client.http.get(f"/login/late?returnTo={HOME}")).status_code == 404
        await configure(town, sqlite_filled_url, replace(at(broker), id="late"))
        began = await client.http.get(f"/login/late?returnTo={HOME}&login_hint=kari")
        assert began.headers["location"].startswith(broker.issuer)


async def test_without_a_national_number_one_signs_in_and_cannot_book(
    town: Town, sqlite_filled_url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that keeps the number to itself: none of the claims that it is looked for in is there."""
    monkeypatch.setenv("NORDHELSE_SECRET", SECRET)
    await configure(town, sqlite_filled_url, at(broker, national_id_claims=(("not_given", "NO"),)))
    async with house(town, sqlite_filled_url) as (client, _):
        await log_in(client)
        viewer = (await client(VIEWER))["viewer"]
        assert viewer["patient"] == {"name": "Kari Testesen", "maskedNationalNumber": None}
        journey = Journey(client, "bryggen-legesenter")
        held = (await journey.hold((await journey.slots())[0]["id"]))["hold"]
        assert "NATIONAL_ID_REQUIRED" in codes(await journey.confirm(held["token"]))


@pytest.mark.parametrize(("provider", "login"), [("vipps", "kari"), ("bankid-se", "astrid"), ("bankid-no", "ola")])
async def test_each_method_of_a_broker_tells_the_number_by_its_own_name(
    town: Town, sqlite_filled_url: str, provider: str, login: str
) -> None:
    """Vipps says `nin`, Swedish BankID `ssn`, Norwegian BankID `pid`."""
    person = next(person for person in PEOPLE if person.login == login)
    assert person.number
    async with house(town, sqlite_filled_url) as (client, _):
        answer = await client.http.get(f"/login/{provider}?returnTo={HOME}&login_hint={login}")
        async with type(client.http)() as web:
            back = await web.get(answer.headers["location"])
        await client.http.get(back.headers["location"])
        patient = (await client(VIEWER))["viewer"]["patient"]
        assert patient["maskedNationalNumber"].endswith(person.number[-2:])


async def test_a_token_is_read_by_the_issuer_that_made_it(town: Town, filled_url: str, broker: Broker) -> None:
    """Two issuers side by side at one tenant: each one's tokens go by its own audience and claims."""
    first = seeds(town)[0].tenant.identity_providers
    theirs = at(broker, national_id_claims=(("socialno", "NO"),))
    await configure(town, filled_url, *first, replace(theirs, id="broker"))
    async with house(town, filled_url) as (client, _):
        number = str(KARI.number)
        told = (await client(VIEWER, broker.token(socialno=number)))["viewer"]["patient"]
        assert told["maskedNationalNumber"].endswith(number[-2:])
        assert await code_of(client, await sign_in(town, "kari")) is None
        assert await code_of(client, broker.token(aud="itb-api")) == "UNAUTHENTICATED"
        assert await code_of(client, broker.token(iss=town.issuer)) == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("given_to", "alone"),
    [
        ({"client_id": "app"}, None),
        ({"client_id": "nordhelse-web"}, None),
        ({"client_id": None, "azp": "app"}, None),
        ({"client_id": "fysio-app"}, "UNAUTHENTICATED"),
        ({"client_id": None, "azp": "fysio-app"}, "UNAUTHENTICATED"),
        ({"client_id": "fysio-app", "azp": "app"}, "UNAUTHENTICATED"),
        ({"client_id": None}, "UNAUTHENTICATED"),
        ({"client_id": ["app"]}, "UNAUTHENTICATED"),
        ({"client_id": ""}, "UNAUTHENTICATED"),
    ],
)
async def test_without_a_key_only_tokens_of_our_own_apps_count(
    town: Town, sqlite_filled_url: str, broker: Broker, given_to: dict[str, Any], alone: str | None
) -> None:
    """Else an agency's app could leave its key out, and be held to no scope."""
    await configure(town, sqlite_filled_url, at(broker))
    key = await minted(town.settings(sqlite_filled_url), scopes=frozenset({Scope.PATIENT_READ}))
    async with house(town, sqlite_filled_url) as (client, _):
        token = broker.token(**given_to)
        assert await code_of(client, token) == alone
        assert await code_of(client, token, **{"X-ApiKey": key.text}) is None


async def test_one_tenants_token_is_refused_at_another(town: Town, filled_url: str) -> None:
    """They share the provider; what tells their tokens apart is the audience."""
    async with house(town, filled_url) as (client, _):
        ours, theirs = await sign_in(town, "kari"), await sign_in(town, "kari", OTHER)
        for named in ({"X-Tenant": OTHER}, {"Host": "annan.example"}):
            assert await code_of(client, ours, **named) == "UNAUTHENTICATED"
            assert await code_of(client, theirs, **named) is None
        assert await code_of(client, theirs) == "UNAUTHENTICATED"
        assert await code_of(client, ours) is None
        assert await code_of(client, ours, **{"Host": "annan.example", "X-Tenant": "nordhelse"}) == "FORBIDDEN"
        assert await code_of(client, ours, **{"Host": "nobody.example", "X-Tenant": "nordhelse"}) is None


async def test_an_issuer_of_another_tenant_is_asked_for_nothing(town: Town, sqlite_filled_url: str) -> None:
    """Its keys are not even fetched: the address is one that nobody answers at."""
    gone = IdentityProvider(id="gone", name={}, issuer="http://127.0.0.1:9", audience="gone-api", client_id="c")
    await configure(town, sqlite_filled_url, gone, other=True)
    now = int(time.time())
    async with house(town, sqlite_filled_url) as (client, _):
        forged = create_identity_provider().state.provider.keys.sign(
            "at+jwt", {"iss": gone.issuer, "aud": "itb-api", "sub": "s", "iat": now, "exp": now + 60}
        )
        assert await code_of(client, forged) == "UNAUTHENTICATED"
        assert await code_of(client, forged, **{"X-Tenant": OTHER}) == "UPSTREAM_UNAVAILABLE"


async def test_tenants_that_share_an_audience_need_a_claim_that_tells_them_apart(
    town: Town, sqlite_filled_url: str, broker: Broker
) -> None:
    for other in (False, True):
        await configure(town, sqlite_filled_url, at(broker), other=other)
    async with house(town, sqlite_filled_url) as (client, _):
        assert await code_of(client, broker.token()) == "UNAUTHENTICATED"
        for tenant, elsewhere in (("nordhelse", OTHER), (OTHER, "nordhelse")):
            token = broker.token(tenant=tenant)
            assert await code_of(client, token, **{"X-Tenant": tenant}) is None
            assert await code_of(client, token, **{"X-Tenant": elsewhere}) == "UNAUTHENTICATED"


async def test_no_secret_lies_in_the_database(town: Town, sqlite_filled_url: str, broker: Broker) -> None:
    await configure(town, sqlite_filled_url, at(broker))
    home = open_house(town.settings(sqlite_filled_url))
    tenant = await home.tenants.of(host=None, slug="nordhelse")
    await home.close()
    assert tenant.identity_providers[0].client_secret_variable == "NORDHELSE_SECRET"
    assert SECRET not in repr(tenant)


async def test_providers_that_would_not_be_safe_are_left_out(town: Town, sqlite_filled_url: str) -> None:
    """Plain http outside this machine, and an audience that would let ID tokens pass for access tokens."""
    unsafe = IdentityProvider(id="bankid-no", name={}, issuer="http://login.example")
    same = IdentityProvider(id="same", name={}, issuer=town.issuer, client_id="itb-api")
    await configure(town, sqlite_filled_url, unsafe, same)
    async with house(town, sqlite_filled_url) as (client, _):
        for id in ("bankid-no", "same"):
            answer = await client.http.get(f"/login/{id}?returnTo={HOME}")
            assert answer.headers["location"] == f"{HOME}?login=failed"
        assert await code_of(client, (await tokens_of(town.issuer))["access_token"]) == "UNAUTHENTICATED"
