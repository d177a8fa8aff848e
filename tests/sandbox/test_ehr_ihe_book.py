"""`$book` of the IHE dialect: create, modify and cancel, and every way it says no."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from integrations.sandbox.world_no import NORWAY
from tests.sandbox.conftest import NIN, Installation
from tests.sandbox.test_ehr_ihe_find import SYSTEM, find

NUMBERS = "https://portal.example/bookings"


def order(proposal: dict[str, Any], number: str = "B1", value: str = "13815512300", **more: Any) -> dict[str, Any]:
    patient = {"actor": {"identifier": {"system": NIN, "value": value}}, "status": "accepted"}
    numbered = [*proposal["identifier"], {"system": NUMBERS, "value": number}]
    taking_part = [*proposal["participant"], patient]
    return {**proposal, "status": "pending", "identifier": numbered, "participant": taking_part, **more}


def parameters(appointment: dict[str, Any], name: str = "appointment-resource", *more: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": name, "resource": appointment}, *more]}


def post(ehr: Installation, appointment: dict[str, Any], *more: Any, **options: Any) -> httpx2.Response:
    return ehr.http.post("/Appointment/$book", json=parameters(appointment, "appointment-resource", *more), **options)


def booked(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found = [each["resource"] for each in answer.json()["entry"]]
    appointments = [each for each in found if each["resourceType"] == "Appointment"]
    assert len(appointments) == 1
    return appointments[0]


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["resourceType"] == "Bundle" and len(body["entry"]) == 1
    return answer.status_code, body["entry"][0]["resource"]["issue"][0]["code"]


def moved(appointment: dict[str, Any], minutes: int, **more: Any) -> dict[str, Any]:
    shift = timedelta(minutes=minutes)
    span = {name: (datetime.fromisoformat(appointment[name]) + shift).isoformat() for name in ("start", "end")}
    return {**appointment, **span, **more}


def movable(ehr: Installation) -> dict[str, Any]:
    """A skin check whose practitioner is free for a quarter of an hour more."""
    proposals = find(ehr, "B544:E472", **{"visit-type": f"{SYSTEM}|skin-check", "_count": "500"})
    starts = {each["start"] for each in proposals}
    return next(each for each in proposals if moved(each, 15)["start"] in starts)


def test_a_proposal_becomes_a_booked_appointment_that_can_be_found_again(norway: Installation) -> None:
    appointment = booked(post(norway, order(find(norway)[0]), {"name": "comment", "valueString": "Vondt i kneet"}))
    assert appointment["status"] == "booked" and appointment["comment"] == "Vondt i kneet"
    assert norway.get(f"/Appointment/{appointment['id']}") == appointment
    for asked in (
        {"patient.identifier": f"{NIN}|13815512300", "date": ["ge2026-12-07", "lt2026-12-14"]},
        {"identifier": f"{NUMBERS}|B1"},
        {"patient.identifier": f"{NIN}|13815512300", "status": "booked"},
        {"_lastUpdated": "gt2026-11-30T00:00:00Z"},
    ):
        assert norway.get("/Appointment", params=asked)["total"] == 1, asked
        assert norway.http.post("/Appointment/_search", data=asked).json()["total"] == 1
        assert norway.http.post("/Appointment", data=asked).json()["total"] == 1
    for asked in ({"patient.identifier": f"{NIN}|1"}, {"date": "lt2026-12-07"}, {"status": "cancelled"}):
        assert norway.get("/Appointment", params=asked)["total"] == 0, asked


def test_a_booked_appointment_tells_what_a_patient_may_change(norway: Installation) -> None:
    appointment = booked(post(norway, order(find(norway)[0])))
    urls = [each["url"].rpartition("/")[2] for each in appointment["extension"]]
    assert urls == ["activity-definition-reference", "wofconnect-characteristic", "wofconnect-appointment-update"]
    inner = appointment["extension"][1]["extension"][0]["extension"]
    assert {"url": "minChangeHours", "valueInteger": 24} in inner


def test_a_booked_time_is_no_longer_proposed(norway: Installation) -> None:
    proposal = find(norway)[0]
    booked(post(norway, order(proposal)))
    span = proposal["start"], proposal["end"]
    assert all(each["end"] <= span[0] or each["start"] >= span[1] for each in find(norway))


def test_a_taken_time_is_a_conflict_and_the_bundle_holds_only_the_outcome(norway: Installation) -> None:
    proposal = find(norway)[0]
    booked(post(norway, order(proposal)))
    assert refusal(post(norway, order(proposal, number="B2"))) == (409, "conflict")


def test_a_booking_number_is_used_once_and_again_after_cancelling(norway: Installation) -> None:
    first, *_, other = find(norway)
    appointment = booked(post(norway, order(first)))
    assert refusal(post(norway, order(other))) == (409, "conflict")
    booked(post(norway, {**appointment, "status": "cancelled"}))
    booked(post(norway, order(other)))


async def test_one_of_thirty_patients_gets_the_time(norway: Installation) -> None:
    proposal = find(norway)[0]
    async with httpx2.AsyncClient(base_url=norway.url, timeout=5) as http:
        bodies = [parameters(order(proposal, f"B{number}", f"{number:011}")) for number in range(30)]
        answers = await asyncio.gather(*(http.post("/Appointment/$book", json=body) for body in bodies))
    assert sorted(each.status_code for each in answers) == [200] + [409] * 29
    assert norway.get("/Appointment", params={"status": "booked"})["total"] == 1


def test_a_visit_of_45_minutes_moves_by_15_and_keeps_its_id(norway: Installation) -> None:
    proposal = movable(norway)
    appointment = booked(post(norway, order(proposal)))
    changed = booked(post(norway, moved(appointment, 15)))
    assert changed["id"] == appointment["id"] and changed["status"] == "booked"
    assert changed["start"] == moved(proposal, 15)["start"]
    assert changed["extension"][-1]["extension"][0] == {"url": "webReschedulingCount", "valueInteger": 1}
    free_again = {each["start"] for each in find(norway, _count="500", **{"visit-type": f"{SYSTEM}|travel-advice"})}
    assert appointment["start"] not in free_again


def test_a_visit_moves_to_another_practitioner(norway: Installation) -> None:
    code = {"visit-type": f"{SYSTEM}|consultation"}
    appointment = booked(post(norway, order(find(norway, **code)[0])))
    other = find(norway, "B544:E473", **code)[3]
    patient = appointment["participant"][-1]
    sent = {
        **appointment,
        "start": other["start"],
        "end": other["end"],
        "participant": [*other["participant"], patient],
    }
    changed = booked(post(norway, sent))
    assert changed["id"] == appointment["id"]
    assert appointment["start"] in {each["start"] for each in find(norway, **code)}


def test_a_move_to_a_taken_time_changes_nothing(norway: Installation) -> None:
    first, *_, last = find(norway, **{"visit-type": f"{SYSTEM}|consultation"})
    booked(post(norway, order(last, "B1")))
    appointment = booked(post(norway, order(first, "B2")))
    wanted = {**appointment, "start": last["start"], "end": last["end"]}
    assert refusal(post(norway, wanted)) == (409, "conflict")
    assert norway.get(f"/Appointment/{appointment['id']}") == appointment


def test_cancelling_frees_the_time_and_may_be_repeated(norway: Installation) -> None:
    proposal = find(norway)[0]
    appointment = booked(post(norway, order(proposal)))
    for _ in range(2):
        cancelled = booked(post(norway, {**appointment, "status": "cancelled"}))
        assert cancelled["status"] == "cancelled"
    assert find(norway)[0] == proposal
    assert refusal(post(norway, moved(appointment, 15))) == (409, "business-rule")


def test_the_chair_or_device_must_come_back_untouched(norway: Installation) -> None:
    proposal = find(norway, "B560:E602")[0]
    without = {name: value for name, value in order(proposal).items() if name != "supportingInformation"}
    assert refusal(post(norway, without)) == (422, "required")
    booked(post(norway, order(proposal)))


@pytest.mark.parametrize("forbidden", ["cancelationReason", "slot", "minutesDuration", "priority"])
def test_what_the_profile_forbids_is_refused(norway: Installation, forbidden: str) -> None:
    value: Any = [{"reference": "Slot/1"}] if forbidden == "slot" else 1
    assert refusal(post(norway, order(find(norway)[0], **{forbidden: value}))) == (422, "structure")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"start": "2026-12-07"}, 400),
        ({"start": 5}, 400),
        ({"participant": []}, 422),
        ({"participant": [{"actor": {"reference": "PractitionerRole/nobody"}}]}, 422),
        ({"serviceType": [{"coding": [{"system": SYSTEM, "code": "psychology"}]}]}, 422),
        ({"serviceType": "consultation"}, 400),
        ({"identifier": [{"system": "x"}]}, 422),
        ({"status": "booked"}, 404),
        ({"status": "proposed"}, 422),
        ({"end": "2026-12-07T00:00:00Z"}, 422),
    ],
)
def test_malformed_orders_are_refused_and_never_a_server_error(
    norway: Installation, change: dict[str, Any], status: int
) -> None:
    answer = post(norway, order(find(norway)[0], **change))
    assert refusal(answer)[0] == status


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"resourceType": "Parameters"}', b'{"resourceType":"Parameters","parameter":[1]}']
)
def test_a_body_that_is_no_order_is_400(norway: Installation, body: bytes) -> None:
    assert refusal(norway.http.post("/Appointment/$book", content=body))[0] == 400


def test_without_a_patient_nothing_is_booked(norway: Installation) -> None:
    proposal = find(norway)[0]
    assert refusal(post(norway, {**proposal, "status": "pending"})) == (422, "required")


def test_the_patient_resource_is_kept_with_its_telephone(norway: Installation) -> None:
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": NIN, "value": "41815512345"}],
        "name": [{"text": "Ola Nordmann"}],
        "telecom": [{"system": "phone", "value": "+4799900002"}],
    }
    proposal = {**find(norway)[0], "status": "pending"}
    appointment = booked(post(norway, proposal, {"name": "patient-resource", "resource": patient}))
    assert appointment["participant"][-1]["actor"]["identifier"]["value"] == "41815512345"
    found = norway.get("/Patient", params={"identifier": f"{NIN}|41815512345"})
    assert found["entry"][0]["resource"]["telecom"] == patient["telecom"]


def test_the_name_of_the_parameter_and_the_older_status_are_options(start: Callable[..., Installation]) -> None:
    older = start(NORWAY, book_parameter="appointment", accepts_proposed=True)
    appointment = order(find(older)[0], status="proposed")
    assert refusal(post(older, appointment)) == (400, "required")
    booked(older.http.post("/Appointment/$book", json=parameters(appointment, "appointment")))


def test_a_change_for_another_patient_is_refused(norway: Installation) -> None:
    appointment = booked(post(norway, order(find(norway)[0])))
    other = order({**appointment, "participant": appointment["participant"][:2]}, value="1", status="booked")
    assert refusal(post(norway, other)) == (422, "invariant")


def test_staff_book_by_telephone_and_cancel_without_telling(norway: Installation) -> None:
    proposal = find(norway, **{"visit-type": f"{SYSTEM}|consultation"})[0]
    call = {"role": "B544:E472", "start": proposal["start"], "minutes": 30, "patient": {"system": NIN, "value": "7"}}
    answer = norway.http.post("/_sandbox/phone-bookings", json=call)
    assert answer.status_code == 201
    assert norway.http.post("/_sandbox/phone-bookings", json=call).status_code == 409
    assert refusal(post(norway, order(proposal))) == (409, "conflict")
    assert norway.get("/Appointment", params={"patient.identifier": f"{NIN}|7"})["total"] == 1
    norway.http.post(f"/_sandbox/appointments/{answer.json()['id']}/cancel")
    assert norway.get("/Appointment", params={"patient.identifier": f"{NIN}|7", "status": "cancelled"})["total"] == 1
    booked(post(norway, order(proposal)))


def test_a_patient_can_change_and_cancel_what_staff_booked_by_telephone(norway: Installation) -> None:
    first, *_, last = find(norway, "B560:E602", **{"visit-type": f"{SYSTEM}|skin-check"})
    call = {"role": "B560:E602", "start": first["start"], "minutes": 45, "patient": {"system": NIN, "value": "7"}}
    visit = norway.http.post("/_sandbox/phone-bookings", json=call).json()
    changed = booked(post(norway, {**visit, "start": last["start"], "end": last["end"]}))
    assert (changed["id"], changed["start"]) == (visit["id"], last["start"])
    assert booked(post(norway, {**changed, "status": "cancelled"}))["status"] == "cancelled"


def test_a_cancellation_by_staff_can_be_read_and_not_undone(norway: Installation) -> None:
    visit = booked(post(norway, order(find(norway)[0])))
    norway.http.post(f"/_sandbox/appointments/{visit['id']}/cancel")
    now = norway.get(f"/Appointment/{visit['id']}")
    assert now["status"] == "cancelled"
    assert {"url": "canBeCancelled", "valueBoolean": False} in now["extension"][-1]["extension"]
    assert refusal(post(norway, visit)) == (409, "business-rule")


def test_a_restart_keeps_bookings_and_patients(start: Callable[..., Installation], tmp_path: Path) -> None:
    before = start(NORWAY, state=tmp_path / "norway.json")
    proposal = find(before)[0]
    appointment = booked(post(before, order(proposal)))
    before.stop()
    after = start(NORWAY, state=tmp_path / "norway.json")
    assert after.get(f"/Appointment/{appointment['id']}") == appointment
    assert refusal(post(after, order(proposal, "B2"))) == (409, "conflict")
    booked(post(after, {**appointment, "status": "cancelled"}))
    assert find(after)[0] == proposal


def test_a_search_by_an_unknown_parameter_is_refused(norway: Installation) -> None:
    assert norway.http.get("/Appointment", params={"patient.identifer": "x"}).status_code == 400
