"""Changes come to every process at once, and whoever may have missed some is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from domain.changes import Change, Heard, Mark
from domain.slot import Span
from integrations.redis.bus import RedisBus
from integrations.redis.resting import Resting, open_redis
from tests.living import until
from tests.redises import listener

START = datetime(2026, 12, 7, 9, tzinfo=UTC)


def heard(number: int) -> Heard:
    change = Change(
        tenant_id="nord",
        endpoint_id="fjord",
        at=START,
        practitioner_id=UUID(int=number),
        span=Span(start=START, end=START + timedelta(minutes=30)),
        booking_id=UUID(int=7),
    )
    return Heard(mark=Mark(number, number), change=change)


@dataclass
class Listener:
    bus: RedisBus
    told: list[Heard] = field(default_factory=list)
    lost: int = 0

    async def hear(self, new: Sequence[Heard]) -> None:
        self.told.extend(new)

    def lose(self) -> None:
        self.lost += 1


@asynccontextmanager
async def listening(url: str, prefix: str = "itb:") -> AsyncIterator[Listener]:
    redis, own = open_redis(url), open_redis(url)
    one = Listener(RedisBus(Resting(redis), own, prefix=prefix))
    task = asyncio.create_task(one.bus.listen(one.hear, one.lose))
    try:
        yield one
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await redis.aclose()
        await own.aclose()


async def has_begun(*listeners: Listener) -> None:
    async def look() -> bool | None:
        return all(each.lost for each in listeners) or None

    await until(look)


async def test_every_process_hears_what_one_publishes(redis_url: str, prefix: str) -> None:
    async with listening(redis_url, prefix) as one, listening(redis_url, prefix) as other:
        await has_begun(one, other)
        await one.bus.publish([heard(1), heard(2)])
        await other.bus.publish([heard(3)])

        async def look() -> bool | None:
            return (len(one.told), len(other.told)) == (3, 3) or None

        await until(look)
    assert one.told == other.told == [heard(1), heard(2), heard(3)]


async def test_nobody_hears_what_is_not_theirs(redis_url: str, prefix: str) -> None:
    async with listening(redis_url, prefix) as one, listening(redis_url, f"{prefix}other:") as other:
        await has_begun(one, other)
        await other.bus.publish([heard(1)])
        await one.bus.publish([heard(2)])

        async def look() -> bool | None:
            return bool(one.told and other.told) or None

        await until(look)
        assert (one.told, other.told) == ([heard(2)], [heard(1)])


async def test_who_listens_anew_is_told_that_something_may_have_passed_by(redis_url: str, prefix: str) -> None:
    async with listening(redis_url, prefix) as one:
        await has_begun(one)
        admin = open_redis(redis_url)
        before = one.lost
        await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")

        async def again() -> bool | None:
            return one.lost > before or None

        await until(again)
        await one.bus.publish([heard(1)])

        async def look() -> bool | None:
            return bool(one.told) or None

        await until(look)
        await admin.aclose()


async def test_what_cannot_be_read_is_looked_up_instead(redis_url: str, prefix: str) -> None:
    async with listening(redis_url, prefix) as one:
        await has_begun(one)
        before = one.lost
        admin = open_redis(redis_url)
        await admin.publish(f"{prefix}changes", b"\xc1 from another version")

        async def look() -> bool | None:
            return one.lost > before or None

        await until(look)
        await admin.aclose()
    assert one.told == []


async def test_publishing_to_a_redis_that_hangs_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listener(silent) as (url, _):
        redis = open_redis(url)
        bus = RedisBus(Resting(redis), redis)
        async with asyncio.timeout(10):
            for _ in range(20):
                await bus.publish([heard(1)])
        await redis.aclose()


async def test_a_redis_that_falls_silent_while_it_is_listened_to_is_tried_anew() -> None:
    """It has said yes to the subscription and then says nothing ever again, not even when asked for a sign of life."""
    subscribed = b"*3\r\n$9\r\nsubscribe\r\n$11\r\nitb:changes\r\n:1\r\n"

    async def falls_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            for _ in range(data.count(b"CLIENT") + data.count(b"HELLO")):
                writer.write(b"+OK\r\n")
            if b"SUBSCRIBE" in data:
                writer.write(subscribed)

    async with listener(falls_silent) as (url, calls), listening(url) as one:

        async def look() -> bool | None:
            return (one.lost >= 2 and len(calls) >= 2) or None

        await until(look)
