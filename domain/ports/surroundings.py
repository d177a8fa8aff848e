"""Small needs: the time, counting callers, and keeping a pace."""

from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""
        ...


class Limiter(Protocol):
    """Counts what one caller does; shared by all processes where Redis is configured."""

    async def allows(self, key: str, limit: int, window: timedelta) -> bool:
        """Counts one more under `key`; False when that is more than `limit` in this window. Never raises."""
        ...


class Pace(Protocol):
    """Spreads calls over time; counted over all processes where Redis is configured."""

    async def turn(self, key: str, per_second: float, within: timedelta) -> timedelta:
        """Take the next place in a row of so many a second, and return how long to wait for it.

        Where that is longer than `within`, no place was taken: a crowd that gives up pushes nobody back. A small burst
        goes at once, of less than a second's worth. Never raises.
        """
        ...
