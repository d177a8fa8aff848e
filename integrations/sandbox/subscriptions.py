"""Subscriptions: who may be told of what, checked, kept, and begun with a handshake where there is a topic."""

import re
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox.calendar import Calendar
from integrations.sandbox.notices import matching_appointments, matching_slots
from integrations.sandbox.searching import instant, known_only, pairs_of, values
from integrations.sandbox.subscriber import BACKPORT, SECRET, TOPICS, Subscriber, by_topic, extension
from integrations.sandbox.topics import moment, status_answer
from integrations.sandbox.wire import FHIR_JSON, FhirError, Resource, base_of, fhir, if_match, resource_in, searchset

EVERY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE"]
CONTENTS = ("full-resource", "id-only", "empty")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\x20-\x7e]*", re.ASCII)
_OURS = frozenset({"connection", "content-length", "content-type", "host", "transfer-encoding", "x-signature"})


def _calendar(request: Request) -> Calendar:
    calendar: Calendar = request.app.state.sandbox.calendar
    return calendar


def _known(request: Request) -> Subscriber:
    wanted = request.path_params["id"]
    if wanted not in _calendar(request).subscribers:
        raise FhirError(404, "not-found", f"No Subscription {wanted}")
    return _calendar(request).subscribers[wanted]


async def create(request: Request) -> Response:
    """Begin to tell somebody."""
    body = await resource_in(request, "Subscription")
    if body.get("status") != "requested":
        raise FhirError(400, "value", "A new Subscription is sent as requested")
    subscriber = Subscriber({**body, "id": f"sub-{uuid4().hex[:12]}"}, base_of(request))
    told = _kept(request, subscriber, body, version=1)
    return fhir(told, 201, {"Location": f"{base_of(request)}/Subscription/{subscriber.id}"})


async def update(request: Request) -> Response:
    """Tell somebody else, or something else, or (as `off`) nothing for the time being."""
    known, body = _known(request), await resource_in(request, "Subscription")
    if body.get("id") != known.id:
        raise FhirError(400, "invariant", "The id in the body is not the one in the address")
    if body.get("status") not in ("requested", "active", "off"):
        raise FhirError(400, "value", "A Subscription can be put as requested, active or off")
    version, now_at = if_match(request), int(known.resource["meta"]["versionId"])
    if version not in (None, now_at):
        raise FhirError(412, "conflict", "The Subscription has changed since it was read")
    return fhir(_kept(request, known, body, version=now_at + 1))


def _kept(request: Request, subscriber: Subscriber, body: Resource, *, version: int) -> Resource:
    calendar, sandbox = _calendar(request), request.app.state.sandbox
    _check(calendar, Subscriber({**body, "id": subscriber.id}, subscriber.base))
    now = calendar.now()
    meta = {**body.get("meta", {}), "versionId": str(version), "lastUpdated": moment(now)}
    status = "off" if body["status"] == "off" else "requested" if by_topic(body) else "active"
    subscriber.resource = {**body, "id": subscriber.id, "meta": meta, "status": status}
    calendar.subscribers[subscriber.id] = subscriber
    calendar.write()
    if subscriber.status(now) == "requested":
        sandbox.notices.shake_hands(subscriber)
    return subscriber.told(now)


async def read(request: Request) -> Response:
    """One Subscription, with its status as it is now."""
    return fhir(_known(request).told(_calendar(request).now()))


async def status(request: Request) -> Response:
    """`$status` of the backport: how many events there have been."""
    return fhir(status_answer(_known(request), _calendar(request).now()))


async def search(request: Request) -> Response:
    """Subscriptions by address, status, criteria or id."""
    calendar, pairs = _calendar(request), await pairs_of(request)
    known_only(pairs, ("_id", "criteria", "status", "url"))
    told = [each.told(calendar.now()) for each in calendar.subscribers.values()]
    found = [
        each
        for each in told
        if all(each["id"] in asked.split(",") for asked in values(pairs, "_id"))
        and all(each["status"] in asked.split(",") for asked in values(pairs, "status"))
        and all(each["criteria"] == asked for asked in values(pairs, "criteria"))
        and all(each["channel"]["endpoint"] == asked for asked in values(pairs, "url"))
    ]
    return searchset(request, "/Subscription", pairs, found)


async def delete(request: Request) -> Response:
    """Tell nothing more, not even what is on its way."""
    subscriber, calendar = _known(request), _calendar(request)
    del calendar.subscribers[subscriber.id]
    request.app.state.sandbox.deliveries.drop(subscriber)
    calendar.write()
    return Response(status_code=204)


def _check(calendar: Calendar, subscriber: Subscriber) -> None:
    body = subscriber.resource
    _check_meta(body)
    if "end" in body:
        instant(body["end"], "end")
    if not isinstance(body.get("criteria"), str):
        raise FhirError(400, "required", "A Subscription needs criteria")
    _check_channel(body.get("channel"))
    secret = extension(body, SECRET)
    if secret is not None and (not isinstance(secret, str) or not secret):
        raise FhirError(400, "value", "The secret must be a text")
    _check_criteria(calendar, subscriber)


def _check_meta(body: Resource) -> None:
    meta = body.get("meta", {})
    if not isinstance(meta, dict) or not isinstance(meta.get("profile", []), list):
        raise FhirError(400, "structure", "meta.profile must be a list")


def _check_criteria(calendar: Calendar, subscriber: Subscriber) -> None:
    if subscriber.by_topic and subscriber.resource["criteria"] not in TOPICS:
        raise FhirError(400, "not-supported", f"The topics here are {', '.join(TOPICS)}")
    if "_criteria" in subscriber.resource:
        # Ignoring a filter would tell more than was asked for.
        raise FhirError(400, "not-supported", "Filters of a topic are not supported")
    if subscriber.about == "Appointment":
        matching_appointments(calendar, subscriber)
    elif subscriber.about == "Slot" and calendar.world.dialect == "r4":
        matching_slots(calendar, subscriber)
    else:
        raise FhirError(400, "not-supported", f"Nobody is told of {subscriber.about} here")


def _check_channel(channel: Any) -> None:
    if not isinstance(channel, dict) or channel.get("type") != "rest-hook":
        raise FhirError(400, "not-supported", "The channel must be a rest-hook")
    if not _is_address(channel.get("endpoint")):
        raise FhirError(400, "value", "The endpoint must be an http(s) URL")
    if channel.get("payload", FHIR_JSON) != FHIR_JSON:
        raise FhirError(400, "not-supported", f"The payload can be {FHIR_JSON}")
    headers = channel.get("header", [])
    if not isinstance(headers, list) or not all(map(_is_header, headers)):
        raise FhirError(400, "value", "A header is a text such as 'Authorization: Bearer abc'")
    _check_backport(channel)


def _check_backport(channel: Resource) -> None:
    beside = channel.get("_payload", {})
    if not isinstance(beside, dict):
        raise FhirError(400, "structure", "_payload must be an object")
    if extension(beside, f"{BACKPORT}/backport-payload-content") not in (None, *CONTENTS):
        raise FhirError(400, "value", f"The content of a payload is one of {CONTENTS}")
    heartbeat = extension(channel, f"{BACKPORT}/backport-heartbeat-period")
    if heartbeat is not None and (not isinstance(heartbeat, int) or not 1 <= heartbeat <= 86_400):
        raise FhirError(400, "value", "The heartbeat comes after 1 to 86400 seconds")


def _is_address(text: object) -> bool:
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_header(text: object) -> bool:
    match = _HEADER.fullmatch(text) if isinstance(text, str) else None
    return match is not None and match[1].lower() not in _OURS


async def _nobody(_: Request) -> Response:
    raise FhirError(404, "not-found", "No Subscription here")


def routes(*, known: bool) -> list[Route]:
    """Subscriptions, or a server that has never heard of them."""
    if not known:
        paths = ("/Subscription", "/Subscription/{rest:path}")
        return [Route(path, _nobody, methods=EVERY_METHOD) for path in paths]
    return [
        Route("/Subscription", search),
        Route("/Subscription", create, methods=["POST"]),
        Route("/Subscription/_search", search, methods=["POST"]),
        Route("/Subscription/{id}/$status", status),
        Route("/Subscription/{id}", read),
        Route("/Subscription/{id}", update, methods=["PUT"]),
        Route("/Subscription/{id}", delete, methods=["DELETE"]),
    ]
