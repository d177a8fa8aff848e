"""What is kept besides the times: Patients by identifier, and the file that survives a restart."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

Resource = dict[str, Any]


def patient_of(person: Mapping[str, str]) -> Resource:
    """A made-up person as a Patient; the id follows from the identifier but does not show it."""
    *given, family = person["name"].split()
    patient: Resource = {
        "resourceType": "Patient",
        "id": patient_id(person["system"], person["value"]),
        "identifier": [{"system": person["system"], "value": person["value"]}],
        "active": True,
        "name": [{"use": "official", "text": person["name"], "family": family, "given": given}],
    }
    if person.get("phone"):
        patient["telecom"] = [{"system": "phone", "value": person["phone"], "use": "mobile"}]
    if person.get("birthDate"):
        patient["birthDate"] = person["birthDate"]
    return patient


def patient_id(system: str, value: str) -> str:
    """A stable id that gives no personal number away."""
    return "pt-" + hashlib.sha256(f"{system}|{value}".encode()).hexdigest()[:12]


def merged(patients: Mapping[str, Resource], patient: Resource) -> tuple[Resource, bool]:
    """The Patient with what was known of the same person before, and whether nobody was."""
    known = next((found for each in patient["identifier"] if (found := _holder(patients, each))), None)
    if known is not None:
        return {**known, **patient, "id": known["id"]}, False
    first = patient["identifier"][0]
    return {**patient, "id": patient_id(first.get("system", ""), first["value"])}, True


def _holder(patients: Mapping[str, Resource], identifier: Resource) -> Resource | None:
    wanted = (identifier.get("system"), identifier["value"])
    holders = (
        patient
        for patient in patients.values()
        if any((each.get("system"), each["value"]) == wanted for each in patient["identifier"])
    )
    return next(holders, None)


def read(path: Path) -> dict[str, Any]:
    """What was written last, or nothing on the first day."""
    return orjson.loads(path.read_bytes()) if path.exists() else {}


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file in one step, so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(orjson.dumps(state))
    os.replace(draft, path)
