"""The sandbox's own paths: faults to order, calls to count, news to follow or to lose, and a fresh beginning.

What the fault `late` keeps arrives with `POST /_sandbox/late`, at most `{"most": n}` of it and the oldest first.
"""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox.faults import UnknownFaultError
from integrations.sandbox.wire import FhirError, fhir


async def object_in(request: Request) -> dict[str, Any]:
    """The JSON object of the body; 400 for anything else."""
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise FhirError(400, "structure", "The body is not JSON") from error
    if not isinstance(body, dict):
        raise FhirError(400, "structure", "The body must be an object")
    return body


async def optional_object(request: Request) -> dict[str, Any]:
    """The same, or an empty object where nothing was sent."""
    return await object_in(request) if await request.body() else {}


async def add_fault(request: Request) -> Response:
    """Order a fault."""
    try:
        sandbox = request.app.state.sandbox
        sandbox.faults.add(await object_in(request), sandbox.calendar)
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


async def deliver_late(request: Request) -> Response:
    """Carry out what lies about in the network; the answer says how much that was."""
    most = (await optional_object(request)).get("most")
    if most is not None and (not isinstance(most, int) or most < 1):
        raise FhirError(400, "value", "most must be a number from 1")
    return fhir({"delivered": await request.app.state.sandbox.late.deliver(most)})


async def forget_late(request: Request) -> Response:
    """What lies about never arrives."""
    request.app.state.sandbox.late.forget()
    return Response(status_code=204)


async def begin_afresh(request: Request) -> Response:
    """As a new server would begin: no bookings, subscribers, faults, counts or late requests."""
    request.app.state.sandbox.begin_afresh()
    return Response(status_code=204)


async def appointments(request: Request) -> Response:
    """Every Appointment there is, as they were written first."""
    kept = request.app.state.sandbox.calendar.appointments
    return Response(orjson.dumps(list(kept.values())), media_type="application/json")


async def deliveries(request: Request) -> Response:
    """How the last hundred messages to subscribers fared."""
    return Response(orjson.dumps(list(request.app.state.sandbox.deliveries.last)), media_type="application/json")


async def skip_events(request: Request) -> Response:
    """Events that a subscriber never hears of, as when notifications are lost: its numbers show a gap."""
    calendar, number = request.app.state.sandbox.calendar, (await optional_object(request)).get("events", 1)
    subscriber = calendar.subscribers.get(request.path_params["id"])
    if subscriber is None:
        raise FhirError(404, "not-found", "No such Subscription")
    if not isinstance(number, int) or not 0 < number <= 1000:
        raise FhirError(400, "value", "events must be a number from 1 to 1000")
    subscriber.events += number
    calendar.write()
    return fhir({"events": number, "total": subscriber.events})


def routes() -> list[Route]:
    """What is under `/_sandbox` for tests and demonstrations; the front desk has paths of its own there."""
    return [
        Route("/_sandbox/faults", add_fault, methods=["POST"]),
        Route("/_sandbox/faults", clear_faults, methods=["DELETE"]),
        Route("/_sandbox/calls", calls, methods=["GET"]),
        Route("/_sandbox/calls", clear_calls, methods=["DELETE"]),
        Route("/_sandbox/late", deliver_late, methods=["POST"]),
        Route("/_sandbox/late", forget_late, methods=["DELETE"]),
        Route("/_sandbox/reset", begin_afresh, methods=["POST"]),
        Route("/_sandbox/appointments", appointments, methods=["GET"]),
        Route("/_sandbox/deliveries", deliveries, methods=["GET"]),
        Route("/_sandbox/subscriptions/{id}/skip", skip_events, methods=["POST"]),
    ]
