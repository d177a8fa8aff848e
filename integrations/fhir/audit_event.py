"""The audit trail in the terms of FHIR R4's AuditEvent, for whoever keeps the logs of a clinic together.

https://hl7.org/fhir/R4/auditevent.html. Nobody is named: patients, members and rows stand by their ids here, and the
words in which staff gave a reason stay in our own trail.
"""

from collections.abc import Mapping
from datetime import UTC
from typing import Any, NamedTuple

from domain.audit import ActorKind, AuditEntry
from domain.booking import BookingStatus

Resource = dict[str, Any]

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
OURS = "urn:itb"
"""Begins the systems of our own codes and identifiers: no server resolves them."""

USER_AUTHENTICATION = ("110114", "User Authentication")
SECURITY_ALERT = ("110113", "Security Alert")
PATIENT_RECORD = ("110110", "Patient Record")
EXPORT = ("110106", "Export")
TRAIL_USED = ("110101", "Audit Log Used")
LOGIN, LOGOUT = ("110122", "Login"), ("110123", "Logout")
CREDENTIALS = ("110137", "User Security Attributes Changed")


class Kind(NamedTuple):
    """What DICOM calls such an event (PS3.16, CID 400), and closer (CID 401, 403) where it says more than `action`.

    `action`: it creates, reads, updates, deletes or executes (PS3.15, A.5.3).
    """

    type: tuple[str, str]
    action: str
    closer: tuple[str, str] | None = None


UPDATE = Kind(PATIENT_RECORD, "U")
CHANGES = (
    *("cancel", "cancel_not_sent", "cancel_refused", "change_not_done", "confirm", "held_in_ehr", "pseudonymised"),
    *("release", "renew", "reschedule", "reschedule_not_sent", "reschedule_refused", "rescheduled"),
    *(status.lower() for status in BookingStatus),
)

ACTIONS: Mapping[str, Kind] = {
    "patient.sign_in": Kind(USER_AUTHENTICATION, "E", LOGIN),
    "patient.sign_out": Kind(USER_AUTHENTICATION, "E", LOGOUT),
    "patient.registered": Kind(PATIENT_RECORD, "C"),
    "patient.brought_up_to_date": UPDATE,
    "patient.contact_details": UPDATE,
    "patient.sign_in_linked": UPDATE,
    "patient.export": Kind(EXPORT, "R"),
    "patient.export_downloaded": Kind(EXPORT, "R"),
    "patient.erased": Kind(PATIENT_RECORD, "D"),
    "patient.merged": Kind(PATIENT_RECORD, "D"),
    "consent.given": Kind(PATIENT_RECORD, "C"),
    "consent.withdrawn": UPDATE,
    "audit.read": Kind(TRAIL_USED, "R"),
    "patient.read": Kind(PATIENT_RECORD, "R"),
    "booking.read": Kind(PATIENT_RECORD, "R"),
    **dict.fromkeys(("api_key.minted", "api_key.rotated", "api_key.revoked"), Kind(SECURITY_ALERT, "E", CREDENTIALS)),
    "tenant_key.forgotten": Kind(SECURITY_ALERT, "D"),
    **{f"booking.{change}": UPDATE for change in CHANGES},
    "booking.hold": Kind(PATIENT_RECORD, "C"),
    "booking.adopted": Kind(PATIENT_RECORD, "C"),
}
"""Every action there is; one that another version wrote is told as an update."""

AGENTS: Mapping[ActorKind, tuple[str, str, str, str]] = {
    ActorKind.PATIENT: (ROLE_CLASS, "PAT", "patient", "Patient"),
    ActorKind.STAFF: (ROLE_CLASS, "EMP", "employee", "Practitioner"),
    ActorKind.AGENCY: (ROLE_CLASS, "AGNT", "agent", "Organization"),
    ActorKind.EHR: (DICOM, "110150", "Application", "Device"),
    ActorKind.SYSTEM: (DICOM, "110150", "Application", "Device"),
}
"""Their role, and what kind of resource they would be."""

PERSON, SYSTEM_OBJECT = ("1", "Person"), ("2", "System Object")
ROLES = {
    "patient": ("1", "Patient"),
    "api_key": ("13", "Security Resource"),
    "audit": ("13", "Security Resource"),
    "tenant_key": ("13", "Security Resource"),
}
RESOURCE_ROLE = ("4", "Domain Resource")

IN_WORDS = ("reason",)
"""Details that somebody typed."""


def audit_event(entry: AuditEntry) -> Resource:
    """One line of the trail as one resource. What was refused leaves no line: every outcome is a success."""
    kind = ACTIONS.get(entry.action, UPDATE)
    closer = [_coding(DICOM, *kind.closer)] if kind.closer else []
    return {
        "resourceType": "AuditEvent",
        "id": str(entry.id),
        "type": _coding(DICOM, *kind.type),
        "subtype": [_coding(f"{OURS}:audit-action", entry.action, entry.action), *closer],
        "action": kind.action,
        "recorded": entry.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "outcome": "0",
        "agent": [_agent(entry), *_client(entry)],
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
    through = entry.actor.through
    return {
        "type": {"coding": [_coding(system, code, display)]},
        "who": {"type": kind, **who},
        **({"altId": through.key_id} if through and entry.actor.kind is ActorKind.AGENCY else {}),
        "requestor": entry.actor.kind is not ActorKind.SYSTEM,
    }


def _client(entry: AuditEntry) -> list[Resource]:
    """The agency that somebody else acted through; `altId` is the id of its key."""
    through = entry.actor.through
    if through is None or entry.actor.kind is ActorKind.AGENCY:
        return []
    system, code, display, kind = AGENTS[ActorKind.AGENCY]
    return [
        {
            "type": {"coding": [_coding(system, code, display)]},
            "who": {"type": kind, "identifier": _identifier("agency", through.client_id)},
            "altId": through.key_id,
            "requestor": False,
        }
    ]


def _entity(entry: AuditEntry) -> Resource:
    is_person = entry.target == "patient"
    details = {name: value for name, value in entry.details.items() if value and name not in IN_WORDS}
    if entry.actor.request_id:
        details["request_id"] = entry.actor.request_id
    entity: Resource = {
        "what": {"identifier": _identifier(entry.target, str(entry.target_id))},
        "type": _coding(ENTITY_TYPE, *(PERSON if is_person else SYSTEM_OBJECT)),
        "role": _coding(OBJECT_ROLE, *ROLES.get(entry.target, RESOURCE_ROLE)),
    }
    if details:
        entity["detail"] = [{"type": name, "valueString": value} for name, value in sorted(details.items())]
    return entity


def _coding(system: str, code: str, display: str) -> Resource:
    return {"system": system, "code": code, "display": display}


def _identifier(of: str, value: str) -> Resource:
    return {"system": f"{OURS}:{of}", "value": value}
