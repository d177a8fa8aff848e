"""Keeping a pace in Redis, for all processes together."""

from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from domain.ports import Pace
from integrations.memory.pace import burst_of
from integrations.redis.resting import RedisRests, Resting

MICROSECOND = timedelta(microseconds=1)

TURN = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local step, burst, within = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local wait = math.max(due - burst - now, 0)
if wait <= within then
    local following = due + step
    redis.call('SET', KEYS[1], following, 'PX', math.ceil((following - now) / 1000) + 1000)
end
return wait
"""
"""One step for Redis, by its own clock, in microseconds: nobody's place can be taken between looking and taking."""


class RedisPace:
    """While Redis rests, `otherwise` keeps the pace of this process."""

    def __init__(self, resting: Resting, otherwise: Pace, *, prefix: str = "itb:") -> None:
        self._resting = resting
        self._otherwise = otherwise
        self._prefix = prefix

    async def turn(self, key: str, per_second: float, within: timedelta) -> timedelta:
        if per_second <= 0:
            return timedelta()
        step, burst = round(1_000_000 / per_second), round(burst_of(per_second) * 1_000_000)
        name = f"{self._prefix}pace:{key}:{per_second}"

        async def take(redis: Redis) -> int:
            script: Any = redis.eval(TURN, 1, name, step, burst, within // MICROSECOND)
            return int(await script)

        try:
            return await self._resting.ask(take) * MICROSECOND
        except RedisRests:
            return await self._otherwise.turn(key, per_second, within)
