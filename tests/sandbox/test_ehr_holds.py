"""`$hold` of the IHE dialect: a time is kept for one caller, until it is booked, let go of, or over."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from tests.sandbox.conftest import NIN, TUESDAY, Installation, launch
from tests.sandbox.test_ehr_faults import fault
from tests.sandbox.test_ehr_ihe_book import NUMBERS, booked, moved, order, parameters, post, refusal
from tests.sandbox.test_ehr_ihe_find import find

KEPT = timedelta(minutes=5)
KARI = {"patient.identifier": f"{NIN}|13815512300"}


class Clock:
    """Stands still until somebody moves it."""

    def __init__(self) -> None:
        self.at: datetime = TUESDAY

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def holding(start: Callable[..., Installation], clock: Clock) -> Installation:
    """An installation that knows `$hold`."""
    return start(NORWAY, holds=KEPT, now=clock.now)


def hold(ehr: Installation, proposal: dict[str, Any], **options: Any) -> httpx2.Response:
    return ehr.http.post("/Appointment/$hold", json=parameters(proposal), **options)


def gone(answer: httpx2.Response) -> bool:
    issue = answer.json()["entry"][0]["resource"]["issue"][0]
    return len(answer.json()["entry"]) == 1 and (issue["severity"], issue["code"]) == ("fatal", "not-found")


def overlapping(ehr: Installation, proposal: dict[str, Any]) -> list[dict[str, Any]]:
    """What is still offered of a time."""
    return [each for each in find(ehr) if each["start"] < proposal["end"] and proposal["start"] < each["end"]]


def operations(ehr: Installation) -> list[str]:
    return [each["name"] for each in ehr.get("/metadata")["rest"][0]["operation"]]


def test_a_held_time_is_pending_and_offered_to_nobody(holding: Installation) -> None:
    proposal = find(holding)[0]
    pending = booked(hold(holding, proposal))
    assert pending["status"] == "pending" and pending["id"] != proposal["id"]
    assert (pending["start"], pending["participant"]) == (proposal["start"], proposal["participant"])
    assert overlapping(holding, proposal) == []
    assert holding.get(f"/Appointment/{pending['id']}") == pending
    assert holding.get("/Appointment", params={"status": "pending"})["total"] == 1
    assert holding.get("/_sandbox/appointments") == [pending]
    assert holding.get("/_sandbox/calls")["counts"]["hold"] == 1


def test_a_held_time_is_nobody_elses(holding: Installation) -> None:
    proposal = find(holding)[0]
    booked(hold(holding, proposal))
    assert refusal(post(holding, order(proposal))) == (409, "conflict")
    again = hold(holding, proposal)
    assert again.status_code == 409 and gone(again)


def test_a_time_that_is_taken_cannot_be_held(holding: Installation) -> None:
    proposal = find(holding)[0]
    booked(post(holding, order(proposal)))
    assert gone(hold(holding, proposal))
    assert holding.get("/Appointment", params={"status": "pending"})["total"] == 0


def test_a_held_time_is_booked_under_its_id(holding: Installation) -> None:
    proposal = find(holding)[0]
    pending = booked(hold(holding, proposal))
    visit = booked(post(holding, order(pending)))
    assert (visit["id"], visit["status"]) == (pending["id"], "booked")
    assert visit["meta"]["versionId"] == "2" and visit["identifier"][-1]["value"] == "B1"
    assert holding.get("/Appointment", params=KARI)["entry"][0]["resource"] == visit
    assert holding.get("/_sandbox/appointments") == [visit]
    # Sent again it finds a visit that is booked already.
    assert refusal(post(holding, order(pending))) == (422, "value")


def test_what_was_booked_stays_when_the_hold_would_have_ended(holding: Installation, clock: Clock) -> None:
    proposal = find(holding)[0]
    visit = booked(post(holding, order(booked(hold(holding, proposal)))))
    clock.at += KEPT
    assert overlapping(holding, proposal) == []
    assert holding.get(f"/Appointment/{visit['id']}") == visit


def test_a_hold_that_is_let_go_of_frees_its_time(holding: Installation) -> None:
    proposal = find(holding)[0]
    pending = booked(hold(holding, proposal))
    for _ in range(2):
        assert booked(post(holding, {**pending, "status": "cancelled"}))["status"] == "cancelled"
    assert proposal in find(holding)
    assert holding.get("/Appointment", params={"status": "pending"})["total"] == 0


def test_a_hold_that_is_over_never_was(holding: Installation, clock: Clock) -> None:
    proposal = find(holding)[0]
    pending = booked(hold(holding, proposal))
    clock.at += KEPT - timedelta(milliseconds=1)
    assert overlapping(holding, proposal) == []
    clock.at += timedelta(milliseconds=1)
    assert find(holding)[0] == proposal
    assert holding.http.get(f"/Appointment/{pending['id']}").status_code == 404
    assert holding.get("/Appointment")["total"] == 0
    assert holding.get("/_sandbox/appointments") == []
    assert refusal(post(holding, {**pending, "status": "cancelled"})) == (404, "not-found")


def test_whoever_comes_after_a_hold_that_is_over_gets_the_time(holding: Installation, clock: Clock) -> None:
    proposal = find(holding)[0]
    pending = booked(hold(holding, proposal))
    clock.at += KEPT
    # Nobody has looked at the calendar since.
    booked(hold(holding, proposal))
    assert refusal(post(holding, order(pending))) == (409, "conflict")


def test_an_order_for_a_hold_that_is_over_is_an_order_like_any_other(holding: Installation, clock: Clock) -> None:
    pending = booked(hold(holding, find(holding)[0]))
    clock.at += KEPT
    visit = booked(post(holding, order(pending)))
    assert visit["status"] == "booked" and visit["id"] != pending["id"]
    assert holding.get("/_sandbox/appointments") == [visit]


def test_each_hold_ends_by_itself(holding: Installation, clock: Clock) -> None:
    found = find(holding)
    first = booked(hold(holding, found[0]))
    clock.at += KEPT / 2
    last = booked(hold(holding, found[-1]))
    clock.at += KEPT / 2
    assert holding.get("/_sandbox/appointments") == [last]
    assert overlapping(holding, first) and not overlapping(holding, last)


def test_a_hold_moves_with_its_order_and_never_onto_somebody_elses_time(holding: Installation) -> None:
    found = find(holding)
    mine, theirs = booked(hold(holding, found[0])), booked(hold(holding, found[-1]))
    wanted = {**order(mine), "start": theirs["start"], "end": theirs["end"]}
    assert refusal(post(holding, wanted)) == (409, "conflict")
    assert holding.get(f"/Appointment/{mine['id']}") == mine
    assert overlapping(holding, mine) == []


def test_a_time_held_for_a_patient_is_that_patients(holding: Installation) -> None:
    pending = booked(hold(holding, order(find(holding)[0], status="proposed")))
    assert holding.get("/Appointment", params=KARI)["total"] == 1
    others = [each for each in pending["participant"] if "identifier" not in each["actor"]]
    somebody = order({**pending, "participant": others}, value="1")
    assert refusal(post(holding, somebody)) == (422, "invariant")
    assert booked(post(holding, {**pending, "status": "pending"}))["id"] == pending["id"]


def test_a_booking_number_is_used_once_with_a_hold_too(holding: Installation) -> None:
    found = find(holding)
    booked(post(holding, order(found[0])))
    pending = booked(hold(holding, found[-1]))
    assert refusal(post(holding, order(pending))) == (409, "conflict")
    assert holding.get(f"/Appointment/{pending['id']}")["status"] == "pending"


def test_a_pending_visit_cannot_be_changed_before_it_is_booked(holding: Installation) -> None:
    pending = booked(hold(holding, find(holding)[0]))
    assert refusal(post(holding, {**moved(order(pending), 15), "status": "booked"})) == (409, "business-rule")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"status": "booked"}, (422, "value")),
        ({"slot": []}, (422, "structure")),
        ({"participant": []}, (422, "required")),
        ({"serviceType": []}, (422, "business-rule")),
    ],
)
def test_what_cannot_be_held_is_refused(
    holding: Installation, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(hold(holding, {**find(holding)[0], **change})) == expected


def test_a_reference_to_a_proposal_is_refused_in_words(holding: Installation) -> None:
    reference = {"reference": f"Appointment/{find(holding)[0]['id']}"}
    asked = [{"name": "appointment-reference", "valueReference": reference}]
    answer = holding.http.post("/Appointment/$hold", json={"resourceType": "Parameters", "parameter": asked})
    assert refusal(answer) == (422, "not-supported")
    assert "send all of it" in answer.json()["entry"][0]["resource"]["issue"][0]["details"]["text"]


@pytest.mark.parametrize("body", [{}, {"parameter": "x"}, {"parameter": ["x"]}, {"parameter": []}])
def test_a_body_nobody_understands_is_refused(holding: Installation, body: dict[str, Any]) -> None:
    answer = holding.http.post("/Appointment/$hold", json={"resourceType": "Parameters", **body})
    assert answer.status_code == 400


def test_the_older_name_of_the_appointment_is_understood(start: Callable[..., Installation]) -> None:
    ehr = start(NORWAY, holds=KEPT, book_parameter="appointment")
    found = find(ehr)
    for name, proposal in (("appointment", found[0]), ("appointment-resource", found[-1])):
        booked(ehr.http.post("/Appointment/$hold", json=parameters(proposal, name)))


def test_a_server_without_holds_has_no_such_operation(norway: Installation, holding: Installation) -> None:
    assert hold(norway, find(norway)[0]).status_code == 405
    assert norway.get("/Appointment")["total"] == 0
    assert "hold" not in operations(norway) and "hold" in operations(holding)


def test_plain_r4_never_has_it(start: Callable[..., Installation]) -> None:
    ehr = start(SWEDEN, holds=KEPT)
    assert ehr.http.post("/Appointment/$hold", json=parameters({})).status_code == 405


def test_a_hold_outlasts_a_restart_and_ends_all_the_same(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "no.json"
    ehr = launch(NORWAY, holds=KEPT, now=clock.now, state=path)
    proposal = find(ehr)[0]
    pending = booked(hold(ehr, proposal))
    ehr.stop()
    ehr = launch(NORWAY, holds=KEPT, now=clock.now, state=path)
    assert ehr.get("/_sandbox/appointments") == [pending] and overlapping(ehr, proposal) == []
    clock.at += KEPT
    assert ehr.get("/_sandbox/appointments") == [] and find(ehr)[0] == proposal
    ehr.stop()


def test_beginning_afresh_lets_go_of_holds(holding: Installation, clock: Clock) -> None:
    proposal = find(holding)[0]
    booked(hold(holding, proposal))
    holding.http.post("/_sandbox/reset")
    assert find(holding)[0] == proposal
    clock.at += KEPT
    assert holding.get("/Appointment")["total"] == 0


def test_somebody_else_may_be_faster(holding: Installation) -> None:
    fault(holding, kind="taken", operation="hold", times=1)
    assert gone(hold(holding, find(holding)[0]))
    assert [each["status"] for each in holding.get("/_sandbox/appointments")] == ["booked"]


def test_a_hold_is_a_write_whose_answer_may_be_lost(holding: Installation) -> None:
    fault(holding, kind="lost-answer", operation="hold", times=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        hold(holding, order(find(holding)[0]))
    assert holding.get("/Appointment", params={"identifier": f"{NUMBERS}|B1"})["total"] == 1
