"""One Redis for all who ask it: a failure is found out once, and its return too."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from integrations.redis.resting import TIMEOUT, RedisRests, Resting, open_redis
from tests.redises import listener, silence

PATIENCE = 10 * TIMEOUT


async def ping(redis: Redis) -> bool:
    return bool(await redis.ping())


class Switch:
    """A Redis in front of nothing: it answers while it is on, and counts what it was asked."""

    def __init__(self) -> None:
        self.on = True
        self.asked = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            self.asked += data.count(b"PING")
            if not self.on:
                return
            writer.write(b"+PONG\r\n" if b"PING" in data else b"+OK\r\n" * data.count(b"*"))
            await writer.drain()


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_redis_that_answers_is_asked(redis_url: str) -> None:
    redis = open_redis(redis_url)
    resting = Resting(redis)
    assert [await resting.ask(ping) for _ in range(3)] == [True] * 3
    assert not resting.rests
    await redis.aclose()


async def test_a_failure_is_the_end_for_all_until_the_rest_is_over() -> None:
    switch, clock = Switch(), Time()
    async with listener(switch) as (url, calls):
        redis = open_redis(url)
        resting = Resting(redis, rest_seconds=5, now=clock)
        assert await resting.ask(ping)
        switch.on = False
        with pytest.raises(RedisRests):
            await resting.ask(ping)
        switch.on, before = True, (switch.asked, len(calls))
        clock.now += 4.9
        for _ in range(20):
            with pytest.raises(RedisRests):
                await resting.ask(ping)
        assert resting.rests and (switch.asked, len(calls)) == before
        clock.now += 0.1
        assert await resting.ask(ping)
        assert await asyncio.gather(resting.ask(ping), resting.ask(ping)) == [True] * 2
        assert not resting.rests
        await redis.aclose()


async def test_a_silent_redis_is_waited_for_once() -> None:
    async with listener(silence) as (url, _):
        redis = open_redis(url)
        resting = Resting(redis)
        began = time.monotonic()
        told = await asyncio.gather(*(resting.ask(ping) for _ in range(30)), return_exceptions=True)
        for _ in range(200):
            with pytest.raises(RedisRests):
                await resting.ask(ping)
        assert time.monotonic() - began < PATIENCE
        assert {type(each) for each in told} == {RedisRests}
        await redis.aclose()


async def test_one_finds_out_whether_it_is_back_and_nobody_else_waits() -> None:
    clock, asked = Time(), []

    async def counted(redis: Redis) -> bool:
        asked.append(redis)
        return await ping(redis)

    async with listener(silence) as (url, _):
        redis = open_redis(url)
        resting = Resting(redis, rest_seconds=5, now=clock)
        with pytest.raises(RedisRests):
            await resting.ask(counted)
        clock.now += 5
        told = await asyncio.gather(*(resting.ask(counted) for _ in range(30)), return_exceptions=True)
        assert {type(each) for each in told} == {RedisRests}
        assert len(asked) == 2
        await redis.aclose()


async def test_who_finds_out_and_is_cancelled_leaves_it_to_the_next() -> None:
    switch, clock = Switch(), Time()
    switch.on = False
    async with listener(switch) as (url, _):
        redis = open_redis(url)
        resting = Resting(redis, rest_seconds=5, now=clock)
        with pytest.raises(RedisRests):
            await resting.ask(ping)
        clock.now += 5
        switch.on = True
        finding_out = asyncio.create_task(resting.ask(lambda _: asyncio.sleep(60)))
        await asyncio.sleep(0)
        assert resting.rests
        finding_out.cancel()
        await asyncio.gather(finding_out, return_exceptions=True)
        assert await resting.ask(ping) and not resting.rests
        await redis.aclose()


async def test_a_mistake_of_the_caller_is_no_failure_of_redis(redis_url: str) -> None:
    async def mistaken(_: Redis) -> Any:
        raise KeyError("x")

    redis = open_redis(redis_url)
    resting = Resting(redis)
    with pytest.raises(KeyError):
        await resting.ask(mistaken)
    assert await resting.ask(ping)
    await redis.aclose()
