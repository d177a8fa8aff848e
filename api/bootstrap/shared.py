"""What all processes have together where there is Redis, and each one by itself where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from api.settings import Settings
from domain.ports import Bus, Limiter, Pace, TimesCache
from integrations.memory.bus import MemoryBus
from integrations.memory.limiter import MemoryLimiter
from integrations.memory.pace import MemoryPace
from integrations.memory.times import MemoryTimes
from integrations.redis.bus import RedisBus
from integrations.redis.limiter import RedisLimiter
from integrations.redis.pace import RedisPace
from integrations.redis.resting import Resting, answers, open_redis
from integrations.redis.times import RedisTimes


@dataclass(frozen=True, kw_only=True)
class Shared:
    limiter: Limiter
    pace: Pace
    times: TimesCache
    bus: Bus
    clients: Sequence[Redis] = ()


def shared_by(settings: Settings) -> Shared:
    limiter, pace, times = MemoryLimiter(), MemoryPace(), MemoryTimes()
    if not settings.redis_url:
        return Shared(limiter=limiter, pace=pace, times=times, bus=MemoryBus())
    redis, listening = open_redis(settings.redis_url), open_redis(settings.redis_url)
    resting, prefix = Resting(redis), settings.redis_prefix
    return Shared(
        limiter=RedisLimiter(resting, limiter, prefix=prefix),
        pace=RedisPace(resting, pace, prefix=prefix),
        times=RedisTimes(resting, times, prefix=prefix),
        bus=RedisBus(resting, listening, prefix=prefix),
        clients=(redis, listening),
    )


async def redis_ready(redis: Redis | None) -> bool | None:
    return await answers(redis) if redis else None
