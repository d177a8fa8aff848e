"""Free times kept in Redis for all processes, and in this one alone while Redis does not answer.

A shelf is a hash, a field for each day. What was dropped is not deleted but stamped: a day counts only under the stamp
that its practitioner and endpoint have now, so that an answer which was under way when it was dropped is not believed.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from secrets import token_hex
from typing import Any
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from domain.ports import DayTimes, Shelf, Shelved, TimesCache
from domain.slot import FoundTime
from integrations.redis.resting import RedisRests, Resting

STAMPED_FOR = 2 * 86_400
"""Seconds; longer than any day is kept under a stamp."""

MOST_READ = 20_000
"""Days that are remembered as they were read, so that the same bytes are not read again."""

MOST_OWED = 1000
OURS = "own:"
"""Begins the stamps that this process has given out by itself."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, datetime, tuple[FoundTime, ...]]).decode

Place = tuple[str, str, UUID | None]


class RedisTimes:
    """`alone` is used while Redis rests. What could not be dropped in Redis then is dropped before it is read again."""

    def __init__(self, resting: Resting, alone: TimesCache, *, prefix: str = "itb:") -> None:
        self._resting = resting
        self._alone = alone
        self._prefix = f"{prefix}times:"
        self._owed: set[Place] = set()
        self._read: OrderedDict[bytes, tuple[str, DayTimes]] = OrderedDict()
        self._tidied: tuple[date, set[Shelf]] = (date.min, set())

    async def get(self, wanted: Mapping[Shelf, Sequence[date]]) -> Shelved:
        if not wanted:
            return Shelved(days={}, stamps={})
        places = list(dict.fromkeys(place for shelf in wanted for place in _places(shelf)))
        try:
            await self._pay()
            *rows, stamps = await self._resting.ask(lambda redis: self._ask(redis, wanted, places))
        except RedisRests:
            return await self._get_alone(wanted)
        known = {place: (stamp or b"").decode() for place, stamp in zip(places, stamps, strict=True)}
        now = {shelf: ".".join(known[place] for place in _places(shelf)) for shelf in wanted}
        days = {
            shelf: {day: found for day, raw in zip(asked, row, strict=True) if (found := self._valid(raw, now[shelf]))}
            for (shelf, asked), row in zip(wanted.items(), rows, strict=True)
        }
        return Shelved(days=days, stamps=now)

    async def put(self, shelf: Shelf, days: Mapping[date, DayTimes], stamp: str, keep: timedelta) -> None:
        if stamp.startswith(OURS):
            return await self._alone.put(shelf, days, stamp.removeprefix(OURS), keep)
        seconds = int(keep.total_seconds())
        fields: dict[Any, Any] = {
            day.isoformat(): _encode((stamp, told.as_of, told.times)) for day, told in days.items()
        }
        if not fields or seconds < 1:
            return None

        async def write(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as pipeline:
                pipeline.hset(self._shelf(shelf), mapping=fields)
                pipeline.expire(self._shelf(shelf), seconds)
                await pipeline.execute()
            await self._tidy(redis, shelf)

        try:
            await self._resting.ask(write)
        except RedisRests:
            return None

    async def _tidy(self, redis: Redis, shelf: Shelf) -> None:
        """Once a day: a shelf that is in use never ends by itself, and days go by. It is yesterday still somewhere."""
        today = datetime.now(UTC).date()
        if self._tidied[0] != today:
            self._tidied = (today, set())
        if shelf in self._tidied[1]:
            return
        name, yesterday = self._shelf(shelf), (today - timedelta(days=1)).isoformat()
        if gone := [day for day in await redis.hkeys(name) if _text(day) < yesterday]:
            await redis.hdel(name, *gone)
        self._tidied[1].add(shelf)

    async def drop(self, tenant_id: str, endpoint_id: str, practitioner_id: UUID | None) -> None:
        await self._alone.drop(tenant_id, endpoint_id, practitioner_id)
        self._owed.add((tenant_id, endpoint_id, practitioner_id))
        if len(self._owed) > MOST_OWED:
            self._owed = {(tenant, endpoint, None) for tenant, endpoint, _ in self._owed}
        try:
            await self._pay()
        except RedisRests:
            return

    async def _pay(self) -> None:
        """Whatever was not dropped in Redis yet. Raises `RedisRests`."""
        if not (owed := frozenset(self._owed)):
            return

        async def write(redis: Redis) -> None:
            async with redis.pipeline(transaction=False) as pipeline:
                for place in owed:
                    pipeline.set(self._stamp(place), token_hex(8), ex=STAMPED_FOR)
                await pipeline.execute()

        await self._resting.ask(write)
        self._owed -= owed

    async def _get_alone(self, wanted: Mapping[Shelf, Sequence[date]]) -> Shelved:
        found = await self._alone.get(wanted)
        return Shelved(days=found.days, stamps={shelf: f"{OURS}{stamp}" for shelf, stamp in found.stamps.items()})

    async def _ask(
        self, redis: Redis, wanted: Mapping[Shelf, Sequence[date]], places: Sequence[Place]
    ) -> Sequence[Sequence[Any]]:
        async with redis.pipeline(transaction=False) as pipeline:
            for shelf, days in wanted.items():
                pipeline.hmget(self._shelf(shelf), [day.isoformat() for day in days])
            pipeline.mget([self._stamp(place) for place in places])
            answers: Sequence[Sequence[Any]] = await pipeline.execute()
            return answers

    def _valid(self, raw: bytes | None, stamp: str) -> DayTimes | None:
        if raw is None:
            return None
        if raw in self._read:
            self._read.move_to_end(raw)
        elif not self._remember(raw):
            return None
        under, told = self._read[raw]
        return told if under == stamp else None

    def _remember(self, raw: bytes) -> bool:
        """False for what another version of this program wrote in a way that cannot be read here."""
        try:
            stamp, as_of, times = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        self._read[raw] = (stamp, DayTimes(times, as_of))
        if len(self._read) > MOST_READ:
            self._read.popitem(last=False)
        return True

    def _shelf(self, shelf: Shelf) -> str:
        return f"{self._prefix}{shelf.tenant_id}:{shelf.endpoint_id}:{shelf.practitioner_id}:{shelf.offer_id}"

    def _stamp(self, place: Place) -> str:
        tenant_id, endpoint_id, practitioner_id = place
        return f"{self._prefix}stamp:{tenant_id}:{endpoint_id}:{practitioner_id or '*'}"


def _places(shelf: Shelf) -> tuple[Place, Place]:
    return (shelf.tenant_id, shelf.endpoint_id, None), (shelf.tenant_id, shelf.endpoint_id, shelf.practitioner_id)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
