"""Places in a row: in this process alone, and by Redis for all processes together."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from domain.ports import Pace
from integrations.memory.pace import MemoryPace
from integrations.redis import resting
from integrations.redis.pace import RedisPace
from integrations.redis.resting import TIMEOUT, Resting, open_redis
from tests.redises import listener, silence

HOUR = timedelta(hours=1)
PATIENCE = 10 * TIMEOUT


class Nowhere:
    """Whoever is sent here was not counted by Redis."""

    async def turn(self, key: str, per_second: float, within: timedelta) -> timedelta:
        return timedelta(days=99)


@pytest.fixture(params=["memory", "redis"])
async def pace(request: pytest.FixtureRequest, prefix: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pace]:
    """Both twins, by clocks that run. Redis is waited for however busy the machine is, for the pace is its own."""
    if request.param == "memory":
        yield MemoryPace()
        return
    monkeypatch.setattr(resting, "TIMEOUT", PATIENCE)
    redis = open_redis(request.getfixturevalue("redis_url"))
    yield RedisPace(Resting(redis), Nowhere(), prefix=prefix)
    async for name in redis.scan_iter(f"{prefix}*"):
        await redis.delete(name)
    await redis.aclose()


async def waits(pace: Pace, times: int, per_second: float, key: str = "k", within: timedelta = HOUR) -> list[float]:
    return [(await pace.turn(key, per_second, within)).total_seconds() for _ in range(times)]


def assert_reserved(told: list[float], due: list[float], began: float) -> None:
    """Each place as far off as it was from the first, less the time that has gone by since."""
    passed = time.monotonic() - began
    for wait, place in zip(told, due, strict=True):
        assert max(place - passed, 0) - 0.01 <= wait <= place + 0.01


async def test_places_follow_each_other_evenly(pace: Pace) -> None:
    began = time.monotonic()
    assert_reserved(await waits(pace, 4, 0.1), [0, 10, 20, 30], began)


async def test_a_burst_of_half_a_seconds_worth_goes_at_once(pace: Pace) -> None:
    began = time.monotonic()
    assert_reserved(await waits(pace, 12, 10), [0, 0, 0, 0, 0, *(n / 10 for n in range(1, 8))], began)


async def test_a_place_too_far_off_is_not_taken(pace: Pace) -> None:
    await waits(pace, 1, 0.01)
    began = time.monotonic()
    told = await waits(pace, 20, 0.01, within=timedelta(seconds=50))
    assert_reserved(told, [100] * 20, began - 5)
    assert (await waits(pace, 2, 0.01))[1] > 150


async def test_keys_and_paces_are_counted_apart(pace: Pace) -> None:
    assert await waits(pace, 1, 0.1, "a") == [0]
    assert await waits(pace, 1, 0.1, "b æ\n") == [0]
    assert await waits(pace, 1, 0.2, "a") == [0]
    assert (await waits(pace, 1, 0.1, "a"))[0] > 0


async def test_nothing_is_counted_where_there_is_no_limit(pace: Pace) -> None:
    assert await waits(pace, 100, 0) == [0] * 100


async def test_a_crowd_at_once_gets_each_place_once(pace: Pace) -> None:
    told = await asyncio.gather(*(pace.turn("k", 0.1, HOUR) for _ in range(40)))
    places = sorted(round(each.total_seconds() / 10) for each in told)
    assert places == list(range(40))


async def test_time_that_has_gone_by_gives_places_back_but_no_more_than_a_burst() -> None:
    now = [0.0]
    pace = MemoryPace(now=lambda: now[0])
    assert await waits(pace, 7, 10) == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2])
    now[0] += 0.3
    assert await waits(pace, 2, 10) == pytest.approx([0, 0.1])
    now[0] += 1000
    assert await waits(pace, 6, 10) == pytest.approx([0, 0, 0, 0, 0, 0.1])


async def test_processes_share_one_row_and_nothing_stays(redis_url: str, prefix: str) -> None:
    clients = [open_redis(redis_url), open_redis(redis_url)]
    here, there = (RedisPace(Resting(redis), Nowhere(), prefix=prefix) for redis in clients)
    began = time.monotonic()
    told = [(await each.turn("k", 0.1, HOUR)).total_seconds() for each in (here, there, here, there)]
    assert_reserved(told, [0, 10, 20, 30], began)
    [name] = [name async for name in clients[0].scan_iter(f"{prefix}*")]
    assert 0 < await clients[0].ttl(name) <= 42
    await clients[0].delete(name)
    for redis in clients:
        await redis.aclose()


async def test_a_silent_redis_costs_one_timeout_and_this_process_counts() -> None:
    async with listener(silence) as (url, calls):
        redis = open_redis(url)
        pace = RedisPace(Resting(redis), MemoryPace(now=lambda: 0.0))
        began = time.monotonic()
        assert await waits(pace, 60, 0.1) == [10 * n for n in range(60)]
        assert time.monotonic() - began < PATIENCE
        assert len(calls) <= 1  # none where the listener had no time to notice
        await redis.aclose()
