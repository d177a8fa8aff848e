"""What a patient has agreed to: each kind by itself, with the document's version, and never written over."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from domain.audit import ActorKind

DOCUMENT_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}", re.ASCII)
"""What a version may look like. It goes into the audit trail, and so is no place for sentences."""


class ConsentKind(StrEnum):
    """Separate, since none may be bundled with another (GDPR article 7)."""

    TERMS = "TERMS"
    PRIVACY = "PRIVACY"
    SMS = "SMS"
    MARKETING = "MARKETING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Given or withdrawn at a time; `at` is None for one that was never asked for.

    `document_version` is of what was read, in `language`. `actor` is who said so.
    """

    tenant_id: str
    patient_id: UUID
    kind: ConsentKind
    given: bool = False
    document_version: str | None = None
    language: str | None = None
    at: datetime | None = None
    actor: ActorKind | None = None

    def says_the_same_as(self, other: "Consent") -> bool:
        """Whether nothing is new in it: said twice it is said once, when it was said first."""
        if self.given != other.given:
            return False
        return not self.given or self.document_version in (None, other.document_version)
