"""The domain's visits as FHIR resources to be sent."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from domain.endpoint import Endpoint
from domain.patient import Patient
from domain.ports import Visit
from domain.refusals import NationalIdRequired, Refused
from integrations.fhir.reading import SLOT_ID
from integrations.fhir.wire import id_in

Resource = dict[str, Any]
FORBIDDEN = ("cancelationReason", "slot", "minutesDuration", "priority")
"""Not allowed by the WOF profile of Appointment; a reason for cancelling stays with us."""


def booking_identifier(visit: Visit, endpoint: Endpoint) -> Resource:
    return {"system": endpoint.booking_system, "value": str(visit.booking_id)}


def person_identifier(patient: Patient) -> Resource:
    """Raises `Refused`: nobody is booked whom the clinic cannot recognise."""
    if patient.national_id is None:
        raise Refused(NationalIdRequired())
    return {"system": patient.national_id.system, "value": patient.national_id.number}


def patient_resource(patient: Patient) -> Resource:
    *given, family = patient.name.split() or [""]
    resource: Resource = {
        "resourceType": "Patient",
        "identifier": [person_identifier(patient)],
        "name": [{"use": "official", "text": patient.name, "family": family, "given": given}],
    }
    told = (("phone", patient.phone), ("email", patient.email))
    if telecom := [{"system": system, "value": value} for system, value in told if value]:
        resource["telecom"] = telecom
    if patient.birth_date:
        resource["birthDate"] = patient.birth_date.isoformat()
    return resource


def proposal(visit: Visit, endpoint: Endpoint) -> Resource:
    """The full Appointment that `$book` is asked to create, or to make of what keeps its time there."""
    number = booking_identifier(visit, endpoint)
    own = {"status": endpoint.status_sent, "identifier": [*_slot_id(visit), number]}
    known = {"id": visit.ehr_id} if visit.ehr_id else {}
    return _offered(visit, endpoint) | own | known | {"participant": _participants(visit)}


def held(visit: Visit, endpoint: Endpoint) -> Resource:
    """The Appointment for `$hold`. Nobody's: a visitor may have no name yet, and by our number a booking is found."""
    named = {"identifier": ids} if (ids := _slot_id(visit)) else {}
    return _offered(visit, endpoint) | named | {"status": "proposed", "participant": _clinic_side(visit)}


def _offered(visit: Visit, endpoint: Endpoint) -> Resource:
    """What is proposed; times with their offset."""
    appointment: Resource = {
        "resourceType": "Appointment",
        "serviceType": _service(visit, endpoint),
        "start": with_offset(visit.start),
        "end": with_offset(visit.end),
    }
    return appointment | ({"supportingInformation": _supporting(visit)} if visit.resources else {})


def moved_proposal(known: Resource, visit: Visit, to: Visit, endpoint: Endpoint) -> Resource:
    """What the EHR holds, at another time, with another practitioner, or both."""
    identifiers = [each for each in _numbered(known, visit, endpoint) if each.get("system") != SLOT_ID]
    span = {"start": with_offset(to.start), "end": with_offset(to.end)}
    moved = known | span | {"status": "booked", "identifier": [*_slot_id(to), *identifiers]}
    moved["participant"] = moved_participants(known, to)
    if "requestedPeriod" in known:
        moved["requestedPeriod"] = [span]
    if to.resources:
        moved["supportingInformation"] = _supporting(to)
    elif to.practitioner_ehr_id != visit.practitioner_ehr_id:
        moved.pop("supportingInformation", None)
    return permitted(moved)


def permitted(appointment: Resource) -> Resource:
    return {name: value for name, value in appointment.items() if name not in FORBIDDEN}


def order(appointment: Resource, visit: Visit, endpoint: Endpoint, *, comment: str | None = None) -> Resource:
    """The `Parameters` of `$book`."""
    patient = {"name": "patient-resource", "resource": patient_resource(visit.patient)}
    return parameters(
        appointment, endpoint, patient, *([{"name": "comment", "valueString": comment}] if comment else ())
    )


def parameters(appointment: Resource, endpoint: Endpoint, *more: Resource) -> Resource:
    asked = {"name": endpoint.book_parameter, "resource": appointment}
    return {"resourceType": "Parameters", "parameter": [asked, *more]}


def appointment(visit: Visit, endpoint: Endpoint) -> Resource:
    """A booked Appointment for plain R4; times in UTC."""
    booked: Resource = {
        "resourceType": "Appointment",
        "status": "booked",
        "identifier": [booking_identifier(visit, endpoint)],
        "serviceType": _service(visit, endpoint),
        "slot": [{"reference": f"Slot/{visit.reference}"}],
        "start": in_utc(visit.start),
        "end": in_utc(visit.end),
        "participant": _participants(visit),
    }
    return booked | ({"comment": visit.comment} if visit.comment else {})


def moved_appointment(known: Resource, to: Visit, endpoint: Endpoint) -> Resource:
    return known | {
        "identifier": _numbered(known, to, endpoint),
        "status": "booked",
        "slot": [{"reference": f"Slot/{to.reference}"}],
        "start": in_utc(to.start),
        "end": in_utc(to.end),
        "participant": moved_participants(known, to),
    }


def _numbered(known: Resource, visit: Visit, endpoint: Endpoint) -> list[Resource]:
    """What the clinic made gets our number too, so that it is found by it from then on."""
    known_as: list[Resource] = list(known.get("identifier", ()))
    has_one = any(each.get("system") == endpoint.booking_system for each in known_as)
    return known_as if has_one else [*known_as, booking_identifier(visit, endpoint)]


def moved_participants(known: Resource, to: Visit) -> list[Resource]:
    """Clinic and practitioner as they will be; the patient and whoever else takes part as they are."""
    others = [each for each in known.get("participant", ()) if not _is_clinic_side(each)]
    return [*_clinic_side(to), *others]


def with_offset(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def in_utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _service(visit: Visit, endpoint: Endpoint) -> list[Resource]:
    coding = {"system": endpoint.service_system, "code": visit.service_code, "display": visit.service_title}
    return [{"coding": [coding]}]


def _slot_id(visit: Visit) -> list[Resource]:
    return [{"system": SLOT_ID, "value": visit.reference}] if visit.reference else []


def _supporting(visit: Visit) -> list[Any]:
    return [msgspec.json.decode(each) for each in visit.resources]


def _participants(visit: Visit) -> list[Resource]:
    patient = {"type": "Patient", "identifier": person_identifier(visit.patient), "display": visit.patient.name}
    return [*_clinic_side(visit), {"actor": patient, "status": "accepted"}]


def _clinic_side(visit: Visit) -> list[Resource]:
    named = (
        ("HealthcareService", visit.clinic_ehr_id, visit.clinic_name),
        ("PractitionerRole", visit.practitioner_ehr_id, visit.practitioner_name),
    )
    return [
        {"actor": {"reference": f"{kind}/{id}", "type": kind, "display": name}, "status": "accepted"}
        for kind, id, name in named
    ]


def _is_clinic_side(participant: Mapping[str, Any]) -> bool:
    reference = participant.get("actor", {}).get("reference", "")
    return any(id_in(reference, kind) for kind in ("HealthcareService", "PractitionerRole"))
