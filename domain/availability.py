"""Questions about free time, and answers that say how much they know."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.booking import Booking
from domain.clinic import WEEK, Clinic, Weekday
from domain.slot import Slot, Span

LONGEST_SEARCH = timedelta(days=31)
"""From the first day to the last, both included (product.md §5)."""


class SourceState(StrEnum):
    """How much an EHR's part of an answer can be trusted."""

    OK = "OK"
    STALE = "STALE"
    TIMEOUT = "TIMEOUT"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """One EHR's part in an answer, told by the clinics it serves."""

    clinic_ids: tuple[UUID, ...]
    state: SourceState
    as_of: datetime | None = None
    reason: str | None = None
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Empty tuples leave open. Days are the clinics' own; `not_before` and `not_after` are times on their walls.

    `own_ids` are bookings and holds of the viewer that do not stand in the way.
    """

    treatment_id: UUID
    first_day: date
    last_day: date
    clinic_ids: tuple[UUID, ...] = ()
    area_ids: tuple[UUID, ...] = ()
    practitioner_ids: tuple[UUID, ...] = ()
    weekdays: frozenset[Weekday] = frozenset()
    not_before: time | None = None
    not_after: time | None = None
    any_practitioner: bool = False
    moving: Booking | None = None
    own_ids: tuple[UUID, ...] = ()

    def span_at(self, clinic: Clinic) -> Span:
        """The search's days at one clinic, as instants."""
        zone = ZoneInfo(clinic.time_zone)
        after = self.last_day + timedelta(days=1)
        return Span(start=datetime.combine(self.first_day, time(), zone), end=datetime.combine(after, time(), zone))

    def wants(self, start: datetime, clinic: Clinic) -> bool:
        """Whether a start lies within the days, weekdays and hours asked for, on the clinic's wall."""
        local = start.astimezone(ZoneInfo(clinic.time_zone))
        wall = local.time()
        return (
            self.first_day <= local.date() <= self.last_day
            and (not self.weekdays or WEEK[local.weekday()] in self.weekdays)
            and (self.not_before is None or wall >= self.not_before)
            and (self.not_after is None or wall <= self.not_after)
        )

    def following(self) -> "Search":
        """The same question about the longest stretch after the last day."""
        first = self.last_day + timedelta(days=1)
        return replace(self, first_day=first, last_day=first + LONGEST_SEARCH - timedelta(days=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Slots by start, then clinic, then practitioner."""

    slots: Sequence[Slot]
    sources: Sequence[SourceStatus]
    as_of: datetime

    @property
    def complete(self) -> bool:
        return all(source.state is SourceState.OK for source in self.sources)
