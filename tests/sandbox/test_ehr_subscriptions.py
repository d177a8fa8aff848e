"""Whoever subscribes is told of what changed, in order, signed, and without keeping anybody else waiting."""

import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integrations.sandbox.delivery import MOST_WAITING, Line, Message
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from tests.sandbox.conftest import TUESDAY, Installation
from tests.sandbox.receiving import Receiver, receiving, status_of, subscribed, subscription, topic, until
from tests.sandbox.test_ehr_ihe_book import booked, order, post
from tests.sandbox.test_ehr_ihe_find import find
from tests.sandbox.test_ehr_r4 import appointment, neighbours, put, slots

SECRET = "https://www.medplum.com/fhir/StructureDefinition/subscription-secret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/news"


def deliveries(ehr: Installation) -> list[dict[str, Any]]:
    return ehr.http.get("/_sandbox/deliveries").json()


def ring(ehr: Installation, slot: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Somebody rings the clinic for the time of that slot."""
    answer = ehr.http.post(
        "/_sandbox/phone-bookings", json={"role": "pr11", "start": slot["start"], "minutes": 15, **more}
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_subscription_lives_as_resources_do(sweden: Installation, receiver: Receiver) -> None:
    answer = sweden.http.post("/Subscription", json=subscription(receiver, "Slot?status=free"))
    kept = answer.json()
    assert (answer.status_code, kept["status"], kept["meta"]["versionId"]) == (201, "active", "1")
    assert answer.headers["location"] == f"{sweden.url}/Subscription/{kept['id']}"
    assert sweden.get(f"/Subscription/{kept['id']}") == kept
    for asked, total in (
        ({"url": receiver.url}, 1),
        ({"url": receiver.url, "status": "active"}, 1),
        ({"status": "off,error"}, 0),
        ({"criteria": "Slot?status=free", "_id": kept["id"]}, 1),
        ({"url": "http://elsewhere.example/news"}, 0),
    ):
        assert sweden.get("/Subscription", params=asked)["total"] == total
    path = f"/Subscription/{kept['id']}"
    put_back = sweden.http.put(path, json={**kept, "status": "off"}, headers={"If-Match": 'W/"1"'})
    assert (put_back.status_code, put_back.json()["status"], put_back.headers["etag"]) == (200, "off", 'W/"2"')
    assert sweden.http.put(path, json=kept, headers={"If-Match": 'W/"1"'}).status_code == 412
    assert sweden.http.put(path, json={**kept, "id": "other"}).status_code == 400
    assert sweden.http.delete(path).status_code == 204
    assert {sweden.http.request(verb, path, json=kept).status_code for verb in ("GET", "PUT", "DELETE")} == {404}


@pytest.mark.parametrize(
    "change",
    [
        {"status": "active"},
        {"criteria": None},
        {"criteria": "Patient"},
        {"criteria": "Slot?colour=red"},
        {"criteria": "Slot?start=geYesterday"},
        {"criteria": "Appointment?date=soon"},
        {"channel": None},
        {"channel": {"type": "websocket"}},
        {"channel": {"endpoint": "ftp://portal.example/news"}},
        {"channel": {"endpoint": "http:///news"}},
        {"channel": {"endpoint": "http://[news"}},
        {"channel": {"payload": "application/xml"}},
        {"channel": {"header": "Authorization: x"}},
        {"channel": {"header": ["no colon"]}},
        {"channel": {"header": ["A: b\r\nC: d"]}},
        {"channel": {"header": ["Content-Length: 3"]}},
        {"end": "tomorrow"},
        {"meta": {"profile": "x"}},
        {"extension": [{"url": SECRET, "valueString": ""}]},
        {"extension": [{"url": SECRET, "valueInteger": 3}]},
    ],
    ids=str,
)
def test_a_subscription_that_cannot_be_served_is_400(sweden: Installation, change: dict[str, Any]) -> None:
    body = subscription("http://portal.example/news", "Slot", channel=change.get("channel") or {})
    wrong = {**body, **{name: value for name, value in change.items() if name != "channel" or value is None}}
    answer = sweden.http.post("/Subscription", json=wrong)
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")
    assert sweden.get("/Subscription")["total"] == 0


def test_the_ihe_dialect_has_no_slots_to_tell_of(norway: Installation, receiver: Receiver) -> None:
    assert norway.http.post("/Subscription", json=subscription(receiver, "Slot")).status_code == 400
    assert norway.http.post("/Subscription", json=topic(receiver, "slots")).status_code == 400
    subscribed(norway, subscription(receiver, "Appointment"))
    visit = booked(post(norway, order(find(norway)[0])))
    assert receiver.wait_for(1)[0].json == visit


def test_a_server_without_subscriptions_says_404(start: Callable[..., Installation], receiver: Receiver) -> None:
    for world in (NORWAY, SWEDEN):
        ehr = start(world, subscriptions=False)
        for verb, path in (("POST", ""), ("GET", ""), ("GET", "/x"), ("PUT", "/x"), ("DELETE", "/x")):
            answer = ehr.http.request(verb, f"/Subscription{path}", json=subscription(receiver, "Appointment"))
            assert (answer.status_code, answer.json()["resourceType"]) == (404, "OperationOutcome")
        told = ehr.get("/metadata")["rest"][0]["resource"]
        assert "Subscription" not in {each["type"] for each in told}


def test_the_capability_statement_names_the_topics(sweden: Installation, norway: Installation) -> None:
    def topics(ehr: Installation) -> list[str]:
        kinds = {each["type"]: each for each in ehr.get("/metadata")["rest"][0]["resource"]}
        return [each["valueCanonical"] for each in kinds["Subscription"]["extension"]]

    about = "https://sandbox.example/topics"
    assert topics(norway) == [f"{about}/appointments"]
    assert topics(sweden) == [f"{about}/appointments", f"{about}/slots"]


def test_every_slot_that_shares_time_is_told_bare_with_the_given_headers(
    sweden: Installation, receiver: Receiver
) -> None:
    header = ["Authorization: Bearer abc", "X-Clinic: 7"]
    subscribed(sweden, subscription(receiver, "Slot", channel={"header": header}))
    slot, other = neighbours(sweden)
    put(sweden, slot, "busy")
    until(lambda: {slot["id"], other["id"]} <= {each.json["id"] for each in receiver.got})
    first = receiver.got[0]
    assert first.headers["content-type"] == "application/fhir+json"
    assert (first.headers["authorization"], first.headers["x-clinic"]) == ("Bearer abc", "7")
    assert "x-signature" not in first.headers
    until(lambda: len(deliveries(sweden)) == len(receiver.got))
    found = {each.json["id"]: each.json for each in receiver.got}
    assert len(found) == len(receiver.got) <= 50
    for each in found.values():
        assert each["resourceType"] == "Slot" and each["start"] < slot["end"] and slot["start"] < each["end"]
        assert each == sweden.get(f"/Slot/{each['id']}")


def test_a_criterion_of_free_slots_never_tells_that_one_stopped_being_free(
    sweden: Installation, receiver: Receiver
) -> None:
    subscribed(sweden, subscription(receiver, "Slot?status=free"))
    slot, _ = neighbours(sweden)
    taken = put(sweden, slot, "busy").json()
    put(sweden, taken, "free")
    until(lambda: slot["id"] in {each.json["id"] for each in receiver.got})
    assert {each.json["status"] for each in receiver.got} == {"free"}
    assert len([each for each in receiver.got if each.json["id"] == slot["id"]]) == 1


def test_criteria_choose_schedules_and_appointments(sweden: Installation, receiver: Receiver) -> None:
    subscribed(sweden, subscription(receiver, "Slot?schedule=Schedule/sk12"))
    subscribed(sweden, subscription(receiver, "Appointment?status=cancelled"))
    visit = ring(sweden, neighbours(sweden)[0])
    sweden.http.post(f"/_sandbox/appointments/{visit['id']}/cancel")
    (told,) = receiver.wait_for(1)
    assert (told.json["id"], told.json["status"]) == (visit["id"], "cancelled")


def test_every_write_of_an_appointment_is_told_once_and_in_order(sweden: Installation, receiver: Receiver) -> None:
    subscribed(sweden, subscription(receiver, "Appointment"))
    created = sweden.http.post("/Appointment", json=appointment(slots(sweden)[0])).json()
    for number in range(5):
        sweden.http.put(f"/Appointment/{created['id']}", json={**created, "comment": str(number)})
    versions = [each.json["meta"]["versionId"] for each in receiver.wait_for(6)]
    assert versions == ["1", "2", "3", "4", "5", "6"]


def test_without_a_payload_the_message_is_empty(sweden: Installation, receiver: Receiver) -> None:
    subscribed(sweden, subscription(receiver, "Appointment", channel={"payload": None}))
    ring(sweden, neighbours(sweden)[0])
    assert receiver.wait_for(1)[0].body == b""


def test_a_secret_signs_the_very_bytes(sweden: Installation, receiver: Receiver) -> None:
    body = subscription(receiver, "Appointment", extension=[{"url": SECRET, "valueString": "hemlig"}])
    subscribed(sweden, body)
    ring(sweden, neighbours(sweden)[0], patient={"system": "urn:x", "value": "Å1"})
    (told,) = receiver.wait_for(1)
    assert told.headers["x-signature"] == hmac.new(b"hemlig", told.body, hashlib.sha256).hexdigest()


def test_a_message_is_tried_three_times_and_then_comes_the_next(sweden: Installation, receiver: Receiver) -> None:
    kept = subscribed(sweden, subscription(receiver, "Appointment"))
    receiver.answers += [500, 301, 200, 500, 500, 503]
    visits = [ring(sweden, each) for each in quarters(sweden, 3)]
    until(lambda: len(deliveries(sweden)) == 3)
    first, second, third = (each["id"] for each in visits)
    assert [each.json["id"] for each in receiver.got] == [first] * 3 + [second] * 3 + [third]
    told = [(each["subscription"], each["status"], each["ok"]) for each in deliveries(sweden)]
    assert told == [(kept["id"], 200, True), (kept["id"], 503, False), (kept["id"], 200, True)]


def quarters(ehr: Installation, number: int) -> list[dict[str, Any]]:
    """Free Slots that share no time."""
    chosen: list[dict[str, Any]] = []
    for slot in slots(ehr):
        if not chosen or slot["start"] >= chosen[-1]["end"]:
            chosen.append(slot)
    return chosen[:number]


def test_nobody_waits_for_a_subscriber_that_is_not_there(sweden: Installation) -> None:
    subscribed(sweden, subscription(nowhere(), "Slot"))
    slot, _ = neighbours(sweden)
    began = time.monotonic()
    put(sweden, slot, "busy")
    assert time.monotonic() - began < 2
    until(lambda: bool(deliveries(sweden)))
    assert (deliveries(sweden)[0]["status"], deliveries(sweden)[0]["ok"]) == (None, False)
    assert sweden.stop() < 3


def test_a_full_queue_loses_its_oldest_message() -> None:
    line = Line()
    for number in range(MOST_WAITING + 2):
        line.add(Message(str(number).encode()))
    assert len(line.waiting) == MOST_WAITING and line.waiting[0].body == b"2"


def test_a_subscription_is_off_after_its_end(start: Callable[..., Installation], receiver: Receiver) -> None:
    clock = [TUESDAY]
    ehr = start(SWEDEN, now=lambda: clock[0])
    kept = subscribed(ehr, subscription(receiver, "Appointment", end="2026-12-01T08:00:00Z"))
    other = subscribed(ehr, subscription(receiver, "Appointment", end="2026-12-01T18:00:00+01:00"))
    clock[0] = datetime.fromisoformat("2026-12-01T08:00:00Z")
    ring(ehr, neighbours(ehr)[0])
    until(lambda: bool(deliveries(ehr)))
    assert [each["subscription"] for each in deliveries(ehr)] == [other["id"]]
    assert (status_of(ehr, kept["id"]), status_of(ehr, other["id"])) == ("off", "active")
    assert ehr.get("/Subscription", params={"status": "off"})["total"] == 1


def test_what_was_deleted_or_switched_off_is_told_nothing(sweden: Installation, receiver: Receiver) -> None:
    gone = subscribed(sweden, subscription(receiver, "Appointment"))
    quiet = subscribed(sweden, subscription(receiver, "Appointment"))
    sweden.http.delete(f"/Subscription/{gone['id']}")
    sweden.http.put(f"/Subscription/{quiet['id']}", json={**quiet, "status": "off"})
    listening = subscribed(sweden, subscription(receiver, "Appointment"))
    ring(sweden, neighbours(sweden)[0])
    until(lambda: bool(deliveries(sweden)))
    assert [each["subscription"] for each in deliveries(sweden)] == [listening["id"]]


def test_a_restart_keeps_subscriptions(start: Callable[..., Installation], tmp_path: Path, receiver: Receiver) -> None:
    before = start(SWEDEN, state=tmp_path / "sweden.json")
    kept = subscribed(before, subscription(receiver, "Appointment"))
    before.stop()
    after = start(SWEDEN, state=tmp_path / "sweden.json")
    assert after.get(f"/Subscription/{kept['id']}") == kept
    visit = ring(after, neighbours(after)[0])
    assert receiver.wait_for(1)[0].json["id"] == visit["id"]


def test_subscriptions_are_counted_and_can_be_in_trouble(sweden: Installation, receiver: Receiver) -> None:
    sweden.http.post("/_sandbox/faults", json={"kind": "down", "operation": "subscription", "times": 1})
    assert sweden.http.post("/Subscription", json=subscription(receiver, "Slot")).status_code == 503
    assert sweden.http.post("/Subscription", json=subscription(receiver, "Slot")).status_code == 201
    assert sweden.get("/_sandbox/calls")["counts"] == {"subscription": 2}


def test_nothing_is_left_running_when_the_server_stops(sweden: Installation) -> None:
    """A subscriber that never answers does not keep the server from stopping."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}/news"
        subscribed(sweden, subscription(endpoint, "Appointment"))
        ring(sweden, neighbours(sweden)[0])
        accepted = threading.Thread(target=deaf.accept, daemon=True)
        accepted.start()
        accepted.join(30)
        assert sweden.stop() < timedelta(seconds=4).total_seconds()
    assert not sweden.thread.is_alive()
