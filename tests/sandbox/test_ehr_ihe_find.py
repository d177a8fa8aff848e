"""`$find`, the context and searches of the IHE dialect, by plain HTTP."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integrations.sandbox.world_no import NORWAY
from tests.sandbox.conftest import NIN, Installation

SYSTEM = "https://sandbox.example/treatments"
WINDOW = {"start": "2026-12-07T00:00:00+01:00", "end": "2026-12-14T00:00:00+01:00"}


def find(ehr: Installation, role: str = "B544:E472", **more: Any) -> list[dict[str, Any]]:
    asked = {"practitionerRole": f"PractitionerRole/{role}", **WINDOW, **more}
    return [each["resource"] for each in ehr.get("/Appointment/$find", params=asked).get("entry", [])]


def test_a_proposal_carries_everything_that_books_it(norway: Installation) -> None:
    proposal = find(norway, "B560:E602", **{"visit-type": f"{SYSTEM}|skin-check"})[0]
    assert proposal["status"] == "proposed"
    slot_id, source = proposal["identifier"]
    assert slot_id["system"].endswith("/slot-id")
    assert slot_id["value"].startswith("001-2026-12-07T") and slot_id["value"].count(":") == 2
    assert source["value"] == "001"
    assert proposal["serviceType"][0]["coding"][0]["code"] == "skin-check"
    assert [each["actor"]["reference"] for each in proposal["participant"]] == [
        "HealthcareService/hs-bergen-bryggen",
        "PractitionerRole/B560:E602",
    ]
    assert all(each["actor"]["display"] and "type" not in each["actor"] for each in proposal["participant"])
    assert proposal["extension"][0]["url"].endswith("activity-definition-reference")
    assert proposal["supportingInformation"][0]["identifier"]["value"] == "ROM-2/DERMATOSKOP"
    assert proposal["start"].endswith("+01:00")
    span = datetime.fromisoformat(proposal["end"]) - datetime.fromisoformat(proposal["start"])
    assert span == timedelta(minutes=45)


def test_find_by_post_answers_the_same_as_by_get(norway: Installation) -> None:
    parameters = [
        {"name": "start", "valueDateTime": WINDOW["start"]},
        {"name": "end", "valueDateTime": WINDOW["end"]},
        {"name": "practitionerRole", "valueReference": {"reference": "PractitionerRole/B544:E472"}},
        {"name": "healthcareService", "valueReference": {"reference": "HealthcareService/hs-oslo-sentrum"}},
        {"name": "visit-type", "valueString": f"{SYSTEM}|consultation"},
        {"name": "_count", "valueInteger": 100},
    ]
    answer = norway.http.post("/Appointment/$find", json={"resourceType": "Parameters", "parameter": parameters})
    asked = {"visit-type": f"{SYSTEM}|consultation", "healthcareService": "HealthcareService/hs-oslo-sentrum"}
    assert [each["resource"] for each in answer.json()["entry"]] == find(norway, **asked)


def test_find_follows_its_pages_to_the_end_without_repeating(norway: Installation) -> None:
    whole = find(norway, _count="500")
    page = norway.get(
        "/Appointment/$find", params={"practitionerRole": "PractitionerRole/B544:E472", **WINDOW, "_count": "7"}
    )
    collected, pages = [], 0
    while True:
        collected += [each["resource"]["id"] for each in page["entry"]]
        pages += 1
        following = [each["url"] for each in page["link"] if each["relation"] == "next"]
        if not following:
            break
        assert following[0].startswith(norway.url)
        page = norway.get(following[0])
    assert pages > 5
    assert collected == [each["id"] for each in whole]
    assert page["total"] == len(whole)


@pytest.mark.parametrize(
    "asked",
    [
        {**WINDOW},
        {"practitionerRole": "PractitionerRole/B544:E472"},
        {"practitionerRole": "PractitionerRole/B544:E472", "start": "soon", "end": WINDOW["end"]},
        {"practitionerRole": "PractitionerRole/B544:E472", "start": "2026-12-07T08:00:00", "end": WINDOW["end"]},
        {"practitionerRole": "PractitionerRole/B544:E472", **WINDOW, "_count": "many"},
        {"practitionerRole": ["PractitionerRole/B544:E472", "PractitionerRole/B544:E473"], **WINDOW},
    ],
)
def test_find_refuses_what_it_cannot_answer(norway: Installation, asked: dict[str, Any]) -> None:
    answer = norway.http.get("/Appointment/$find", params=asked)
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.headers["content-type"].startswith("application/fhir+json")


def test_a_find_without_a_practitioner_role_says_what_is_required(norway: Installation) -> None:
    answer = norway.http.get("/Appointment/$find", params=WINDOW)
    assert answer.json()["issue"][0]["code"] == "required"


def test_an_empty_answer_has_no_entry(norway: Installation) -> None:
    asked = {"practitionerRole": "PractitionerRole/B544:E472", **WINDOW, "visit-type": "http://other|consultation"}
    answer = norway.get("/Appointment/$find", params=asked)
    assert "entry" not in answer and answer["total"] == 0


def test_a_clinic_where_the_role_does_not_work_has_no_times(norway: Installation) -> None:
    assert find(norway, healthcareService="HealthcareService/hs-bergen-fana") == []


def test_times_that_have_begun_are_not_proposed(start: Callable[..., Installation]) -> None:
    noon = datetime(2026, 12, 7, 11, 1, tzinfo=UTC)
    ehr = start(NORWAY, now=lambda: noon)
    assert all(datetime.fromisoformat(each["start"]) >= noon for each in find(ehr))


@pytest.mark.parametrize(
    ("now", "first", "last", "offsets"),
    [
        (datetime(2027, 3, 20, tzinfo=UTC), "2027-03-26", "2027-03-29", {"+01:00", "+02:00"}),
        (datetime(2026, 10, 20, tzinfo=UTC), "2026-10-23", "2026-10-26", {"+02:00", "+01:00"}),
    ],
)
def test_the_nights_of_the_clock_change_have_the_right_offsets(
    start: Callable[..., Installation], now: datetime, first: str, last: str, offsets: set[str]
) -> None:
    ehr = start(NORWAY, now=lambda: now)
    starts = [each["start"] for role in NORWAY.roles for each in find(ehr, role.id, start=first, end=last)]
    assert {each[-6:] for each in starts} == offsets
    for each in starts:
        moment = datetime.fromisoformat(each)
        assert moment.astimezone(NORWAY.zone).isoformat() == each


def test_the_context_tells_who_does_what_where(norway: Installation) -> None:
    asked = {
        "period-start": "2026-12-01",
        "period-end": "2026-12-31",
        "healthcare-service": "HealthcareService/hs-bergen-fana",
    }
    found = [each["resource"] for each in norway.get("/Schedule/$get-schedule-context", params=asked)["entry"]]
    kinds = {each["resourceType"] for each in found}
    assert kinds == {
        "Schedule",
        "PractitionerRole",
        "Practitioner",
        "HealthcareService",
        "Location",
        "ActivityDefinition",
        "Organization",
    }
    schedules = [each for each in found if each["resourceType"] == "Schedule"]
    assert len(schedules) == 3
    assert all(len(kind["coding"]) == 2 for each in schedules for kind in each["serviceType"])
    assert {kind["coding"][1]["code"] for each in schedules for kind in each["serviceType"]} == {"001"}


def test_the_context_of_one_actor_is_that_actors(norway: Installation) -> None:
    asked = {"actor": "PractitionerRole/B551:E507"}
    found = [each["resource"] for each in norway.get("/Schedule/$get-schedule-context", params=asked)["entry"]]
    assert [each["id"] for each in found if each["resourceType"] == "Practitioner"] == ["E507"]


def test_a_practitioner_is_only_in_the_context_and_has_a_photo_there(norway: Installation) -> None:
    assert norway.http.get("/Practitioner/E472").status_code == 404
    assert norway.http.get("/Practitioner").status_code == 404
    found = norway.get("/Schedule/$get-schedule-context")["entry"]
    urls = [each["resource"]["photo"][0]["url"] for each in found if each["resource"]["resourceType"] == "Practitioner"]
    assert len(urls) == 13
    assert all(norway.http.get(url).headers["content-type"].startswith("image/svg+xml") for url in urls)


def test_clinics_and_roles_can_be_read(norway: Installation) -> None:
    clinic = norway.get("/HealthcareService/hs-oslo-sentrum")
    assert clinic["name"] == "Sentrum legesenter" and clinic["availableTime"]
    assert norway.get("/PractitionerRole/B544:E472")["practitioner"]["reference"] == "Practitioner/E472"
    assert norway.get("/HealthcareService")["total"] == 4
    assert norway.http.get("/HealthcareService/nowhere").status_code == 404


def test_a_patient_is_found_by_personal_number_only(norway: Installation) -> None:
    found = norway.get("/Patient", params={"identifier": f"{NIN}|13815512300"})
    assert found["entry"][0]["resource"]["telecom"][0]["value"] == "+4799900001"
    assert norway.http.get("/Patient").status_code == 400


def test_capabilities_are_told(norway: Installation) -> None:
    assert norway.get("/metadata")["fhirVersion"] == "4.0.1"
    told = norway.get("/$wof-capabilities")
    assert told["resourceType"] == "Basic"
    assert told["extension"][0]["url"].endswith("wofconnect-characteristic")
