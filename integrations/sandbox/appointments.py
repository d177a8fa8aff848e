"""Appointments as both dialects search, check and write them."""

from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

from integrations.sandbox.calendar import Calendar
from integrations.sandbox.searching import dates_asked, instant, known_only, references, token_matches, values
from integrations.sandbox.wire import FhirError, Pairs, Resource

PARAMETERS = frozenset(
    {"_id", "_lastUpdated", "actor", "date", "identifier", "patient", "patient.identifier", "slot", "status"}
)


def new_id(calendar: Calendar) -> str:
    """An id for a new Appointment; in the IHE dialect one that FHIR would not allow."""
    separator = ":" if calendar.world.dialect == "ihe" else "-"
    return f"ap{separator}{uuid4().hex[:12]}"


def search(calendar: Calendar, pairs: Pairs) -> list[Resource]:
    """The Appointments that match every parameter, by start."""
    matches = matching(calendar, pairs)
    found = [each for each in calendar.appointments.values() if matches(each)]
    return sorted(found, key=lambda each: (datetime.fromisoformat(each["start"]), each["id"]))


def matching(calendar: Calendar, pairs: Pairs) -> Callable[[Resource], bool]:
    """Whether an Appointment matches every parameter."""
    known_only(pairs, PARAMETERS)
    zone = calendar.world.zone
    dates, updated = dates_asked(pairs, "date", zone), dates_asked(pairs, "_lastUpdated", zone)
    return lambda each: (
        _matches(calendar, each, pairs)
        and all(criterion.admits(datetime.fromisoformat(each["start"])) for criterion in dates)
        and all(criterion.admits(datetime.fromisoformat(each["meta"]["lastUpdated"])) for criterion in updated)
    )


def _matches(calendar: Calendar, appointment: Resource, pairs: Pairs) -> bool:
    actors = [each["actor"].get("reference", "") for each in appointment["participant"]]
    patients = [each.removeprefix("Patient/") for each in actors if each.startswith("Patient/")]
    tests: dict[str, Callable[[str], bool]] = {
        "_id": lambda asked: appointment["id"] in asked.split(","),
        "status": lambda asked: appointment["status"] in asked.split(","),
        "identifier": lambda asked: token_matches(asked, appointment.get("identifier", ())),
        "patient.identifier": lambda asked: token_matches(asked, patient_identifiers(calendar, appointment)),
        "patient": lambda asked: any(each.removeprefix("Patient/") in patients for each in asked.split(",")),
        "actor": lambda asked: any(each in actors for each in asked.split(",")),
        "slot": lambda asked: any(each in references(appointment, "slot") for each in asked.split(",")),
    }
    return all(test(asked) for name, test in tests.items() for asked in values(pairs, name))


def patient_identifiers(calendar: Calendar, appointment: Resource) -> list[Resource]:
    """Who the patient is: by identifier on the participant, or through a Patient it refers to."""
    found = []
    for each in appointment["participant"]:
        actor = each["actor"]
        reference = actor.get("reference", "")
        if "identifier" in actor and not reference.startswith(("PractitionerRole/", "HealthcareService/", "Location/")):
            found.append(actor["identifier"])
        if reference.startswith("Patient/"):
            found += calendar.patients.get(reference.removeprefix("Patient/"), {}).get("identifier", [])
    return found


def checked(appointment: Resource, status: int) -> Resource:
    """The Appointment, if its start, end, participants and identifiers can be relied on."""
    participants = appointment.get("participant")
    if not isinstance(participants, list) or not participants:
        raise FhirError(status, "required", "An Appointment needs participants")
    for each in participants:
        actor = each.get("actor") if isinstance(each, dict) else None
        if not isinstance(actor, dict) or not isinstance(actor.get("reference", ""), str):
            raise FhirError(status, "structure", "Every participant needs an actor")
        checked_identifiers([actor["identifier"]] if "identifier" in actor else [], status)
    checked_identifiers(appointment.get("identifier", []), status)
    start, end = (instant(appointment.get(name, ""), name) for name in ("start", "end"))
    if start >= end or start.second or end.second or start.microsecond or end.microsecond:
        raise FhirError(status, "value", "An Appointment lasts whole minutes and ends after it starts")
    return appointment


def checked_identifiers(identifiers: object, status: int) -> list[Resource]:
    """A list of identifiers, each with a value."""
    if not isinstance(identifiers, list) or not all(
        isinstance(each, dict)
        and isinstance(each.get("value"), str)
        and isinstance(each.get("system", ""), str)
        and each["value"]
        for each in identifiers
    ):
        raise FhirError(status, "structure", "An identifier needs a value")
    return identifiers


def checked_patient(patient: Resource) -> Resource:
    """A Patient that can be found again: it has an identifier with a system."""
    identifiers = checked_identifiers(patient.get("identifier", []), 400)
    if not identifiers or not identifiers[0].get("system"):
        raise FhirError(400, "required", "A Patient needs an identifier with a system")
    return patient
