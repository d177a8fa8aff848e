"""When a made-up practitioner works, and what already fills their day.

Times are whole minutes since 1970 in UTC: cheap to compare, and never wrong by a clock change. Everything follows
from the role and the local date alone, so a restart invents the same day again.
"""

from dataclasses import dataclass
from datetime import date, datetime, time
from random import Random
from zoneinfo import ZoneInfo

from integrations.sandbox.world import DAYS, Clinic, Role

Interval = tuple[int, int]
GRID = 15


@dataclass(frozen=True, slots=True)
class Day:
    """One practitioner's local date: working time without the lunch, and what staff had booked already."""

    working: tuple[Interval, ...]
    booked: tuple[Interval, ...]


NO_WORK = Day((), ())


def minute_of(moment: datetime) -> int:
    """The whole minute an aware moment falls in."""
    return int(moment.timestamp() // 60)


def local(minute: int, zone: ZoneInfo) -> datetime:
    """The minute on a clock in the zone, with its offset that day."""
    return datetime.fromtimestamp(minute * 60, zone)


def overlap(one: Interval, other: Interval) -> bool:
    """Do two intervals share time? Touching ends do not."""
    return one[0] < other[1] and other[0] < one[1]


def day_of(role: Role, clinic: Clinic, day: date, zone: ZoneInfo) -> Day:
    """The working time of a role on a local date, and its made-up busy times (about a third of it)."""
    opening = clinic.hours(day.weekday())
    if opening is None or DAYS[day.weekday()] not in role.days:
        return NO_WORK
    chance = Random(f"{role.id}:{day.isoformat()}")
    if chance.random() < 0.04:
        return NO_WORK  # a course, a sick child
    opens, closes = (_minute_at(day, clock, zone) for clock in (opening.opens, opening.closes))
    begins = opens + chance.choice((0, 0, 0, GRID, 2 * GRID))
    ends = closes - chance.choice((0, 0, GRID, 2 * GRID, 4 * GRID))
    lunch = _minute_at(day, "11:00", zone) + GRID * chance.randrange(5)
    working = tuple(part for part in ((begins, lunch), (lunch + 2 * GRID, ends)) if part[0] < part[1])
    return Day(working, tuple(booked for part in working for booked in _made_up(part, chance)))


def grid_starts(working: tuple[Interval, ...], minutes: int) -> tuple[int, ...]:
    """Every quarter of an hour from which `minutes` fit into one stretch of working time."""
    return tuple(
        start for begins, ends in working for start in range(-(-begins // GRID) * GRID, ends - minutes + 1, GRID)
    )


def _minute_at(day: date, clock: str, zone: ZoneInfo) -> int:
    return minute_of(datetime.combine(day, time.fromisoformat(clock), zone))


def _made_up(part: Interval, chance: Random) -> list[Interval]:
    booked = []
    start, ends = part
    while start < ends:
        until = min(ends, start + chance.choice((15, 15, 30, 30, 45, 60)))
        if chance.random() < 0.35:
            booked.append((start, until))
        start = until
    return booked
