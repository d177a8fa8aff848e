"""What `$find` and `$book` are sent, and how unusual answers are taken."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from domain.ports import AppointmentState, EhrUnavailable, Visit, Wanted
from domain.refusals import Refused, RejectedByEhr, SlotTaken
from domain.slot import Span
from integrations.fhir.ihe import Ihe
from integrations.fhir.reading import SLOT_ID
from integrations.fhir.writing import FORBIDDEN
from tests.fhir.conftest import KARI, PATIENCE, Lab
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted

OSLO = ZoneInfo("Europe/Oslo")
START = datetime(2026, 12, 1, 10, 0, tzinfo=OSLO)
CHAIR = '{"identifier":{"system":"urn:x","value":"STOL-1"}}'
VISIT = Visit(
    booking_id=UUID(int=7),
    ehr_id=None,
    patient=KARI,
    practitioner_ehr_id="B544:E472",
    practitioner_name="Ingrid Haugen",
    clinic_ehr_id="hs-1",
    clinic_name="Sentrum",
    service_code="skin-check",
    service_title="Føflekksjekk",
    reference="001-2026-12-01T10:00:00-B544-E472-R12",
    start=START,
    end=START + timedelta(minutes=45),
    resources=(CHAIR,),
    comment="Hei",
)
OURS = {"system": "https://itb.example/identifiers/booking", "value": str(VISIT.booking_id)}


def appointment(**changes: Any) -> dict[str, Any]:
    participants = [{"actor": {"reference": "PractitionerRole/B544:E472"}, "status": "accepted"}]
    span = {"start": VISIT.start.isoformat(), "end": VISIT.end.isoformat()}
    known = {"resourceType": "Appointment", "id": "ap:1", "status": "booked", "participant": participants, **span}
    return known | changes


def bundle(*resources: dict[str, Any]) -> bytes:
    return answer(json.dumps({"resourceType": "Bundle", "entry": [{"resource": each} for each in resources]}))


def refusal(code: str, status: int = 200, text: str = "no") -> bytes:
    issue = {"severity": "fatal", "code": code, "details": {"text": text}}
    return answer(json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}), status)


@asynccontextmanager
async def speaking(*answers: bytes, **settings: Any) -> AsyncIterator[tuple[Scripted, Ihe]]:
    async with scripted(*answers) as (server, client):
        yield server, Ihe(client=client, endpoint=replace(endpoint_at(server.url), **settings))


def sent(server: Scripted) -> dict[str, Any]:
    parameters = json.loads(server.requests[-1].body)["parameter"]
    return {each["name"]: each.get("resource") or each.get("valueString") for each in parameters}


async def test_a_new_appointment_is_sent_in_full() -> None:
    async with speaking(bundle(appointment())) as (server, ihe):
        await ihe.book(VISIT, PATIENCE)
    order = sent(server)
    new = order["appointment-resource"]
    assert "id" not in new and new["status"] == "pending"
    assert {"system": SLOT_ID, "value": VISIT.reference} in new["identifier"] and OURS in new["identifier"]
    assert (new["start"], new["end"]) == ("2026-12-01T10:00:00+01:00", "2026-12-01T10:45:00+01:00")
    assert new["supportingInformation"] == [json.loads(CHAIR)]
    assert not set(FORBIDDEN) & set(new)
    actors = [each["actor"] for each in new["participant"]]
    assert [each.get("reference") for each in actors] == ["HealthcareService/hs-1", "PractitionerRole/B544:E472", None]
    assert actors[2]["identifier"] == {"system": "urn:oid:2.16.578.1.12.4.1.4.1", "value": "13815512300"}
    assert order["patient-resource"]["birthDate"] == "1955-01-13"
    assert order["comment"] == "Hei"


async def test_older_servers_get_the_names_they_know() -> None:
    async with speaking(bundle(appointment()), book_parameter="appointment", status_sent="proposed") as (server, ihe):
        await ihe.book(VISIT, PATIENCE)
    assert sent(server)["appointment"]["status"] == "proposed"


async def test_a_change_sends_what_was_read_right_before_and_nothing_forbidden() -> None:
    known = appointment(
        identifier=[{"system": SLOT_ID, "value": "old"}, OURS],
        extension=[{"url": "urn:kept", "valueString": "x"}],
        minutesDuration=45,
        priority=5,
        cancelationReason={"text": "x"},
    )
    to = replace(
        VISIT, ehr_id="ap:1", reference="", start=START + timedelta(minutes=15), end=START + timedelta(hours=1)
    )
    async with speaking(answer(json.dumps(known)), bundle(known)) as (server, ihe):
        await ihe.move(replace(VISIT, ehr_id="ap:1"), to, PATIENCE)
    assert [each.target for each in server.requests] == ["/fhir/Appointment/ap:1", "/fhir/Appointment/$book"]
    moved = sent(server)["appointment-resource"]
    assert (moved["id"], moved["status"], moved["start"]) == ("ap:1", "booked", "2026-12-01T10:15:00+01:00")
    assert moved["identifier"] == [OURS]
    assert moved["extension"] == known["extension"]
    assert not set(FORBIDDEN) & set(moved)


@pytest.mark.parametrize(
    "body", [bundle(), bundle(appointment(), appointment(id="2")), bundle(appointment(status="pending"))]
)
async def test_anything_but_one_booked_appointment_leaves_it_open(body: bytes) -> None:
    async with speaking(body) as (_, ihe):
        with pytest.raises(EhrUnavailable) as outage:
            await ihe.book(VISIT, PATIENCE)
    assert outage.value.sent


@pytest.mark.parametrize(
    "body",
    [
        refusal("conflict"),
        refusal("conflict", 409),
        refusal("not-found"),
        refusal("invalid", 400, "Requested time slot is not available"),
        answer("", 409),
        answer("", 412),
    ],
)
async def test_every_way_of_saying_taken_is_slot_taken(body: bytes) -> None:
    async with speaking(body) as (_, ihe):
        with pytest.raises(Refused) as refused:
            await ihe.book(VISIT, PATIENCE)
    assert refused.value.refusals == (SlotTaken(),)


@pytest.mark.parametrize("body", [refusal("business-rule", 422, "too old"), refusal("business-rule", text="too old")])
async def test_another_no_is_a_rejection_with_its_reason(body: bytes) -> None:
    async with speaking(body) as (_, ihe):
        with pytest.raises(Refused) as refused:
            await ihe.book(VISIT, PATIENCE)
    [rejected] = refused.value.refusals
    assert isinstance(rejected, RejectedByEhr) and "too old" in rejected.reason


@pytest.mark.parametrize(
    "body", [refusal("timeout"), refusal("exception", 400), answer("<html>", 400), answer("", 404)]
)
async def test_a_no_that_tells_of_the_servers_own_trouble_leaves_it_open(body: bytes) -> None:
    async with speaking(body) as (_, ihe):
        with pytest.raises(EhrUnavailable) as outage:
            await ihe.book(VISIT, PATIENCE)
    assert outage.value.sent


@pytest.mark.parametrize("first", [refusal("not-supported", 400), bundle(appointment(id="else"))])
async def test_a_server_that_cannot_search_by_number_is_asked_for_the_patient(first: bytes) -> None:
    """It refuses the parameter, or ignores it and answers with anything."""
    others = appointment(id="ap:2", identifier=[OURS | {"value": "another booking of ours"}])
    elsewhere = appointment(id="ap:3", participant=[{"actor": {"reference": "PractitionerRole/B544:E999"}}])
    kari = {"identifier": {"system": "urn:oid:2.16.578.1.12.4.1.4.1", "value": "13815512300"}}
    hers = appointment()
    hers["participant"].append({"actor": kari, "status": "accepted"})
    async with speaking(first, bundle(others, elsewhere, hers)) as (server, ihe):
        held = await ihe.look_up(VISIT, PATIENCE)
    assert held and (held.ehr_id, held.state) == ("ap:1", AppointmentState.BOOKED)
    assert server.requests[1].target == "/fhir/Appointment/_search"
    assert parse_qsl(server.requests[1].asked) == [
        ("patient.identifier", "urn:oid:2.16.578.1.12.4.1.4.1|13815512300"),
        ("date", "ge2026-12-01T09:00:00Z"),
        ("date", "lt2026-12-01T09:01:00Z"),
    ]


async def test_a_cancel_that_is_answered_with_a_booked_appointment_leaves_it_open() -> None:
    known = appointment(identifier=[OURS])
    async with speaking(answer(json.dumps(known)), bundle(known)) as (_, ihe):
        with pytest.raises(EhrUnavailable) as outage:
            await ihe.cancel(replace(VISIT, ehr_id="ap:1"), PATIENCE)
    assert outage.value.sent


async def test_a_cancel_that_staff_did_in_between_is_done() -> None:
    known = appointment(identifier=[OURS])
    gone = answer(json.dumps(known | {"status": "cancelled"}))
    async with speaking(answer(json.dumps(known)), refusal("business-rule", 409), gone) as (_, ihe):
        await ihe.cancel(replace(VISIT, ehr_id="ap:1"), PATIENCE)


async def test_a_cancel_is_left_open_when_nobody_answers_the_look_after_a_no() -> None:
    """The connection that fails is the look's: what was sent before it did arrive."""
    known, no = appointment(identifier=[OURS]), refusal("business-rule", 409)
    async with speaking(answer(json.dumps(known), Connection="close"), no) as (server, ihe):
        server.stop_after = 2
        with pytest.raises(EhrUnavailable) as outage:
            await ihe.cancel(replace(VISIT, ehr_id="ap:1"), PATIENCE)
    assert [each.method for each in server.requests] == ["GET", "POST"]
    assert outage.value.sent


async def test_the_booked_one_counts_where_an_earlier_one_was_cancelled() -> None:
    both = bundle(appointment(id="1", status="cancelled", identifier=[OURS]), appointment(id="2", identifier=[OURS]))
    async with speaking(both) as (_, ihe):
        held = await ihe.look_up(VISIT, PATIENCE)
    assert held and held.ehr_id == "2"


async def test_a_request_nobody_agreed_to_is_neither_there_nor_not_there() -> None:
    async with speaking(bundle(appointment(status="pending", identifier=[OURS]))) as (_, ihe):
        with pytest.raises(EhrUnavailable):
            await ihe.look_up(VISIT, PATIENCE)


async def test_a_server_that_ignores_parameters_offers_nothing_that_was_not_asked_for() -> None:
    kind = {"serviceType": [{"coding": [{"code": "skin-check"}]}], "status": "proposed"}
    other = appointment(**kind, participant=[{"actor": {"reference": "PractitionerRole/B544:E999"}}])
    late = {"start": (START + timedelta(days=2)).isoformat(), "end": (VISIT.end + timedelta(days=2)).isoformat()}
    kept = (VISIT.start, VISIT.end)
    answered = bundle(
        appointment(**kind),
        appointment(**kind),
        other,
        appointment(**{**kind, "status": "booked"}),
        appointment(**{**kind, "serviceType": [{"coding": [{"code": "vaccination"}]}]}),
        appointment(**kind, **late),
    )
    wanted = Wanted(
        practitioner_ehr_id="B544:E472",
        clinic_ehr_id="hs-1",
        schedule_ids=(),
        service_code="skin-check",
        duration=timedelta(minutes=45),
    )
    async with speaking(answered) as (server, ihe):
        found = await ihe.find([wanted], Span(start=START, end=START + timedelta(days=1)), PATIENCE)
    assert [(time.start, time.end) for time in found.times] == [kept]
    assert "start=2026-12-01T10:00:00%2B01:00" in server.requests[0].target
    assert "practitionerRole=PractitionerRole%2FB544:E472" in server.requests[0].target
    assert "visit-type=https:%2F%2Fsandbox.example%2Ftreatments%7Cskin-check" in server.requests[0].target


async def test_a_chair_or_device_is_carried_through(ihe: Lab) -> None:
    roles = [role for role in ihe.world.roles if role.device]
    assert roles
    for role in roles:
        times = await ihe.times(role.treatments[0])
        visit = ihe.visit(next(time for time in times if time.practitioner_ehr_id == role.id))
        assert visit.resources
        await ihe.ehr.book(visit, PATIENCE)
    assert len(ihe.booked()) == len(roles)
