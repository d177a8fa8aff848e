"""The sandbox's own paths: faults to order, calls to count, clinic staff at work."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox.appointments import checked_identifiers
from integrations.sandbox.calendar import TimeTakenError
from integrations.sandbox.faults import UnknownFaultError
from integrations.sandbox.hours import minute_of
from integrations.sandbox.searching import instant
from integrations.sandbox.staff import book_by_phone, cancel_at_clinic
from integrations.sandbox.wire import FhirError, fhir


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise FhirError(400, "structure", "The body is not JSON") from error
    if not isinstance(body, dict):
        raise FhirError(400, "structure", "The body must be an object")
    return body


async def add_fault(request: Request) -> Response:
    """Order a fault."""
    try:
        request.app.state.sandbox.faults.add(await _object(request))
    except UnknownFaultError as error:
        raise FhirError(400, "value", str(error)) from error
    return Response(status_code=204)


async def clear_faults(request: Request) -> Response:
    """Take back every fault."""
    request.app.state.sandbox.faults.clear()
    return Response(status_code=204)


async def calls(request: Request) -> Response:
    """How often each operation was called."""
    counted = request.app.state.sandbox.calls
    return fhir({"counts": dict(counted.counts), "max_concurrent": dict(counted.max_concurrent)})


async def clear_calls(request: Request) -> Response:
    """Count from nothing."""
    request.app.state.sandbox.calls.clear()
    return Response(status_code=204)


async def phone_booking(request: Request) -> Response:
    """Somebody rings the clinic."""
    calendar, asked = request.app.state.sandbox.calendar, await _object(request)
    role, minutes, patient = (
        calendar.world.role_by_id.get(str(asked.get("role"))),
        asked.get("minutes"),
        asked.get("patient"),
    )
    if role is None or not isinstance(minutes, int) or not 0 < minutes <= 480:
        raise FhirError(400, "value", "role and minutes are needed")
    checked_identifiers([patient] if patient is not None else [], 400)
    start = minute_of(instant(asked.get("start", ""), "start"))
    try:
        return fhir(book_by_phone(calendar, role, start, start + minutes, patient), 201)
    except TimeTakenError as error:
        raise FhirError(409, "conflict", "The time is not free") from error


async def staff_cancel(request: Request) -> Response:
    """Staff cancel an Appointment and free its time."""
    calendar = request.app.state.sandbox.calendar
    known = calendar.appointments.get(request.path_params["id"])
    if known is None:
        raise FhirError(404, "not-found", "No such Appointment")
    return fhir(cancel_at_clinic(calendar, known))


def routes() -> list[Route]:
    """Everything under `/_sandbox`."""
    return [
        Route("/_sandbox/faults", add_fault, methods=["POST"]),
        Route("/_sandbox/faults", clear_faults, methods=["DELETE"]),
        Route("/_sandbox/calls", calls, methods=["GET"]),
        Route("/_sandbox/calls", clear_calls, methods=["DELETE"]),
        Route("/_sandbox/phone-bookings", phone_booking, methods=["POST"]),
        Route("/_sandbox/appointments/{id:path}/cancel", staff_cancel, methods=["POST"]),
    ]
