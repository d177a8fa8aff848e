"""Every fault happens over the wire as it does in the field, and only when it was asked for."""

import asyncio
import threading
import time
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from integrations.sandbox.ehr import create_ehr
from integrations.sandbox.world_no import NORWAY
from tests.sandbox.conftest import TUESDAY, Installation, serve
from tests.sandbox.test_ehr_ihe_book import booked, movable, moved, order, parameters, post, refusal
from tests.sandbox.test_ehr_ihe_find import WINDOW, find
from tests.sandbox.test_ehr_r4 import FREE, appointment, put, slots

ASKED = {"practitionerRole": "PractitionerRole/B544:E472", **WINDOW}


def fault(ehr: Installation, **asked: Any) -> None:
    assert ehr.http.post("/_sandbox/faults", json=asked).status_code == 204


def test_down_is_503_as_often_as_asked_and_for_that_operation(norway: Installation) -> None:
    fault(norway, kind="down", operation="find", times=2)
    assert norway.get("/HealthcareService")["total"] == 4
    statuses = [norway.http.get("/Appointment/$find", params=ASKED).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]


def test_faults_can_be_taken_back(norway: Installation) -> None:
    fault(norway, kind="down")
    assert norway.http.get("/metadata").status_code == 503
    assert norway.http.delete("/_sandbox/faults").status_code == 204
    assert norway.http.get("/metadata").status_code == 200


def test_a_header_asks_for_one_call(sweden: Installation) -> None:
    assert sweden.http.get("/Schedule", headers={"X-Sandbox-Fault": "down"}).status_code == 503
    assert sweden.http.get("/Schedule").status_code == 200
    assert sweden.http.get("/Schedule", headers={"X-Sandbox-Fault": "sulky"}).status_code == 400


def test_throttled_is_429_without_retry_after(norway: Installation) -> None:
    answer = norway.http.get("/metadata", headers={"X-Sandbox-Fault": "throttled"})
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers and answer.headers["ratelimit"].endswith("t=60")


def test_slow_answers_late_but_right(norway: Installation) -> None:
    fault(norway, kind="slow", operation="find", seconds=0.3)
    began = time.monotonic()
    assert find(norway)
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "sulky"},
        {"kind": "down", "operation": "dance"},
        {"kind": "down", "times": 0},
        {"kind": []},
        {"kind": "slow", "seconds": "x"},
    ],
)
def test_a_fault_nobody_knows_is_refused(norway: Installation, asked: dict[str, Any]) -> None:
    assert norway.http.post("/_sandbox/faults", json=asked).status_code == 400


def test_hang_never_answers(norway: Installation) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        norway.http.get("/metadata", headers={"X-Sandbox-Fault": "hang"}, timeout=0.2)
    assert norway.http.get("/metadata").status_code == 200


def test_hang_in_body_sends_half_an_answer(norway: Installation) -> None:
    headers = {"X-Sandbox-Fault": "hang-in-body"}
    got = b""
    with norway.http.stream("GET", "/HealthcareService", headers=headers, timeout=0.3) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx2.ReadTimeout):
            for part in answer.iter_bytes():
                got += part
    assert 0 < len(got) < int(answer.headers["content-length"])


def test_hang_between_pages_answers_the_first_page_only(sweden: Installation) -> None:
    fault(sweden, kind="hang-between-pages", operation="slot-search")
    page = sweden.get("/Slot", params=[("schedule", "Schedule/sk11"), *FREE[:-1]])
    following = next(each["url"] for each in page["link"] if each["relation"] == "next")
    with pytest.raises(httpx2.ReadTimeout):
        sweden.http.get(following, timeout=0.2)


def test_hanging_answers_do_not_keep_the_server_from_stopping(norway: Installation) -> None:
    def hang() -> None:
        with pytest.raises(httpx2.HTTPError), httpx2.Client(timeout=5) as http:
            http.get(f"{norway.url}/metadata", headers={"X-Sandbox-Fault": "hang"})

    waiting = [threading.Thread(target=hang) for _ in range(3)]
    for each in waiting:
        each.start()
    while norway.get("/_sandbox/calls")["counts"].get("read", 0) < 3:
        time.sleep(0.01)
    assert norway.stop() < 1
    for each in waiting:
        each.join(2)


def test_taken_books_the_time_for_somebody_else_just_before(norway: Installation) -> None:
    fault(norway, kind="taken", operation="book", times=1)
    proposal = find(norway)[0]
    assert refusal(post(norway, order(proposal))) == (409, "conflict")
    assert norway.get("/Appointment", params={"status": "booked"})["total"] == 1
    booked(post(norway, order(find(norway)[0])))


def test_taken_during_a_move_leaves_the_visit_where_it_was(norway: Installation) -> None:
    visit = booked(post(norway, order(movable(norway))))
    answer = post(norway, moved(visit, 15), headers={"X-Sandbox-Fault": "taken"})
    assert refusal(answer) == (409, "conflict")
    found = [each["resource"] for each in norway.get("/Appointment", params={"status": "booked"})["entry"]]
    assert len(found) == 2
    assert found[0]["end"] <= found[1]["start"]


def test_taken_moves_the_version_of_a_slot(sweden: Installation) -> None:
    slot = slots(sweden)[0]
    answer = put(sweden, slot, "busy", **{"X-Sandbox-Fault": "taken"})
    assert answer.status_code == 412
    after = sweden.get(f"/Slot/{slot['id']}")
    assert after["status"] == "busy" and "identifier" not in after


def test_lost_answer_carries_the_booking_out_and_sends_not_a_byte(norway: Installation) -> None:
    fault(norway, kind="lost-answer", times=1)
    body = parameters(order(find(norway)[0]))
    with pytest.raises(httpx2.RemoteProtocolError):
        norway.http.post("/Appointment/$book", json=body)
    assert norway.get("/Appointment", params={"identifier": "https://portal.example/bookings|B1"})["total"] == 1


def test_lost_answers_of_plain_r4_leave_slot_and_appointment_written(sweden: Installation) -> None:
    slot, lost = slots(sweden)[0], {"X-Sandbox-Fault": "lost-answer"}
    with pytest.raises(httpx2.RemoteProtocolError):
        put(sweden, slot, "busy", **lost)
    assert sweden.get(f"/Slot/{slot['id']}")["identifier"][0]["value"] == "B1"
    with pytest.raises(httpx2.RemoteProtocolError):
        sweden.http.post("/Appointment", json=appointment(slot), headers=lost)
    assert sweden.get("/Appointment", params={"identifier": "https://portal.example/bookings|B1"})["total"] == 1


@pytest.mark.parametrize(("kind", "wrapped"), [("outcome-200", False), ("outcome-200-wrapped", True)])
def test_a_refusal_comes_under_http_200(norway: Installation, kind: str, wrapped: bool) -> None:
    proposal = find(norway)[0]
    booked(post(norway, order(proposal)))
    answer = post(norway, order(proposal, "B2"), headers={"X-Sandbox-Fault": kind})
    assert answer.status_code == 200
    told = answer.json()["entry"][0]["resource"] if wrapped else answer.json()
    assert told["issue"][0]["code"] == "conflict"


def test_a_success_is_not_touched_by_outcome_200(norway: Installation) -> None:
    booked(post(norway, order(find(norway)[0]), headers={"X-Sandbox-Fault": "outcome-200"}))


def test_sparse_leaves_out_what_may_be_left_out(sweden: Installation) -> None:
    fault(sweden, kind="sparse")
    bundle = sweden.get("/Schedule")
    assert set(bundle) == {"resourceType", "type", "entry"}
    assert all(set(each) == {"resource"} for each in bundle["entry"])


async def test_calls_are_counted_by_operation_with_the_most_at_once(norway: Installation) -> None:
    fault(norway, kind="slow", operation="find", seconds=0.2)
    async with httpx2.AsyncClient(base_url=norway.url, timeout=5) as http:
        await asyncio.gather(*(http.get("/Appointment/$find", params=ASKED) for _ in range(5)))
    told = norway.get("/_sandbox/calls")
    assert told == {"counts": {"find": 5}, "max_concurrent": {"find": 5}}
    norway.http.delete("/_sandbox/calls")
    assert norway.get("/_sandbox/calls") == {"counts": {}, "max_concurrent": {}}


def test_every_request_has_its_operation(sweden: Installation) -> None:
    slot = slots(sweden)[0]
    put(sweden, slot, "busy")
    sweden.get(f"/Slot/{slot['id']}")
    sweden.http.post("/Appointment", json=appointment(slot))
    sweden.get("/Appointment")
    sweden.get("/Patient", params={"identifier": "x|y"})
    expected = {"slot-search": 1, "slot-write": 1, "read": 1, "appointment-write": 1, "search": 1, "patient": 1}
    assert sweden.get("/_sandbox/calls")["counts"] == expected


def test_an_installation_mounted_under_a_path_keeps_its_links_and_its_faults() -> None:
    inner = create_ehr(NORWAY, now=lambda: TUESDAY)
    outer = Starlette(routes=[Mount("/ehr/no", inner)])
    outer.state.sandbox = inner.state.sandbox
    ehr = serve(outer)
    try:
        ehr.http.base_url = f"{ehr.url}/ehr/no"
        page = ehr.get("/Appointment/$find", params={**ASKED, "_count": "5"})
        following = next(each["url"] for each in page["link"] if each["relation"] == "next")
        assert following.startswith(f"{ehr.url}/ehr/no/Appointment/$find?")
        assert len(ehr.get(following)["entry"]) == 5
        body = parameters(order(page["entry"][0]["resource"]))
        with pytest.raises(httpx2.RemoteProtocolError):
            ehr.http.post("/Appointment/$book", json=body, headers={"X-Sandbox-Fault": "lost-answer"})
        assert ehr.get("/Appointment")["total"] == 1
        assert ehr.get("/_sandbox/calls")["counts"] == {"find": 2, "book": 1, "search": 1}
    finally:
        ehr.stop()
