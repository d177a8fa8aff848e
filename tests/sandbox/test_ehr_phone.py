"""What the clinic booked by telephone is found like anything else, and says what a patient may do with it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from integrations.sandbox.world_no import NORWAY
from tests.sandbox.conftest import NIN, Installation
from tests.sandbox.test_ehr_holds import Clock
from tests.sandbox.test_ehr_ihe_book import booked, movable, moved, order, parameters, post
from tests.sandbox.test_ehr_ihe_find import find
from tests.sandbox.test_ehr_r4 import PNR, appointment, neighbours, put

STRICT = {"minChangeHours": 48, "canBeRescheduled": False, "canBeCancelled": False}


@pytest.fixture(params=["norway", "sweden"])
def ehr(request: pytest.FixtureRequest) -> Installation:
    """An installation of each dialect."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation


def speaks_ihe(ehr: Installation) -> bool:
    return bool(ehr.get("/metadata")["instantiates"])


def rung(ehr: Installation, start: str, **more: Any) -> dict[str, Any]:
    """Somebody rings for a quarter of an hour."""
    call = {"role": "B544:E472" if speaks_ihe(ehr) else "pr11", "start": start, "minutes": 15, **more}
    answer = ehr.http.post("/_sandbox/phone-bookings", json=call)
    assert answer.status_code == 201, answer.text
    visit: dict[str, Any] = answer.json()
    return visit


def offered(ehr: Installation) -> str:
    start: str = (find(ehr) if speaks_ihe(ehr) else neighbours(ehr))[0]["start"]
    return start


def told(visit: dict[str, Any]) -> dict[str, Any]:
    """What the two extensions of the dialect say, those of the characteristic without their groups."""
    allowed, update = visit["extension"][-2:]
    parts = [*update["extension"], *(part for group in allowed["extension"] for part in group["extension"])]
    return {each["url"]: next(value for name, value in each.items() if name != "url") for each in parts}


def test_a_visit_booked_by_telephone_is_found_by_its_patient_from_a_day_on(ehr: Installation) -> None:
    start = offered(ehr)
    mine = rung(ehr, start, patient={"system": NIN, "value": "13815512300"})
    asked = {"patient.identifier": f"{NIN}|13815512300"}
    for since, total in (("2026-12-01", 1), (start[:10], 1), ("2026-12-31", 0)):
        found = ehr.get("/Appointment", params={**asked, "date": f"ge{since}"})
        assert found["total"] == total, since
        assert [each["resource"] for each in found.get("entry", [])] == [mine][:total]
    for other in ({"patient.identifier": f"{NIN}|1"}, {"patient.identifier": f"{PNR}|13815512300"}):
        assert ehr.get("/Appointment", params={**other, "date": "ge2026-12-01"})["total"] == 0


def test_every_appointment_says_when_it_was_made_and_goes_on_saying_so(ehr: Installation) -> None:
    visit = rung(ehr, offered(ehr))
    assert visit["created"] == "2026-12-01T06:00:00+00:00"
    path = f"/_sandbox/appointments/{visit['id']}"
    assert ehr.http.post(f"{path}/cancel").json()["created"] == visit["created"]


def test_an_order_says_when_it_was_made_however_often_it_is_changed(start: Callable[..., Installation]) -> None:
    clock = Clock()
    ehr = start(NORWAY, now=clock.now, holds=timedelta(hours=2))
    pending = booked(ehr.http.post("/Appointment/$hold", json=parameters(movable(ehr))))
    assert pending["created"] == "2026-12-01T06:00:00+00:00"
    clock.at += timedelta(hours=1)
    visit = booked(post(ehr, _without_created(order(pending))))
    moved_on = booked(post(ehr, _without_created(moved(visit, 15))))
    assert visit["created"] == moved_on["created"] == pending["created"]


def _without_created(appointment: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in appointment.items() if name != "created"}


def test_an_appointment_of_plain_r4_says_when_it_was_made_unless_its_author_does(sweden: Installation) -> None:
    one, two = neighbours(sweden)
    put(sweden, one, "busy")
    visit = sweden.http.post("/Appointment", json=appointment(one)).json()
    assert visit["created"] == "2026-12-01T06:00:00+00:00"
    assert (
        sweden.http.put(f"/Appointment/{visit['id']}", json=_without_created(visit)).json()["created"]
        == visit["created"]
    )
    earlier = appointment(two, "B2", created="2026-11-30")
    assert sweden.http.post("/Appointment", json=earlier).json()["created"] == "2026-11-30"


def test_a_visit_booked_by_telephone_tells_what_a_patient_may_change(norway: Installation) -> None:
    visit = rung(norway, find(norway)[0]["start"])
    usual = told(visit)
    assert {name: usual[name] for name in STRICT} == {
        "minChangeHours": 24,
        "canBeRescheduled": True,
        "canBeCancelled": True,
    }
    assert usual["webReschedulingCount"] == 0
    over = told(norway.http.post(f"/_sandbox/appointments/{visit['id']}/cancel").json())
    assert not over["canBeRescheduled"] and not over["canBeCancelled"]
    strict = told(rung(norway, find(norway)[-1]["start"], **STRICT))
    assert {name: strict[name] for name in STRICT} == STRICT


def test_what_a_patient_may_change_outlasts_a_move(norway: Installation) -> None:
    found = [each["start"] for each in find(norway)]
    visit = rung(norway, found[0], minChangeHours=48, canBeCancelled=False, patient={"system": NIN, "value": "7"})
    body = {"start": found[-1]}
    by_staff = norway.http.post(f"/_sandbox/appointments/{visit['id']}/move", json=body).json()
    generous = [each for each in by_staff["extension"] if "update" not in each["url"]]
    span = {name: visit[name] for name in ("start", "end")}
    by_patient = booked(post(norway, {**by_staff, **span, "extension": generous}))
    for now, moves in ((by_staff, 0), (by_patient, 1)):
        expected = {"minChangeHours": 48, "canBeRescheduled": True, "canBeCancelled": False}
        assert {name: told(now)[name] for name in expected} == expected
        assert told(now)["webReschedulingCount"] == moves


@pytest.mark.parametrize("terms", [{"minChangeHours": "2"}, {"minChangeHours": True}, {"canBeCancelled": 1}])
def test_terms_nobody_understands_are_refused(norway: Installation, terms: dict[str, Any]) -> None:
    call = {"role": "B544:E472", "start": find(norway)[0]["start"], "minutes": 15, **terms}
    assert norway.http.post("/_sandbox/phone-bookings", json=call).status_code == 400
    assert norway.get("/_sandbox/appointments") == []


def test_plain_r4_has_no_words_for_such_terms(sweden: Installation) -> None:
    call = {"role": "pr11", "start": neighbours(sweden)[0]["start"], "minutes": 15, "canBeCancelled": False}
    assert sweden.http.post("/_sandbox/phone-bookings", json=call).status_code == 400
