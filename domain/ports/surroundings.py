"""Small needs: the time, counting callers, and keeping a pace."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware, UTC."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """At most `limit` in any stretch of time as long as `window`, of what is counted under `key`.

    `cost` is what this one takes of it; nothing is a look whether one more would go. `strict`: where processes cannot
    count together, each gives out only a part of it. The key names nobody: who reads the counts learns no address.
    """

    key: str
    limit: int
    window: timedelta
    cost: int = 1
    strict: bool = False


class Limiter(Protocol):
    """Counts what callers do; shared by all processes where Redis is configured."""

    async def take(self, *quotas: Quota) -> timedelta:
        """Counts in every quota and returns nothing to wait; or counts in none of them, where one does not allow it,
        and returns how long until all will, if nobody else takes of them. Never raises.
        """
        ...


class Pace(Protocol):
    """Spreads calls over time; counted over all processes where Redis is configured."""

    async def turn(self, key: str, per_second: float, within: timedelta) -> timedelta:
        """Take the next place in a row of so many a second, and return how long to wait for it.

        Where that is longer than `within`, no place was taken: a crowd that gives up pushes nobody back. A small burst
        goes at once, of less than a second's worth. Never raises.
        """
        ...
