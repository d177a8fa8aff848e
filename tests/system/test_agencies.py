"""Agencies: what a key or system token opens at which tenant, and what it never does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from api.bootstrap import open_house
from api.settings import Settings
from domain.api_key import KeyKind, KeyText
from domain.client import SYSTEM_SCOPES, Scope
from integrations.store.tables import AUDIT
from tests.agencies import TENANT, minted, revoked
from tests.databases import raw
from tests.living import OTHER, Client, Town, in_process, sign_in
from tests.system.journey import CONFIRM, HOLD, MINE, Journey

TOKEN_PATH = f"/{TENANT}/1.0/R4/auth/system-token"
NAME = "{ tenant { slug } }"
ROUND = "{ offers(first: 1) { nodes { id clinic { name } } } }"


@dataclass
class Agency:
    """Asks with headers of its own; `settings` are the installation's."""

    http: httpx2.AsyncClient
    settings: Settings

    async def ask(self, query: str, headers: Mapping[str, str], **variables: Any) -> tuple[int, dict[str, Any]]:
        answer = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        return answer.status_code, answer.json()

    async def codes(self, query: str, headers: Mapping[str, str], **variables: Any) -> list[str]:
        _, body = await self.ask(query, headers, **variables)
        return [error["extensions"]["code"] for error in body.get("errors", ())]

    async def token(self, key: KeyText, **headers: str) -> httpx2.Response:
        return await self.http.post(TOKEN_PATH, headers={"X-ApiKey": key.text, **headers})


@asynccontextmanager
async def agency(
    town: Town, url: str, host: str = "nobody.example", **changes: Any
) -> AsyncIterator[tuple[Agency, Settings]]:
    settings = town.settings(url, **{"api_key_seconds": 0.0, **changes})
    async with in_process(settings, host) as (client, _):
        yield Agency(client.http, settings), settings


def keyed(key: KeyText, **more: str) -> dict[str, str]:
    return {"X-ApiKey": key.text, **more}


async def test_a_key_names_its_tenant_where_nothing_else_does(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        key, other = await minted(settings), await minted(settings, tenant_id=OTHER)
        assert await here.codes(NAME, {}) == ["BAD_USER_INPUT"]
        answers = [(await here.ask(NAME, keyed(each)))[1]["data"]["tenant"]["slug"] for each in (key, other)]
        assert answers == [TENANT, OTHER]
        tokens = [
            (await here.http.post(f"/{slug}/1.0/R4/auth/system-token", headers=keyed(each))).json()["access_token"]
            for slug, each in ((TENANT, key), (OTHER, other))
        ]
        for slug, token in zip((TENANT, OTHER), tokens, strict=True):
            for headers in ({"X-ApiKey": token}, {"Authorization": f"Bearer {token}"}):
                assert (await here.ask(NAME, headers))[1]["data"]["tenant"]["slug"] == slug


async def test_a_key_or_token_of_one_tenant_opens_nothing_at_another(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url, "annan.example") as (here, settings):
        key = await minted(settings)
        for headers in ({}, {"X-Tenant": OTHER}, {"X-Tenant": TENANT}):
            assert (await here.ask(NAME, keyed(key, **headers)))[0] == 403
            assert await here.codes(NAME, keyed(key, **headers)) == ["FORBIDDEN"]
    async with agency(town, sqlite_filled_url) as (here, settings):
        key = await minted(settings)
        token = (await here.token(key)).json()["access_token"]
        for headers in (keyed(key), {"X-ApiKey": token}, {"Authorization": f"Bearer {token}"}):
            assert await here.codes(NAME, {**headers, "X-Tenant": TENANT}) == []
            assert await here.codes(NAME, {**headers, "X-Tenant": OTHER}) == ["FORBIDDEN"]
            assert (
                await here.http.post(f"/graphql?tenant={OTHER}", json={"query": NAME}, headers=headers)
            ).status_code == 403


async def test_a_host_that_is_nobodys_own_serves_every_tenants_keys(town: Town, sqlite_filled_url: str) -> None:
    """Loopback serves one where none is named; a key names its own."""
    async with agency(town, sqlite_filled_url, "127.0.0.1") as (here, settings):
        key = await minted(settings, tenant_id=OTHER)
        for named in ({}, {"X-Tenant": OTHER}):
            _, body = await here.ask(NAME, keyed(key, **named))
            assert body["data"]["tenant"]["slug"] == OTHER
        assert await here.codes(NAME, keyed(key, **{"X-Tenant": TENANT})) == ["FORBIDDEN"]


async def test_a_key_that_is_sent_in_a_wrong_way_is_told_how(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        key = (await minted(settings)).text
        for text in (f'"{key}"', f"Bearer {key}", "", key[:-1]):
            _, body = await here.ask(NAME, {"X-ApiKey": text, "X-Tenant": TENANT})
            assert "typing mistake" in body["errors"][0]["message"], text
        _, body = await here.ask(NAME, {"Authorization": f"Bearer {key}", "X-Tenant": TENANT})
        assert "X-ApiKey" in body["errors"][0]["message"] and key not in str(body)


async def test_what_is_no_key_is_refused_before_anything_is_asked(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url, synthetic_people=False) as (here, settings):
        key, test = await minted(settings), await minted(settings, kind=KeyKind.TEST)
        wrong = [key.text[:-1] + ("a" if key.text[-1] != "a" else "b"), "", "nonsense", "itb_", test.text, "a.b.c"]
        for text in wrong:
            status, body = await here.ask(NAME, {"X-ApiKey": text, "X-Tenant": TENANT})
            assert (status, body["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED"), text
            assert text == "" or text not in str(body)
        await revoked(settings, key)
        assert await here.codes(NAME, keyed(key)) == ["UNAUTHENTICATED"]
        both = await minted(settings)
        token = (await here.token(both)).json()["access_token"]
        assert await here.codes(NAME, keyed(both, Authorization=f"Bearer {token}")) == ["UNAUTHENTICATED"]


async def test_a_key_is_held_to_its_scopes_on_every_way(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        everything = keyed(await minted(settings))
        offers = keyed(await minted(settings, scopes=frozenset({Scope.OFFERS})))
        _, body = await here.ask(ROUND, everything)
        [offer] = body["data"]["offers"]["nodes"]
        assert offer["clinic"]["name"]
        status, body = await here.ask(ROUND, {**offers, "Accept-Language": "sv"})
        [error] = body["errors"]
        assert (status, error["path"]) == (200, ["offers", "nodes", 0, "clinic"])
        assert error["message"] == "Du har inte tillgång till detta."
        assert error["extensions"]["scope"] == "system/HealthcareService.read"
        assert await here.codes(NAME, offers) == ["FORBIDDEN"]
        assert await here.codes("{ offers(first: 1) { nodes { duration } } }", offers) == []


async def test_what_a_key_may_not_see_is_null_by_its_id_as_if_missing(town: Town, sqlite_filled_url: str) -> None:
    find = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename } }"
    async with agency(town, sqlite_filled_url) as (here, settings):
        everything = keyed(await minted(settings))
        offers = keyed(await minted(settings, scopes=frozenset({Scope.OFFERS})))
        _, body = await here.ask("{ offers(first: 1) { nodes { id clinic { id } } } tenant { id } }", everything)
        [offer] = body["data"]["offers"]["nodes"]
        ids = [offer["id"], offer["clinic"]["id"], body["data"]["tenant"]["id"]]
        _, body = await here.ask(find, everything, ids=ids)
        assert [node["__typename"] for node in body["data"]["nodes"]] == ["Offer", "Clinic", "Tenant"]
        assert (await here.ask(find, offers, ids=ids))[1] == {"data": {"nodes": [{"__typename": "Offer"}, None, None]}}


@pytest.mark.parametrize("door", ["bearer", "cookie"])
async def test_a_patients_things_need_the_patient_and_the_scope(town: Town, sqlite_filled_url: str, door: str) -> None:
    """The patient comes by an app's token, or by the browser's session."""
    async with agency(town, sqlite_filled_url) as (here, settings):
        own = Journey(Client(here.http), "sentrum-legesenter", token=await sign_in(town, "kari"))
        system, some, visiting, all_ = [
            await minted(settings, scopes=frozenset(scopes), agency="app")
            for scopes in (SYSTEM_SCOPES, {Scope.PATIENT_READ}, {Scope.APPOINTMENT_READ}, Scope)
        ]
        patient = {"Authorization": f"Bearer {own.token}"} if door == "bearer" else await _session(town, here)
        name, visits = "{ viewer { patient { name } } }", "{ viewer { bookings { nodes { id } } } }"
        assert await here.codes(name, keyed(system, **patient)) == ["FORBIDDEN"]
        assert (await here.ask(name, keyed(some, **patient)))[1]["data"]["viewer"]["patient"]["name"] == "Kari Testesen"
        assert await here.codes(visits, keyed(some, **patient)) == ["FORBIDDEN"]
        assert await here.codes(visits, keyed(visiting, **patient)) == []
        assert await here.codes("{ viewer { id sessionExpiresAt } }", keyed(visiting, **patient)) == []
        for theirs in ("patient { maskedNationalNumber }", "patient { maskedPhone }", "consents { given }"):
            hidden = f"{{ viewer {{ {theirs} }} }}"
            status, body = await here.ask(hidden, keyed(visiting, **patient))
            assert (status, body["data"]) == (200, {"viewer": None})
            assert body["errors"][0]["extensions"]["scope"] == "patient/Patient.read"
            assert await here.codes(hidden, keyed(some, **patient)) == []
        assert await here.codes(visits, keyed(all_, **patient)) == []
        assert (await here.ask(name, keyed(all_)))[1] == {"data": {"viewer": None}}


async def _session(town: Town, here: Agency) -> dict[str, str]:
    """A browser that has signed in, put straight where a login would."""
    house = open_house(here.settings)
    tenant = await house.catalogue.tenant(slug=TENANT)
    assert tenant
    identity = await house.who_asks.bearer.identity(tenant, await sign_in(town, "kari"))
    secret, _ = await house.use.sign_in.open_session(tenant, identity, "r")
    await house.close()
    return {"Cookie": f"sid={secret}"}


async def test_a_system_token_never_reaches_a_patient_whatever_comes_along(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        key = await minted(settings, scopes=frozenset(Scope))
        issued = (await here.token(key)).json()
        assert set(issued["scope"].split()) == SYSTEM_SCOPES
        patient = {"Authorization": f"Bearer {await sign_in(town, 'kari')}"}
        session = await _session(town, here)
        mine = "{ viewer { patient { name } } }"
        for headers in (
            {"X-ApiKey": issued["access_token"], **patient},
            {"X-ApiKey": issued["access_token"], **session},
            {"Authorization": f"Bearer {issued['access_token']}", **session},
        ):
            assert await here.codes(mine, headers) == ["FORBIDDEN"]
            assert await here.codes(NAME, headers) == []
        assert await here.codes(mine, keyed(key, **patient)) == []


async def test_an_agency_books_for_its_patient_and_holds_before_the_login(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        key = await minted(settings, scopes=SYSTEM_SCOPES | {Scope.BOOK})
        here.http.headers.update(keyed(key))
        client = Client(here.http)
        stranger = Journey(client, "sentrum-legesenter")
        slot = (await stranger.slots())[0]
        hold = (await stranger.hold(slot["id"]))["hold"]
        patient = replace(stranger, token=await sign_in(town, "kari"))
        booked = await patient.confirm(hold["token"])
        assert booked["booking"]["status"] == "BOOKED", booked
        assert await here.codes(MINE, {"Authorization": f"Bearer {patient.token}"}, when="ALL") == ["FORBIDDEN"]
        find = "query($id: ID!) { node(id: $id) { id } }"
        answer = await client.raw(find, patient.token, id=booked["booking"]["id"])
        assert answer == {"data": {"node": None}}
        file = await here.http.get(
            booked["booking"]["calendarUrl"], headers={"Authorization": f"Bearer {patient.token}"}
        )
        assert file.status_code == 404
    async with raw(sqlite_filled_url) as connection:
        actors = {
            (row.actor_kind, row.actor_id)
            for row in await connection.execute(AUDIT.select())
            if row.target == "booking"
        }
    assert ("AGENCY", "agency:fysio") in actors


async def test_without_the_scope_nothing_is_held_or_booked(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        headers = keyed(await minted(settings), Authorization=f"Bearer {await sign_in(town, 'kari')}")
        hold = {"idempotencyKey": str(uuid4()), "slotId": "x"}
        assert await here.codes(HOLD, headers, input=hold) == ["FORBIDDEN"]
        confirm = {"idempotencyKey": "k", "holdToken": "x", "acceptedTermsVersion": "1", "smsConfirmation": False}
        assert await here.codes(CONFIRM, headers, input=confirm) == ["FORBIDDEN"]


async def test_an_idempotency_key_is_the_agencys_own(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        scopes = SYSTEM_SCOPES | {Scope.BOOK}
        one, again, other = [await minted(settings, scopes=scopes, agency=name) for name in ("one", "one", "two")]
        here.http.headers.update({"X-Tenant": TENANT})
        journey = Journey(Client(here.http), "sentrum-legesenter")
        slots, same = await journey.slots(), str(uuid4())

        async def held(key: KeyText, slot: dict[str, Any]) -> dict[str, Any]:
            given = {"idempotencyKey": same, "slotId": slot["id"]}
            return dict((await here.ask(HOLD, keyed(key), input=given))[1]["data"]["holdSlot"])

        first = await held(one, slots[0])
        assert (await held(again, slots[0]))["hold"]["token"] == first["hold"]["token"]
        assert (await held(other, slots[-1]))["hold"]["token"] != first["hold"]["token"]


async def test_a_page_that_is_not_listed_may_not_use_the_key(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        key = await minted(settings, origins=("https://booking.example",))
        free = await minted(settings)
        for origin, codes in (
            ("https://booking.example", []),
            ("https://evil.example", ["FORBIDDEN"]),
            ("null", ["FORBIDDEN"]),
        ):
            assert await here.codes(NAME, keyed(key, Origin=origin)) == codes
        assert await here.codes(NAME, keyed(key)) == []
        assert await here.codes(NAME, keyed(free, Origin="https://evil.example")) == []
        refused = await here.token(key, Origin="https://evil.example")
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (403, "forbidden")
        token = (await here.token(key)).json()["access_token"]
        assert await here.codes(NAME, {"X-ApiKey": token, "Origin": "https://evil.example"}) == ["FORBIDDEN"]


async def test_a_system_token_is_given_as_oauth_says_and_checked_by_the_published_keys(
    town: Town, sqlite_filled_url: str
) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        key = await minted(settings, scopes=frozenset({Scope.FIND, Scope.BOOK}))
        answer = await here.token(key)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        token = answer.json()
        assert {**token, "access_token": "…"} == {
            "access_token": "…",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "system/$find.read",
        }
        published = await here.http.get("/.well-known/jwks.json")
        claims = jwt.decode(token["access_token"], KeySet.import_key_set(published.json()), algorithms=["ES256"]).claims
        assert (claims["iss"], claims["aud"]) == (settings.base_url, settings.base_url)
        assert (claims["sub"], claims["azp"], claims["tenant"]) == ("fysio", key.key_id, TENANT)


async def test_a_token_that_is_not_given_is_told_as_fhir_says(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url) as (here, settings):
        key, patients = await minted(settings), await minted(settings, scopes=frozenset({Scope.BOOK}))
        gone, slow = await minted(settings), await minted(settings, rate_per_minute=1)
        await revoked(settings, gone)
        token = (await here.token(slow)).json()["access_token"]
        other, nowhere = TOKEN_PATH.replace(TENANT, OTHER), TOKEN_PATH.replace(TENANT, "nowhere")
        for path, headers, status, code in (
            (TOKEN_PATH, {}, 401, "login"),
            (TOKEN_PATH, {"X-ApiKey": key.text[:-1]}, 401, "login"),
            (TOKEN_PATH, {"X-ApiKey": token}, 401, "login"),
            (TOKEN_PATH, {"Authorization": f"Bearer {token}"}, 401, "login"),
            (TOKEN_PATH, keyed(gone), 401, "login"),
            (TOKEN_PATH, keyed(patients), 403, "forbidden"),
            (other, keyed(key), 403, "forbidden"),
            (nowhere, keyed(key), 404, "not-found"),
            (TOKEN_PATH, keyed(slow), 429, "throttled"),
        ):
            refused = await here.http.post(path, headers=headers)
            body = refused.json()
            assert (refused.status_code, body["resourceType"]) == (status, "OperationOutcome"), (path, headers)
            assert (body["issue"][0]["code"], body["issue"][0]["severity"]) == (code, "error")
            assert refused.headers["content-type"].startswith("application/fhir+json")
            assert ("retry-after" in refused.headers) == (status == 429)
            assert ("www-authenticate" in refused.headers) == (status == 401)
