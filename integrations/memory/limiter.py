"""Counting callers in this process alone: the twin of `integrations/redis/limiter.py`."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import timedelta
from time import time

from domain.ports import Quota

PARTS = 12
"""A window moves on by a twelfth of it. What was counted leaves when the part it was counted in is a whole window old,
so no stretch of time ever has more than the limit, and what is counted takes the same room whatever the limit."""

MOST_KEPT = 100_000


class MemoryLimiter:
    def __init__(self, now: Callable[[], float] = time) -> None:
        self._now = now
        self._counted: OrderedDict[tuple[str, timedelta], dict[int, int]] = OrderedDict()

    async def take(self, *quotas: Quota) -> timedelta:
        now = self._now()
        free = max((self._free_from(quota, now) for quota in quotas), default=now)
        if free > now:
            return timedelta(seconds=free - now)
        for quota in quotas:
            self._count(quota, now)
        return timedelta()

    def _free_from(self, quota: Quota, now: float) -> float:
        """The moment from which the quota has room."""
        place, (part, length) = (quota.key, quota.window), part_of(quota, now)
        counted = self._counted.get(place, {})
        if counted:
            self._counted.move_to_end(place)  # who is refused and asks on is not forgotten
        room_at = first_with_room(quota, {p: n for p, n in counted.items() if p >= part - PARTS}, part)
        return now if room_at <= part else room_at * length

    def _count(self, quota: Quota, now: float) -> None:
        if not quota.cost:
            return
        place, (part, _) = (quota.key, quota.window), part_of(quota, now)
        counted = self._counted.setdefault(place, {})
        for gone in [each for each in counted if each < part - PARTS]:
            del counted[gone]
        counted[part] = counted.get(part, 0) + quota.cost
        if len(self._counted) > MOST_KEPT:
            self._counted.popitem(last=False)  # who was not heard of for the longest time


def part_of(quota: Quota, now: float) -> tuple[int, float]:
    """The number of the part that is running, and how long one is in seconds."""
    length = quota.window.total_seconds() / PARTS
    return int(now // length), length


def first_with_room(quota: Quota, counted: Mapping[int, int], part: int) -> int:
    """The part in which the quota has room again; `part` itself where it has room now."""
    over = sum(counted.values()) + max(quota.cost, 1) - quota.limit
    for each in sorted(counted):
        if over <= 0:
            break
        over -= counted[each]
        part = max(part, each + PARTS + 1)
    return part if over <= 0 else part + PARTS + 1
