"""So many calls to one server at once, and no more: the others wait, but neither for long nor in any number."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.ports import EhrUnavailable, Outage, OutageWord

MOST_WAITING = 1000


class Turns:
    """A bulkhead: an EHR that hangs holds up its own callers, and not the whole process."""

    def __init__(self, at_once: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._waiting = 0

    @asynccontextmanager
    async def one(self, until: float) -> AsyncIterator[None]:
        """`until`, in the loop's time, the turn must have come. Raises `EhrUnavailable`."""
        if self._waiting >= MOST_WAITING:
            raise _busy(f"{MOST_WAITING} calls are waiting for it already")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(until):
                await self._places.acquire()
        except TimeoutError as late:
            raise _busy("no turn in time") from late
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()


def _busy(reason: str) -> EhrUnavailable:
    return EhrUnavailable(reason, outage=Outage.TIMEOUT, sent=False, word=OutageWord.BUSY)
