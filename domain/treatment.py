"""What can be done for a patient."""

from dataclasses import dataclass, field
from uuid import UUID

from domain.text import LocalText


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """`code` is the shared service code that every EHR of the tenant books by."""

    tenant_id: str
    id: UUID
    code: str
    title: LocalText
    subtitle: LocalText = field(default_factory=dict)
    description: LocalText = field(default_factory=dict)
    sort_key: int = 0
