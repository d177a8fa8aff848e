"""Which Slots a search of the R4 dialect is for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from integrations.sandbox import r4_slots
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.hours import minute_of
from integrations.sandbox.r4_slots import Slot
from integrations.sandbox.searching import DateCriterion, dates_asked, known_only, token_matches, values
from integrations.sandbox.wire import Pairs
from integrations.sandbox.world import TREATMENTS_SYSTEM, Role

PARAMETERS = ("_id", "_lastUpdated", "identifier", "schedule", "service-type", "start", "status")
_FAR = 4_000_000_000 // 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Every criterion of a search; nothing (`None`) admits everything."""

    start: int
    end: int
    roles: list[Role]
    schedules: frozenset[str]
    codes: set[str] | None
    statuses: set[str] | None
    updated: list[DateCriterion]

    def admits(self, calendar: Calendar, slot: Slot) -> bool:
        """Does the Slot, as it is now, satisfy all of them?"""
        return (
            self.start <= slot.start < self.end
            and slot.role.schedule in self.schedules
            and (self.codes is None or slot.treatment.code in self.codes)
            and (not self.statuses or r4_slots.status_of(calendar, slot) in self.statuses)
            and (not self.updated or self._updated_in_time(calendar, slot))
        )

    def _updated_in_time(self, calendar: Calendar, slot: Slot) -> bool:
        at = datetime.fromtimestamp(r4_slots.updated_at(calendar, slot) / 1000, UTC)
        return all(each.admits(at) for each in self.updated)


def found(calendar: Calendar, pairs: Pairs) -> list[Slot]:
    """The Slots that match every parameter, by start."""
    asked = wanted(calendar, pairs)
    if asked is None:
        return []
    candidates = _by_name(calendar, pairs)
    if candidates is None and asked.updated:
        candidates = _changed(calendar, asked.updated)
    if candidates is None:
        return r4_slots.slots_between(calendar, asked.roles, asked.codes, asked.start, asked.end, asked.statuses)
    return [each for each in candidates if asked.admits(calendar, each)]


def wanted(calendar: Calendar, pairs: Pairs, known: Iterable[str] = PARAMETERS) -> Wanted | None:
    """What is asked for, or nothing when no Slot can match."""
    known_only(pairs, known)
    window = _window(calendar, pairs)
    if window is None:
        return None
    roles = _roles(calendar, pairs)
    return Wanted(
        start=window[0],
        end=window[1],
        roles=roles,
        schedules=frozenset(role.schedule for role in roles),
        codes=_codes(pairs),
        statuses=_together(pairs, "status"),
        updated=dates_asked(pairs, "_lastUpdated", calendar.world.zone),
    )


def _changed(calendar: Calendar, updated: list[DateCriterion]) -> list[Slot]:
    # From the list of changes, not from the Slots: most of eight weeks have never been touched.
    lows = [int(each.low.timestamp() * 1000) for each in updated if each.prefix in ("ge", "gt", "sa", "eq")]
    times = {(each.role, each.start, each.end) for each in calendar.changes.since(max(lows, default=0))}
    slots = {slot.id: slot for time in times for slot in r4_slots.sharing_time(calendar, *time)}
    return sorted(slots.values(), key=r4_slots.by_start)


def _by_name(calendar: Calendar, pairs: Pairs) -> list[Slot] | None:
    named = None
    for asked in values(pairs, "identifier"):
        held = [time for time in calendar.everything_taken() if token_matches(asked, time.identifier)]
        named = [slot for slot in (r4_slots.slot_or_none(calendar, time.key) for time in held) if slot]
    for asked in values(pairs, "_id"):
        named = [slot for slot in (r4_slots.slot_or_none(calendar, each) for each in asked.split(",")) if slot]
    return named


def _window(calendar: Calendar, pairs: Pairs) -> tuple[int, int] | None:
    start, end = 0, _FAR
    for each in dates_asked(pairs, "start", calendar.world.zone):
        if each.is_day or each.prefix in ("ne", "eb"):
            return None  # a bare day finds nothing, in silence
        minute = minute_of(each.low)
        if each.prefix in ("ge", "eq"):
            start = max(start, minute + bool(each.low.second))
        if each.prefix in ("gt", "sa"):
            start = max(start, minute + 1)
        if each.prefix == "lt":
            end = min(end, minute + bool(each.low.second))
        if each.prefix in ("le", "eq"):
            end = min(end, minute + 1)
    return start, end


def _together(pairs: Pairs, name: str) -> set[str] | None:
    asked = [set(each.split(",")) for each in values(pairs, name)]
    return set.intersection(*asked) if asked else None


def _roles(calendar: Calendar, pairs: Pairs) -> list[Role]:
    # `schedule=ID` without the type finds nothing, as on servers in the field.
    asked = _together(pairs, "schedule")
    return [role for role in calendar.world.roles if asked is None or f"Schedule/{role.schedule}" in asked]


def _codes(pairs: Pairs) -> set[str] | None:
    asked = _together(pairs, "service-type")
    if asked is None:
        return None
    split = [each.rpartition("|") for each in asked]
    return {code for system, bar, code in split if not bar or system == TREATMENTS_SYSTEM} or {""}
