"""A replica that lags behind: readers see the calendar as it was, and writers meet the truth."""

import pytest

from tests.sandbox.conftest import Installation
from tests.sandbox.receiving import until
from tests.sandbox.test_ehr_faults import fault
from tests.sandbox.test_ehr_ihe_book import booked, order, post, refusal
from tests.sandbox.test_ehr_ihe_find import find
from tests.sandbox.test_ehr_r4 import appointment, neighbours, put, slots


def test_a_taken_time_is_still_offered_and_cannot_be_booked(norway: Installation) -> None:
    fault(norway, kind="stale")
    proposal = find(norway)[0]
    visit = booked(post(norway, order(proposal)))
    assert find(norway)[0] == proposal
    assert norway.get("/Appointment")["total"] == 0
    assert norway.http.get(f"/Appointment/{visit['id']}").status_code == 404
    assert refusal(post(norway, order(proposal, "B2"))) == (409, "conflict")
    norway.http.delete("/_sandbox/faults")
    assert find(norway)[0] != proposal
    assert norway.get("/Appointment")["total"] == 1


def test_stale_slots_carry_their_old_version(sweden: Installation) -> None:
    slot, other = neighbours(sweden)
    before = slots(sweden)
    fault(sweden, kind="stale")
    assert put(sweden, slot, "busy").status_code == 200
    assert sweden.http.post("/Appointment", json=appointment(slot)).status_code == 201
    assert slots(sweden) == before and sweden.get(f"/Slot/{slot['id']}") == slot
    assert slots(sweden, ("_lastUpdated", "ge2026-11-01T00:00:00Z")) == []
    assert put(sweden, other, "busy", "B2").status_code == 412
    sweden.http.delete("/_sandbox/faults")
    assert sweden.get(f"/Slot/{slot['id']}")["status"] == "busy"
    assert slot["id"] not in {each["id"] for each in slots(sweden)}


def test_only_the_operation_asked_for_lags_behind(sweden: Installation) -> None:
    slot, _ = neighbours(sweden)
    fault(sweden, kind="stale", operation="slot-search")
    put(sweden, slot, "busy")
    assert slot["id"] in {each["id"] for each in slots(sweden)}
    assert sweden.get(f"/Slot/{slot['id']}")["status"] == "busy"


def test_it_lasts_as_often_or_as_long_as_asked(sweden: Installation) -> None:
    slot, _ = neighbours(sweden)
    fault(sweden, kind="stale", operation="read", times=1)
    put(sweden, slot, "busy")
    assert [sweden.get(f"/Slot/{slot['id']}")["status"] for _ in range(2)] == ["free", "busy"]
    fault(sweden, kind="stale", operation="read", seconds=0.2)
    put(sweden, sweden.http.get(f"/Slot/{slot['id']}").json(), "free")
    until(lambda: sweden.get(f"/Slot/{slot['id']}")["status"] == "free")


def test_writers_never_lag_behind(norway: Installation) -> None:
    fault(norway, kind="stale", operation="book")
    proposal = find(norway)[0]
    booked(post(norway, order(proposal)))
    assert find(norway)[0] != proposal


@pytest.mark.parametrize("header", ["stale", "stale;seconds=3"])
def test_one_call_cannot_ask_for_a_past_it_has_not_got(norway: Installation, header: str) -> None:
    assert norway.http.get("/metadata", headers={"X-Sandbox-Fault": header}).status_code == 400
