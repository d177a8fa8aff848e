"""The audit trail in the terms of FHIR R4's AuditEvent, for whoever keeps the logs of a clinic together.

https://hl7.org/fhir/R4/auditevent.html. Nobody is named: patients, members and rows stand by their ids here, and the
words in which staff gave a reason stay in our own trail.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from domain.audit import ActorKind, AuditEntry

Resource = dict[str, Any]

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
OURS = "urn:itb"
"""Begins the systems of our own codes and identifiers: no server resolves them."""

USER_AUTHENTICATION = ("110114", "User Authentication")
PATIENT_RECORD = ("110110", "Patient Record")
EXPORT = ("110106", "Export")
TRAIL_USED = ("110101", "Audit Log Used")

ACTIONS: Mapping[str, tuple[tuple[str, str], str]] = {
    "patient.sign_in": (USER_AUTHENTICATION, "E"),
    "patient.registered": (PATIENT_RECORD, "C"),
    "patient.export": (EXPORT, "R"),
    "patient.export_downloaded": (EXPORT, "R"),
    "patient.erased": (PATIENT_RECORD, "D"),
    "consent.given": (PATIENT_RECORD, "C"),
    "audit.read": (TRAIL_USED, "R"),
    "booking.hold": (PATIENT_RECORD, "C"),
    "booking.adopted": (PATIENT_RECORD, "C"),
}
"""What kind of event an action is, and whether it creates, reads, deletes or does something; others update."""

AGENTS: Mapping[ActorKind, tuple[str, str, str, str]] = {
    ActorKind.PATIENT: (ROLE_CLASS, "PAT", "patient", "Patient"),
    ActorKind.STAFF: (ROLE_CLASS, "EMP", "employee", "Practitioner"),
    ActorKind.AGENCY: (ROLE_CLASS, "AGNT", "agent", "Organization"),
    ActorKind.EHR: (DICOM, "110150", "Application", "Device"),
    ActorKind.SYSTEM: (DICOM, "110150", "Application", "Device"),
}
"""Their role, and what kind of resource they would be."""

PERSON, SYSTEM_OBJECT = ("1", "Person"), ("2", "System Object")
PATIENT_ROLE, RESOURCE_ROLE = ("1", "Patient"), ("4", "Domain Resource")

IN_WORDS = ("reason",)
"""Details that somebody typed."""


def audit_event(entry: AuditEntry) -> Resource:
    """One line of the trail as one resource. What was refused leaves no line: every outcome is a success."""
    kind, action = ACTIONS.get(entry.action, (PATIENT_RECORD, "U"))
    return {
        "resourceType": "AuditEvent",
        "id": str(entry.id),
        "type": _coding(DICOM, *kind),
        "subtype": [_coding(f"{OURS}:audit-action", entry.action, entry.action)],
        "action": action,
        "recorded": entry.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "outcome": "0",
        "agent": [_agent(entry)],
        "source": {
            "site": entry.tenant_id,
            "observer": {"type": "Device", "identifier": _identifier("system", "itb"), "display": "ITB"},
            "type": [_coding(SOURCE_TYPE, "4", "Application Server")],
        },
        "entity": [_entity(entry)],
    }


def _agent(entry: AuditEntry) -> Resource:
    system, code, display, kind = AGENTS[entry.actor.kind]
    id = entry.actor.id
    who = {"identifier": _identifier(entry.actor.kind.lower(), id)} if id else {"display": "not known by name"}
    return {
        "type": {"coding": [_coding(system, code, display)]},
        "who": {"type": kind, **who},
        "requestor": entry.actor.kind is not ActorKind.SYSTEM,
    }


def _entity(entry: AuditEntry) -> Resource:
    is_person = entry.target == "patient"
    details = {name: value for name, value in entry.details.items() if value and name not in IN_WORDS}
    if entry.actor.request_id:
        details["request_id"] = entry.actor.request_id
    entity: Resource = {
        "what": {"identifier": _identifier(entry.target, str(entry.target_id))},
        "type": _coding(ENTITY_TYPE, *(PERSON if is_person else SYSTEM_OBJECT)),
        "role": _coding(OBJECT_ROLE, *(PATIENT_ROLE if is_person else RESOURCE_ROLE)),
    }
    if details:
        entity["detail"] = [{"type": name, "valueString": value} for name, value in sorted(details.items())]
    return entity


def _coding(system: str, code: str, display: str) -> Resource:
    return {"system": system, "code": code, "display": display}


def _identifier(of: str, value: str) -> Resource:
    return {"system": f"{OURS}:{of}", "value": value}
