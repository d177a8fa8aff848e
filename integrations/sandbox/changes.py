"""What changed in a calendar, where and when: versions count it, and a search by last update finds it again."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from integrations.sandbox.hours import Interval, overlap

KEPT = int(timedelta(days=7).total_seconds() * 1000)


@dataclass(slots=True)
class Change:
    """Somebody wrote there; `at` is in milliseconds since 1970, or 0 when nobody remembers."""

    role: str
    start: int
    end: int
    at: int = 0


class Changes:
    """Every change by day, and those of the last seven days in the order they happened."""

    def __init__(self) -> None:
        self.by_day: defaultdict[str, list[Change]] = defaultdict(list)
        self._recent: list[Change] = []

    def note(self, day: str, change: Change) -> None:
        """Remember a change; it is never earlier than the one before, even when the clock is set back."""
        if self._recent:
            change.at = max(change.at, self._recent[-1].at)
        self._forget_before(change.at - KEPT)
        self._recent.append(change)
        self.by_day[day].append(change)

    def count(self, day: str, time: Interval) -> int:
        """How many changes shared time with the interval."""
        return sum(overlap((each.start, each.end), time) for each in self.by_day.get(day, ()))

    def latest(self, day: str, time: Interval) -> int:
        """When the interval changed last, in milliseconds; 0 when nobody remembers."""
        shared = (each.at for each in self.by_day.get(day, ()) if overlap((each.start, each.end), time))
        return max(shared, default=0)

    def since(self, at: int) -> list[Change]:
        """What changed from that millisecond on."""
        return self._recent[bisect_left(self._recent, at, key=lambda each: each.at) :]

    def load(self, kept: Mapping[str, Iterable[Any]]) -> None:
        """Take over what was on disk; files from before times were kept have nothing but the interval."""
        self.by_day.clear()
        for day, changes in kept.items():
            role = day.rpartition("|")[0]
            self.by_day[day] = [
                Change(**each) if isinstance(each, dict) else Change(role, each[0], each[1]) for each in changes
            ]
        timed = (each for changes in self.by_day.values() for each in changes if each.at)
        self._recent = sorted(timed, key=lambda each: each.at)

    def copy(self) -> "Changes":
        """The same changes; later ones go to one of the two only."""
        other = Changes()
        other.by_day.update({day: list(changes) for day, changes in self.by_day.items()})
        other._recent = list(self._recent)
        return other

    def _forget_before(self, at: int) -> None:
        if not self._recent or self._recent[0].at >= at:
            return
        number = bisect_left(self._recent, at, key=lambda each: each.at)
        for each in self._recent[:number]:
            each.at = 0
        del self._recent[:number]
