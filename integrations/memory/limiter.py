"""Counting callers in this process alone: the twin of `integrations/redis/limiter.py`."""

from collections.abc import Callable
from datetime import timedelta
from time import time

MOST_KEPT = 100_000


class MemoryLimiter:
    """Fixed windows of wall-clock time, as in Redis."""

    def __init__(self, now: Callable[[], float] = time) -> None:
        self._now = now
        self._counts: dict[tuple[str, int], int] = {}

    async def allows(self, key: str, limit: int, window: timedelta) -> bool:
        if len(self._counts) >= MOST_KEPT:
            self._counts.clear()  # forgets, never grows without bound
        place = (key, int(self._now() // window.total_seconds()))
        count = self._counts.get(place, 0) + 1
        self._counts[place] = count
        return count <= limit
