"""Who did what to what, and when: append-only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from domain.client import ClientKey


class ActorKind(StrEnum):
    PATIENT = "PATIENT"
    STAFF = "STAFF"
    AGENCY = "AGENCY"
    EHR = "EHR"
    SYSTEM = "SYSTEM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, and `through` which key of an agency's, if any. A patient before login is a PATIENT without `id`.

    `request_id` ties the row to the log.
    """

    kind: ActorKind
    id: str | None = None
    request_id: str | None = None
    through: ClientKey | None = None


SYSTEM = Actor(kind=ActorKind.SYSTEM)
EHR = Actor(kind=ActorKind.EHR)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """`details` never holds personal data: the row is kept for five years. A `reason` is in the words of staff.

    `id` is given to it where it is kept.
    """

    tenant_id: str
    at: datetime
    actor: Actor
    action: str
    target: str
    target_id: UUID
    details: Mapping[str, str] = field(default_factory=dict)
    id: UUID | None = None
