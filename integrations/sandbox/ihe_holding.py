"""`$hold` of the IHE dialect: a time is kept for somebody who makes up their mind, and no longer than promised."""

from dataclasses import replace
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox.appointments import new_id
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.ihe_booking import answer, checked_shape, order_in, settled, time_of
from integrations.sandbox.ihe_terms import with_extensions
from integrations.sandbox.staff import somebody_else_takes
from integrations.sandbox.taken import TimeTakenError
from integrations.sandbox.wire import FhirError, Resource, fhir, outcome, resource_in


async def hold(request: Request) -> Response:
    """Keep a proposed time; a refusal is a Bundle that holds nothing but an OperationOutcome."""
    sandbox = request.app.state.sandbox
    try:
        proposal = _proposal(await resource_in(request, "Parameters"), sandbox.book_parameters)
        if request.scope.get("sandbox.fault") == "taken":
            time = time_of(sandbox.calendar, {"id": "", **proposal})
            somebody_else_takes(sandbox.calendar, time.role, time.start, time.end)
        held = _held(sandbox.calendar, proposal, sandbox.holds)
    except FhirError as error:
        return fhir(answer(error.outcome), error.status)
    except TimeTakenError:
        # The guide's own words for a time that is gone, whoever has it.
        return fhir(answer(outcome("not-found", "The time is no longer available", "fatal")), 409)
    return fhir(answer(held))


def _proposal(parameters: Resource, names: tuple[str, ...]) -> Resource:
    if any(each.get("name") == "appointment-reference" for each in parameters.get("parameter", ())):
        # A proposal is an answer, and no resource that is kept anywhere.
        raise FhirError(422, "not-supported", "A proposal cannot be referred to here: send all of it")
    proposal = checked_shape(order_in(parameters, tuple(dict.fromkeys(("appointment-resource", *names))))).appointment
    if proposal.get("status") not in ("proposed", "pending"):
        raise FhirError(422, "value", "What is to be held is sent as proposed or pending")
    return proposal


def _held(calendar: Calendar, proposal: Resource, lasts: timedelta) -> Resource:
    pending = settled(calendar, proposal, new_id(calendar), "pending")
    until = int((calendar.now() + lasts).timestamp() * 1000)
    calendar.take(replace(time_of(calendar, pending), until=until))
    return calendar.keep(with_extensions(pending))


def routes() -> list[Route]:
    """For those servers of the dialect that know it."""
    return [Route("/Appointment/$hold", hold, methods=["POST"])]
