"""Counting callers in Redis, for all processes together."""

import logging
from collections.abc import Callable
from datetime import timedelta
from time import monotonic, time

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from domain.ports import Limiter

log = logging.getLogger(__name__)

TIMEOUT = 0.2
"""Seconds; a hung Redis must not be waited for (trust.md §4)."""

REST_SECONDS = 5.0
"""How long Redis is left alone after it failed once."""


def open_redis(url: str) -> Redis:
    """A client that gives up fast and never retries by itself."""
    return Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0))


async def answers(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except (RedisError, OSError, TimeoutError):
        return False


class RedisLimiter:
    """Fixed windows; when Redis fails, `otherwise` counts for this process until Redis has had a rest."""

    def __init__(
        self, redis: Redis, otherwise: Limiter, *, prefix: str = "itb:", now: Callable[[], float] = time
    ) -> None:
        self._redis = redis
        self._otherwise = otherwise
        self._prefix = prefix
        self._now = now
        self._rests_until = 0.0

    async def allows(self, key: str, limit: int, window: timedelta) -> bool:
        if monotonic() < self._rests_until:
            return await self._otherwise.allows(key, limit, window)
        seconds = int(window.total_seconds())
        name = f"{self._prefix}limit:{key}:{int(self._now() // seconds)}"
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.incr(name)
                pipeline.expire(name, seconds)
                count, _ = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as failure:
            log.warning("Redis does not answer (%s): this process counts by itself", type(failure).__name__)
            self._rests_until = monotonic() + REST_SECONDS
            return await self._otherwise.allows(key, limit, window)
        return int(count) <= limit
