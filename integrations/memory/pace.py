"""Keeping a pace in this process alone: the twin of `integrations/redis/pace.py`."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic

BURST_SECONDS = 0.5
"""A burst's worth: a fan-out gets going, and a strict server sees no more than half as many again in a second."""

MOST_KEPT = 10_000


class MemoryPace:
    """The generic cell rate algorithm (ITU-T I.371): all that is kept is when the next place would be due."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._due: dict[tuple[str, float], float] = {}

    async def turn(self, key: str, per_second: float, within: timedelta) -> timedelta:
        if per_second <= 0:
            return timedelta()
        if len(self._due) >= MOST_KEPT:
            self._due.clear()  # forgets, never grows without bound
        now, step = self._now(), 1 / per_second
        due = max(self._due.get((key, per_second), now), now)
        wait = timedelta(seconds=max(due - burst_of(per_second) - now, 0.0))
        if wait <= within:
            self._due[key, per_second] = due + step
        return wait


def burst_of(per_second: float) -> float:
    """How far ahead of the even pace calls may be, in seconds: a burst of one is none."""
    places = max(int(per_second * BURST_SECONDS), 1)
    return (places - 1) / per_second
