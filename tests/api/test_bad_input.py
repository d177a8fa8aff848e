"""Whatever is sent, the answer is coded, nothing breaks, nothing is lost, and nobody sees another tenant's things."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from api.schema.ids import global_id
from tests.api.searching import day, find, search_for, shown
from tests.living import OTHER, Client, Town, in_process, sign_in
from tests.system.journey import CANCEL, CONFIRM, HOLD, RELEASE, RESCHEDULE, Journey, key

CODES = {
    *("GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT", "UNAUTHENTICATED", "FORBIDDEN"),
    *("STEP_UP_REQUIRED", "OPERATION_TOO_COMPLEX", "RATE_LIMITED", "PERSISTED_QUERY_NOT_FOUND"),
    *("PERSISTED_QUERY_REQUIRED", "UPSTREAM_UNAVAILABLE", "TIMEOUT"),
}
"""Those documented, but for the one of a bug."""

SEARCH = "query($search: AvailabilitySearch!) { availability(search: $search) { complete } }"
HELD = "query($token: String!) { hold(token: $token) { token expiresAt slot { id } } }"
SLOTS = """query($search: AvailabilitySearch!, $first: Int, $after: String) { availability(search: $search) {
    slots(first: $first, after: $after) { nodes { id } pageInfo { endCursor } } } }"""
TEXT = "application/json"


def codes_in(answer: httpx2.Response) -> set[str]:
    """Of all its errors, each checked to be as documented."""
    assert answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("application/"), answer.text
    errors = answer.json().get("errors", [])
    for error in errors:
        assert error["message"]
        assert error["extensions"]["code"] in CODES
        assert error["extensions"]["requestId"]
    return {error["extensions"]["code"] for error in errors}


@dataclass
class Api:
    """The API with a time held and a page begun, so that there is something to lose and something to forge."""

    client: Client
    search: dict[str, Any]
    slot_id: str
    hold_token: str
    cursor: str

    async def send(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> httpx2.Response:
        body = {"query": query, "variables": variables}
        return await self.client.http.post("/graphql", json=body, headers=headers or {})

    async def codes(self, query: str, headers: dict[str, str] | None = None, **variables: Any) -> set[str]:
        return codes_in(await self.send(query, headers, **variables))

    async def refusals(self, query: str, headers: dict[str, str] | None = None, /, **given: Any) -> list[str]:
        """The codes in the payload of a mutation, which had no top-level error."""
        answer = await self.send(query, headers, input=given)
        assert codes_in(answer) == set(), answer.text
        [payload] = answer.json()["data"].values()
        return [error["code"] for error in payload["errors"]]

    async def still_holds(self) -> bool:
        held = (await self.client(HELD, token=self.hold_token))["hold"]
        return bool(held and held["slot"]["id"] == self.slot_id)


async def an_api(client: Client) -> Api:
    search = await search_for(client, "skin-check", "nacka-vardcentral", last=9)
    page = (await client(SLOTS, search=search, first=3))["availability"]["slots"]
    free = shown(await find(client, search))
    held = await Journey(client, "nacka-vardcentral").hold(free[0]["id"])
    assert held["hold"], held["errors"]
    return Api(client, search, free[0]["id"], held["hold"]["token"], page["pageInfo"]["endCursor"])


@pytest.fixture
async def api(town: Town, sqlite_filled_url: str) -> AsyncIterator[Api]:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        yield await an_api(client)


@pytest.fixture
async def on_both(town: Town, filled_url: str) -> AsyncIterator[Api]:
    """For what reaches the database."""
    async with in_process(town.settings(filled_url)) as (client, _):
        yield await an_api(client)


def an_id(kind: str) -> str:
    return str(global_id(kind, uuid4()))


SEARCHES: dict[str, dict[str, Any]] = {
    "to before from": {"from": day(4), "to": day(3)},
    "32 days": {"from": day(1), "to": day(32)},
    "the end of the calendar": {"from": "9999-12-01", "to": "9999-12-31"},
    "the beginning of the calendar": {"from": "0001-01-01", "to": "0001-01-02"},
    "no such month": {"from": "2026-13-01"},
    "a date without zeros": {"from": "2026-2-1"},
    "a basic date": {"to": "20261123"},
    "an ISO week": {"to": "2026-W10-1"},
    "a date and time": {"to": "2026-03-02T09:00:00Z"},
    "a number for a date": {"from": 20261123},
    "null for a date": {"from": None},
    "a time without seconds": {"notBefore": "09:30"},
    "no such hour": {"notBefore": "25:00:00"},
    "a time with an offset": {"notAfter": "09:30:00Z"},
    "no such weekday": {"weekdays": ["FUNDAY"]},
    "a clinic for a treatment": {"treatmentId": an_id("Clinic")},
    "a treatment nobody knows": {"treatmentId": an_id("Treatment")},
    "no id": {"treatmentId": "x"},
    "an empty id": {"treatmentId": ""},
    "a list for an id": {"treatmentId": ["x"]},
    "a treatment for a clinic": {"clinicIds": [an_id("Treatment")]},
    "a clinic nobody knows": {"clinicIds": [an_id("Clinic")]},
    "an area nobody knows": {"areaIds": [an_id("Area")]},
    "a practitioner nobody knows": {"practitionerIds": [an_id("Practitioner")]},
    "too many ids": {"clinicIds": [an_id("Clinic") for _ in range(201)]},
    "a booking nobody has": {"movingBookingId": an_id("Booking")},
    "a hold for a booking": {"movingBookingId": an_id("Hold")},
    "a field that is not there": {"form": day(1)},
    "a character no text has": {"campaignCode": 5},
}


@pytest.mark.parametrize("wrong", SEARCHES.values(), ids=SEARCHES)
async def test_a_search_that_cannot_be_meant_is_bad_input(api: Api, wrong: dict[str, Any]) -> None:
    assert await api.codes(SEARCH, search={**api.search, **wrong}) == {"BAD_USER_INPUT"}


async def test_thirty_one_days_can_be_asked_for(api: Api) -> None:
    assert await api.codes(SEARCH, search={**api.search, "from": day(1), "to": day(31)}) == set()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"first": -1}, "BAD_USER_INPUT"),
        ({"first": 501}, "BAD_USER_INPUT"),
        ({"first": 2**31}, "BAD_USER_INPUT"),
        ({"first": "3"}, "BAD_USER_INPUT"),
        ({"after": ""}, "BAD_USER_INPUT"),
        ({"after": "x"}, "BAD_USER_INPUT"),
        ({"after": "A" * 5000}, "BAD_USER_INPUT"),
        ({"after": 7}, "BAD_USER_INPUT"),
    ],
)
async def test_pages_that_cannot_be_meant_are_bad_input(api: Api, arguments: dict[str, Any], code: str) -> None:
    assert await api.codes(SLOTS, search=api.search, **arguments) == {code}


HOLDS: dict[str, tuple[dict[str, Any], str]] = {
    "an empty key": ({"idempotencyKey": ""}, "INVALID_INPUT"),
    "a blank key": ({"idempotencyKey": "  "}, "INVALID_INPUT"),
    "a long key": ({"idempotencyKey": "k" * 201}, "INVALID_INPUT"),
    "a key no text may hold": ({"idempotencyKey": "a\0b"}, "INVALID_INPUT"),
    "a hold nobody has": ({"holdToken": "AAAA"}, "HOLD_NOT_FOUND"),
    "a booking nobody has": ({"movingBookingId": an_id("Booking")}, "NOT_FOUND"),
    "a code nobody gave out": ({"campaignCode": "SOMMER"}, "CAMPAIGN_INVALID"),
}


@pytest.mark.parametrize(("wrong", "code"), HOLDS.values(), ids=HOLDS)
async def test_a_hold_that_cannot_be_meant_is_refused_and_takes_nothing(
    on_both: Api, wrong: dict[str, Any], code: str
) -> None:
    slot = shown(await find(on_both.client, on_both.search))[5]
    given = {"idempotencyKey": key(), "slotId": slot["id"], **wrong}
    assert await on_both.refusals(HOLD, **given) == [code]
    assert slot["id"] in [free["id"] for free in shown(await find(on_both.client, on_both.search))]
    assert await on_both.still_holds()


@pytest.mark.parametrize(
    "given",
    [{"slotId": "x"}, {"slotId": an_id("Slot")}, {"slotId": None}, {"movingBookingId": an_id("Clinic")}, {"more": 1}],
)
async def test_a_hold_of_no_slot_is_bad_input(api: Api, given: dict[str, Any]) -> None:
    whole = {"idempotencyKey": key(), "slotId": api.slot_id, **given}
    assert await api.codes(HOLD, input=whole) == {"BAD_USER_INPUT"}
    assert await api.still_holds()


CONFIRMS: dict[str, tuple[dict[str, Any], str]] = {
    "an empty key": ({"idempotencyKey": ""}, "INVALID_INPUT"),
    "a long key": ({"idempotencyKey": "k" * 201}, "INVALID_INPUT"),
    "a long comment": ({"comment": "x" * 1001}, "INVALID_INPUT"),
    "a comment no text may hold": ({"comment": "a\0b"}, "INVALID_INPUT"),
    "other terms": ({"acceptedTermsVersion": "1999"}, "TERMS_NOT_ACCEPTED"),
    "no terms": ({"acceptedTermsVersion": ""}, "TERMS_NOT_ACCEPTED"),
    "a spoilt token": ({"holdToken": "x"}, "HOLD_NOT_FOUND"),
    "an empty token": ({"holdToken": ""}, "HOLD_NOT_FOUND"),
}


@pytest.mark.parametrize(("wrong", "code"), CONFIRMS.values(), ids=CONFIRMS)
async def test_a_confirmation_that_cannot_be_meant_leaves_the_hold(
    town: Town, on_both: Api, wrong: dict[str, Any], code: str
) -> None:
    signed_in = {"Authorization": f"Bearer {await sign_in(town, 'astrid')}"}
    given = {
        "idempotencyKey": key(),
        "holdToken": on_both.hold_token,
        "acceptedTermsVersion": "2026-01",
        "smsConfirmation": False,
        **wrong,
    }
    assert code in await on_both.refusals(CONFIRM, signed_in, **given)
    assert await on_both.still_holds()


async def test_changes_of_what_is_not_there_are_told_in_the_payload(town: Town, api: Api) -> None:
    signed_in = {"Authorization": f"Bearer {await sign_in(town, 'astrid')}"}
    gone = {"idempotencyKey": key(), "bookingId": an_id("Booking"), "expectedVersion": 1}
    assert await api.refusals(CANCEL, signed_in, **gone) == ["NOT_FOUND"]
    assert await api.refusals(RESCHEDULE, signed_in, **gone, holdToken=api.hold_token) == ["NOT_FOUND"]
    assert await api.refusals(CANCEL, signed_in, **{**gone, "reason": "x" * 1001}) == ["INVALID_INPUT"]
    assert await api.refusals(RELEASE, signed_in, token="x") == ["HOLD_NOT_FOUND"]
    wrong = {**gone, "bookingId": an_id("Clinic")}
    assert await api.codes(CANCEL, signed_in, input=wrong) == {"BAD_USER_INPUT"}
    assert await api.codes(CANCEL, signed_in, input={**gone, "expectedVersion": 2**31}) == {"BAD_USER_INPUT"}
    assert await api.still_holds()


@pytest.mark.parametrize(("query", "given"), [(CONFIRM, {}), (CANCEL, {}), (RESCHEDULE, {})])
async def test_changes_need_a_login(api: Api, query: str, given: dict[str, Any]) -> None:
    known = {"idempotencyKey": key(), "holdToken": api.hold_token, "bookingId": an_id("Booking"), "expectedVersion": 1}
    confirm = {"acceptedTermsVersion": "2026-01", "smsConfirmation": False}
    fields = {
        CONFIRM: ("idempotencyKey", "holdToken", *confirm),
        CANCEL: ("idempotencyKey", "bookingId", "expectedVersion"),
        RESCHEDULE: ("idempotencyKey", "bookingId", "expectedVersion", "holdToken"),
    }
    given = {name: {**known, **confirm}[name] for name in fields[query]}
    assert await api.codes(query, input=given) == {"UNAUTHENTICATED"}
    assert await api.still_holds()


@pytest.mark.parametrize(
    "query",
    [
        "query($x: String!) { clinic(slug: $x) { id } }",
        "query($x: String!) { treatment(code: $x) { id } }",
        "query($x: String!) { clinics(filter: {search: $x}) { totalCount } }",
        "query($x: String!) { treatments(filter: {search: $x}) { totalCount } }",
    ],
)
async def test_a_character_that_no_text_holds_is_bad_input(on_both: Api, query: str) -> None:
    assert await on_both.codes(query, x="a\0b") == {"BAD_USER_INPUT"}
    assert await on_both.codes(query, x="Ærlig talt 🙂 %_\\") == set()


BODIES: dict[str, tuple[bytes, set[str]]] = {
    "a number": (b"1", {"BAD_USER_INPUT"}),
    "a text": (b'"x"', {"BAD_USER_INPUT"}),
    "null": (b"null", {"BAD_USER_INPUT"}),
    "true": (b"true", {"BAD_USER_INPUT"}),
    "an empty list": (b"[]", {"BAD_USER_INPUT"}),
    "a batch": (b'[{"query": "{ tenant { id } }"}]', {"BAD_USER_INPUT"}),
    "nothing": (b"", {"BAD_USER_INPUT"}),
    "no JSON": (b"{query: 1}", {"BAD_USER_INPUT"}),
    "half of one": (b'{"query": "{ tenant', {"BAD_USER_INPUT"}),
    "not UTF-8": (b'{"query": "{ tenant { id } } # \xff"}', {"BAD_USER_INPUT"}),
    "half a character": (rb'{"query": "{ tenant { id } } # \ud800"}', {"BAD_USER_INPUT"}),
    "no query": (b"{}", {"BAD_USER_INPUT"}),
    "a query that is none": (b'{"query": 5}', {"BAD_USER_INPUT"}),
    "a null query": (b'{"query": null}', {"BAD_USER_INPUT"}),
    "an empty query": (b'{"query": ""}', {"BAD_USER_INPUT", "GRAPHQL_PARSE_FAILED"}),
    "variables that are a list": (b'{"query": "{ tenant { id } }", "variables": [1]}', {"BAD_USER_INPUT"}),
    "variables that are a text": (b'{"query": "{ tenant { id } }", "variables": "x"}', {"BAD_USER_INPUT"}),
    "a name that is a number": (b'{"query": "{ tenant { id } }", "operationName": 7}', {"BAD_USER_INPUT"}),
    "a name that is not there": (b'{"query": "{ tenant { id } }", "operationName": "x"}', {"BAD_USER_INPUT"}),
    "extensions that are a list": (b'{"query": "{ tenant { id } }", "extensions": [1]}', {"BAD_USER_INPUT"}),
    "two operations": (b'{"query": "query a { tenant { id } } query b { tenant { id } }"}', {"BAD_USER_INPUT"}),
    "deep JSON": (b"[" * 5000, {"BAD_USER_INPUT"}),
    "a parse error": (b'{"query": "{ tenant {"}', {"GRAPHQL_PARSE_FAILED"}),
    "an unknown field": (b'{"query": "{ nothing }"}', {"GRAPHQL_VALIDATION_FAILED"}),
    "a subscription": (b'{"query": "subscription { x }"}', {"BAD_USER_INPUT"}),
    "too many tokens": (json.dumps({"query": "{ " + "tenant { id } " * 600 + "}"}).encode(), set(CODES)),
    "too large": (json.dumps({"query": "{ tenant { id } } #" + "x" * 300_000}).encode(), {"BAD_USER_INPUT"}),
}


@pytest.mark.parametrize(("body", "codes"), BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_request_gets_a_coded_answer(
    town: Town, sqlite_filled_url: str, body: bytes, codes: set[str]
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        answer = await client.http.post("/graphql", content=body, headers={"Content-Type": TEXT})
        found = codes_in(answer)
        assert found and found <= codes, answer.text
        assert (await client("{ tenant { slug } }"))["tenant"]["slug"] == "nordhelse"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/xml", "", "application/json; x="])
async def test_other_kinds_of_content_are_coded(town: Town, sqlite_filled_url: str, kind: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        answer = await client.http.post("/graphql", content=b"{ tenant { id } }", headers={"Content-Type": kind})
        assert codes_in(answer) <= {"BAD_USER_INPUT"}
        for method in ("PUT", "DELETE", "PATCH"):
            assert codes_in(await client.http.request(method, "/graphql")) == {"BAD_USER_INPUT"}


async def test_a_mutation_by_get_is_refused_and_not_done(api: Api) -> None:
    query = f'mutation {{ releaseHold(input: {{token: "{api.hold_token}"}}) {{ errors {{ code }} }} }}'
    answer = await api.client.http.get("/graphql", params={"query": query}, headers={"Accept": TEXT})
    assert codes_in(answer) == {"BAD_USER_INPUT"}
    assert 400 <= answer.status_code < 500
    both = {"query": f"query a {{ tenant {{ id }} }} {query.replace('mutation', 'mutation b')}", "operationName": "b"}
    assert codes_in(await api.client.http.get("/graphql", params=both)) == {"BAD_USER_INPUT"}
    assert await api.still_holds()


@pytest.mark.parametrize("named", [{"X-Tenant": "nobody"}, {"X-Tenant": "a%00b"}, {"Host": "nobody.example"}])
async def test_an_unknown_tenant_is_bad_input(api: Api, named: dict[str, str]) -> None:
    answer = await api.send("{ tenant { id } }", named)
    assert (answer.status_code, codes_in(answer)) == (400, {"BAD_USER_INPUT"})


@pytest.mark.parametrize("given", ["Bearer x", "Bearer ", "Bearer a.b.c", "Basic eDp5", "Token x", "x", "bearer é"])
async def test_a_bad_bearer_is_refused_whatever_is_asked(api: Api, given: str) -> None:
    for query in ("{ tenant { id } }", "{ nothing }"):
        body = {"query": query}
        headers = {"Authorization": given.encode("latin-1")}
        answer = await api.client.http.post("/graphql", json=body, headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, codes_in(answer)) == (401, {"UNAUTHENTICATED"})


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/. \næ"


def changed(text: str, place: int, letter: str, how: str) -> str:
    place %= len(text)
    kept = {"replace": place + 1, "insert": place, "swap": place + 1}
    if how == "cut":
        return text[:place]
    if how == "append":
        return text + letter
    return text[:place] + (text[place].swapcase() if how == "swap" else letter) + text[kept[how] :]


@examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 400), st.sampled_from(LETTERS), st.sampled_from(["replace", "insert", "swap", "cut", "append"]))
async def test_one_changed_character_is_never_accepted(api: Api, place: int, letter: str, how: str) -> None:
    slot_id, token, cursor = (changed(text, place, letter, how) for text in (api.slot_id, api.hold_token, api.cursor))
    assume(slot_id != api.slot_id and token != api.hold_token and cursor != api.cursor)
    assert await api.codes(HOLD, input={"idempotencyKey": key(), "slotId": slot_id}) == {"BAD_USER_INPUT"}
    if token:
        assert await api.codes(HELD, token=token) == {"BAD_USER_INPUT"}
    assert await api.refusals(RELEASE, token=token) == ["HOLD_NOT_FOUND"]
    assert await api.codes(SLOTS, search=api.search, after=cursor) == {"BAD_USER_INPUT"}
    assert await api.still_holds()


async def test_one_kind_of_token_never_passes_for_another(api: Api) -> None:
    for forged in (api.hold_token, api.cursor, api.search["treatmentId"]):
        given = {"idempotencyKey": key(), "slotId": forged}
        assert await api.codes(HOLD, input=given) == {"BAD_USER_INPUT"}
    for forged in (api.slot_id, api.cursor):
        assert await api.codes(HELD, token=forged) == {"BAD_USER_INPUT"}
    for forged in (api.slot_id, api.hold_token):
        assert await api.codes(SLOTS, search=api.search, after=forged) == {"BAD_USER_INPUT"}
    clinics = "query($after: String) { clinics(after: $after) { nodes { id } } }"
    assert await api.codes(clinics, after=api.cursor) == {"BAD_USER_INPUT"}


@pytest.mark.parametrize("named", [{"X-Tenant": OTHER}, {"Host": "annan.example"}], ids=["header", "host"])
async def test_what_one_tenant_gave_out_is_worth_nothing_at_another(on_both: Api, named: dict[str, str]) -> None:
    api = on_both
    given = {"idempotencyKey": key(), "slotId": api.slot_id}
    assert await api.codes(HOLD, named, input=given) == {"BAD_USER_INPUT"}
    assert await api.codes(HELD, named, token=api.hold_token) == {"BAD_USER_INPUT"}
    assert await api.refusals(RELEASE, named, token=api.hold_token) == ["HOLD_NOT_FOUND"]
    assert await api.codes(SLOTS, named, search=api.search, after=api.cursor) == {"BAD_USER_INPUT"}
    assert await api.still_holds()


async def test_two_tenants_over_the_same_rows_share_nothing(town: Town, filled_url: str) -> None:
    token, at_other = await sign_in(town, "erik"), await sign_in(town, "erik", OTHER)
    query = "query($id: ID!) { node(id: $id) { id } viewer { patient { id } bookings { nodes { id reference } } } }"
    clinics = "{ clinics { nodes { id slug } } }"
    settings = town.settings(filled_url)
    async with in_process(settings) as (client, _), in_process(settings, "annan.example") as (other, _):
        assert await client(clinics) == await other(clinics)
        journey = Journey(client, "solna-vardcentral", token=token)
        booking = await journey.booked()
        mine = await client(query, token, id=booking["id"])
        theirs = await other(query, at_other, id=booking["id"])
        assert mine["node"] == {"id": booking["id"]}
        ours, others = ([n["id"] for n in v["viewer"]["bookings"]["nodes"] if n["reference"]] for v in (mine, theirs))
        assert (ours, theirs["node"], others) == ([booking["id"]], None, [])
        # what the record system has of the same patient the other tenant shows as its own finding, under its own id
        assert booking["id"] not in [node["id"] for node in theirs["viewer"]["bookings"]["nodes"]]
        assert theirs["viewer"]["patient"]["id"] != mine["viewer"]["patient"]["id"]
        # one tenant's hold is not the other's: the record system decides between them
        search = await search_for(client, "skin-check", "solna-vardcentral")
        slot = shown(await find(client, search))[-1]
        assert (await journey.hold(slot["id"]))["hold"]
        starts = [s["start"] for s in shown(await find(other, search)) if s["practitioner"] == slot["practitioner"]]
        assert slot["start"] in starts
        stranger = await client(query, await sign_in(town, "linnea"), id=booking["id"])
        anonymous = await client("query($id: ID!) { node(id: $id) { id } viewer { id } }", id=booking["id"])
        assert stranger["node"] is None
        assert anonymous == {"node": None, "viewer": None}
        await journey.cancel(booking)
