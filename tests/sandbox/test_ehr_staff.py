"""Clinic staff close, move and finish without asking; with `silent` not even a subscriber is told."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from integrations.sandbox.world_no import NORWAY
from tests.sandbox.conftest import Installation
from tests.sandbox.receiving import Receiver, receiving, subscribed, subscription
from tests.sandbox.test_ehr_ihe_book import booked, movable, order, parameters, post, refusal
from tests.sandbox.test_ehr_ihe_find import find
from tests.sandbox.test_ehr_r4 import appointment, neighbours, put, slots
from tests.sandbox.test_ehr_subscriptions import quarters, ring


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def staff(ehr: Installation, path: str, **body: Any) -> httpx2.Response:
    return ehr.http.post(f"/_sandbox/{path}", json=body)


def move(ehr: Installation, visit: dict[str, Any], **body: Any) -> httpx2.Response:
    return staff(ehr, f"appointments/{visit['id']}/move", **body)


def later(text: str, minutes: int) -> str:
    return (datetime.fromisoformat(text) + timedelta(minutes=minutes)).isoformat()


def roles(ehr: Installation) -> list[dict[str, Any]]:
    return [each["resource"] for each in ehr.get("/PractitionerRole", params={"_count": "100"})["entry"]]


def codes(*concepts: dict[str, Any]) -> list[str]:
    return [each["coding"][0]["code"] for each in concepts]


def slot_booked(ehr: Installation, slot: dict[str, Any], number: str = "B1") -> dict[str, Any]:
    assert put(ehr, slot, "busy", number).status_code == 200
    return ehr.http.post("/Appointment", json=appointment(slot, number)).json()


def test_closed_time_is_offered_no_more_until_it_is_opened(norway: Installation) -> None:
    before = [each["start"] for each in find(norway)]
    answer = staff(norway, "closures", role="B544:E472", start=before[0], minutes=15)
    assert answer.status_code == 201
    assert before[0] not in [each["start"] for each in find(norway)]
    assert norway.get("/Appointment")["total"] == 0
    path = f"/_sandbox/closures/{answer.json()['id']}"
    assert norway.http.delete(path).status_code == 204
    assert [each["start"] for each in find(norway)] == before
    assert norway.http.delete(path).status_code == 404


def test_closed_slots_are_unavailable_and_cannot_be_taken_or_freed(sweden: Installation) -> None:
    slot, other = neighbours(sweden)
    staff(sweden, "closures", role="pr11", start=slot["start"], minutes=60)
    assert put(sweden, slot, "busy").status_code == 412
    for each in (slot, other):
        fresh = sweden.get(f"/Slot/{each['id']}")
        assert fresh["status"] == "busy-unavailable" and "identifier" not in fresh
        assert put(sweden, fresh, "busy").status_code == put(sweden, fresh, "free").status_code == 409


def test_a_whole_day_can_be_closed_with_visits_in_it(sweden: Installation) -> None:
    slot = slots(sweden)[0]
    visit = slot_booked(sweden, slot)
    day = slot["start"][:10]
    answer = staff(sweden, "closures", role="pr11", start=f"{day}T06:00:00+01:00", minutes=14 * 60)
    assert answer.status_code == 201
    assert not [each for each in slots(sweden) if each["start"].startswith(day)]
    assert sweden.get(f"/Appointment/{visit['id']}")["status"] == "booked"
    assert sweden.get(f"/Slot/{slot['id']}")["status"] == "busy"


@pytest.mark.parametrize(
    "change",
    [{"role": "nobody"}, {"start": "soon"}, {"minutes": 0}, {"minutes": 1441}, {"silent": "yes"}, {"minutes": 1200}],
    ids=str,
)
def test_a_closure_that_makes_no_sense_is_400(sweden: Installation, change: dict[str, Any]) -> None:
    asked = {"role": "pr11", "start": "2026-12-07T12:00:00+01:00", "minutes": 30, **change}
    assert staff(sweden, "closures", **asked).status_code == 400


def test_a_visit_moves_with_its_time(norway: Installation) -> None:
    visit = booked(post(norway, order(movable(norway))))
    to = later(visit["start"], 15)
    moved = move(norway, visit, start=to)
    assert moved.status_code == 200
    after = moved.json()
    assert (after["start"], after["meta"]["versionId"], after["status"]) == (to, "2", "booked")
    assert norway.get(f"/Appointment/{visit['id']}") == after
    counted = [each for each in after["extension"] if each["url"].endswith("appointment-update")]
    assert {"url": "webReschedulingCount", "valueInteger": 0} in counted[0]["extension"]
    # The first quarter of an hour is free again, and no more than that.
    assert staff(norway, "phone-bookings", role="B544:E472", start=visit["start"], minutes=15).status_code == 201
    assert staff(norway, "phone-bookings", role="B544:E472", start=to, minutes=15).status_code == 409


def test_a_visit_does_not_move_where_somebody_is(norway: Installation) -> None:
    visit = booked(post(norway, order(movable(norway))))
    to = later(visit["start"], 15)
    staff(norway, "closures", role="B544:E472", start=later(visit["end"], 0), minutes=15)
    assert move(norway, visit, start=to).status_code == 409
    assert norway.get(f"/Appointment/{visit['id']}") == visit


def test_the_slot_taken_under_its_number_moves_along(sweden: Installation) -> None:
    slot, to = neighbours(sweden)
    visit = slot_booked(sweden, slot)
    after = move(sweden, visit, start=to["start"]).json()
    assert after["slot"] == [{"reference": f"Slot/{to['id']}"}]
    assert datetime.fromisoformat(after["start"]) == datetime.fromisoformat(to["start"])
    assert sweden.get(f"/Slot/{to['id']}")["identifier"][0]["value"] == "B1"
    assert "identifier" not in sweden.get(f"/Slot/{slot['id']}")
    again = move(sweden, after, start=to["start"]).json()
    assert again["meta"]["versionId"] == "3" and sweden.get(f"/Slot/{to['id']}")["status"] == "busy"
    sweden.http.post(f"/_sandbox/appointments/{visit['id']}/cancel")
    assert {sweden.get(f"/Slot/{each['id']}")["status"] for each in (slot, to)} == {"free"}


def test_a_slot_visit_moves_only_to_a_free_slot(sweden: Installation) -> None:
    first, second = quarters(sweden, 2)
    visit = slot_booked(sweden, first)
    ring(sweden, second)
    for start in (second["start"], later(first["start"], 1)):
        assert move(sweden, visit, start=start).status_code == 409
    assert sweden.get(f"/Slot/{first['id']}")["identifier"][0]["value"] == "B1"


def test_a_visit_moves_to_another_practitioner(sweden: Installation) -> None:
    (slot, *_), others = slots(sweden), slots(sweden, schedule="Schedule/sk12")
    kind = slot["serviceType"][0]["coding"][0]["code"]
    to = next(each for each in others if each["serviceType"][0]["coding"][0]["code"] == kind)
    visit = slot_booked(sweden, slot)
    after = move(sweden, visit, start=to["start"], role="pr12").json()
    assert after["slot"] == [{"reference": f"Slot/{to['id']}"}]
    actors = [each["actor"].get("reference") for each in after["participant"]]
    assert actors[0].startswith("HealthcareService/") and "PractitionerRole/pr12" in actors
    assert "PractitionerRole/pr11" not in actors and len(actors) == 3
    assert sweden.get(f"/Slot/{slot['id']}")["status"] == "free"


def test_a_visit_does_not_move_to_somebody_who_does_not_perform_it(norway: Installation) -> None:
    visit = booked(post(norway, order(find(norway)[0])))
    (code,) = codes(visit["serviceType"][0])
    others = [each for each in roles(norway) if code not in codes(*each["specialty"])]
    assert others
    for each in others:
        assert move(norway, visit, start=visit["start"], role=each["id"]).status_code == 400
    assert norway.get(f"/Appointment/{visit['id']}") == visit


def test_a_moved_visit_gets_the_chair_of_its_new_practitioner(norway: Installation) -> None:
    chairs = {role.id: role.device for role in NORWAY.roles if role.device}
    one, other = list(chairs)[:2]
    code = next(iter(set(NORWAY.role_by_id[one].treatments) & set(NORWAY.role_by_id[other].treatments)))
    kind = {"visit-type": f"https://sandbox.example/treatments|{code}"}
    proposal, to = (find(norway, practitionerRole=f"PractitionerRole/{role}", **kind)[0] for role in (one, other))
    visit = booked(post(norway, order(proposal)))
    after = move(norway, visit, start=to["start"], role=other).json()
    assert after["supportingInformation"] == to["supportingInformation"] != visit["supportingInformation"]
    assert after["participant"][:2] == to["participant"]
    assert after["participant"][2:] == visit["participant"][2:]


def test_a_visit_ends_as_staff_note_it(norway: Installation) -> None:
    visit = booked(post(norway, order(find(norway)[0])))
    path = f"appointments/{visit['id']}/outcome"
    assert staff(norway, path, status="cancelled").status_code == 400
    answer = staff(norway, path, status="noshow")
    assert (answer.status_code, answer.json()["status"]) == (200, "noshow")
    assert staff(norway, path, status="fulfilled").status_code == 409
    assert move(norway, visit, start=later(visit["start"], 15)).status_code == 409
    # What is over cannot be cancelled any more.
    cancelled = norway.http.post("/Appointment/$book", json=parameters({**visit, "status": "cancelled"}))
    assert refusal(cancelled) == (409, "business-rule")
    assert norway.get(f"/Appointment/{visit['id']}")["status"] == "noshow"


def test_staff_know_only_what_there_is(sweden: Installation) -> None:
    for path in ("move", "outcome", "cancel"):
        body = {"start": "2026-12-07T12:00:00Z", "status": "noshow"}
        assert staff(sweden, f"appointments/none/{path}", **body).status_code == 404


def test_staff_are_heard_unless_they_are_silent(sweden: Installation, receiver: Receiver) -> None:
    subscribed(sweden, subscription(receiver, "Slot"))
    subscribed(sweden, subscription(receiver, "Appointment"))
    first, second, third = quarters(sweden, 3)
    before = slots(sweden, ("_lastUpdated", "ge2026-11-01T00:00:00Z"), ("_count", "1000"))
    quiet = ring(sweden, first, silent=True)
    staff(sweden, f"appointments/{quiet['id']}/outcome", status="noshow", silent=True)
    other = ring(sweden, second, silent=True)
    move(sweden, other, start=second["start"], silent=True)
    staff(sweden, f"appointments/{other['id']}/cancel", silent=True)
    closure = staff(sweden, "closures", role="pr11", start=second["start"], minutes=15, silent=True).json()["id"]
    sweden.http.request("DELETE", f"/_sandbox/closures/{closure}", json={"silent": True})
    assert before == [] != slots(sweden, ("_lastUpdated", "ge2026-11-01T00:00:00Z"), ("_count", "1000"))
    staff(sweden, "closures", role="pr11", start=third["start"], minutes=15)
    told = receiver.wait_for(1)
    assert all(each.json["resourceType"] == "Slot" for each in told)
    assert all(each.json["start"] < third["end"] and third["start"] < each.json["end"] for each in told)


def test_a_refusal_does_not_leave_the_clinic_silent(sweden: Installation, receiver: Receiver) -> None:
    subscribed(sweden, subscription(receiver, "Appointment"))
    first, second = quarters(sweden, 2)
    ring(sweden, first, silent=True)
    call = {"role": "pr11", "start": first["start"], "minutes": 15, "silent": True}
    assert staff(sweden, "phone-bookings", **call).status_code == 409
    visit = ring(sweden, second)
    assert receiver.wait_for(1)[0].json["id"] == visit["id"]
