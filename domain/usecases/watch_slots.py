"""Watch what a search finds: once for everybody who watches the same, told as what opened and what was taken."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from random import uniform

from domain.availability import Availability, Search
from domain.changes import Change
from domain.ports import Catalogue
from domain.slot import Span
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.find_slots import FindSlots
from domain.usecases.news import Ear, News
from domain.watch import Watch

log = logging.getLogger(__name__)


class TooManyWatches(Exception):
    """This process watches as many different searches as it may."""


class WatchSlots:
    """One for a process: knows which searches are watched."""

    def __init__(self, find_slots: FindSlots, catalogue: Catalogue, news: News, timing: Timing, most: int) -> None:
        self._find_slots = find_slots
        self._catalogue = catalogue
        self._news = news
        self._timing = timing
        self._most = most
        self._watches: dict[tuple[str, Search], asyncio.Task[Watch]] = {}
        self._running: dict[Watch, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def __call__(self, tenant: Tenant, search: Search) -> AsyncIterator[Watch]:
        """The watch over a search, begun by its first watcher. Raises `TooManyWatches`."""
        watch = await self._watch(tenant, search)
        watch.watchers += 1
        try:
            yield watch
        finally:
            watch.watchers -= 1

    @property
    def count(self) -> int:
        return len(self._watches)

    async def close(self) -> None:
        """Every watcher hears that it is over."""
        for watch, task in list(self._running.items()):
            watch.end()
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _watch(self, tenant: Tenant, search: Search) -> Watch:
        key = (tenant.id, search)
        if key not in self._watches:
            if len(self._watches) >= self._most:
                raise TooManyWatches
            self._watches[key] = asyncio.ensure_future(self._begun(tenant, search))
        try:
            return await asyncio.shield(self._watches[key])
        except Exception:
            self._watches.pop(key, None)
            raise

    async def _begun(self, tenant: Tenant, search: Search) -> Watch:
        """Listening comes before looking, so that nothing changes unheard between the two."""
        ready: asyncio.Future[Watch] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(self._observe(tenant, search, ready))
        task.add_done_callback(lambda ended: _fail(ready, ended))
        watch = await ready
        self._running[watch] = task
        return watch

    async def _observe(self, tenant: Tenant, search: Search, ready: "asyncio.Future[Watch]") -> None:
        concerned = _Concerned(tenant.id, search)
        with self._news.listening(concerned) as ear:
            watch = Watch(tenant, await self._find_slots(tenant, search, patient=True))
            concerned.found = watch.found
            ready.set_result(watch)
            try:
                await self._keep_looking(tenant, search, watch, ear, concerned)
            finally:
                self._watches.pop((tenant.id, search), None)
                self._running.pop(watch, None)
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
                watch.take(now, await self._find_slots(now, search, patient=True))
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
