"""One Redis for all who ask it: given up on fast, and left alone for a while after it failed once.

Whoever uses Redis here can do without it: a hung one must not make every caller wait in turn.
"""

import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

TIMEOUT = 0.2
"""Seconds; what a hung Redis costs the callers that find it so."""

REST_SECONDS = 5.0
"""How long Redis is left alone after it failed once."""

T = TypeVar("T")


class RedisRests(Exception):
    """Redis did not answer just now, or did not a moment ago."""


def open_redis(url: str) -> Redis:
    """A client that gives up fast and never retries by itself."""
    return Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0))


async def answers(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except (RedisError, OSError, TimeoutError):
        return False


class Resting:
    """One for each client, shared by all who use it, so that one failure is enough for all of them."""

    def __init__(
        self, redis: Redis, *, rest_seconds: float = REST_SECONDS, now: Callable[[], float] = monotonic
    ) -> None:
        self._redis = redis
        self._rest_seconds = rest_seconds
        self._now = now
        self._rests_until: float | None = None
        self._returning = False

    @property
    def rests(self) -> bool:
        """Whether a question would be refused now."""
        return self._returning or (self._rests_until is not None and self._now() < self._rests_until)

    async def ask(self, call: Callable[[Redis], Awaitable[T]]) -> T:
        """Raises `RedisRests`. After a rest one caller finds out whether Redis is back; the others need not wait."""
        if self.rests:
            raise RedisRests
        first = self._returning = self._rests_until is not None
        try:
            answer = await call(self._redis)
        except (RedisError, OSError, TimeoutError) as failure:
            self._leave_alone(failure)
            raise RedisRests from failure
        finally:
            self._returning = self._returning and not first
        if first:
            self._rests_until = None
        return answer

    def _leave_alone(self, failure: Exception) -> None:
        if self._rests_until is None:
            log.warning("Redis does not answer (%s): done without until it does", type(failure).__name__)
        self._rests_until = self._now() + self._rest_seconds
