"""Watchers of one search by one document, who are all sent the same bytes."""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from api.context import Context
from api.operations import Operation, Result
from api.schema.slot_changes import Shown
from domain.availability import Search
from domain.shares import Owner
from domain.watch import Step, Watch

log = logging.getLogger(__name__)

KEPT_RESULTS = 16
"""How many events a slow client may be behind before it is shown the whole picture again."""

KEPT_BEGINNINGS = 8
EMPTY_FOR = 5.0
"""Seconds that an audience waits for its first watcher."""


@dataclass(frozen=True, slots=True)
class Event:
    """What watchers are sent of a watch's step to that revision."""

    revision: int
    resync: bool
    result: Result

    def fits(self, last: "Event") -> bool:
        """Whether it goes on from what somebody has who was sent `last`; from an error, only a whole picture does."""
        return self.resync or (self.revision == last.revision + 1 and not last.result.has_errors)


class Audience:
    """Ends with the last watcher, or with the watch.

    Its watch counts as that of the owner who began it, and while they are there, of each who joined.
    """

    def __init__(self, execute: Any, operation: Operation, context: Context, search: Search) -> None:
        self._execute = execute
        self._operation = operation
        self._context = context
        self._search = search
        self._events: deque[Event] = deque(maxlen=KEPT_RESULTS)
        self._beginnings: OrderedDict[Hashable, asyncio.Task[Result]] = OrderedDict()
        self._changed = asyncio.Event()
        self._members = 0
        self._stack = AsyncExitStack()
        self._pump: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._is_ended = False

    @property
    def is_over(self) -> bool:
        return self._is_ended or self._pump is None or self._pump.done()

    async def begin(self, ended: Callable[[], object]) -> None:
        """`ended` is called once, when nobody may join any more. Raises `TooManyWatches`."""
        context = self._context
        self._ended = ended
        watched = context.use.watch_slots(context.tenant, self._search, context.owner)
        self._watch = await self._stack.enter_async_context(watched)
        self._pump = asyncio.ensure_future(self._follow(self._watch))
        self._pump.add_done_callback(self._stopped)
        # whoever asked for it may have left before it began
        asyncio.get_running_loop().call_later(EMPTY_FOR, self._end_if_empty)

    def admits(self, owner: Owner) -> bool:
        """Whether it is no more than the owner's share to watch this, too."""
        context = self._context
        return context.use.watch_slots.admits(context.tenant, self._search, owner)

    @asynccontextmanager
    async def joined_by(self, owner: Owner) -> AsyncIterator[None]:
        context = self._context
        self._members += 1
        try:
            with context.use.watch_slots.had_by(owner, context.tenant, self._search):
                yield
        finally:
            self._members -= 1
            if not self._members:
                await self._end()

    async def first(self, digest: int | None) -> Event:
        """What a watcher begins with who has the picture of that digest, or none."""
        step = self._watch.begin(digest)
        return await self._beginning(step, digest if not step.resync else None)

    async def after(self, last: Event) -> Event | None:
        """What comes next for a watcher who is there and was sent that; None at the end."""
        while True:
            newer = self._events[-1] if self._events else None
            if newer is not None and newer.revision > last.revision:
                return newer if newer.fits(last) else await self._caught_up(last)
            if self.is_over:
                return None
            await self._changed.wait()

    async def _caught_up(self, last: Event) -> Event:
        event = next(each for each in self._events if each.revision > last.revision)
        return event if event.fits(last) else await self._beginning(self._watch.whole(), None)

    async def _follow(self, watch: Watch) -> None:
        """A step that cannot be shown is left out: the next one then fits nobody, who are shown the whole picture.

        A whole picture is sent with its errors, since who gets it has nothing to go on from, and another one next.
        """
        revision = watch.revision
        while (step := await watch.following(revision)) is not None:
            result = await self._shown(step)
            revision = step.revision
            if step.resync or not result.has_errors:
                self._events.append(Event(revision, step.resync, result))
                self._wake()

    def _stopped(self, pump: "asyncio.Task[None]") -> None:
        """Nothing more will come: whoever waits hears of it, and nobody finds it any more."""
        if not pump.cancelled() and (why := pump.exception()):
            log.error("changes are shown no more", exc_info=why)
        self._wake()
        if not self._is_ended:
            self._ending = asyncio.ensure_future(self._end())

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _beginning(self, step: Step, digest: int | None) -> Event:
        """A thousand who come at once are shown one answer, those after the next look another. No failure is kept."""
        key = (self._watch.looks, digest)
        if key not in self._beginnings:
            shown = self._beginnings[key] = asyncio.ensure_future(self._shown(step))
            shown.add_done_callback(lambda done: self._forget_failed(key, done))
            if len(self._beginnings) > KEPT_BEGINNINGS:
                self._beginnings.popitem(last=False)
        return Event(step.revision, step.resync, await asyncio.shield(self._beginnings[key]))

    def _forget_failed(self, key: Hashable, shown: "asyncio.Task[Result]") -> None:
        has_failed = shown.cancelled() or shown.exception() or shown.result().has_errors
        if has_failed and self._beginnings.get(key) is shown:
            del self._beginnings[key]

    async def _shown(self, step: Step) -> Result:
        """Tried once more where it has errors, since many wait for it."""
        result = await self._executed(step)
        return await self._executed(step) if result.has_errors else result

    async def _executed(self, step: Step) -> Result:
        context = self._context.for_everybody(tenant=self._watch.tenant, shown=Shown(step, self._search))
        async with aclosing(self._execute(self._operation, context)) as results:
            result: Result = await anext(aiter(results))
            return result

    def _end_if_empty(self) -> None:
        if not self._members and not self.is_over:
            self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        """Once, however its pump ends; the watch is let go of in any case."""
        if self._is_ended:
            return
        self._is_ended = True
        self._ended()
        try:
            if self._pump:
                self._pump.cancel()
                await asyncio.wait([self._pump])
        finally:
            await self._stack.aclose()
