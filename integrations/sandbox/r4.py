"""The plain R4 dialect: Slots and Appointments that a caller must keep in step, guarded by versions."""

from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox import appointments, r4_search, r4_slots
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.catalogue import capability_statement
from integrations.sandbox.hours import minute_of
from integrations.sandbox.reading import calendar_seen
from integrations.sandbox.searching import instant, pairs_of, token_matches
from integrations.sandbox.staff import somebody_else_takes
from integrations.sandbox.wire import FhirError, Pairs, Resource, base_of, fhir, if_match, resource_in, searchset

APPOINTMENT_STATUSES = frozenset(
    {"proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error", "waitlist"}
)


def _calendar(request: Request) -> Calendar:
    calendar: Calendar = request.app.state.sandbox.calendar
    return calendar


async def slots(request: Request) -> Response:
    """Slots of Schedules in a window of time, by start; paged by offset, so pages shift while times are taken."""
    calendar, pairs = calendar_seen(request), await pairs_of(request)
    known = request.app.state.sandbox.slot_lists
    question = tuple(pair for pair in pairs if pair[0] not in ("_offset", "_count"))
    key = (question, calendar.revision, minute_of(calendar.now()))
    if key not in known:
        if len(known) >= 32:
            known.pop(next(iter(known)))
        known[key] = r4_search.found(calendar, pairs)
    return searchset(request, "/Slot", pairs, known[key], render=lambda each: r4_slots.resource_of(calendar, each))


async def read_slot(request: Request) -> Response:
    """One Slot with its version."""
    calendar = calendar_seen(request)
    return fhir(r4_slots.resource_of(calendar, r4_slots.slot_of(calendar, request.path_params["id"])))


async def put_slot(request: Request) -> Response:
    """Take or free a Slot; 412 when the version has moved on."""
    calendar, body = _calendar(request), await resource_in(request, "Slot")
    slot = r4_slots.slot_of(calendar, request.path_params["id"])
    _check_slot(calendar, slot, body)
    version = if_match(request)
    if request.scope.get("sandbox.fault") == "taken":
        somebody_else_takes(calendar, slot.role.id, slot.start, slot.end)
    if version is None:
        raise FhirError(400, "required", "Writing a Slot needs If-Match")
    if version != calendar.version(slot.role.id, slot.start, slot.end):
        raise FhirError(412, "conflict", "The Slot has changed since it was read")
    if body["status"] in r4_slots.BUSY:
        r4_slots.take(calendar, slot, body["status"], tuple(body.get("identifier", ())))
    else:
        r4_slots.release(calendar, slot)
    calendar.comment(slot.id, body.get("comment"))
    return fhir(r4_slots.resource_of(calendar, slot))


def _check_slot(calendar: Calendar, slot: r4_slots.Slot, body: Resource) -> None:
    if body.get("id") != slot.id:
        raise FhirError(400, "invariant", "The id in the body is not the one in the address")
    if body.get("status") not in (*r4_slots.BUSY, "free"):
        raise FhirError(400, "value", "A Slot can be put as free, busy or busy-tentative")
    appointments.checked_identifiers(body.get("identifier", []), 400)
    span = tuple(minute_of(instant(body.get(name, ""), name)) for name in ("start", "end"))
    reference = body.get("schedule", {}).get("reference")
    if span != (slot.start, slot.end) or reference != f"Schedule/{slot.role.schedule}":
        raise FhirError(400, "invariant", "A Slot stays where it is: send its own schedule, start and end")


def _if_none_exist(request: Request) -> Pairs | None:
    given = request.headers.get("if-none-exist")
    if given is None:
        return None
    text = given.lstrip("?")
    pairs = parse_qsl(text if "=" in text else unquote(text), keep_blank_values=True)
    if not pairs:
        raise FhirError(400, "value", "If-None-Exist needs a search")
    return pairs


async def post_appointment(request: Request) -> Response:
    """Create an Appointment, once per If-None-Exist; its Slot stays as it is."""
    calendar, body = _calendar(request), _checked_appointment(await resource_in(request, "Appointment"))
    condition = _if_none_exist(request)
    if condition is not None:
        found = appointments.search(calendar, condition)
        if len(found) > 1:
            raise FhirError(412, "multiple-matches", "More than one Appointment matches If-None-Exist")
        if found:
            return fhir(found[0])
    kept = calendar.keep(body | {"id": appointments.new_id(calendar)})
    return fhir(kept, 201, {"Location": f"{base_of(request)}/Appointment/{kept['id']}"})


async def put_appointment(request: Request) -> Response:
    """Replace an Appointment, under its version when one is given; no Slot changes with it."""
    calendar, body = _calendar(request), _checked_appointment(await resource_in(request, "Appointment"))
    known = calendar.appointments.get(request.path_params["id"])
    if known is None:
        raise FhirError(404, "not-found", "No such Appointment")
    if body.get("id") != known["id"]:
        raise FhirError(400, "invariant", "The id in the body is not the one in the address")
    version = if_match(request)
    if version is not None and str(version) != known["meta"]["versionId"]:
        raise FhirError(412, "conflict", "The Appointment has changed since it was read")
    return fhir(calendar.keep(body))


def _checked_appointment(body: Resource) -> Resource:
    if body.get("status") not in APPOINTMENT_STATUSES:
        raise FhirError(400, "value", f"No such status of an Appointment: {body.get('status')!r}")
    return appointments.checked(body, 400)


async def search_appointments(request: Request) -> Response:
    """Existing Appointments."""
    pairs = await pairs_of(request)
    return searchset(request, "/Appointment", pairs, appointments.search(calendar_seen(request), pairs))


async def post_patient(request: Request) -> Response:
    """Create a Patient; with If-None-Exist a known one stays as it is, without it is brought up to date."""
    calendar, body = _calendar(request), appointments.checked_patient(await resource_in(request, "Patient"))
    for name, asked in _if_none_exist(request) or ():
        if name != "identifier":
            raise FhirError(400, "not-supported", "A Patient is looked for by identifier")
        for each in calendar.patients.values():
            if token_matches(asked, each["identifier"]):
                return fhir(each)
    kept, new = calendar.keep_patient(body)
    return fhir(kept, 201 if new else 200, {"Location": f"{base_of(request)}/Patient/{kept['id']}"})


async def metadata(request: Request) -> Response:
    """The CapabilityStatement."""
    return fhir(
        capability_statement(
            _calendar(request).world, base_of(request), [], [], subscriptions=request.app.state.sandbox.subscriptions
        )
    )


def routes() -> list[Route]:
    """What only this dialect answers."""
    return [
        Route("/metadata", metadata),
        Route("/Slot", slots),
        Route("/Slot/_search", slots, methods=["POST"]),
        Route("/Slot/{id}", read_slot),
        Route("/Slot/{id}", put_slot, methods=["PUT"]),
        Route("/Appointment", search_appointments),
        Route("/Appointment/_search", search_appointments, methods=["POST"]),
        Route("/Appointment", post_appointment, methods=["POST"]),
        Route("/Appointment/{id}", put_appointment, methods=["PUT"]),
        Route("/Patient", post_patient, methods=["POST"]),
    ]
