"""Whom we ask a record system for stands in no address: addresses are written into access logs on both sides."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from domain.endpoint import Dialect, Endpoint
from domain.ports import Ehr
from integrations.fhir.client import FhirClient
from integrations.fhir.ehrs import ADAPTERS
from tests.fhir.conftest import KARI, PATIENCE, Lab
from tests.fhir.scripted import Scripted, answer, scripted
from tests.fhir.test_ihe import VISIT, appointment, bundle, refusal
from tests.fhir.test_visits import LAST_YEAR, WHO, patient, visit_of

NUMBER = WHO["value"]
DIALECTS = pytest.mark.parametrize("dialect", Dialect)

Asking = Callable[[Ehr], Awaitable[Any]]
QUESTIONS: dict[str, Asking] = {
    "my bookings": lambda ehr: ehr.visits_of(KARI, LAST_YEAR, PATIENCE),
    "a lost answer": lambda ehr: ehr.look_up(VISIT, PATIENCE),
    "a phone": lambda ehr: ehr.registered_phone(KARI, PATIENCE),
}


async def ask(dialect: Dialect, question: Asking, *answers: bytes, **settings: Any) -> Scripted:
    async with scripted(*answers) as (server, _):
        endpoint = Endpoint(tenant_id="t", id="e", dialect=dialect, base_url=server.url, **settings)
        client = FhirClient(endpoint)
        try:
            await question(ADAPTERS[dialect](client, endpoint))
        finally:
            await client.close()
    return server


@DIALECTS
@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_person_is_asked_for_in_the_body(dialect: Dialect, question: str) -> None:
    by_reference = visit_of({"reference": "Patient/1"})
    server = await ask(dialect, QUESTIONS[question], bundle(by_reference), bundle(patient("1", **WHO)))
    assert not [each.target for each in server.requests if NUMBER in each.target]
    private = [each for each in server.requests if NUMBER.encode() in each.body]
    assert private and {each.method for each in private} == {"POST"}
    assert all(each.target.endswith("/_search") for each in private)


@DIALECTS
async def test_a_next_page_whose_link_names_the_person_is_asked_for_in_the_body(dialect: Dialect) -> None:
    async with scripted(b"") as (server, client):
        named = f"patient.identifier={quote(WHO['system'])}%7C{NUMBER}&_offset=1&_count=1"
        pages = [
            {"link": [{"relation": "next", "url": f"{server.url}/Appointment?{named}"}]},
            {"link": [{"relation": "next", "url": f"{server.url}/Appointment?_getpages=abc"}]},
            {},
        ]
        entry = [{"resource": appointment()}]
        server.answers = [answer(json.dumps({"resourceType": "Bundle", "entry": entry, **each})) for each in pages]
        endpoint = Endpoint(tenant_id="t", id="e", dialect=dialect, base_url=server.url)
        await ADAPTERS[dialect](client, endpoint).visits_of(KARI, LAST_YEAR, PATIENCE)
    assert [(each.method, each.target) for each in server.requests] == [
        ("POST", "/fhir/Appointment/_search"),
        ("POST", "/fhir/Appointment/_search"),
        ("GET", "/fhir/Appointment?_getpages=abc"),
    ]
    assert dict(parse_qsl(server.requests[1].asked)) == {
        "patient.identifier": f"{WHO['system']}|{NUMBER}",
        "_offset": "1",
        "_count": "1",
    }


@DIALECTS
async def test_a_server_without_search_by_body_is_asked_by_address_where_its_endpoint_says_so(dialect: Dialect) -> None:
    server = await ask(dialect, QUESTIONS["my bookings"], bundle(), searches_by_get=True)
    assert [each.method for each in server.requests] == ["GET"]
    assert NUMBER in server.requests[0].target


@DIALECTS
async def test_a_server_that_refuses_to_search_by_body_is_not_asked_by_address(dialect: Dialect) -> None:
    server = await ask(dialect, QUESTIONS["a phone"], refusal("not-supported", 405))
    assert [each.method for each in server.requests] == ["POST"]


@DIALECTS
async def test_a_search_by_body_is_a_read_that_is_tried_again(dialect: Dialect) -> None:
    server = await ask(dialect, QUESTIONS["my bookings"], answer("", 503), bundle())
    assert [each.method for each in server.requests] == ["POST", "POST"]


async def test_the_record_systems_answer_searches_by_body(lab: Lab) -> None:
    booked = await lab.booked_visit()
    asked = {"patient.identifier": f"{WHO['system']}|{NUMBER}"}
    found = lab.admin.post("/Appointment/_search", data=asked)
    assert [each["resource"]["id"] for each in found.json()["entry"]] == [booked.ehr_id]
    known = lab.admin.post("/Patient/_search", data={"identifier": asked["patient.identifier"]})
    assert known.json()["total"] == 1
