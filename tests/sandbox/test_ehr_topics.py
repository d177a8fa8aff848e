"""Topic notifications of the R5 backport: a handshake first, then numbered events in which a gap can be seen."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.sandbox.world_se import SWEDEN
from tests.sandbox.conftest import Installation
from tests.sandbox.receiving import PROFILE, Receiver, parameters_of, receiving, status_of, subscribed, topic, until
from tests.sandbox.test_ehr_ihe_book import booked, order, post
from tests.sandbox.test_ehr_ihe_find import find
from tests.sandbox.test_ehr_r4 import neighbours, put
from tests.sandbox.test_ehr_subscriptions import nowhere, quarters, ring

CONTENT = f"{PROFILE}/backport-payload-content"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def content(code: str) -> dict[str, Any]:
    return {"_payload": {"extension": [{"url": CONTENT, "valueCode": code}]}}


def test_a_handshake_comes_first_and_makes_it_active(norway: Installation, receiver: Receiver) -> None:
    kept = subscribed(norway, topic(receiver, "appointments"))
    (told,) = receiver.wait_for(1)
    bundle = told.json
    assert (bundle["resourceType"], bundle["type"], len(bundle["entry"])) == ("Bundle", "history", 1)
    assert bundle["entry"][0]["resource"]["meta"]["profile"] == [f"{PROFILE}/backport-subscription-status-r4"]
    assert parameters_of(bundle) == {
        "subscription": {"reference": f"Subscription/{kept['id']}"},
        "topic": "https://sandbox.example/topics/appointments",
        "status": "requested",
        "type": "handshake",
        "events-since-subscription-start": "0",
        "events": [],
    }


def test_a_handshake_that_is_not_answered_well_is_an_error(norway: Installation, receiver: Receiver) -> None:
    receiver.answers += [404, 404, 404]
    for endpoint in (receiver.url, nowhere()):
        kept = norway.http.post("/Subscription", json=topic(endpoint, "appointments")).json()
        assert kept["status"] == "requested"
        until(lambda kept=kept: status_of(norway, kept["id"]) == "error")
    booked(post(norway, order(find(norway)[0])))
    assert [parameters_of(each.json)["type"] for each in receiver.got] == ["handshake"] * 3


def test_another_handshake_can_be_asked_for(norway: Installation, receiver: Receiver) -> None:
    receiver.answers += [500, 500, 500]
    kept = norway.http.post("/Subscription", json=topic(receiver, "appointments")).json()
    until(lambda: status_of(norway, kept["id"]) == "error")
    assert norway.http.put(f"/Subscription/{kept['id']}", json=kept).json()["status"] == "requested"
    until(lambda: status_of(norway, kept["id"]) == "active")


def test_events_are_numbered_and_carry_the_resource(norway: Installation, receiver: Receiver) -> None:
    kept = subscribed(norway, topic(receiver, "appointments"))
    visit = booked(post(norway, order(find(norway)[0])))
    norway.http.post(f"/_sandbox/appointments/{visit['id']}/cancel")
    _, first, second = (each.json for each in receiver.wait_for(3))
    told = parameters_of(first)
    assert (told["type"], told["status"], told["events-since-subscription-start"]) == (
        "event-notification",
        "active",
        "1",
    )
    assert told["events"] == [("1", f"Appointment/{visit['id']}")]
    assert first["entry"][1]["resource"] == visit
    assert first["entry"][1]["fullUrl"] == f"{norway.url}/Appointment/{visit['id']}"
    assert parameters_of(second)["events"] == [("2", f"Appointment/{visit['id']}")]
    assert second["entry"][1]["resource"]["status"] == "cancelled"
    answer = norway.get(f"/Subscription/{kept['id']}/$status")
    assert answer["type"] == "searchset"
    assert parameters_of(answer)["events-since-subscription-start"] == "2"
    assert parameters_of(answer)["type"] == "query-status"


def test_one_change_is_one_bundle_with_every_slot_it_concerns(sweden: Installation, receiver: Receiver) -> None:
    subscribed(sweden, topic(receiver, "slots"))
    slot, other = neighbours(sweden)
    put(sweden, slot, "busy")
    bundle = receiver.wait_for(2)[1].json
    told = parameters_of(bundle)
    numbers = [int(number) for number, _ in told["events"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert told["events-since-subscription-start"] == str(len(numbers))
    assert {f"Slot/{slot['id']}", f"Slot/{other['id']}"} <= {focus for _, focus in told["events"]}
    resources = [each["resource"] for each in bundle["entry"][1:]]
    assert [f"Slot/{each['id']}" for each in resources] == [focus for _, focus in told["events"]]
    assert {each["status"] for each in resources} == {"busy"}


@pytest.mark.parametrize(
    ("channel", "focused"),
    [({"payload": None}, True), (content("id-only"), True), (content("empty"), False)],
    ids=["no payload", "id-only", "empty"],
)
def test_resources_come_along_only_when_asked_for(
    norway: Installation, receiver: Receiver, channel: dict[str, Any], focused: bool
) -> None:
    subscribed(norway, topic(receiver, "appointments", channel=channel))
    visit = booked(post(norway, order(find(norway)[0])))
    bundle = receiver.wait_for(2)[1].json
    assert len(bundle["entry"]) == 1
    assert parameters_of(bundle)["events"] == [("1", f"Appointment/{visit['id']}" if focused else None)]


def test_a_lost_notification_shows_as_a_gap(sweden: Installation, receiver: Receiver) -> None:
    kept = subscribed(sweden, topic(receiver, "appointments"))
    times = quarters(sweden, 2)
    ring(sweden, times[0])
    path = f"/_sandbox/subscriptions/{kept['id']}/skip"
    assert sweden.http.post(path, json={"events": 3}).json() == {"events": 3, "total": 4}
    assert sweden.http.post(path).json() == {"events": 1, "total": 5}
    ring(sweden, times[1])
    numbers = [parameters_of(each.json)["events"][0][0] for each in receiver.wait_for(3)[1:]]
    assert numbers == ["1", "6"]
    assert sweden.http.post("/_sandbox/subscriptions/none/skip").status_code == 404
    assert sweden.http.post(path, json={"events": 0}).status_code == 400


def test_numbers_go_on_after_a_restart(start: Callable[..., Installation], tmp_path: Path, receiver: Receiver) -> None:
    before = start(SWEDEN, state=tmp_path / "sweden.json")
    subscribed(before, topic(receiver, "appointments"))
    times = quarters(before, 2)
    ring(before, times[0])
    receiver.wait_for(2)
    before.stop()
    after = start(SWEDEN, state=tmp_path / "sweden.json")
    ring(after, times[1])
    assert parameters_of(receiver.wait_for(3)[2].json)["events"][0][0] == "2"


def test_a_handshake_lost_by_a_restart_is_made_up_for(
    start: Callable[..., Installation], tmp_path: Path, receiver: Receiver
) -> None:
    before = start(SWEDEN, state=tmp_path / "sweden.json")
    receiver.answers += [500] * 2
    kept = before.http.post("/Subscription", json=topic(receiver, "appointments")).json()
    receiver.wait_for(1)
    before.stop()
    after = start(SWEDEN, state=tmp_path / "sweden.json")
    until(lambda: status_of(after, kept["id"]) == "active")


def test_silence_is_broken_by_a_heartbeat(norway: Installation, receiver: Receiver) -> None:
    period = [{"url": f"{PROFILE}/backport-heartbeat-period", "valueUnsignedInt": 1}]
    subscribed(norway, topic(receiver, "appointments", channel={"extension": period}))
    told = parameters_of(receiver.wait_for(2)[1].json)
    assert (told["type"], told["events-since-subscription-start"], told["events"]) == ("heartbeat", "0", [])


@pytest.mark.parametrize(
    "change",
    [
        {"criteria": "https://sandbox.example/topics/weather"},
        {"criteria": "Appointment"},
        {"channel": content("everything")},
        {"channel": {"_payload": "x"}},
        {"channel": {"extension": [{"url": f"{PROFILE}/backport-heartbeat-period", "valueUnsignedInt": 0}]}},
        {
            "_criteria": {
                "extension": [{"url": f"{PROFILE}/backport-filter-criteria", "valueString": "Slot?status=free"}]
            }
        },
    ],
    ids=str,
)
def test_a_topic_subscription_that_cannot_be_served_is_400(sweden: Installation, change: dict[str, Any]) -> None:
    body = {**topic("http://portal.example/news", "slots", channel=change.pop("channel", {})), **change}
    assert sweden.http.post("/Subscription", json=body).status_code == 400
