"""Free times kept in this process alone: the twin of `integrations/redis/times.py`."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from domain.ports import DayTimes, Shelf, Shelved

MOST_TIMES = 400_000
"""Free times kept at most, about 200 MB; shelves that nobody asked for longest go first."""


class MemoryTimes:
    """Bounded by the number of times that are kept, not of shelves."""

    def __init__(self, most: int = MOST_TIMES) -> None:
        self._most = most
        self._kept = 0
        self._shelves: OrderedDict[Shelf, dict[date, DayTimes]] = OrderedDict()
        self._stamps: dict[tuple[str, str, UUID | None], int] = {}

    async def get(self, wanted: Mapping[Shelf, Sequence[date]]) -> Shelved:
        found = {}
        for shelf, days in wanted.items():
            if (kept := self._shelves.get(shelf)) is not None:
                self._shelves.move_to_end(shelf)
                found[shelf] = {day: kept[day] for day in days if day in kept}
        return Shelved(days=found, stamps={shelf: self._stamp(shelf) for shelf in wanted})

    async def put(self, shelf: Shelf, days: Mapping[date, DayTimes], stamp: str, keep: timedelta) -> None:
        if stamp != self._stamp(shelf):
            return
        old, oldest = self._shelves.pop(shelf, {}), datetime.now(UTC) - keep
        self._kept -= _size(old)
        kept = {day: each for day, each in old.items() if each.as_of > oldest} | dict(days)
        self._shelves[shelf] = kept
        self._kept += _size(kept)
        while self._kept > self._most and len(self._shelves) > 1:
            self._kept -= _size(self._shelves.popitem(last=False)[1])

    async def drop(self, tenant_id: str, endpoint_id: str, practitioner_id: UUID | None) -> None:
        place = (tenant_id, endpoint_id, practitioner_id)
        self._stamps[place] = self._stamps.get(place, 0) + 1
        gone = [shelf for shelf in self._shelves if _is_at(shelf, *place)]
        for shelf in gone:
            self._kept -= _size(self._shelves.pop(shelf))

    def _stamp(self, shelf: Shelf) -> str:
        of_endpoint = self._stamps.get((shelf.tenant_id, shelf.endpoint_id, None), 0)
        own = self._stamps.get((shelf.tenant_id, shelf.endpoint_id, shelf.practitioner_id), 0)
        return f"{of_endpoint}.{own}"


def _is_at(shelf: Shelf, tenant_id: str, endpoint_id: str, practitioner_id: UUID | None) -> bool:
    there = (shelf.tenant_id, shelf.endpoint_id) == (tenant_id, endpoint_id)
    return there and practitioner_id in (None, shelf.practitioner_id)


def _size(days: Mapping[date, DayTimes]) -> int:
    """A day on which nothing is free takes room, too."""
    return sum(1 + len(each.times) for each in days.values())
