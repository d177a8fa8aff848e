"""Who treats patients, at one clinic."""

from dataclasses import dataclass, field
from uuid import UUID

from domain.clinic import Image
from domain.text import LocalText


@dataclass(frozen=True, slots=True, kw_only=True)
class Practitioner:
    """A practitioner at a clinic: somebody who works at two clinics is two of these.

    `ehr_id` is the PractitionerRole; `schedule_ids` are the Schedules that carry its time (plain R4 asks by them).
    """

    tenant_id: str
    id: UUID
    endpoint_id: str
    ehr_id: str
    clinic_id: UUID
    name: str
    title: LocalText = field(default_factory=dict)
    role: str | None = None
    photo: Image | None = None
    description: LocalText = field(default_factory=dict)
    schedule_ids: tuple[str, ...] = ()
