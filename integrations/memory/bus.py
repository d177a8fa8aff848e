"""Changes within one process: there is nobody else to tell. The twin of `integrations/redis/bus.py`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from domain.changes import Heard


class MemoryBus:
    async def publish(self, heard: Sequence[Heard]) -> None:
        return

    async def listen(self, hear: Callable[[Sequence[Heard]], Awaitable[None]], lost: Callable[[], None]) -> None:
        await asyncio.Event().wait()
