"""Free times that are kept: both twins keep the same promises, and Redis may come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from time import monotonic
from uuid import UUID

import pytest
from msgspec import msgpack

from domain.ports import DayTimes, Shelf, TimesCache
from domain.slot import FoundTime
from integrations.memory.times import MemoryTimes
from integrations.redis.resting import Resting, open_redis
from integrations.redis.times import RedisTimes
from tests.redises import listener

MONDAY, TUESDAY = date(2099, 12, 7), date(2099, 12, 8)
KEEP = timedelta(minutes=5)
Make = Callable[[], TimesCache]


def shelf(practitioner: int = 1, endpoint: str = "fjord", tenant: str = "nord", offer: int = 9) -> Shelf:
    return Shelf(tenant, endpoint, UUID(int=practitioner), UUID(int=offer))


def told(hour: int = 9, count: int = 1) -> DayTimes:
    start = datetime(2026, 12, 7, hour, tzinfo=UTC)
    times = [
        FoundTime(
            practitioner_ehr_id="pr:1",
            service_code="skin-check",
            reference=f"æ|{n}",
            start=start + timedelta(minutes=15 * n),
            end=start + timedelta(minutes=15 * n + 45),
            resources=('{"a":1}',),
        )
        for n in range(count)
    ]
    return DayTimes(tuple(times), datetime.now(UTC))


@pytest.fixture(params=["memory", "redis"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes caches that share what they keep, as two processes would where there is Redis."""
    if request.param == "memory":
        alone = MemoryTimes()
        yield lambda: alone
        return
    prefix = request.getfixturevalue("prefix")
    clients = []

    def made() -> TimesCache:
        clients.append(open_redis(request.getfixturevalue("redis_url")))
        return RedisTimes(Resting(clients[-1]), MemoryTimes(), prefix=prefix)

    yield made
    for each in clients:
        await each.aclose()


async def put(cache: TimesCache, where: Shelf, **days: DayTimes) -> None:
    named = {"monday": MONDAY, "tuesday": TUESDAY}
    stamp = (await cache.get({where: [MONDAY]})).stamps[where]
    await cache.put(where, {named[name]: each for name, each in days.items()}, stamp, KEEP)


async def kept(cache: TimesCache, where: Shelf, *days: date) -> dict[date, Sequence[FoundTime]]:
    found = (await cache.get({where: days or (MONDAY, TUESDAY)})).days.get(where, {})
    return {day: each.times for day, each in found.items()}


async def test_what_was_put_is_there_for_everybody_with_its_age(make: Make) -> None:
    monday, empty = told(count=3), DayTimes((), datetime.now(UTC))
    await put(make(), shelf(), monday=monday, tuesday=empty)
    found = (await make().get({shelf(): [MONDAY, TUESDAY], shelf(2): [MONDAY]})).days
    assert found[shelf()][MONDAY].times == monday.times
    assert found[shelf()][MONDAY].as_of == monday.as_of
    assert found[shelf()][TUESDAY].times == ()  # that there is nothing is worth knowing, too
    assert not found.get(shelf(2))


async def test_days_are_added_and_replaced_one_by_one(make: Make) -> None:
    cache, later = make(), told(hour=15)
    await put(cache, shelf(), monday=told(), tuesday=told())
    await put(cache, shelf(), monday=later)
    assert (await kept(cache, shelf()))[MONDAY] == later.times
    assert len(await kept(cache, shelf())) == 2


async def test_a_practitioners_times_are_dropped_in_every_offer_and_nobody_elses(make: Make) -> None:
    cache, other = make(), make()
    places = [shelf(1), shelf(1, offer=8), shelf(2), shelf(1, endpoint="malar"), shelf(1, tenant="syd")]
    for each in places:
        await put(cache, each, monday=told())
    await other.drop("nord", "fjord", UUID(int=1))
    assert [bool(await kept(cache, each)) for each in places] == [False, False, True, True, True]


async def test_a_whole_endpoint_is_dropped_at_once(make: Make) -> None:
    cache = make()
    places = [shelf(1), shelf(2), shelf(1, endpoint="malar"), shelf(1, tenant="syd")]
    for each in places:
        await put(cache, each, monday=told())
    await make().drop("nord", "fjord", None)
    assert [bool(await kept(cache, each)) for each in places] == [False, False, True, True]


@pytest.mark.parametrize("practitioner", [UUID(int=1), None])
async def test_an_answer_from_before_it_was_dropped_is_not_kept(make: Make, practitioner: UUID | None) -> None:
    """The EHR was asked, somebody booked there, and only then does the answer come."""
    cache = make()
    stamp = (await cache.get({shelf(): [MONDAY]})).stamps[shelf()]
    await make().drop("nord", "fjord", practitioner)
    await cache.put(shelf(), {MONDAY: told()}, stamp, KEEP)
    assert not await kept(cache, shelf())
    assert (await cache.get({shelf(): [MONDAY]})).stamps[shelf()] != stamp


async def test_what_was_dropped_can_be_filled_again(make: Make) -> None:
    cache = make()
    await put(cache, shelf(), monday=told())
    await cache.drop("nord", "fjord", UUID(int=1))
    await put(cache, shelf(), monday=told(hour=11))
    assert (await kept(cache, shelf()))[MONDAY][0].start.hour == 11


async def test_memory_is_bounded_and_the_longest_unasked_goes_first() -> None:
    cache = MemoryTimes(most=40)
    for n in range(1, 11):
        await put(cache, shelf(n), monday=told(count=9))
        await kept(cache, shelf(1))
    assert await kept(cache, shelf(1)) and await kept(cache, shelf(10))
    assert not await kept(cache, shelf(2))


async def test_nothing_stays_in_redis_for_ever(redis_url: str, prefix: str) -> None:
    redis = open_redis(redis_url)
    cache = RedisTimes(Resting(redis), MemoryTimes(), prefix=prefix)
    await put(cache, shelf(), monday=told())
    await cache.drop("nord", "fjord", UUID(int=1))
    names = [name async for name in redis.scan_iter(f"{prefix}*")]
    assert len(names) == 2
    assert all([await redis.ttl(name) > 0 for name in names])
    await redis.aclose()


async def test_what_another_version_has_kept_is_asked_for_again(redis_url: str, prefix: str) -> None:
    redis = open_redis(redis_url)
    cache = RedisTimes(Resting(redis), MemoryTimes(), prefix=prefix)
    await put(cache, shelf(), monday=told())
    [name] = [name async for name in redis.scan_iter(f"{prefix}*")]
    for written in (
        b"",
        b"\xc1",
        b'{"times":[]}',
        b"\x93\xa1\xff",
        msgpack.encode((1, 2)),
        msgpack.encode(("", "", ())),
    ):
        await redis.hset(name, mapping={MONDAY.isoformat(): written})
        await put(cache, shelf(), tuesday=told())
        assert set(await kept(cache, shelf())) == {TUESDAY}
    await put(cache, shelf(), monday=told(hour=11))
    assert (await kept(cache, shelf()))[MONDAY][0].start.hour == 11
    await redis.aclose()


async def test_past_days_do_not_pile_up_on_a_shelf_that_is_in_use(redis_url: str, prefix: str) -> None:
    redis = open_redis(redis_url)
    today = datetime.now(UTC).date()
    days = [today + timedelta(days=n) for n in range(-9, 2)]
    written = RedisTimes(Resting(redis), MemoryTimes(), prefix=prefix)
    stamp = (await written.get({shelf(): [today]})).stamps[shelf()]
    await written.put(shelf(), {days[-1]: told()}, stamp, KEEP)
    await written.put(shelf(), {day: told() for day in days}, stamp, KEEP)
    [name] = [name async for name in redis.scan_iter(f"{prefix}*")]
    assert await redis.hlen(name) == len(days)  # looked at once a day, not each time
    later = RedisTimes(Resting(redis), MemoryTimes(), prefix=prefix)
    await later.put(shelf(), {days[-1]: told()}, stamp, KEEP)
    left = {each.decode() for each in await redis.hkeys(name)}
    assert left == {each.isoformat() for each in (today - timedelta(days=1), today, today + timedelta(days=1))}
    await redis.aclose()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_hung_redis_costs_one_wait_and_this_process_remembers_by_itself() -> None:
    async with listener(silent) as (url, _):
        redis = open_redis(url)
        cache = RedisTimes(Resting(redis), MemoryTimes())
        await put(cache, shelf(), monday=told())
        began = monotonic()
        for _ in range(50):
            assert await kept(cache, shelf(), MONDAY)
        assert monotonic() - began < 10  # fifty waits of 0.2 s would be 10
        await cache.drop("nord", "fjord", UUID(int=1))
        assert not await kept(cache, shelf())
        await redis.aclose()


async def test_what_could_not_be_dropped_is_dropped_before_redis_is_read_again(redis_url: str, prefix: str) -> None:
    redis = open_redis(redis_url)
    now = [0.0]
    resting = Resting(redis, now=lambda: now[0])
    cache = RedisTimes(resting, MemoryTimes(), prefix=prefix)
    await put(cache, shelf(), monday=told())
    resting._leave_alone(OSError())
    await cache.drop("nord", "fjord", UUID(int=1))
    assert not await kept(cache, shelf())
    now[0] = 1000.0
    assert not await kept(cache, shelf())
    await redis.aclose()
