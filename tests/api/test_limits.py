"""Counting callers: by Redis for all processes together, by this process alone when Redis is not to be had."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from ipaddress import IPv6Address
from typing import Any
from uuid import uuid4

import pytest

from domain.ports import Limiter, Quota
from integrations.memory.limiter import MemoryLimiter
from integrations.redis import resting
from integrations.redis.limiter import STRICT_SHARE, RedisLimiter
from integrations.redis.resting import Resting, answers, open_redis
from tests.api.searching import find, search_for, shown
from tests.living import Client, Town, in_process
from tests.redises import listener, silence
from tests.system.journey import HOLD, key

MINUTE = timedelta(minutes=1)
PATIENCE = 10 * resting.TIMEOUT


class Wall:
    """A clock on the wall that tests move."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


Make = Callable[[Wall], Limiter]


@pytest.fixture(params=["memory", "redis"])
async def make(request: pytest.FixtureRequest, prefix: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Both adapters, held to one contract. Redis's falls back on one that lets nobody through, so Redis counts, and is
    waited for however busy the machine is."""
    if request.param == "memory":
        yield MemoryLimiter
        return
    monkeypatch.setattr(resting, "TIMEOUT", PATIENCE)
    redis = open_redis(request.getfixturevalue("redis_url"))
    yield lambda wall: RedisLimiter(Resting(redis), Nobody(), prefix=prefix, now=wall)
    async for name in redis.scan_iter(f"{prefix}*"):
        await redis.delete(name)
    await redis.aclose()


class Nobody:
    """Lets nobody through."""

    async def take(self, *quotas: Quota) -> timedelta:
        return MINUTE


def quota(key: str = "k", limit: int = 3, window: timedelta = MINUTE, **more: Any) -> Quota:
    return Quota(key=key, limit=limit, window=window, **more)


async def allows(limiter: Limiter, *quotas: Quota) -> bool:
    return not await limiter.take(*(quotas or (quota(),)))


async def asked(limiter: Limiter, times: int, key: str = "k", limit: int = 3, **more: Any) -> list[bool]:
    return [await allows(limiter, quota(key, limit, **more)) for _ in range(times)]


async def test_so_many_are_allowed_and_no_more(make: Make) -> None:
    assert await asked(make(Wall()), 6) == [True] * 3 + [False] * 3


async def test_keys_are_counted_apart(make: Make) -> None:
    limiter = make(Wall())
    assert await asked(limiter, 4, "hold:nordhelse:127.0.0.1") == [True] * 3 + [False]
    assert await asked(limiter, 4, "hold:annan:127.0.0.1") == [True] * 3 + [False]
    assert await asked(limiter, 4, "hold:nordhelse:::1 æ\n") == [True] * 3 + [False]


async def test_no_stretch_of_a_window_has_more_than_the_limit_also_where_two_windows_meet(make: Make) -> None:
    """Fixed windows would let twice as much through there."""
    for begin in (0.0, 2.5, 30.0, 57.5, 59.9):
        wall, granted = Wall(), list[float]()
        limiter, wall.now = make(wall), wall.now + begin
        for _ in range(300):
            granted += [wall.now] * (await asked(limiter, 1, f"k{begin}", 5)).count(True)
            wall.now += 0.7
        assert len(granted) > 10
        for last, first in zip(granted[5:], granted, strict=False):
            assert last - first >= 60


async def test_what_is_counted_leaves_when_it_is_as_old_as_the_window(make: Make) -> None:
    wall = Wall()
    limiter = make(wall)
    assert await asked(limiter, 4) == [True] * 3 + [False]
    wall.now += 59.9
    assert await asked(limiter, 1) == [False]
    wall.now += 5.1
    assert await asked(limiter, 4) == [True] * 3 + [False]


async def test_whoever_waits_as_long_as_told_is_allowed_and_no_sooner(make: Make) -> None:
    wall = Wall()
    limiter, wall.now = make(wall), wall.now + 3.3
    for pause in (0, 7, 0):
        wall.now += pause
        assert await allows(limiter)
    wait = await limiter.take(quota())
    assert timedelta() < wait <= timedelta(seconds=65)
    assert await limiter.take(quota(cost=3)) > wait
    wall.now += wait.total_seconds() - 0.01
    assert not await allows(limiter)
    wall.now += 0.02
    assert await allows(limiter)


async def test_what_is_refused_is_not_counted_in_any_quota(make: Make) -> None:
    limiter, one, other = make(Wall()), quota("one"), quota("other", 5)
    assert [await allows(limiter, one, other) for _ in range(9)] == [True] * 3 + [False] * 6
    assert [await allows(limiter, other) for _ in range(4)] == [True] * 2 + [False] * 2


async def test_costs_are_added_and_a_look_costs_nothing(make: Make) -> None:
    limiter = make(Wall())
    assert await allows(limiter, quota(limit=10, cost=7))
    assert not await allows(limiter, quota(limit=10, cost=4))
    assert [await allows(limiter, quota(limit=10, cost=0)) for _ in range(20)] == [True] * 20
    assert await allows(limiter, quota(limit=10, cost=3))
    assert not await allows(limiter, quota(limit=10, cost=0))


async def test_a_crowd_at_once_gets_exactly_the_limit(make: Make) -> None:
    limiter = make(Wall())
    allowed = await asyncio.gather(*(allows(limiter, quota(limit=20)) for _ in range(60)))
    assert sum(allowed) == 20


async def test_nothing_is_allowed_where_the_limit_is_none(make: Make) -> None:
    assert await asked(make(Wall()), 2, limit=0) == [False, False]


async def test_processes_count_together_in_redis_and_nothing_stays(redis_url: str, prefix: str) -> None:
    one, other = open_redis(redis_url), open_redis(redis_url)
    here, there = (RedisLimiter(Resting(each), Nobody(), prefix=prefix, now=Wall()) for each in (one, other))
    week = timedelta(days=7)
    assert [await allows(each, quota(window=week)) for each in (here, there, here, there)] == [True, True, True, False]
    [name] = [name async for name in one.scan_iter(f"{prefix}*")]
    assert week.total_seconds() <= await one.ttl(name) <= 1.2 * week.total_seconds()
    await one.delete(name)
    for redis in (one, other):
        await redis.aclose()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def hanging_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"+")


async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        writer.write(b"-NOAUTH Authentication required.\r\n" * 4)
        await writer.drain()


@pytest.mark.parametrize("speak", [silence, nonsense, hanging_up, refusing])
async def test_a_redis_that_gives_no_answer_is_left_alone_and_this_process_counts(speak: Any) -> None:
    async with listener(speak) as (url, calls):
        redis = open_redis(url)
        limiter = RedisLimiter(Resting(redis), MemoryLimiter(Wall()))
        began = time.monotonic()
        assert await allows(limiter)
        assert time.monotonic() - began < PATIENCE
        connected = len(calls)
        assert await asked(limiter, 20) == [True] * 2 + [False] * 18
        assert len(calls) == connected  # nobody else waits for it
        assert not await answers(redis)
        await redis.aclose()


async def test_alone_a_process_gives_out_only_a_part_of_what_is_strict() -> None:
    async with listener(silence) as (url, _):
        redis = open_redis(url)
        limiter = RedisLimiter(Resting(redis), MemoryLimiter(Wall()))
        assert (await asked(limiter, 30, limit=20, strict=True)).count(True) == 20 // STRICT_SHARE
        assert await asked(limiter, 2, "few", limit=1, strict=True) == [True, False]
        assert (await asked(limiter, 30, "other", limit=20)).count(True) == 20
        await redis.aclose()


async def test_a_process_remembers_only_so_many_and_forgets_who_was_long_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("integrations.memory.limiter.MOST_KEPT", 10)
    limiter = MemoryLimiter(Wall())
    assert await asked(limiter, 3, "busy") == [True] * 3
    for other in range(18):
        assert await asked(limiter, 1, str(other)) == [True]
        assert other % 9 != 8 or await asked(limiter, 1, "busy") == [False]
    for other in range(10):
        assert await asked(limiter, 1, f"one more {other}") == [True]
    assert await asked(limiter, 1, "busy") == [True]


async def test_a_crowd_at_a_silent_redis_waits_together_not_in_turn() -> None:
    async with listener(silence) as (url, _):
        redis = open_redis(url)
        limiter = RedisLimiter(Resting(redis), MemoryLimiter(Wall()))
        began = time.monotonic()
        allowed = await asyncio.gather(*(allows(limiter, quota(limit=20)) for _ in range(60)))
        assert time.monotonic() - began < PATIENCE
        assert sum(allowed) == 20
        await redis.aclose()


async def test_a_closed_port_is_no_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        redis = open_redis(f"redis://127.0.0.1:{unused.getsockname()[1]}/0")
        limiter = RedisLimiter(Resting(redis), MemoryLimiter(Wall()))
        assert await asked(limiter, 4) == [True] * 3 + [False]
        await redis.aclose()


async def test_redis_is_asked_again_after_a_rest(redis_url: str, prefix: str) -> None:
    host, _, port = redis_url.removeprefix("redis://").removesuffix("/0").partition(":")
    broken = [True]

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if broken:
            return
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copied(reader, back), copied(there, writer))

    async with listener(forward) as (url, _):
        redis = open_redis(url)
        limiter = RedisLimiter(Resting(redis, rest_seconds=0), Nobody(), prefix=prefix, now=Wall())
        assert await asked(limiter, 2) == [False, False]
        broken.clear()
        assert await asked(limiter, 4) == [True] * 3 + [False]
        await redis.aclose()


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()


def anywhere() -> str:
    """An address that nobody else has been at: Redis is the same for all tests."""
    return str(IPv6Address(uuid4().int))


async def holds(client: Client, tries: int, **headers: str) -> list[str]:
    """The code of each try, at another time each; a granted one is `ok`."""
    slots = shown(await find(client, await search_for(client, "skin-check", "solna-vardcentral", last=9)))
    told = []
    for slot in slots[:: max(1, len(slots) // tries)][:tries]:
        body = {"query": HOLD, "variables": {"input": {"idempotencyKey": key(), "slotId": slot["id"]}}}
        payload = (await client.http.post("/graphql", json=body, headers=headers)).json()["data"]["holdSlot"]
        told.append("ok" if payload["hold"] else payload["errors"][0]["code"])
    return told


def limited(told: list[str], most: int) -> bool:
    return told.count("ok") == most and set(told) == {"ok", "HOLD_LIMIT"}


@pytest.mark.parametrize("counted_by", ["memory", "redis", "silent redis"])
async def test_one_address_holds_only_so_many_times(
    request: pytest.FixtureRequest, town: Town, sqlite_filled_url: str, counted_by: str
) -> None:
    address = {"X-Forwarded-For": f"10.0.0.9, {anywhere()}"}
    another = {"X-Forwarded-For": anywhere()}
    async with listener(silence) as (silent, _):
        urls = {"memory": "", "silent redis": silent}
        url = urls[counted_by] if counted_by in urls else request.getfixturevalue("redis_url")
        settings = town.settings(
            sqlite_filled_url, holds_per_address=STRICT_SHARE, redis_url=url, trusted_proxies="10.1.1.1,127.0.0.1"
        )
        async with in_process(settings) as (client, _):
            most = 1 if counted_by == "silent redis" else STRICT_SHARE
            assert limited(await holds(client, 7, **address), most)
            assert "ok" in await holds(client, 7, **another)
            ready = (await client.http.get("/health/ready")).json()
            assert (ready["status"], ready["redis"]) == (
                "ok",
                {"memory": "off", "redis": "ok", "silent redis": "down"}[counted_by],
            )


async def test_a_header_from_nobody_we_trust_makes_no_new_address(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url, holds_per_address=1)) as (client, _):
        told = [await holds(client, 1, **{"X-Forwarded-For": anywhere()}) for _ in range(6)]
    assert limited([code for [code] in told], 1)


async def test_a_repeat_and_a_renewal_are_no_further_holds(town: Town, sqlite_filled_url: str) -> None:
    settings = town.settings(sqlite_filled_url, holds_per_address=1, trusted_proxies="127.0.0.1")
    headers = {"X-Forwarded-For": anywhere()}
    async with in_process(settings) as (client, _):
        slots = shown(await find(client, await search_for(client, "skin-check", "nacka-vardcentral", last=9)))

        async def hold(**given: str) -> dict[str, Any]:
            body = {"query": HOLD, "variables": {"input": {"idempotencyKey": key(), **given}}}
            return dict((await client.http.post("/graphql", json=body, headers=headers)).json()["data"]["holdSlot"])

        own = {"idempotencyKey": key(), "slotId": slots[0]["id"]}
        first = await hold(**own)
        await hold(slotId=slots[-1]["id"])
        assert (await hold(**own))["hold"]["token"] == first["hold"]["token"]
        renewed = await hold(slotId=slots[0]["id"], holdToken=first["hold"]["token"])
        assert renewed["hold"]["token"] == first["hold"]["token"]
