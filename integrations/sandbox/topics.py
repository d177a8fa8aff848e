"""Topic notifications of the R5 backport in R4: Bundles that begin with the Subscription's status and number events."""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote
from uuid import uuid4

from integrations.sandbox.subscriber import BACKPORT, Resource, Subscriber

Event = tuple[int, Resource]


def moment(now: datetime) -> str:
    """A FHIR instant in UTC, with milliseconds."""
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def notification(subscriber: Subscriber, kind: str, now: datetime, events: Sequence[Event] = ()) -> Resource:
    """A `handshake`, a `heartbeat`, or an `event-notification` with its events."""
    told = [resource for _, resource in events] if subscriber.content == "full-resource" else []
    return {
        "resourceType": "Bundle",
        "id": str(uuid4()),
        "type": "history",
        "timestamp": moment(now),
        "entry": [_status_entry(subscriber, kind, now, events), *(_entry(subscriber.base, each) for each in told)],
    }


def status_answer(subscriber: Subscriber, now: datetime) -> Resource:
    """What `$status` answers."""
    parameters = _status(subscriber, "query-status", now)
    entry = {"fullUrl": f"urn:uuid:{parameters['id']}", "resource": parameters, "search": {"mode": "match"}}
    return {"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [entry]}


def _status_entry(subscriber: Subscriber, kind: str, now: datetime, events: Sequence[Event]) -> Resource:
    parameters = _status(subscriber, kind, now, events)
    return {
        "fullUrl": f"urn:uuid:{parameters['id']}",
        "resource": parameters,
        "request": {"method": "GET", "url": f"Subscription/{subscriber.id}/$status"},
        "response": {"status": "200"},
    }


def _entry(base: str, resource: Resource) -> Resource:
    address = f"{resource['resourceType']}/{quote(resource['id'], safe=':')}"
    request = {"method": "PUT", "url": address}
    return {
        "fullUrl": f"{base}/{address}",
        "resource": resource,
        "request": request,
        "response": {"status": "200"},
    }


def _status(subscriber: Subscriber, kind: str, now: datetime, events: Sequence[Event] = ()) -> Resource:
    # Numbers are strings: R4 has no 64-bit integer, and the backport guide says so.
    return {
        "resourceType": "Parameters",
        "id": str(uuid4()),
        "meta": {"profile": [f"{BACKPORT}/backport-subscription-status-r4"]},
        "parameter": [
            {"name": "subscription", "valueReference": {"reference": f"Subscription/{subscriber.id}"}},
            {"name": "topic", "valueCanonical": subscriber.resource["criteria"]},
            {"name": "status", "valueCode": subscriber.status(now)},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": str(subscriber.events)},
            *({"name": "notification-event", "part": _parts(subscriber, each, now)} for each in events),
        ],
    }


def _parts(subscriber: Subscriber, event: Event, now: datetime) -> list[Resource]:
    number, resource = event
    focus = {"name": "focus", "valueReference": {"reference": f"{resource['resourceType']}/{resource['id']}"}}
    return [
        {"name": "event-number", "valueString": str(number)},
        {"name": "timestamp", "valueInstant": moment(now)},
        *([] if subscriber.content == "empty" else [focus]),
    ]
