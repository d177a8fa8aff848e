"""What has changed, told to everybody in this process who cares, and to the other processes."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from domain.changes import Change, Heard, Mark
from domain.ports import Bus, ChangeLog, Clock, TimesCache

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Changes read from the log in one statement."""

REMEMBERED = 20_000
"""Changes that are known to have been heard, so that the bus and the log do not tell them twice."""


KEPT_FOR = timedelta(hours=1)
"""How long a screen may have been away and still be told exactly what it missed."""


LOOKED_AT_EVERY = 60.0
"""Seconds between looks whether the log still goes on from here: it may be restored, or this process have slept."""


class Ear:
    """Wakes who waits when something they care about may have changed. What comes while they are busy is kept.

    `sure`: a change that concerns them was heard, and not only that some may have been missed.
    """

    def __init__(self, concerns: Callable[[Change], bool]) -> None:
        self.concerns = concerns
        self.sure = False
        self._rang = asyncio.Event()

    def ring(self, *, sure: bool) -> None:
        self.sure = self.sure or sure
        self._rang.set()

    async def wait(self, seconds: float) -> bool:
        """Whether it rang within that time; what rang is answered by it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rang.wait()
        rang = self._rang.is_set()
        self._rang.clear()
        return rang

    def was_sure(self) -> bool:
        """Whether what rang last was a change that concerns them."""
        sure, self.sure = self.sure, False
        return sure


class News:
    """One for a process. What was heard once, from a commit, the bus or the log, is not told again by the others."""

    def __init__(self, cache: TimesCache, bus: Bus, changes: ChangeLog) -> None:
        self._cache = cache
        self._bus = bus
        self._log = changes
        self._ears: set[Ear] = set()
        self._known: OrderedDict[Mark, None] = OrderedDict()

    async def spread(self, heard: Sequence[Heard]) -> None:
        """After a commit of this process. Never raises: what it tells of is done."""
        try:
            await self.hear(heard)
            await self._bus.publish(heard)
        except Exception:
            log.exception("news of %d changes could not be spread; the log still tells them", len(heard))

    async def hear(self, heard: Sequence[Heard]) -> None:
        """Forget what is kept of the times concerned, then wake who watches them."""
        new = [each for each in heard if self._is_new(each.mark)]
        for place in dict.fromkeys((e.change.tenant_id, e.change.endpoint_id, e.change.practitioner_id) for e in new):
            await self._cache.drop(*place)
        for ear in list(self._ears):
            if any(ear.concerns(each.change) for each in new):
                ear.ring(sure=True)

    def lost(self) -> None:
        """Something may have passed by unheard: everybody looks again."""
        for ear in list(self._ears):
            ear.ring(sure=False)

    @contextmanager
    def listening(self, concerns: Callable[[Change], bool]) -> Iterator[Ear]:
        ear = Ear(concerns)
        self._ears.add(ear)
        try:
            yield ear
        finally:
            self._ears.discard(ear)

    async def follow(self, interval: float) -> None:
        """Until it is cancelled: hear what other processes have changed, at once by the bus, else from the log."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._read_on(interval))

    async def _listen(self) -> None:
        while True:
            try:
                await self._bus.listen(self.hear, self.lost)
            except Exception:
                log.exception("changes are not heard by the bus for a moment")
            await asyncio.sleep(1)

    async def _read_on(self, interval: float) -> None:
        mark: Mark | None = None
        looked = monotonic()
        while True:
            try:
                if mark is not None and monotonic() - looked > LOOKED_AT_EVERY:
                    mark = mark if await self._log.reaches(mark) else None
                    looked = monotonic()
                    if mark is None:
                        self.lost()
                mark = await self._log.latest() if mark is None else await self._caught_up(mark)
            except Exception:
                log.exception("the log of changes cannot be read")
            await asyncio.sleep(interval)

    async def _caught_up(self, mark: Mark) -> Mark:
        while found := await self._log.after(mark, AT_ONCE):
            await self.hear(found)
            mark = found[-1].mark
            if len(found) < AT_ONCE:
                break
        return mark

    def _is_new(self, mark: Mark) -> bool:
        if mark in self._known:
            return False
        self._known[mark] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetChanges:
    changes: ChangeLog
    clock: Clock

    async def __call__(self) -> int:
        """What nobody will go on from any more."""
        await self.changes.forget(self.clock.now() - KEPT_FOR)
        return 0
