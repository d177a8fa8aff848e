"""`$book` of the IHE dialect: create, modify and cancel, told apart by the id and the status that come in.

An Appointment that only holds its time is booked, or let go of, under its own id.
"""

from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from integrations.sandbox import appointments
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.hours import local, minute_of
from integrations.sandbox.ihe_terms import SLOT_ID, SOURCE_SYSTEM, device_of, terms_of, with_extensions
from integrations.sandbox.searching import instant
from integrations.sandbox.staff import somebody_else_takes
from integrations.sandbox.taken import Taken, TimeTakenError
from integrations.sandbox.wire import FhirError, Resource, fhir, outcome, resource_in
from integrations.sandbox.world import TREATMENTS_SYSTEM, Role

FORBIDDEN = ("cancelationReason", "slot", "minutesDuration", "priority")
EVERY_NAME = ("appointment-resource", "appointment")


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller of `$book` wants: an Appointment, perhaps a Patient, perhaps a comment."""

    appointment: Resource
    patient: Resource | None
    comment: str | None


async def book(request: Request) -> Response:
    """Carry the order out; a refusal is a Bundle that holds nothing but an OperationOutcome."""
    sandbox = request.app.state.sandbox
    try:
        order = checked_shape(order_in(await resource_in(request, "Parameters"), sandbox.book_parameters))
        if request.scope.get("sandbox.fault") == "taken":
            time = time_of(sandbox.calendar, {"id": "", **order.appointment})
            somebody_else_takes(sandbox.calendar, time.role, time.start, time.end)
        appointment = _carry_out(sandbox.calendar, order, sandbox.proposal_statuses)
    except FhirError as error:
        return fhir(answer(error.outcome), error.status)
    return fhir(answer(appointment, outcome("informational", "Carried out", "information")))


def answer(*resources: Resource) -> Resource:
    """What both operations answer with."""
    entries = [{"resource": each} for each in resources]
    return {"resourceType": "Bundle", "type": "collection", "total": len(entries), "entry": entries}


def order_in(parameters: Resource, names: tuple[str, ...]) -> Order:
    """What Parameters ask for; the Appointment is under one of the names."""
    given = parameters.get("parameter")
    if not isinstance(given, list) or not all(isinstance(each.get("name"), str) for each in given):
        raise FhirError(400, "structure", "Parameters need a list of parameters with names")
    by_name = {each.get("name"): each for each in given}
    appointment = next((by_name[name].get("resource") for name in names if name in by_name), None)
    if not isinstance(appointment, dict) or appointment.get("resourceType") != "Appointment":
        raise FhirError(400, "required", f"An Appointment is needed in {' or '.join(names)}")
    patient = by_name.get("patient-resource", {}).get("resource")
    if patient is not None and (not isinstance(patient, dict) or patient.get("resourceType") != "Patient"):
        raise FhirError(400, "structure", "patient-resource must be a Patient")
    comment = by_name.get("comment", {}).get("valueString")
    if comment is not None and not isinstance(comment, str):
        raise FhirError(400, "structure", "comment must be a text")
    return Order(appointment, appointments.checked_patient(patient) if patient else None, comment)


def checked_shape(order: Order) -> Order:
    """The order, if the profile allows its Appointment and what is in it can be relied on."""
    for name in FORBIDDEN:
        if name in order.appointment:
            raise FhirError(422, "structure", f"The profile does not allow {name}")
    appointments.checked(order.appointment, 422)
    return order


def _carry_out(calendar: Calendar, order: Order, proposal_statuses: tuple[str, ...]) -> Resource:
    status, asked_id = order.appointment.get("status"), order.appointment.get("id")
    known = calendar.appointments.get(asked_id) if isinstance(asked_id, str) else None
    if known is None:
        if status in proposal_statuses:
            return _create(calendar, order)
        if status in ("pending", "proposed"):
            raise FhirError(422, "value", f"A new Appointment is sent as {' or '.join(proposal_statuses)}")
        raise FhirError(404, "not-found", f"No Appointment {asked_id!r} to change")
    if known["status"] == "pending" and status in proposal_statuses:
        return _create(calendar, order, known)
    if status == "cancelled" and known["status"] in ("pending", "booked", "cancelled"):
        return cancel(calendar, known)
    if status not in ("booked", "cancelled"):
        raise FhirError(422, "value", f"An existing Appointment cannot become {status!r}")
    if known["status"] != "booked":
        raise FhirError(409, "business-rule", f"The Appointment is {known['status']}")
    return _modify(calendar, known, order)


def _create(calendar: Calendar, order: Order, held: Resource | None = None) -> Resource:
    for each in _business_identifiers(order.appointment):
        if _booked_under(calendar, each):
            raise FhirError(409, "conflict", "This booking number has an Appointment already")
    patient = _patient_identifier(calendar, order)
    if held and _patients(calendar, held) - _patients(calendar, order.appointment):
        raise FhirError(422, "invariant", "The time is held for another patient")
    appointment = settled(calendar, order.appointment, held["id"] if held else appointments.new_id(calendar))
    if not appointments.patient_identifiers(calendar, appointment):
        actor = {"identifier": {"system": patient["system"], "value": patient["value"]}}
        appointment["participant"] = [*appointment["participant"], {"actor": actor, "status": "accepted"}]
    if order.comment:
        appointment["comment"] = order.comment
    _take(calendar, appointment)
    if order.patient is not None:
        calendar.keep_patient(order.patient)
    return calendar.keep(with_extensions(appointment))


def _modify(calendar: Calendar, known: Resource, order: Order) -> Resource:
    if _patients(calendar, known) != _patients(calendar, order.appointment):
        raise FhirError(422, "invariant", "A change sends the full Appointment, with the patient it is for")
    appointment = settled(calendar, order.appointment, known["id"])
    if "comment" in known:
        appointment.setdefault("comment", known["comment"])
    if order.comment:
        appointment["comment"] = order.comment
    _take(calendar, appointment)
    terms = terms_of(known)
    moves = terms.moves + (known["start"] != appointment["start"])
    return calendar.keep(with_extensions(appointment, replace(terms, moves=moves)))


def cancel(calendar: Calendar, known: Resource) -> Resource:
    """Cancel and free the time; a second time changes nothing."""
    if known["status"] == "cancelled":
        return known
    calendar.release(known["id"])
    return calendar.keep(with_extensions(known | {"status": "cancelled"}, terms_of(known)))


def _patients(calendar: Calendar, appointment: Resource) -> set[tuple[str | None, str]]:
    return {(each.get("system"), each["value"]) for each in appointments.patient_identifiers(calendar, appointment)}


def settled(calendar: Calendar, sent: Resource, identifier: str, status: str = "booked") -> Resource:
    """The Appointment as it will stand: who and what checked, times on the clinic's clock."""
    role = _role_in(calendar, sent)
    code = _code_in(sent)
    if code not in role.treatments:
        raise FhirError(422, "business-rule", f"{role.name} does not perform {code!r}")
    if role.device and device_of(role) not in [
        each.get("identifier") for each in sent.get("supportingInformation", ())
    ]:
        raise FhirError(422, "required", "The chair or device of the proposal must come back untouched")
    zone = calendar.world.zone
    span = {name: local(minute_of(instant(sent[name], name)), zone).isoformat() for name in ("start", "end")}
    return sent | span | {"id": identifier, "status": status}


def _role_in(calendar: Calendar, sent: Resource) -> Role:
    named = [each["actor"].get("reference", "") for each in sent["participant"]]
    roles = [each.removeprefix("PractitionerRole/") for each in named if each.startswith("PractitionerRole/")]
    if len(roles) != 1 or roles[0] not in calendar.world.role_by_id:
        raise FhirError(422, "required", "Exactly one PractitionerRole of this endpoint must take part")
    role = calendar.world.role_by_id[roles[0]]
    if any(each.startswith("HealthcareService/") and each != f"HealthcareService/{role.clinic}" for each in named):
        raise FhirError(422, "business-rule", f"{role.name} does not work there")
    return role


def _code_in(sent: Resource) -> str | None:
    codings = [each for kind in sent.get("serviceType", ()) for each in kind.get("coding", ())]
    return next((each.get("code") for each in codings if each.get("system") == TREATMENTS_SYSTEM), None)


def _patient_identifier(calendar: Calendar, order: Order) -> Resource:
    named = appointments.patient_identifiers(calendar, order.appointment)
    named += order.patient["identifier"] if order.patient else []
    if not named or not named[0].get("system"):
        raise FhirError(422, "required", "A patient with an identifier (system and value) must take part")
    return named[0]


def _business_identifiers(appointment: Resource) -> list[Resource]:
    return [each for each in appointment.get("identifier", ()) if each.get("system") not in (SLOT_ID, SOURCE_SYSTEM)]


def _booked_under(calendar: Calendar, identifier: Resource) -> bool:
    wanted = (identifier.get("system"), identifier["value"])
    return any(
        each["status"] == "booked"
        and wanted in [(held.get("system"), held["value"]) for held in _business_identifiers(each)]
        for each in calendar.appointments.values()
    )


def time_of(calendar: Calendar, appointment: Resource) -> Taken:
    """The time an Appointment is about, as it occupies the calendar of whoever takes part."""
    start, end = (minute_of(instant(appointment[name], name)) for name in ("start", "end"))
    return Taken(key=appointment["id"], role=_role_in(calendar, appointment).id, start=start, end=end)


def _take(calendar: Calendar, appointment: Resource) -> None:
    try:
        calendar.take(time_of(calendar, appointment))
    except TimeTakenError as error:
        raise FhirError(409, "conflict", "The time is no longer available") from error
