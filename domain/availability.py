"""Questions about free time, and answers that say how much they know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.booking import Booking
from domain.clinic import WEEK, Clinic, Weekday
from domain.slot import Slot

LONGEST_SEARCH = timedelta(days=31)
"""From the first day to the last, both included."""


class SourceState(StrEnum):
    """How much an EHR's part of an answer can be trusted."""

    OK = "OK"
    STALE = "STALE"
    TIMEOUT = "TIMEOUT"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """One EHR's part in an answer, told by the clinics it serves. `endpoint_id` is ours alone."""

    clinic_ids: tuple[UUID, ...]
    state: SourceState
    as_of: datetime | None = None
    reason: str | None = None
    retry_after: timedelta | None = None
    endpoint_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When on one day a visit may start, in UTC. `whole`: at any time of it. `wall`: its hours are looked at, too."""

    start: datetime
    end: datetime
    whole: bool
    wall: bool


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

    def windows_at(self, clinic: Clinic, opens: datetime) -> dict[date, "Window"]:
        """When a visit may start there, day by day: within the days, weekdays and hours asked for, from `opens` on."""
        zone = ZoneInfo(clinic.time_zone)
        days = (self.first_day + timedelta(days=n) for n in range((self.last_day - self.first_day).days + 1))
        wanted = (day for day in days if not self.weekdays or WEEK[day.weekday()] in self.weekdays)
        windows = ((day, self._window(day, zone, opens)) for day in wanted)
        return {day: window for day, window in windows if window.start < window.end}

    def _window(self, day: date, zone: ZoneInfo, opens: datetime) -> "Window":
        midnight = datetime.combine(day, time(), zone)
        following = datetime.combine(day + timedelta(days=1), time(), zone)
        start, end, wall = midnight, following, False
        if self.not_before is not None or self.not_after is not None:
            # on a night when the clocks change, hours on the wall are no single stretch of time
            wall = midnight.utcoffset() != following.utcoffset()
            start = start if wall else datetime.combine(day, self.not_before or time(), zone)
            last = following if wall or self.not_after is None else datetime.combine(day, self.not_after, zone)
            end = last if last == following else last + timedelta.resolution
        whole = (start, end) == (midnight, following) and not wall and opens <= midnight
        start_utc, end_utc = max(start.astimezone(UTC), opens), end.astimezone(UTC)
        return Window(start=start_utc, end=end_utc, whole=whole, wall=wall)

    def on_the_wall(self, start: datetime) -> bool:
        """Whether a start, in its clinic's own zone, lies within the hours asked for."""
        wall = start.time()
        return (self.not_before is None or wall >= self.not_before) and (
            self.not_after is None or wall <= self.not_after
        )

    def following(self) -> "Search":
        """The same question about the longest stretch after the last day."""
        first = self.last_day + timedelta(days=1)
        return replace(self, first_day=first, last_day=first + LONGEST_SEARCH - timedelta(days=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Slots by start, then clinic, then practitioner. `told_at`: when each endpoint said what is shown of it.

    `practitioner_ids` are all whose times were asked for.
    """

    slots: Sequence[Slot]
    sources: Sequence[SourceStatus]
    as_of: datetime
    told_at: Mapping[str, datetime] = field(default_factory=dict)
    practitioner_ids: frozenset[UUID] = frozenset()

    @property
    def complete(self) -> bool:
        """What is stale is whole as well: everything the source had at its `as_of`."""
        return all(source.state in (SourceState.OK, SourceState.STALE) for source in self.sources)
