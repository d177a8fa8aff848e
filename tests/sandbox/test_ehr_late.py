"""Requests that break off are lost, carried out later or never; and a record system can begin afresh."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from integrations.sandbox.ehr import create_ehr
from integrations.sandbox.world_no import NORWAY
from tests.sandbox.conftest import NIN, TUESDAY, Installation, launch, serve
from tests.sandbox.receiving import Receiver, receiving, subscribed, subscription, until
from tests.sandbox.test_ehr_faults import ASKED, fault
from tests.sandbox.test_ehr_ihe_book import booked, order, post
from tests.sandbox.test_ehr_ihe_find import find
from tests.sandbox.test_ehr_r4 import PNR, appointment, neighbours, put, slots
from tests.sandbox.test_ehr_subscriptions import deliveries, nowhere, ring


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def broken(ehr: Installation, kind: str, number: str, proposal: dict[str, Any]) -> None:
    """An order whose connection breaks."""
    with pytest.raises(httpx2.RemoteProtocolError):
        post(ehr, order(proposal, number), headers={"X-Sandbox-Fault": kind})


def deliver(ehr: Installation, **asked: Any) -> int:
    answer = ehr.http.post("/_sandbox/late", json=asked) if asked else ehr.http.post("/_sandbox/late")
    assert answer.status_code == 200, answer.text
    delivered: int = answer.json()["delivered"]
    return delivered


def kept(ehr: Installation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ehr.get("/_sandbox/appointments")
    return found


def numbers(ehr: Installation) -> list[str]:
    return [each["identifier"][-1]["value"] for each in kept(ehr)]


def test_a_lost_request_is_never_carried_out(norway: Installation) -> None:
    broken(norway, "lost-request", "B1", find(norway)[0])
    assert kept(norway) == [] and deliver(norway) == 0
    assert norway.get("/_sandbox/calls")["counts"]["book"] == 1


def test_any_request_can_be_lost(norway: Installation) -> None:
    fault(norway, kind="lost-request", operation="find", times=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        norway.http.get("/Appointment/$find", params=ASKED)
    assert find(norway)


def test_a_late_request_is_carried_out_when_it_is_delivered(norway: Installation) -> None:
    proposal = find(norway)[0]
    broken(norway, "late", "B1", proposal)
    assert kept(norway) == [] and find(norway)[0] == proposal
    assert deliver(norway) == 1
    assert numbers(norway) == ["B1"] and find(norway)[0] != proposal
    assert deliver(norway) == 0


def test_a_late_request_counts_when_it_comes_in_only(norway: Installation) -> None:
    broken(norway, "late", "B1", find(norway)[0])
    assert norway.get("/_sandbox/calls")["counts"]["book"] == 1
    deliver(norway)
    assert norway.get("/_sandbox/calls")["counts"]["book"] == 1


def test_late_requests_arrive_in_order_and_as_many_as_asked(norway: Installation) -> None:
    found = find(norway)
    for number, proposal in (("B1", found[0]), ("B2", found[len(found) // 2]), ("B3", found[-1])):
        broken(norway, "late", number, proposal)
    assert deliver(norway, most=2) == 2 and numbers(norway) == ["B1", "B2"]
    assert deliver(norway, most=2) == 1 and numbers(norway) == ["B1", "B2", "B3"]


@pytest.mark.parametrize("most", [0, -1, "2", 1.5])
def test_a_number_nobody_can_deliver_is_refused(norway: Installation, most: object) -> None:
    assert norway.http.post("/_sandbox/late", json={"most": most}).status_code == 400


def test_what_comes_too_late_is_refused_and_nobody_hears_of_it(norway: Installation) -> None:
    proposal = find(norway)[0]
    broken(norway, "late", "B1", proposal)
    booked(post(norway, order(proposal, "B2")))
    assert deliver(norway) == 1
    assert numbers(norway) == ["B2"]


def test_late_requests_can_be_forgotten(norway: Installation) -> None:
    broken(norway, "late", "B1", find(norway)[0])
    assert norway.http.delete("/_sandbox/late").status_code == 204
    assert deliver(norway) == 0 and kept(norway) == []


def test_only_a_write_comes_late(norway: Installation) -> None:
    fault(norway, kind="late", times=1)
    proposal = find(norway)[0]
    with pytest.raises(httpx2.RemoteProtocolError):
        post(norway, order(proposal))
    booked(post(norway, order(proposal)))


def test_a_late_write_keeps_its_conditions(sweden: Installation) -> None:
    one, two = neighbours(sweden)
    for slot in (one, two):
        with pytest.raises(httpx2.RemoteProtocolError):
            put(sweden, slot, "busy", **{"X-Sandbox-Fault": "late"})
    ring(sweden, one)
    assert deliver(sweden) == 2
    assert "identifier" not in sweden.get(f"/Slot/{one['id']}")
    assert sweden.get(f"/Slot/{two['id']}")["identifier"][0]["value"] == "B1"
    once = {"If-None-Exist": "identifier=https://portal.example/bookings|B1", "X-Sandbox-Fault": "late"}
    for _ in range(2):
        with pytest.raises(httpx2.RemoteProtocolError):
            sweden.http.post("/Appointment", json=appointment(two), headers=once)
    deliver(sweden)
    assert [each["comment"] for each in kept(sweden) if "comment" in each] == ["Booked by telephone"]
    assert len(kept(sweden)) == 2


def test_half_a_request_never_arrives(norway: Installation) -> None:
    head = b"POST /Appointment/$book HTTP/1.1\r\nHost: x\r\nX-Sandbox-Fault: late\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", norway.server.port), timeout=30) as connection:
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert norway.get("/_sandbox/calls")["counts"] == {"book": 1}
    assert deliver(norway) == 0


def test_late_requests_arrive_under_the_path_an_installation_is_mounted_at() -> None:
    inner = create_ehr(NORWAY, now=lambda: TUESDAY)
    outer = Starlette(routes=[Mount("/ehr/no", inner)])
    outer.state.sandbox = inner.state.sandbox
    ehr = serve(outer)
    try:
        ehr.http.base_url = f"{ehr.url}/ehr/no"
        broken(ehr, "late", "B1", find(ehr)[0])
        assert deliver(ehr) == 1 and numbers(ehr) == ["B1"]
    finally:
        ehr.stop()


def test_every_appointment_is_listed_whatever_became_of_it(norway: Installation) -> None:
    first, *_, last = find(norway)
    visit = booked(post(norway, order(first)))
    gone = booked(post(norway, {**booked(post(norway, order(last, "B2"))), "status": "cancelled"}))
    assert kept(norway) == [visit, gone]


def test_beginning_afresh_forgets_whatever_happened(sweden: Installation, receiver: Receiver) -> None:
    before = slots(sweden)
    subscribed(sweden, subscription(receiver, "Appointment"))
    one, two = neighbours(sweden)
    put(sweden, {**one, "comment": "Ryggen"}, "busy")
    sweden.http.post("/Appointment", json=appointment(one))
    assert slots(sweden) != before
    until(lambda: len(deliveries(sweden)) == 1)
    person = {"resourceType": "Patient", "identifier": [{"system": PNR, "value": "191212121212"}]}
    sweden.http.post("/Patient", json=person)
    with pytest.raises(httpx2.RemoteProtocolError):
        put(sweden, two, "busy", "B2", **{"X-Sandbox-Fault": "late"})
    fault(sweden, kind="down")
    assert sweden.http.post("/_sandbox/reset").status_code == 204
    assert sweden.get("/_sandbox/calls")["counts"] == {}
    assert slots(sweden) == before
    assert sweden.get(f"/Slot/{one['id']}") == one
    assert kept(sweden) == [] and deliver(sweden) == 0
    assert sweden.get("/Slot", params={"_lastUpdated": "ge2026-11-01T00:00:00Z"})["total"] == 0
    assert sweden.get("/Patient", params={"identifier": f"{PNR}|191212121212"})["total"] == 0
    assert sweden.get("/Subscription")["total"] == 0
    assert deliveries(sweden) == []


def test_beginning_afresh_keeps_whom_the_clinic_knew_as_they_were(norway: Installation) -> None:
    asked = {"identifier": f"{NIN}|13815512300"}
    before = norway.get("/Patient", params=asked)
    person = {**before["entry"][0]["resource"], "telecom": []}
    post(norway, order(find(norway)[0]), {"name": "patient-resource", "resource": person})
    assert norway.get("/Patient", params=asked) != before
    norway.http.post("/_sandbox/reset")
    assert norway.get("/Patient", params=asked) == before


def test_beginning_afresh_outlasts_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "no.json"
    ehr = launch(NORWAY, state=path)
    booked(post(ehr, order(find(ehr)[0])))
    ehr.stop()
    ehr = launch(NORWAY, state=path)
    assert len(kept(ehr)) == 1
    ehr.http.post("/_sandbox/reset")
    ehr.stop()
    ehr = launch(NORWAY, state=path)
    assert kept(ehr) == []
    ehr.stop()


def test_a_fresh_beginning_leaves_nothing_on_its_way_to_subscribers(sweden: Installation) -> None:
    subscribed(sweden, subscription(nowhere(), "Appointment"))
    one, two = neighbours(sweden)
    ring(sweden, one)
    sweden.http.post("/_sandbox/reset")
    heard = subscribed(sweden, subscription(nowhere(), "Appointment"))
    ring(sweden, two)
    until(lambda: bool(deliveries(sweden)))
    assert [each["subscription"] for each in deliveries(sweden)] == [heard["id"]]
