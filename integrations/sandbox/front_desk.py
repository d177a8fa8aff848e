"""Paths for what clinic staff do: book, move, cancel and close without asking the portal, often without a word.

A phone booking in the IHE dialect may say `minChangeHours`, `canBeRescheduled` and `canBeCancelled`.

`"silent": true` in any body here means that no subscriber is told, as staff changes in the field often are not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox import staff
from integrations.sandbox.admin import object_in, optional_object
from integrations.sandbox.appointments import checked_identifiers
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.hours import minute_of
from integrations.sandbox.ihe_terms import USUAL, Terms
from integrations.sandbox.searching import instant
from integrations.sandbox.taken import TimeTakenError
from integrations.sandbox.wire import FhirError, Resource, fhir
from integrations.sandbox.world import Role

OUTCOMES = ("fulfilled", "noshow")
_TERMS = {
    "minChangeHours": "min_change_hours",
    "canBeRescheduled": "can_be_rescheduled",
    "canBeCancelled": "can_be_cancelled",
}


def _calendar(request: Request) -> Calendar:
    calendar: Calendar = request.app.state.sandbox.calendar
    return calendar


@contextmanager
def _at_work(calendar: Calendar, asked: dict[str, Any]) -> Iterator[None]:
    silent = asked.get("silent", False)
    if not isinstance(silent, bool):
        raise FhirError(400, "value", "silent is true or false")
    try:
        with calendar.silence(silent):
            yield
    except TimeTakenError as error:
        raise FhirError(409, "conflict", "The time is not free") from error


def _role(calendar: Calendar, asked: dict[str, Any]) -> Role:
    role = calendar.world.role_by_id.get(str(asked.get("role")))
    if role is None:
        raise FhirError(400, "value", "No such role")
    return role


def _span(asked: dict[str, Any], most: int) -> tuple[int, int]:
    minutes = asked.get("minutes")
    if not isinstance(minutes, int) or not 0 < minutes <= most:
        raise FhirError(400, "value", f"minutes must be a number from 1 to {most}")
    start = minute_of(instant(asked.get("start", ""), "start"))
    return start, start + minutes


def _terms(calendar: Calendar, asked: dict[str, Any]) -> Terms:
    given = {field: asked[name] for name, field in _TERMS.items() if name in asked}
    if given and calendar.world.dialect != "ihe":
        raise FhirError(400, "not-supported", f"Only the IHE dialect tells {', '.join(_TERMS)}")
    if any(type(value) is not type(getattr(USUAL, field)) for field, value in given.items()):
        raise FhirError(400, "value", "minChangeHours is a whole number, what can be done is true or false")
    return replace(USUAL, **given)


def _known(request: Request) -> Resource:
    known = _calendar(request).appointments.get(request.path_params["id"])
    if known is None:
        raise FhirError(404, "not-found", "No such Appointment")
    return known


async def phone_booking(request: Request) -> Response:
    """Somebody rings the clinic."""
    calendar, asked = _calendar(request), await object_in(request)
    role, span, patient = _role(calendar, asked), _span(asked, 480), asked.get("patient")
    checked_identifiers([patient] if patient is not None else [], 400)
    terms = _terms(calendar, asked)
    with _at_work(calendar, asked):
        return fhir(staff.book_by_phone(calendar, role, *span, patient, terms), 201)


async def cancel(request: Request) -> Response:
    """Staff cancel an Appointment and free its time."""
    asked, known = await optional_object(request), _known(request)
    with _at_work(_calendar(request), asked):
        return fhir(staff.cancel_at_clinic(_calendar(request), known))


async def move(request: Request) -> Response:
    """Staff move an Appointment to another time, perhaps to another practitioner."""
    calendar, asked, known = _calendar(request), await object_in(request), _known(request)
    start = minute_of(instant(asked.get("start", ""), "start"))
    role = _role(calendar, asked) if "role" in asked else None
    with _at_work(calendar, asked):
        return fhir(staff.move_at_clinic(calendar, known, start, role))


async def outcome(request: Request) -> Response:
    """Staff note that the patient came, or did not."""
    asked, known = await object_in(request), _known(request)
    if asked.get("status") not in OUTCOMES:
        raise FhirError(400, "value", f"status must be one of {OUTCOMES}")
    with _at_work(_calendar(request), asked):
        return fhir(staff.note_outcome(_calendar(request), known, asked["status"]))


async def close(request: Request) -> Response:
    """Staff close some time of a practitioner: a course, a sick child."""
    calendar, asked = _calendar(request), await object_in(request)
    role, span = _role(calendar, asked), _span(asked, 1440)
    with _at_work(calendar, asked):
        return fhir({"id": staff.close_time(calendar, role, *span)}, 201)


async def reopen(request: Request) -> Response:
    """Staff open it again."""
    asked = await optional_object(request)
    with _at_work(_calendar(request), asked):
        staff.reopen_time(_calendar(request), request.path_params["id"])
    return Response(status_code=204)


def routes() -> list[Route]:
    """Staff at work, under `/_sandbox`."""
    return [
        Route("/_sandbox/phone-bookings", phone_booking, methods=["POST"]),
        Route("/_sandbox/appointments/{id:path}/cancel", cancel, methods=["POST"]),
        Route("/_sandbox/appointments/{id:path}/move", move, methods=["POST"]),
        Route("/_sandbox/appointments/{id:path}/outcome", outcome, methods=["POST"]),
        Route("/_sandbox/closures", close, methods=["POST"]),
        Route("/_sandbox/closures/{id}", reopen, methods=["DELETE"]),
    ]
