"""Counting callers in Redis, for all processes together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from time import time
from typing import Any

from redis.asyncio import Redis

from domain.ports import Limiter, Quota
from integrations.memory.limiter import PARTS, first_with_room, part_of
from integrations.redis.resting import RedisRests, Resting

STRICT_SHARE = 4
"""While processes count alone, each gives out this part of a strict quota: as much as all have when they are four."""

TAKE = """
local oldest_by, full = tonumber(ARGV[1]), {}
for i, key in ipairs(KEYS) do
    local cost, limit, part = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
    local counted, sum = redis.call('HGETALL', key), 0
    for j = 1, #counted, 2 do
        if tonumber(counted[j]) >= part - oldest_by then sum = sum + tonumber(counted[j + 1]) end
    end
    if sum + math.max(cost, 1) > limit then full[#full + 1] = {i, counted} end
end
if #full > 0 then return full end
for i, key in ipairs(KEYS) do
    local cost, part = tonumber(ARGV[4 * i - 2]), tonumber(ARGV[4 * i])
    if cost > 0 and redis.call('HINCRBY', key, part, cost) == cost then
        for _, each in ipairs(redis.call('HKEYS', key)) do
            if tonumber(each) < part - oldest_by then redis.call('HDEL', key, each) end
        end
        redis.call('PEXPIRE', key, ARGV[4 * i + 1])
    end
end
return full
"""
"""One step for Redis, and one way there and back, however many quotas: a hash each, with a field for each part.

Answers the counts of those that are full."""


class RedisLimiter:
    """While Redis rests, `otherwise` counts for this process."""

    def __init__(
        self, resting: Resting, otherwise: Limiter, *, prefix: str = "itb:", now: Callable[[], float] = time
    ) -> None:
        self._resting = resting
        self._otherwise = otherwise
        self._prefix = prefix
        self._now = now

    async def take(self, *quotas: Quota) -> timedelta:
        if not quotas:
            return timedelta()
        now = self._now()
        try:
            full = await self._resting.ask(lambda redis: self._ask(redis, quotas, now))
        except RedisRests:
            return await self._otherwise.take(*map(_alone, quotas))
        return max((_wait(quotas[number - 1], counted, now) for number, counted in full), default=timedelta())

    async def _ask(self, redis: Redis, quotas: Sequence[Quota], now: float) -> Sequence[tuple[int, Sequence[bytes]]]:
        names = [f"{self._prefix}quota:{quota.key}:{quota.window.total_seconds():g}" for quota in quotas]
        numbers = [number for quota in quotas for number in _numbers(quota, now)]
        script: Any = redis.eval(TAKE, len(names), *names, PARTS, *numbers)
        answer: Sequence[tuple[int, Sequence[bytes]]] = await script
        return answer


def _alone(quota: Quota) -> Quota:
    return replace(quota, limit=max(quota.limit // STRICT_SHARE, 1)) if quota.strict else quota


def _numbers(quota: Quota, now: float) -> tuple[int, int, int, int]:
    """Cost, limit, the part that is running, and milliseconds to keep what is counted in it."""
    part, length = part_of(quota, now)
    return quota.cost, quota.limit, part, int(length * (PARTS + 2) * 1000)


def _wait(quota: Quota, counted: Sequence[bytes], now: float) -> timedelta:
    part, length = part_of(quota, now)
    counts = {int(name): int(count) for name, count in zip(counted[::2], counted[1::2], strict=True)}
    room_at = first_with_room(quota, {p: n for p, n in counts.items() if p >= part - PARTS}, part)
    return timedelta(seconds=room_at * length - now)
