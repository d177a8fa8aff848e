"""Counting callers in Redis, for all processes together."""

from collections.abc import Callable
from datetime import timedelta
from time import time

from redis.asyncio import Redis

from domain.ports import Limiter
from integrations.redis.resting import RedisRests, Resting


class RedisLimiter:
    """Fixed windows; while Redis rests, `otherwise` counts for this process."""

    def __init__(
        self, resting: Resting, otherwise: Limiter, *, prefix: str = "itb:", now: Callable[[], float] = time
    ) -> None:
        self._resting = resting
        self._otherwise = otherwise
        self._prefix = prefix
        self._now = now

    async def allows(self, key: str, limit: int, window: timedelta) -> bool:
        seconds = int(window.total_seconds())
        name = f"{self._prefix}limit:{key}:{int(self._now() // seconds)}"

        async def count(redis: Redis) -> int:
            async with redis.pipeline(transaction=True) as pipeline:
                pipeline.incr(name)
                pipeline.expire(name, seconds)
                counted, _ = await pipeline.execute()
            return int(counted)

        try:
            return await self._resting.ask(count) <= limit
        except RedisRests:
            return await self._otherwise.allows(key, limit, window)
