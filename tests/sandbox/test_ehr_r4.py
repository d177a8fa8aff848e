"""Slots, Appointments and Patients of the plain R4 dialect, by plain HTTP."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from integrations.sandbox.world_se import SWEDEN
from tests.sandbox.conftest import Installation

SYSTEM = "https://sandbox.example/treatments"
NUMBERS = "https://portal.example/bookings"
PNR = "urn:oid:1.2.752.129.2.1.3.1"
WEEK = [("start", "ge2026-12-07T00:00:00Z"), ("start", "lt2026-12-14T00:00:00Z")]
FREE = [*WEEK, ("status", "free"), ("_sort", "start"), ("_count", "1000")]
ALL = ",".join(f"Schedule/{role.schedule}" for role in SWEDEN.roles)


def slots(ehr: Installation, *asked: tuple[str, str], schedule: str = "Schedule/sk11") -> list[dict[str, Any]]:
    body = ehr.get("/Slot", params=[("schedule", schedule), *(asked or FREE)])
    return [each["resource"] for each in body.get("entry", [])]


def of(code: str) -> tuple[str, str]:
    return ("service-type", f"{SYSTEM}|{code}")


def put(
    ehr: Installation, slot: dict[str, Any], status: str, number: str | None = "B1", **headers: str
) -> httpx2.Response:
    body = {name: value for name, value in slot.items() if name != "identifier"} | {"status": status}
    if number and status != "free":
        body["identifier"] = [{"system": NUMBERS, "value": number}]
    sent = {"If-Match": f'W/"{slot["meta"]["versionId"]}"', **headers}
    return ehr.http.put(f"/Slot/{slot['id']}", json=body, headers=sent)


def appointment(slot: dict[str, Any], number: str = "B1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "identifier": [{"system": NUMBERS, "value": number}],
        "slot": [{"reference": f"Slot/{slot['id']}"}],
        "start": slot["start"],
        "end": slot["end"],
        "participant": [
            {"actor": {"reference": "PractitionerRole/pr11"}, "status": "accepted"},
            {"actor": {"identifier": {"system": PNR, "value": "191212121212"}}, "status": "accepted"},
        ],
        **more,
    }


def neighbours(ehr: Installation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two free skin checks of one Schedule, a quarter of an hour apart."""
    found = slots(ehr, *FREE, of("skin-check"))
    for one, two in pairwise(found):
        gap = datetime.fromisoformat(two["start"]) - datetime.fromisoformat(one["start"])
        if gap == timedelta(minutes=15):
            return one, two
    raise AssertionError("No two neighbouring times")


def test_free_slots_have_the_length_of_their_treatment_and_a_version(sweden: Installation) -> None:
    found = slots(sweden)
    minutes = {each.code: each.minutes for each in SWEDEN.treatments}
    for each in found:
        span = datetime.fromisoformat(each["end"]) - datetime.fromisoformat(each["start"])
        assert span == timedelta(minutes=minutes[each["serviceType"][0]["coding"][0]["code"]])
        assert each["status"] == "free" and each["meta"]["versionId"] == "1"
        assert len(each["id"]) <= 64 and each["id"].replace("-", "").isalnum()
    assert [each["start"] for each in found] == sorted(each["start"] for each in found)
    assert sweden.get(f"/Slot/{found[0]['id']}") == found[0]


def test_a_schedule_without_its_type_finds_nothing_in_silence(sweden: Installation) -> None:
    assert slots(sweden, schedule="sk11") == []


def test_a_bare_day_finds_nothing_in_silence(sweden: Installation) -> None:
    assert slots(sweden, ("start", "2026-12-07"), ("status", "free")) == []


@pytest.mark.parametrize(
    "asked", [("colour", "red"), ("start", "ge2026-12-07T08:00:00 01:00"), ("_count", "-1"), ("_offset", "10001")]
)
def test_what_is_not_understood_is_400(sweden: Installation, asked: tuple[str, str]) -> None:
    answer = sweden.http.get("/Slot", params=[("schedule", "Schedule/sk11"), asked])
    assert answer.status_code == 400 and answer.json()["resourceType"] == "OperationOutcome"


def test_slots_come_twenty_at_a_time_and_never_more_than_a_thousand(sweden: Installation) -> None:
    assert len(slots(sweden, *WEEK)) == 20
    assert len(slots(sweden, ("_count", "5000"), schedule=ALL)) == 1000


def test_pages_lead_to_every_slot_once(sweden: Installation) -> None:
    page = sweden.get("/Slot", params=[("schedule", ALL), *FREE[:-1], ("_count", "200")])
    found: list[str] = []
    while True:
        found += [each["resource"]["id"] for each in page["entry"]]
        following = [each["url"] for each in page["link"] if each["relation"] == "next"]
        if not following:
            break
        page = sweden.get(following[0])
    assert len(found) == len(set(found)) == page["total"] > 400


def test_a_month_of_twelve_schedules_can_be_asked_for_at_once(sweden: Installation) -> None:
    twelve = ",".join(ALL.split(",")[:12])
    month = [("start", "ge2026-12-05T00:00:00Z"), ("start", "lt2027-01-05T00:00:00Z")]
    body = sweden.get("/Slot", params=[("schedule", twelve), *month, ("status", "free"), of("consultation"), FREE[-1]])
    assert body["total"] > 500


def test_statuses_can_be_asked_together(sweden: Installation) -> None:
    both = slots(sweden, *WEEK, ("status", "free,busy"), ("_count", "1000"))
    assert {each["status"] for each in both} == {"free", "busy"}
    assert len(both) > len(slots(sweden)) > 0


def test_taking_a_slot_makes_every_overlapping_one_busy_without_an_identifier(sweden: Installation) -> None:
    slot, other = neighbours(sweden)
    taken = put(sweden, slot, "busy", comment="x")
    assert taken.status_code == 200
    assert taken.json()["identifier"][0]["value"] == "B1"
    assert taken.headers["etag"] == f'W/"{taken.json()["meta"]["versionId"]}"'
    after = sweden.get(f"/Slot/{other['id']}")
    assert after["status"] == "busy" and "identifier" not in after
    assert int(after["meta"]["versionId"]) > int(other["meta"]["versionId"])
    held = sweden.get("/Slot", params={"identifier": f"{NUMBERS}|B1"})
    assert [each["resource"]["id"] for each in held["entry"]] == [slot["id"]]


def test_somebody_faster_means_412(sweden: Installation) -> None:
    slot, other = neighbours(sweden)
    assert put(sweden, slot, "busy").status_code == 200
    assert put(sweden, slot, "busy", "B2").status_code == 412
    assert put(sweden, other, "busy", "B2").status_code == 412


def test_an_occupied_slot_is_refused_with_its_newest_version_too(sweden: Installation) -> None:
    slot, other = neighbours(sweden)
    assert put(sweden, slot, "busy").status_code == 200
    for each in (slot, other):
        fresh = sweden.get(f"/Slot/{each['id']}")
        answer = put(sweden, fresh, "busy", "B2")
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (409, "conflict")
        assert put(sweden, fresh, "busy", None).status_code == 409


def test_a_45_minute_visit_moves_by_15_under_the_same_booking_number(sweden: Installation) -> None:
    slot, later = neighbours(sweden)
    assert put(sweden, slot, "busy").status_code == 200
    assert put(sweden, sweden.get(f"/Slot/{later['id']}"), "busy").status_code == 200
    freed = put(sweden, sweden.get(f"/Slot/{slot['id']}"), "free")
    assert freed.status_code == 200
    assert freed.json()["status"] == "busy" and "identifier" not in freed.json()
    assert sweden.get(f"/Slot/{later['id']}")["identifier"][0]["value"] == "B1"


def test_freeing_removes_the_identifier_and_frees_the_time(sweden: Installation) -> None:
    slot, other = neighbours(sweden)
    held = put(sweden, {**slot, "comment": "Ring på"}, "busy-tentative").json()
    assert (held["status"], held["comment"]) == ("busy-tentative", "Ring på")
    assert sweden.get(f"/Slot/{other['id']}")["status"] == "busy"
    sure = put(sweden, held, "busy").json()
    assert sure["status"] == "busy"
    freed = put(sweden, sure, "free").json()
    assert freed["status"] == "free" and "identifier" not in freed
    assert sweden.get(f"/Slot/{other['id']}")["status"] == "free"


@pytest.mark.parametrize("given", ["1", "W/1", '"1"', "*"])
def test_a_malformed_if_match_is_400(sweden: Installation, given: str) -> None:
    slot = slots(sweden)[0]
    assert put(sweden, slot, "busy", **{"If-Match": given}).status_code == 400
    assert sweden.get(f"/Slot/{slot['id']}")["status"] == "free"


def test_a_slot_is_not_written_without_if_match(sweden: Installation) -> None:
    slot = slots(sweden)[0]
    assert sweden.http.put(f"/Slot/{slot['id']}", json={**slot, "status": "busy"}).status_code == 400


@pytest.mark.parametrize(
    "slot_id",
    ["sk11-consultation-20261207T0001Z", "sk99-consultation-20261207T0900Z", "x", "sk11-consultation-99999999T9999Z"],
)
def test_no_slot_appears_where_the_calendar_has_none(sweden: Installation, slot_id: str) -> None:
    assert sweden.http.get(f"/Slot/{slot_id}").status_code == 404
    body = {**slots(sweden)[0], "id": slot_id, "status": "busy"}
    assert sweden.http.put(f"/Slot/{slot_id}", json=body, headers={"If-Match": 'W/"1"'}).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"status": "gone"},
        {"start": "2026-12-07T03:00:00Z"},
        {"schedule": {"reference": "Schedule/sk12"}},
        {"id": "x"},
        {"identifier": [1]},
    ],
)
def test_a_slot_that_does_not_fit_its_address_is_400(sweden: Installation, change: dict[str, Any]) -> None:
    slot = slots(sweden)[0]
    body = {**slot, "status": "busy", **change}
    assert sweden.http.put(f"/Slot/{slot['id']}", json=body, headers={"If-Match": 'W/"1"'}).status_code == 400


async def test_one_of_thirty_patients_takes_the_slot(sweden: Installation) -> None:
    slot = slots(sweden)[0]

    async def race(http: httpx2.AsyncClient, number: int) -> int:
        body = {**slot, "status": "busy", "identifier": [{"system": NUMBERS, "value": f"B{number}"}]}
        answer = await http.put(f"/Slot/{slot['id']}", json=body, headers={"If-Match": 'W/"1"'})
        return answer.status_code

    async with httpx2.AsyncClient(base_url=sweden.url, timeout=5) as http:
        answers = await asyncio.gather(*(race(http, number) for number in range(30)))
    assert sorted(answers) == [200] + [412] * 29


def test_an_appointment_is_created_once_and_leaves_its_slot_alone(sweden: Installation) -> None:
    slot = slots(sweden)[0]
    for condition in (f"identifier={NUMBERS}|B1", f"identifier={quote(f'{NUMBERS}|B1', safe='')}"):
        answer = sweden.http.post("/Appointment", json=appointment(slot), headers={"If-None-Exist": condition})
        assert answer.status_code == (201 if "|" in condition else 200)
    assert sweden.get("/Appointment", params={"identifier": f"{NUMBERS}|B1"})["total"] == 1
    assert sweden.get(f"/Slot/{slot['id']}") == slot
    assert sweden.http.post("/Appointment", json=appointment(slot)).status_code == 201
    both = sweden.http.post(
        "/Appointment", json=appointment(slot), headers={"If-None-Exist": f"identifier={NUMBERS}|B1"}
    )
    assert both.status_code == 412


def test_an_appointment_changes_only_under_its_version(sweden: Installation) -> None:
    slot = slots(sweden)[0]
    put(sweden, slot, "busy")
    created = sweden.http.post("/Appointment", json=appointment(slot)).json()
    cancelled = {**created, "status": "cancelled"}
    path = f"/Appointment/{created['id']}"
    assert sweden.http.put(path, json=cancelled, headers={"If-Match": 'W/"7"'}).status_code == 412
    assert sweden.http.put(path, json=cancelled, headers={"If-Match": "1"}).status_code == 400
    answer = sweden.http.put(path, json=cancelled, headers={"If-Match": 'W/"1"'})
    assert answer.json()["meta"]["versionId"] == "2"
    assert sweden.get(path)["status"] == "cancelled"
    assert sweden.get(f"/Slot/{slot['id']}")["status"] == "busy"
    assert sweden.http.put("/Appointment/none", json={**created, "id": "none"}).status_code == 404


def test_appointments_are_found_by_patient_practitioner_slot_and_day(sweden: Installation) -> None:
    patient = sweden.http.post(
        "/Patient", json={"resourceType": "Patient", "identifier": [{"system": PNR, "value": "191212121212"}]}
    ).json()
    slot = slots(sweden)[0]
    sweden.http.post("/Appointment", json=appointment(slot))
    by_reference = [{"actor": {"reference": f"Patient/{patient['id']}"}, "status": "accepted"}]
    sweden.http.post("/Appointment", json=appointment(slots(sweden)[9], "B2", participant=by_reference))
    for asked, total in (
        ({"patient.identifier": f"{PNR}|191212121212"}, 2),
        ({"patient": patient["id"]}, 1),
        ({"actor": "PractitionerRole/pr11"}, 1),
        ({"slot": f"Slot/{slot['id']}"}, 1),
        ({"date": ["ge2026-12-07T00:00:00Z", "lt2026-12-14T00:00:00Z"], "status": "booked,cancelled"}, 2),
        ({"date": "lt2026-12-07"}, 0),
    ):
        assert sweden.get("/Appointment", params=asked)["total"] == total, asked


@pytest.mark.parametrize(
    "change", [{"status": "maybe"}, {"participant": []}, {"start": None}, {"participant": [{"actor": 1}]}]
)
def test_a_malformed_appointment_is_400(sweden: Installation, change: dict[str, Any]) -> None:
    assert sweden.http.post("/Appointment", json=appointment(slots(sweden)[0], **change)).status_code == 400


def test_a_patient_exists_once_per_identifier(sweden: Installation) -> None:
    body = {
        "resourceType": "Patient",
        "identifier": [{"system": PNR, "value": "191212121212"}],
        "birthDate": "1912-12-12",
    }
    condition = {"If-None-Exist": f"identifier={PNR}|191212121212"}
    first = sweden.http.post("/Patient", json=body, headers=condition)
    again = sweden.http.post("/Patient", json={**body, "birthDate": "1900-01-01"}, headers=condition)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    later = sweden.http.post("/Patient", json={**body, "gender": "male"})
    assert (later.status_code, later.json()["id"], later.json()["gender"]) == (200, first.json()["id"], "male")
    assert sweden.get("/Patient", params={"identifier": f"{PNR}|191212121212"})["total"] == 1


def test_the_catalogue_is_searched_and_read(sweden: Installation) -> None:
    totals = {"Schedule": 13, "PractitionerRole": 13, "Practitioner": 13, "HealthcareService": 4, "Location": 4}
    for kind, total in (totals | {"ActivityDefinition": 12, "Organization": 1}).items():
        page = sweden.get(f"/{kind}", params={"_count": "3"})
        assert page["total"] == total
        first = page["entry"][0]["resource"]
        assert sweden.get(f"/{kind}/{first['id']}") == first
        assert sweden.get(f"/{kind}", params={"_id": first["id"]})["total"] == 1
        assert any(each["relation"] == "next" for each in page["link"]) == (total > 3)
    assert sweden.get("/Schedule", params={"actor": "HealthcareService/hs-sthlm-nacka"})["total"] == 3
    actors = [each["reference"] for each in sweden.get("/Schedule/sk11")["actor"]]
    assert actors == ["PractitionerRole/pr11", "HealthcareService/hs-sthlm-vasastan", "Location/loc-sthlm-vasastan"]


def test_staff_take_and_free_times_without_telling(sweden: Installation) -> None:
    slot, other = neighbours(sweden)
    call = {"role": "pr11", "start": slot["start"], "minutes": 45}
    booked = sweden.http.post("/_sandbox/phone-bookings", json=call).json()
    assert {sweden.get(f"/Slot/{each['id']}")["status"] for each in (slot, other)} == {"busy"}
    assert put(sweden, slot, "busy").status_code == 412
    sweden.http.post(f"/_sandbox/appointments/{booked['id']}/cancel")
    assert {sweden.get(f"/Slot/{each['id']}")["status"] for each in (slot, other)} == {"free"}


def test_staff_cancel_a_portal_booking_and_free_its_slot(sweden: Installation) -> None:
    slot = slots(sweden)[0]
    put(sweden, slot, "busy")
    created = sweden.http.post("/Appointment", json=appointment(slot)).json()
    answer = sweden.http.post(f"/_sandbox/appointments/{created['id']}/cancel").json()
    assert (answer["status"], answer["meta"]["versionId"]) == ("cancelled", "2")
    assert sweden.get(f"/Slot/{slot['id']}")["status"] == "free"


def test_a_restart_keeps_slots_with_their_versions(start: Callable[..., Installation], tmp_path: Path) -> None:
    before = start(SWEDEN, state=tmp_path / "sweden.json")
    slot = slots(before)[0]
    taken = put(before, {**slot, "comment": "Ring på"}, "busy").json()
    created = before.http.post("/Appointment", json=appointment(slot)).json()
    before.stop()
    after = start(SWEDEN, state=tmp_path / "sweden.json")
    assert after.get(f"/Slot/{slot['id']}") == taken
    assert after.get(f"/Appointment/{created['id']}") == created
    assert put(after, slot, "busy", "B2").status_code == 412


def test_a_time_that_has_begun_cannot_be_taken(start: Callable[..., Installation]) -> None:
    clock = [datetime(2026, 12, 7, 5, tzinfo=UTC)]
    ehr = start(SWEDEN, now=lambda: clock[0])
    slot = slots(ehr)[0]
    clock[0] = datetime.fromisoformat(slot["start"]) + timedelta(minutes=1)
    assert ehr.get(f"/Slot/{slot['id']}")["status"] == "busy-unavailable"
    assert put(ehr, slot, "busy").status_code == 409
    assert slot["id"] not in {each["id"] for each in slots(ehr)}
