"""Watch what a search finds: once for everybody who watches the same, told as what opened and what was taken."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from random import uniform

from domain.availability import Availability, Search
from domain.changes import Change
from domain.ports import Catalogue
from domain.shares import Owner, Shares
from domain.slot import Span
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.find_slots import FindSlots
from domain.usecases.news import Ear, News
from domain.watch import Watch

log = logging.getLogger(__name__)


_Key = tuple[str, Search]


class TooManyWatches(Exception):
    """This process watches as many different searches as it may, or somebody as many as are their share."""


class WatchSlots:
    """One for a process: knows which searches are watched, and by whom."""

    def __init__(self, find_slots: FindSlots, catalogue: Catalogue, news: News, timing: Timing, most: int) -> None:
        self._find_slots = find_slots
        self._catalogue = catalogue
        self._news = news
        self._timing = timing
        self._most = most
        self._shares = Shares(most)
        self._watches: dict[_Key, asyncio.Future[Watch]] = {}
        self._running: dict[asyncio.Future[Watch], asyncio.Task[None]] = {}

    @asynccontextmanager
    async def __call__(self, tenant: Tenant, search: Search, owner: Owner) -> AsyncIterator[Watch]:
        """The watch over a search, begun by its first watcher; the owner has it until they leave.

        Raises `TooManyWatches`.
        """
        if not self.admits(tenant, search, owner):
            raise TooManyWatches
        with self.had_by(owner, tenant, search):
            watch = await self._watch(tenant, search)
            watch.watchers += 1
            try:
                yield watch
            finally:
                watch.watchers -= 1

    @property
    def count(self) -> int:
        return len(self._watches)

    def admits(self, tenant: Tenant, search: Search, owner: Owner) -> bool:
        """Whether it is no more than the owner's share to watch this, too."""
        return self._shares.admits(owner, (tenant.id, search))

    def had_by(self, owner: Owner, tenant: Tenant, search: Search) -> AbstractContextManager[None]:
        """For who is shown what others watch: it counts as theirs, too, until the block ends."""
        return self._shares.with_one_more(owner, (tenant.id, search))

    async def close(self) -> None:
        """Every watcher hears that it is over."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _watch(self, tenant: Tenant, search: Search) -> Watch:
        key = (tenant.id, search)
        if key not in self._watches:
            self._make_room()
            self._begin(key, tenant)
        return await asyncio.shield(self._watches[key])

    def _make_room(self) -> None:
        """A watch that has no watchers and only lingers gives way. Raises `TooManyWatches`."""
        if len(self._watches) < self._most:
            return
        idle = next((key for key in self._watches if self._shares.have_none_of(key)), None)
        if idle is None:
            raise TooManyWatches
        self._running[self._watches.pop(idle)].cancel()

    def _begin(self, key: _Key, tenant: Tenant) -> None:
        ready: asyncio.Future[Watch] = asyncio.get_running_loop().create_future()
        self._watches[key] = ready
        task = self._running[ready] = asyncio.ensure_future(self._observe(tenant, key[1], ready))
        task.add_done_callback(lambda ended: self._ended(key, ready, ended))

    def _ended(self, key: _Key, ready: "asyncio.Future[Watch]", ended: "asyncio.Task[None]") -> None:
        """Also when it never began, and nobody is there any more to hear of it."""
        self._forget(key, ready)
        del self._running[ready]
        _fail(ready, ended)

    def _forget(self, key: _Key, ready: "asyncio.Future[Watch]") -> None:
        """By then the key may be another watch's."""
        if self._watches.get(key) is ready:
            del self._watches[key]

    async def _observe(self, tenant: Tenant, search: Search, ready: "asyncio.Future[Watch]") -> None:
        """Listening comes before looking, so that nothing changes unheard between the two."""
        concerned = _Concerned(tenant.id, search)
        with self._news.listening(concerned) as ear:
            watch = Watch(tenant, await self._find_slots(tenant, search, wait_for_fresh=True))
            concerned.found = watch.found
            ready.set_result(watch)
            try:
                await self._keep_looking(tenant, search, watch, ear, concerned)
            finally:
                self._forget((tenant.id, search), ready)
                watch.end()

    async def _keep_looking(
        self, tenant: Tenant, search: Search, watch: Watch, ear: Ear, concerned: "_Concerned"
    ) -> None:
        """Until nobody has watched for a while. It looks now and then all the same, for what nobody tells of."""
        moment = asyncio.get_running_loop().time
        idle_until: float | None = None
        while watch.watchers or idle_until is None or moment() < idle_until:
            every = self._timing.watch.total_seconds()
            if await ear.wait(uniform(0.8, 1.2) * every):
                await asyncio.sleep(self._timing.gather.total_seconds())
            idle_until = None if watch.watchers else idle_until or moment() + self._timing.linger.total_seconds()
            try:
                now = await self._catalogue.tenant(slug=tenant.slug) or tenant
                watch.take(now, await self._find_slots(now, search, wait_for_fresh=True))
                concerned.found = watch.found
            except Exception:
                log.exception("a watched search failed; it is looked at again")


def _fail(ready: "asyncio.Future[Watch]", ended: "asyncio.Task[None]") -> None:
    """The first look failed, or was cancelled: whoever waits for the watch hears why."""
    if ready.done():
        return
    if ended.cancelled():
        ready.cancel()
    elif why := ended.exception():
        ready.set_exception(why)
        ready.exception()  # told, also when everybody has left


class _Concerned:
    """Whether a change may show in what a search finds."""

    def __init__(self, tenant_id: str, search: Search) -> None:
        self._tenant_id = tenant_id
        # days of clinics in any zone
        start = datetime.combine(search.first_day, time(), UTC) - timedelta(hours=14)
        self._span = Span(start=start, end=datetime.combine(search.last_day, time(), UTC) + timedelta(hours=38))
        self.found: Availability | None = None

    def __call__(self, change: Change) -> bool:
        if change.tenant_id != self._tenant_id or (change.span and not change.span.overlaps(self._span)):
            return False
        if self.found is None:
            return True
        somebody_else = change.practitioner_id and change.practitioner_id not in self.found.practitioner_ids
        return not somebody_else and any(s.endpoint_id == change.endpoint_id for s in self.found.sources)
