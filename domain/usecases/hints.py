"""Whose times may be different after changes in an EHR: told to everybody who watches, and nobody need believe more."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.changes import Change
from domain.endpoint import Endpoint
from domain.ports import EhrChange
from domain.slot import Span

MOST_SPANS = 20
MOST_PRACTITIONERS = 100
"""Beyond these a hint says less, and costs one row and one look instead of thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Who works at one endpoint, by the names that the EHR has for them and their calendars."""

    by_role: Mapping[str, UUID]
    by_schedule: Mapping[str, UUID]

    def of(self, change: EhrChange) -> UUID | None:
        by_role = self.by_role.get(change.practitioner_ehr_id or "")
        return by_role or self.by_schedule.get(change.schedule_id or "")


def hints_of(endpoint: Endpoint, changed: Sequence[tuple[UUID | None, Span | None]], now: datetime) -> list[Change]:
    """As few as say it: many changes of one practitioner are one at any time, many practitioners one of anybody."""
    of_one = Counter(practitioner_id for practitioner_id, _ in changed)
    if len(of_one) > MOST_PRACTITIONERS or None in of_one:
        changed = [(None, None)]
    places = dict.fromkeys((id, span if id and of_one[id] <= MOST_SPANS else None) for id, span in changed)
    return [
        Change(tenant_id=endpoint.tenant_id, endpoint_id=endpoint.id, at=now, practitioner_id=id, span=span)
        for id, span in places
    ]
