"""What people at the clinic do in the calendar without telling anybody."""

from itertools import pairwise
from uuid import uuid4

from integrations.sandbox.appointments import new_id
from integrations.sandbox.calendar import CLOSED, Calendar
from integrations.sandbox.catalogue import coding, taking_part
from integrations.sandbox.hours import local
from integrations.sandbox.ihe_terms import USUAL, Terms, device_of, terms_of, with_extensions
from integrations.sandbox.moving import moved, slots_held
from integrations.sandbox.taken import Taken, TimeTakenError
from integrations.sandbox.wire import FhirError, Resource
from integrations.sandbox.world import Role, Treatment

_CLOSURE = "closure-"


def book_by_phone(
    calendar: Calendar, role: Role, start: int, end: int, patient: Resource | None = None, terms: Terms = USUAL
) -> Resource:
    """Somebody rang: occupy the time and write the Appointment; raises TimeTakenError when it is not free."""
    identifier = new_id(calendar)
    calendar.take(Taken(key=identifier, role=role.id, start=start, end=end))
    people: list[Resource] = [{"actor": {"identifier": patient}, "status": "accepted"}] if patient else []
    zone = calendar.world.zone
    described: Resource = {
        "resourceType": "Appointment",
        "id": identifier,
        "status": "booked",
        "serviceType": [{"coding": [coding(_likely_treatment(calendar, role, end - start))]}],
        "start": local(start, zone).isoformat(),
        "end": local(end, zone).isoformat(),
        "participant": taking_part(calendar.world, role) + people,
        "comment": "Booked by telephone",
    }
    if role.device:
        described["supportingInformation"] = [{"identifier": device_of(role)}]
    return calendar.keep(_told(calendar, described, terms))


def _told(calendar: Calendar, appointment: Resource, terms: Terms) -> Resource:
    """In the IHE dialect what a patient may change is told on every Appointment, whoever wrote it."""
    return with_extensions(appointment, terms) if calendar.world.dialect == "ihe" else appointment


def somebody_else_takes(calendar: Calendar, role: str, start: int, end: int) -> None:
    """Whatever is still free of the time goes to somebody on the telephone."""
    edges = {start, end}
    for each in calendar.occupants(role, start, end):
        edges |= {max(start, each.start), min(end, each.end)}
    points = sorted(edges)
    for since, until in pairwise(points):
        try:
            book_by_phone(calendar, calendar.world.role_by_id[role], since, until)
        except TimeTakenError:
            continue


def cancel_at_clinic(calendar: Calendar, appointment: Resource) -> Resource:
    """Staff cancel: the Appointment is cancelled and its time is free, Slots taken under its number included."""
    calendar.release(appointment["id"])
    for time in slots_held(calendar, appointment):
        calendar.release(time.key)
    return calendar.keep(_told(calendar, appointment | {"status": "cancelled"}, _terms(calendar, appointment)))


def move_at_clinic(calendar: Calendar, appointment: Resource, start: int, role: Role | None) -> Resource:
    """Staff move a booked visit, which does not count among the patient's moves; raises TimeTakenError."""
    if appointment["status"] != "booked":
        raise FhirError(409, "business-rule", f"The Appointment is {appointment['status']}")
    return calendar.keep(_told(calendar, moved(calendar, appointment, start, role), _terms(calendar, appointment)))


def _terms(calendar: Calendar, appointment: Resource) -> Terms:
    return terms_of(appointment) if calendar.world.dialect == "ihe" else USUAL


def _likely_treatment(calendar: Calendar, role: Role, minutes: int) -> Treatment:
    performed = [calendar.world.treatment_by_code[code] for code in role.treatments]
    return next((each for each in performed if each.minutes == minutes), performed[0])


def note_outcome(calendar: Calendar, appointment: Resource, status: str) -> Resource:
    """Staff note how a booked visit ended; its time stays occupied."""
    if appointment["status"] != "booked":
        raise FhirError(409, "business-rule", f"The Appointment is {appointment['status']}")
    return calendar.keep(_told(calendar, appointment | {"status": status}, _terms(calendar, appointment)))


def close_time(calendar: Calendar, role: Role, start: int, end: int) -> str:
    """Nobody can be booked there, and there is no Appointment to see; the answer is what it is reopened by."""
    zone = calendar.world.zone
    if local(start, zone).date() != local(end - 1, zone).date():
        raise FhirError(400, "value", "A closure stays within one day")
    key = f"{_CLOSURE}{uuid4().hex[:12]}"
    calendar.close(Taken(key=key, role=role.id, start=start, end=end, status=CLOSED))
    return key


def reopen_time(calendar: Calendar, key: str) -> None:
    """Whatever a closure kept anybody from can be booked again."""
    if not key.startswith(_CLOSURE) or calendar.taken(key) is None:
        raise FhirError(404, "not-found", "No such closure")
    calendar.release(key)
