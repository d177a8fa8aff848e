"""Whoever reads Redis learns of nobody: not who asked, not from where, and not by trying every address."""

from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from integrations.redis.resting import open_redis
from integrations.sandbox.people import PEOPLE
from tests.api.test_login import HOUSE, log_in
from tests.api.test_rate_limits import ask, limited
from tests.living import SECRET, Town, in_process
from tests.system.journey import Journey

ADDRESS = "203.0.113.77"
KARI = next(person for person in PEOPLE if person.login == "kari")


async def taken_away(redis: Redis, prefix: str) -> dict[str, str]:
    """What is kept under each name; none of it is left."""
    found = {}
    async for name in redis.scan_iter(f"{prefix}*"):
        found[name.decode()] = repr(await _value(redis, name))
        await redis.delete(name)
    return found


async def _value(redis: Any, name: bytes) -> object:
    match await redis.type(name):
        case b"hash":
            return await redis.hgetall(name)
        case b"string":
            return await redis.get(name)
    raise AssertionError(f"{name!r} is read by nobody here yet")


async def test_a_visit_from_search_to_booking_leaves_nobodys_traces(
    town: Town, sqlite_filled_url: str, redis_url: str, prefix: str
) -> None:
    shared = {"redis_url": redis_url, "redis_prefix": prefix, "fresh_seconds": 20.0, "stale_seconds": 300.0}
    redis = open_redis(redis_url)
    settings = town.settings(sqlite_filled_url, public_url=HOUSE, trusted_proxies="127.0.0.1", **shared)
    async with in_process(settings) as (client, _):
        client.http.headers["X-Forwarded-For"] = ADDRESS
        journey = Journey(client, "bryggen-legesenter")
        held = (await journey.hold((await journey.slots())[0]["id"]))["hold"]["token"]
        await log_in(client, hold=held)
        session = client.http.cookies["sid"]
        assert (await journey.confirm(held))["booking"]["status"] == "BOOKED"
    found = await taken_away(redis, prefix)
    await redis.aclose()
    kinds = {name.removeprefix(prefix).partition(":")[0] for name in found}
    assert {"quota", "times"} <= kinds
    for name, value in found.items():
        for trace in (ADDRESS, session, held, KARI.name, KARI.number, KARI.email):
            assert trace and trace not in name and trace not in value, name


async def test_an_address_is_not_found_by_trying_all_of_them(
    town: Town, sqlite_filled_url: str, redis_url: str, prefix: str
) -> None:
    """There are few enough to hash each: a name depends on the installation's secret as well."""
    redis, names = open_redis(redis_url), []
    session = uuid4().hex
    for secret in (SECRET, SECRET.upper(), SECRET):
        shared = {"redis_url": redis_url, "redis_prefix": prefix, "secret": secret}
        async with limited(town, sqlite_filled_url, **shared) as client:
            await ask(client, ADDRESS, Cookie=f"sid={session}")
        names.append(set(await taken_away(redis, f"{prefix}quota:")))
    await redis.aclose()
    assert [len(each) for each in names] == [2, 2, 2]  # by address, and by session
    assert names[0] == names[2] and not names[0] & names[1]
