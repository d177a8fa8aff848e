"""Patients as rows, and rows as patients. Who they are is sealed.

The number is sealed by itself, and name, birth date, phone and e-mail as one value, since they are read and written
together. What versions before that kept in the clear is read from there until it is sealed.
"""

from datetime import date
from typing import Any

import msgspec
from msgspec import Struct

from domain.national_id import NationalId
from domain.patient import Patient
from integrations.store.sealing import TenantKeys
from integrations.store.types import AnyRow

NATIONAL_ID, PERSON = "patient.national_id", "patient.person"
"""What the sealed values are sealed as."""

IN_THE_CLEAR = {"name": "", "birth_date": None, "phone": None, "email": None}
"""What is left in the columns that held it once."""


class Person(Struct, frozen=True):
    """What is sealed of a patient beside the number."""

    name: str
    birth_date: date | None
    phone: str | None
    email: str | None


def patient_of(keys: TenantKeys, row: AnyRow) -> Patient:
    """Raises `Unsealable`."""
    number, person = None, Person(row.name, row.birth_date, row.phone, row.email)
    if row.national_sealed is not None:
        number = msgspec.json.decode(keys.open(NATIONAL_ID, str(row.id), row.national_sealed), type=NationalId)
    if row.person_sealed is not None:
        person = msgspec.json.decode(keys.open(PERSON, str(row.id), row.person_sealed), type=Person)
    return Patient(
        tenant_id=row.tenant_id,
        id=row.id,
        name=person.name,
        birth_date=person.birth_date,
        national_id=number,
        phone=person.phone,
        email=person.email,
        language=row.language,
        edited=row.edited,
        signed_out_at=row.signed_out_at,
    )


def values_of(keys: TenantKeys, patient: Patient) -> dict[str, Any]:
    """Without what has a writer of its own, which would else be written back as it was."""
    number, id = patient.national_id, str(patient.id)
    person = Person(patient.name, patient.birth_date, patient.phone, patient.email)
    return {
        "tenant_id": patient.tenant_id,
        "id": patient.id,
        "national_sealed": number and keys.seal(NATIONAL_ID, id, msgspec.json.encode(number, order="sorted")),
        "national_index": number and keys.index(NATIONAL_ID, numbered(number)),
        "person_sealed": keys.seal(PERSON, id, msgspec.json.encode(person)),
        "language": patient.language,
        "edited": patient.edited,
        **IN_THE_CLEAR,
    }


def numbered(number: NationalId) -> bytes:
    """What the blind index is made of."""
    return f"{number.country}:{number.number}".encode()
