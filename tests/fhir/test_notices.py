"""What a record system has sent is a notification or it is nothing: no third thing ever comes of it."""

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.endpoint import Dialect
from domain.ports import AppointmentState, EhrListening, Notification, NotificationUnreadable
from domain.slot import Span
from integrations.fhir.ehrs import FhirEhrs
from integrations.fhir.notices import LARGEST_NUMBER
from tests.fhir.scripted import endpoint_at

Json = dict[str, Any]
NUMBER = "6f1c1d4e-6a4b-4a53-9a1f-0d2a3d5b7c11"
SPAN = Span(start=datetime(2026, 12, 1, 9, tzinfo=UTC), end=datetime(2026, 12, 1, 9, 45, tzinfo=UTC))
SLOT: Json = {
    "resourceType": "Slot",
    "id": "s-1",
    "meta": {"versionId": "3", "lastUpdated": "2026-12-01T06:00:00.123Z"},
    "schedule": {"reference": "https://ehr.example/fhir/Schedule/sk11"},
    "status": "busy",
    "start": "2026-12-01T10:00:00+01:00",
    "end": "2026-12-01T10:45:00+01:00",
}
APPOINTMENT: Json = {
    "resourceType": "Appointment",
    "id": "ap:1",
    "meta": {"versionId": "2", "lastUpdated": "2026-12-01T06:00:00Z"},
    "identifier": [{"system": "https://itb.example/identifiers/booking", "value": NUMBER}],
    "status": "cancelled",
    "start": "2026-12-01T09:00:00Z",
    "end": "2026-12-01T09:45:00Z",
    "participant": [{"actor": {"reference": "PractitionerRole/pr11"}, "status": "accepted"}],
    "slot": [{"reference": "Slot/s-1"}],
}


def listening(dialect: Dialect) -> EhrListening:
    return FhirEhrs().listening(endpoint_at("http://ehr.example/fhir", dialect))


R4, IHE = listening(Dialect.R4), listening(Dialect.IHE)


def read(body: object, by: EhrListening = R4) -> Notification:
    return by.notification(body if isinstance(body, bytes) else json.dumps(body).encode())


def parameters(numbers: list[Json], since: Json | None, subscription: str = "Subscription/sub-1") -> Json:
    """The status as the backport guide writes it in R4; a number is `{"valueString": "7"}` or the like."""
    events = [{"name": "notification-event", "part": [{"name": "event-number", **each}]} for each in numbers]
    count = [{"name": "events-since-subscription-start", **since}] if since else []
    reference = {"name": "subscription", "valueReference": {"reference": subscription}}
    return {"resourceType": "Parameters", "parameter": [reference, *count, *events]}


def status(numbers: list[Any], since: Any, subscription: str = "Subscription/sub-1") -> Json:
    """The status as R4B and R5 have it."""
    told: Json = {"resourceType": "SubscriptionStatus", "subscription": {"reference": subscription}}
    if since is not None:
        told["eventsSinceSubscriptionStart"] = since
    return told | {"notificationEvent": [{"eventNumber": each} for each in numbers]}


def notice(first: Json, *resources: Json, kind: str = "history") -> Json:
    entries = [{"resource": each} for each in (first, *resources)]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def test_a_bare_slot_says_whose_time_and_when() -> None:
    told = read(SLOT)
    [change] = told.changes
    assert (told.events, told.number, told.subscription) == (1, None, None)
    assert (change.key, change.schedule_id, change.span) == ("Slot/s-1/3", "sk11", SPAN)
    assert change.at == datetime(2026, 12, 1, 6, 0, 0, 123_000, UTC)


@pytest.mark.parametrize("by", [R4, IHE], ids=["r4", "ihe"])
def test_a_bare_appointment_says_which_visit_and_how_it_stands(by: EhrListening) -> None:
    [change] = read(APPOINTMENT, by).changes
    assert (change.key, change.booking_id, change.practitioner_ehr_id) == ("Appointment/ap:1/2", UUID(NUMBER), "pr11")
    assert (change.span, change.reference) == (SPAN, "s-1")
    assert change.appointment and change.appointment.state is AppointmentState.CANCELLED


def test_a_resource_without_version_is_told_apart_by_its_last_update() -> None:
    keys = [read(SLOT | {"meta": meta}).changes[0].key for meta in ({"lastUpdated": "2026-12-01T06:00:00Z"}, {})]
    assert keys == ["Slot/s-1/2026-12-01T06:00:00Z", "Slot/s-1/"]


def test_a_last_update_without_offset_is_no_instant() -> None:
    [change] = read(SLOT | {"meta": {"versionId": "3", "lastUpdated": "2026-12-01T06:00:00"}}).changes
    assert change.at is None


def test_another_systems_number_is_not_ours() -> None:
    for identifier in ({"system": "urn:x", "value": NUMBER}, {**APPOINTMENT["identifier"][0], "value": "none of it"}):
        [change] = read(APPOINTMENT | {"identifier": [identifier]}).changes
        assert change.booking_id is None


@pytest.mark.parametrize("kind", ["history", "subscription-notification"])
@pytest.mark.parametrize(
    "first",
    [
        parameters([{"valueString": "8"}, {"valueString": "9"}], {"valueString": "9"}),
        parameters([{"valueUnsignedInt": 9}, {"valueUnsignedInt": 8}], {"valueUnsignedInt": 9}),
        parameters([{"valueInteger64": "8"}, {"valueInteger64": 9}], None),
        status(["8", "9"], "9"),
        status([9, 8], 9),
        status([8, 9], None, "http://ehr.example/fhir/Subscription/sub-1"),
    ],
    ids=["text", "integers", "64 bits", "status, text", "status, integers", "status, absolute"],
)
def test_events_are_numbered_however_it_is_written(first: Json, kind: str) -> None:
    told = read(notice(first, SLOT, APPOINTMENT, kind=kind))
    assert (told.subscription, told.number, told.events) == ("sub-1", 9, 2)
    assert [each.key for each in told.changes] == ["Slot/s-1/3", "Appointment/ap:1/2"]


@pytest.mark.parametrize(
    "first",
    [parameters([], {"valueString": "12"}), parameters([], {"valueUnsignedInt": 12}), status([], "12"), status([], 12)],
)
def test_a_handshake_or_heartbeat_tells_how_many_there_have_been(first: Json) -> None:
    assert read(notice(first)) == Notification(subscription="sub-1", number=12, events=0)


def test_the_very_first_handshake_counts_from_nothing() -> None:
    assert read(notice(parameters([], {"valueUnsignedInt": 0}))).number == 0


@pytest.mark.parametrize("first", [parameters([{"valueString": "8"}], {"valueString": "8"}), status([8], 8)])
def test_ids_or_nothing_at_all_still_count_as_events(first: Json) -> None:
    """With the content `id-only` or `empty` there is nothing to take in, and a number all the same."""
    assert read(notice(first)) == Notification(subscription="sub-1", number=8, events=1)


def test_what_is_not_asked_for_is_passed_over() -> None:
    patient = {"resourceType": "Patient", "id": "p"}
    told = read(notice(status([1, 2, 3], 3), patient, {"resourceType": "Slot"} | SLOT, {}), IHE)
    assert (told.changes, told.events, told.number) == ((), 3, 3)


@pytest.mark.parametrize("number", [0, LARGEST_NUMBER])
def test_numbers_are_as_wide_as_they_may_be(number: int) -> None:
    assert read(notice(status([number], 1))).number == number
    assert read(notice(parameters([{"valueString": str(number)}], None))).number == number


def without_status(change: Callable[[Json], object]) -> Json:
    body = deepcopy(notice(parameters([{"valueString": "8"}], {"valueString": "8"}), SLOT))
    change(body)
    return body


MALFORMED: dict[str, object] = {
    "nothing": b"",
    "no JSON": b"<Slot/>",
    "half of it": json.dumps(SLOT).encode()[:-5],
    "not UTF-8": b'{"resourceType": "Slot", "id": "\xff"}',
    "too deep": b'{"x": ' + b"[" * 100_000,
    "a list": [SLOT],
    "a text": "Slot",
    "null": None,
    "no type": {name: value for name, value in SLOT.items() if name != "resourceType"},
    "an unknown type": {"resourceType": "Patient", "id": "p"},
    "type that is none": SLOT | {"resourceType": 7},
    "time without offset": SLOT | {"start": "2026-12-01T10:00:00"},
    "time that is none": SLOT | {"start": "soon"},
    "appointment without id": {name: value for name, value in APPOINTMENT.items() if name != "id"},
    "appointment without time": {name: value for name, value in APPOINTMENT.items() if name != "start"},
    "appointment of no state": APPOINTMENT | {"status": "dreamt"},
    "appointment that ends first": APPOINTMENT | {"end": "2026-12-01T08:00:00Z"},
    "bundle without type": {"resourceType": "Bundle", "entry": [{"resource": status([1], 1)}]},
    "bundle of another type": notice(status([1], 1), kind="searchset"),
    "bundle without entries": {"resourceType": "Bundle", "type": "history"},
    "bundle of nothing": {"resourceType": "Bundle", "type": "history", "entry": []},
    "entries that are none": {"resourceType": "Bundle", "type": "history", "entry": "x"},
    "entry without resource": {"resourceType": "Bundle", "type": "history", "entry": [{}]},
    "status comes second": notice(SLOT, status([1], 1)),
    "no subscription": notice(parameters([], {"valueString": "1"}, "")),
    "a subscription that is none": notice(status([1], 1, "Patient/p")),
    "a status without subscription": notice({"resourceType": "SubscriptionStatus", "eventsSinceSubscriptionStart": 1}),
    "no number at all": notice(parameters([], None)),
    "an event without number": notice(parameters([{}], {"valueString": "1"})),
    "a number that is none": notice(status(["eight"], 8)),
    "a number below nothing": notice(status([-1], 8)),
    "the same as text": notice(status(["-1"], 8)),
    "a broken number": notice(status([1.5], 8)),
    "a number of another alphabet": notice(status(["٨"], 8)),
    "a number too large": notice(status([LARGEST_NUMBER + 1], 8)),
    "a number larger than any": notice(status([10**40], 8)),
    "the same as text, too": notice(status(["9" * 19], 8)),
    "one of many digits": notice(status(["9" * 10_000], 8)),
    "true is no number": notice(status([True], 8)),
    "a resource that is unreadable": notice(status([1], 1), SLOT | {"start": "soon"}),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_said_to_be_and_not_repeated(body: object) -> None:
    with pytest.raises(NotificationUnreadable) as refused:
        read(body)
    assert NUMBER not in str(refused.value) and "9999" not in str(refused.value)


def test_a_system_without_slots_tells_of_none() -> None:
    with pytest.raises(NotificationUnreadable):
        read(SLOT, IHE)


NAMES = (
    "resourceType id meta versionId lastUpdated type entry resource parameter name part valueReference reference "
    "valueString valueUnsignedInt valueInteger64 subscription notificationEvent eventNumber status start end slot "
    "eventsSinceSubscriptionStart schedule participant actor identifier system value issue supportingInformation"
)
WORDS = (
    "Slot Appointment Bundle Parameters SubscriptionStatus Patient history subscription-notification booked free "
    "cancelled proposed subscription notification-event event-number events-since-subscription-start Subscription/s "
    "Schedule/x Slot/s PractitionerRole/p 1 8 -1 2026-12-01T10:00:00Z 0001-01-01T00:00:00+14:00 "
    "9999-12-31T23:59:59-14:00 https://itb.example/identifiers/booking"
)
texts = st.sampled_from(WORDS.split()) | st.text(max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=6),
    max_leaves=25,
)
GOOD = (
    SLOT,
    APPOINTMENT,
    notice(parameters([{"valueString": "8"}], {"valueString": "8"}), SLOT),
    notice(status([8], 8), APPOINTMENT, kind="subscription-notification"),
)


@st.composite
def spoilt(draw: st.DrawFn) -> object:
    """A good notification in which one thing, somewhere, is something else or is not there."""
    body: Any = deepcopy(draw(st.sampled_from(GOOD)))
    at = body
    while True:
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not (isinstance(at[key], dict | list) and at[key]) or draw(st.booleans()):
            break
        at = at[key]
    if draw(st.booleans()):
        at[key] = draw(values)
    else:
        del at[key]
    return body


@settings(max_examples=300, deadline=None)
@given(values | spoilt(), st.sampled_from([R4, IHE]))
def test_whatever_comes_is_a_notification_or_unreadable(body: object, by: EhrListening) -> None:
    try:
        told = read(body, by)
    except NotificationUnreadable:
        return
    assert isinstance(told, Notification)
    assert told.events >= 0 and (told.number is None or 0 <= told.number <= LARGEST_NUMBER)
    assert (told.subscription is None) == (told.number is None)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.sampled_from(GOOD).map(lambda good: json.dumps(good).encode()), st.data())
def test_whatever_bytes_come_as_well(body: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(body)))
    try:
        read(body[:cut] + data.draw(st.binary(max_size=3)) + body[cut:])
    except NotificationUnreadable:
        return
