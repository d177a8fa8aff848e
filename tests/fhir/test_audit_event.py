"""Lines of the audit trail as AuditEvents: what R4 requires is there, from its own value sets, and nobody is named."""

import ast
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain.audit import Actor, ActorKind, AuditEntry
from domain.booking import BookingStatus
from domain.client import ClientKey
from integrations.fhir.audit_event import ACTIONS, audit_event
from integrations.store.every_table import metadata

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 3, 2, 9, 30, 15, 123456, tzinfo=UTC)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")
URI = re.compile(r"\S+")

ELEMENTS = {
    "AuditEvent": {
        "resourceType",
        "id",
        "type",
        "subtype",
        "action",
        "recorded",
        "outcome",
        "agent",
        "source",
        "entity",
    },
    "agent": {"type", "who", "altId", "requestor"},
    "source": {"site", "observer", "type"},
    "entity": {"what", "type", "role", "detail"},
    "Reference": {"type", "identifier", "display"},
}
"""Those of R4's definition that we use: an element of any other name would not be known there."""

DCM = "http://dicom.nema.org/resources/ontology/DCM"
TYPES = {(DCM, code) for code in ("110101", "110106", "110110", "110113", "110114")}
SUBTYPES = {(DCM, str(code)) for code in range(110120, 110148)}
ROLES = {
    *(("http://terminology.hl7.org/CodeSystem/v3-RoleClass", code) for code in ("PAT", "EMP", "AGNT")),
    (DCM, "110150"),
}
SOURCES = {("http://terminology.hl7.org/CodeSystem/security-source-type", str(n)) for n in range(1, 10)}
ENTITIES = {("http://terminology.hl7.org/CodeSystem/audit-entity-type", str(n)) for n in range(1, 5)}
OBJECT_ROLES = {("http://terminology.hl7.org/CodeSystem/object-role", str(n)) for n in range(1, 25)}
RESOURCES = {"Patient", "Practitioner", "Organization", "Device"}


def an_entry(**more: Any) -> AuditEntry:
    values: dict[str, Any] = {
        "tenant_id": "nord",
        "id": uuid4(),
        "at": AT,
        "actor": Actor(kind=ActorKind.PATIENT, id=str(uuid4()), request_id="r1"),
        "action": "booking.confirm",
        "target": "booking",
        "target_id": uuid4(),
        "details": {"status": "CONFIRMING", "version": "2"},
    }
    return AuditEntry(**{**values, **more})


def coded(coding: dict[str, str], among: set[tuple[str, str]] | None = None) -> None:
    assert set(coding) <= {"system", "code", "display"}
    assert URI.fullmatch(coding["system"]) and coding["code"].strip() == coding["code"] != ""
    assert among is None or (coding["system"], coding["code"]) in among


def refers(reference: dict[str, Any]) -> None:
    """By identifier: no server has these as resources. ele-1: every element has a value."""
    assert set(reference) <= ELEMENTS["Reference"] and reference
    assert reference.get("type", "Device") in RESOURCES
    if identifier := reference.get("identifier"):
        assert set(identifier) == {"system", "value"} and all(identifier.values())


def check(event: dict[str, Any]) -> None:
    """Every required element and binding of http://hl7.org/fhir/R4/auditevent.html, and no element beyond it."""
    assert set(event) <= ELEMENTS["AuditEvent"]
    assert event["resourceType"] == "AuditEvent" and ID.fullmatch(event["id"])
    coded(event["type"], TYPES)
    for subtype in event["subtype"]:
        coded(subtype, SUBTYPES if subtype["system"] == DCM else None)
    assert event["action"] in {"C", "R", "U", "D", "E"}
    assert event["outcome"] in {"0", "4", "8", "12"}
    assert INSTANT.fullmatch(event["recorded"])
    assert event["agent"] and event["source"]["observer"]
    for agent in event["agent"]:
        assert set(agent) <= ELEMENTS["agent"] and isinstance(agent["requestor"], bool)
        assert agent.get("altId", "a").strip()
        [coding] = agent["type"]["coding"]
        coded(coding, ROLES)
        refers(agent["who"])
    assert set(event["source"]) <= ELEMENTS["source"]
    refers(event["source"]["observer"])
    for kind in event["source"]["type"]:
        coded(kind, SOURCES)
    for entity in event["entity"]:
        check_entity(entity)


def check_entity(entity: dict[str, Any]) -> None:
    """sev-1: either a name or a query, not both; there is neither."""
    assert set(entity) <= ELEMENTS["entity"]
    refers(entity["what"])
    coded(entity["type"], ENTITIES)
    coded(entity["role"], OBJECT_ROLES)
    for detail in entity.get("detail", [{"type": "t", "valueString": "v"}]):
        assert set(detail) == {"type", "valueString"} and all(detail.values())


@pytest.mark.parametrize("kind", ActorKind)
@pytest.mark.parametrize("id", ["a-1", None])
@pytest.mark.parametrize("through", [ClientKey(client_id="agency:a", key_id="abcd1234"), None])
def test_whoever_did_it_the_event_is_as_r4_defines_it(
    kind: ActorKind, id: str | None, through: ClientKey | None
) -> None:
    check(audit_event(an_entry(actor=Actor(kind=kind, id=id, through=through))))


@pytest.mark.parametrize("action", [*ACTIONS, "booking.cancelled", "something.new"])
@pytest.mark.parametrize("target", ["patient", "booking", "audit", "api_key", "tenant_key"])
def test_whatever_was_done_the_event_is_as_r4_defines_it(action: str, target: str) -> None:
    entry = an_entry(action=action, target=target, details={"fields": "", "kind": "SMS"})
    check(audit_event(entry))


NOT_ACTIONS = {
    *("patient.national_id", "patient.person", "booking.sms_to", "booking.words", "erased_sign_in.digest"),
    *(f"{column.table.name}.{column.name}" for table in metadata.sorted_tables for column in table.c),
}
"""Columns, and what sealed values are bound to, in modules that write the trail as well."""


def written() -> set[str]:
    """What modules that write the trail may write: each literal of the form, with every status put in."""
    found: set[str] = set()
    for layer in ("api", "domain", "integrations"):
        for module in (ROOT / layer).rglob("*.py"):
            text = module.read_text()
            if module.name != "audit_event.py" and re.search(r"\b(AuditEntry|AUDIT|action)\b", text):
                found |= {each for node in ast.walk(ast.parse(text)) for each in meant(node)}
    return {each for each in found if re.fullmatch(r"[a-z_]+\.[a-z_]+", each)}


def meant(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if not isinstance(node, ast.JoinedStr) or not isinstance(node.values[0], ast.Constant):
        return []  # what does not say of what kind of thing it speaks ends as no action
    parts = [str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values]
    return ["".join(parts).replace("{}", status.lower()) for status in BookingStatus]


def test_every_action_that_is_written_has_its_kind() -> None:
    assert written() - NOT_ACTIONS - ACTIONS.keys() == set()
    assert ACTIONS.keys() - written() == set(), "nobody writes these"


@pytest.mark.parametrize(
    ("action", "kind", "closer"),
    [
        ("patient.sign_in", "User Authentication", "Login"),
        ("patient.sign_out", "User Authentication", "Logout"),
        ("api_key.minted", "Security Alert", "User Security Attributes Changed"),
        ("api_key.rotated", "Security Alert", "User Security Attributes Changed"),
        ("api_key.revoked", "Security Alert", "User Security Attributes Changed"),
    ],
)
def test_who_gets_in_is_no_patients_record(action: str, kind: str, closer: str) -> None:
    event = audit_event(an_entry(action=action, target=action.partition(".")[0]))
    assert (event["type"]["display"], event["action"]) == (kind, "E")
    assert [each["display"] for each in event["subtype"]] == [action, closer]
    [entity] = event["entity"]
    assert entity["role"]["display"] == ("Patient" if "patient" in action else "Security Resource")


def test_what_an_event_says_is_what_the_line_said() -> None:
    oslo = timezone(timedelta(hours=1))
    entry = an_entry(at=AT.astimezone(oslo))
    event = audit_event(entry)
    assert event["id"] == str(entry.id)
    assert event["recorded"] == "2026-03-02T09:30:15.123456Z"
    assert event["subtype"][0]["code"] == "booking.confirm" and event["action"] == "U"
    assert event["agent"][0]["who"]["identifier"] == {"system": "urn:itb:patient", "value": entry.actor.id}
    assert event["source"]["site"] == "nord"
    [entity] = event["entity"]
    assert entity["what"]["identifier"] == {"system": "urn:itb:booking", "value": str(entry.target_id)}
    assert {each["type"]: each["valueString"] for each in entity["detail"]} == {
        "request_id": "r1",
        "status": "CONFIRMING",
        "version": "2",
    }


def test_what_staff_wrote_stays_in_our_own_trail() -> None:
    entry = an_entry(details={"bypassed": "TOO_LATE", "reason": "Kari ringte og var syk"})
    assert "Kari" not in str(audit_event(entry)) and "TOO_LATE" in str(audit_event(entry))
