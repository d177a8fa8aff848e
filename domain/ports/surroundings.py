"""Small needs: the time, and counting callers."""

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
