"""Changes carried to every process by Redis. A message may be lost: the log in the database has it all the same."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from domain.changes import Heard
from integrations.redis.resting import RedisRests, Resting

log = logging.getLogger(__name__)

ALIVE_EVERY = 2.0
"""Seconds between signs of life that Redis is asked for: a hung one looks like one with nothing to say."""

AGAIN_AFTER = 0.5
"""Seconds until the next try to reach a Redis that is gone."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Heard]).decode


class RedisBus:
    """`redis` listens on a connection of its own; what is published goes the way of everything else."""

    def __init__(self, resting: Resting, redis: Redis, *, prefix: str = "itb:") -> None:
        self._resting = resting
        self._redis = redis
        self._channel = f"{prefix}changes"

    async def publish(self, heard: Sequence[Heard]) -> None:
        try:
            await self._resting.ask(lambda redis: redis.publish(self._channel, _encode(list(heard))))
        except RedisRests:
            return  # the others read it in the log

    async def listen(self, hear: Callable[[Sequence[Heard]], Awaitable[None]], lost: Callable[[], None]) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._channel)
                    await self._hear(channel, hear, lost)
            except (RedisError, OSError, TimeoutError) as failure:
                log.info("changes do not come by Redis now (%s)", type(failure).__name__)
            await asyncio.sleep(AGAIN_AFTER)

    async def _hear(
        self, channel: PubSub, hear: Callable[[Sequence[Heard]], Awaitable[None]], lost: Callable[[], None]
    ) -> None:
        """Until the connection breaks, or Redis gives no sign of life when asked for one."""
        last_sign, asked = monotonic(), False
        while True:
            message = await channel.get_message(timeout=ALIVE_EVERY / 4)
            now = monotonic()
            if message:
                last_sign, asked = now, False
            elif now - last_sign > 2 * ALIVE_EVERY:
                raise TimeoutError
            elif now - last_sign > ALIVE_EVERY and not asked:
                asked = True
                await channel.ping()
            if message and message["type"] == "subscribe":
                lost()  # what was published before was not heard here
            if message and message["type"] == "message":
                await self._take(message["data"], hear, lost)

    async def _take(
        self, data: bytes, hear: Callable[[Sequence[Heard]], Awaitable[None]], lost: Callable[[], None]
    ) -> None:
        try:
            heard = _decode(data)
        except msgspec.DecodeError:
            lost()  # from a version that says more: it is in the log
            return
        await hear(heard)
