"""Listen to every EHR: have it send its news where it can, and ask it for changes now and then all the same."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from random import uniform
from uuid import UUID, uuid4

from domain.endpoint import Endpoint, News
from domain.ports import (
    EVERY_TENANT,
    Catalogue,
    Clock,
    EhrChange,
    EhrNews,
    EhrsListening,
    EhrUnavailable,
    Feed,
    FeedReads,
    Hook,
    StartWork,
)
from domain.timing import Timing
from domain.usecases.take_in_changes import TakeInChanges

log = logging.getLogger(__name__)

AT_ONCE = 8
LEASE = timedelta(seconds=60)
"""How long one process may take over an EHR before another one takes its place."""

HOOKED_FOR = timedelta(hours=1)
"""Subscriptions end by themselves, so that none outlives us, and are renewed when half of it is over."""

MOST_SEEN = 20_000
MOST_PENDING = 500
MOST_ROUNDS = 50
HOOK_URL = "url"
"""The address is kept beside the Subscriptions: when it changes they are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowEhrs:
    """`hook` says where an endpoint is to send its news. `owner` names this process where leases are kept."""

    catalogue: Catalogue
    start_work: StartWork
    take_in: TakeInChanges
    ehrs: EhrsListening
    hook: Callable[[Endpoint, datetime], Hook]
    clock: Clock
    timing: Timing
    feeds: FeedReads
    owner: str = str(uuid4())
    _known: set[tuple[str, str]] = field(default_factory=set, init=False, compare=False)
    _under_way: set[tuple[str, str] | None] = field(default_factory=set, init=False, compare=False)

    async def __call__(self, *, only: tuple[str, str] | None = None) -> int:
        """Ask the EHRs that are due, `only` that (tenant, endpoint) or all; returns how many were asked.

        A wish that comes while that one is asked already is not lost: it is due again at once.
        """
        if only in self._under_way:
            return 0
        self._under_way.add(only)
        try:
            asked = 0
            while (some := await self._round(only)) and asked < MOST_ROUNDS * AT_ONCE:
                asked += some
                if only is None and some < AT_ONCE:
                    break
            return asked
        finally:
            self._under_way.discard(only)

    async def _round(self, only: tuple[str, str] | None) -> int:
        endpoints, now = await self._endpoints(), self.clock.now()
        missing = [place for place in endpoints if place not in self._known and only in (None, place)]
        if not missing and not await self.feeds.any_due(now):
            return 0
        async with self.start_work(EVERY_TENANT) as work:
            await work.feeds.ensure(missing, now, self.timing.poll.total_seconds())
            feeds = await work.feeds.claim(self.owner, now, now + LEASE, AT_ONCE, only=only)
            await work.commit()
        self._known.update(missing)
        asked = [(feed, endpoints.get((feed.tenant_id, feed.endpoint_id))) for feed in feeds]
        await asyncio.gather(*(self._listen(feed, endpoint) for feed, endpoint in asked if endpoint))
        return len(feeds)

    async def _endpoints(self) -> Mapping[tuple[str, str], Endpoint]:
        return {(each.tenant_id, each.id): each for each in await self.catalogue.endpoints_of_all()}

    async def _listen(self, feed: Feed, endpoint: Endpoint) -> None:
        try:
            feed = await self._hooked_up(feed, endpoint)
            heard = await self._asked(feed, endpoint)
        except EhrUnavailable as outage:
            log.info("%s does not tell its changes: %s", endpoint.id, outage.word)
            heard = self._failed(feed)
        except Exception:
            log.exception("changes at %s cannot be taken in", endpoint.id)
            heard = self._failed(feed)
        async with self.start_work(feed.tenant_id) as work:
            if await work.feeds.finish(self.owner, heard, self.clock.now()):
                await work.commit()

    async def _asked(self, feed: Feed, endpoint: Endpoint) -> Feed:
        """An EHR may tell of a change late, so that each time it is asked from before the last one on.

        A clock of its own that runs ahead of ours must not make us deaf to what it tells later.
        """
        now = self.clock.now()
        since = min(feed.since or now, now)
        told = await self.ehrs.listening(endpoint).changes(since - endpoint.longest_delay, self.timing.find)
        seen = set(feed.seen)
        new = [change for change in told.changes if _hash(change) not in seen]
        if not told.whole:
            await self.take_in.look_at(endpoint)
        pending = await self.take_in(endpoint, new, [UUID(id) for id in feed.pending])
        goes_on = max(since, min(now, _goes_on_from(told, endpoint.longest_delay) or since))
        recent = [_hash(c) for c in told.changes if _is_recent(c, goes_on - endpoint.longest_delay)]
        interval = self._interval(feed, quiet=not new and not pending)
        return replace(
            feed,
            since=goes_on,
            seen=tuple(recent[-MOST_SEEN:]),
            pending=tuple(str(id) for id in pending[:MOST_PENDING]),
            failures=0,
            interval=interval,
            due_at=self._after(0 if not told.whole and new else interval),
        )

    def _interval(self, feed: Feed, *, quiet: bool) -> float:
        fastest, slowest = self.timing.poll.total_seconds(), self.timing.slowest_poll.total_seconds()
        return min(slowest, max(fastest, feed.interval * 1.5)) if quiet else fastest

    def _failed(self, feed: Feed) -> Feed:
        slowest = self.timing.slowest_poll.total_seconds()
        interval = min(slowest, self.timing.poll.total_seconds() * 2 ** min(feed.failures, 10))
        return replace(feed, failures=feed.failures + 1, due_at=self._after(interval))

    def _after(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds * uniform(0.9, 1.1))

    async def _hooked_up(self, feed: Feed, endpoint: Endpoint) -> Feed:
        """Without Subscriptions it is asked all the same, so that failing here stops nothing."""
        now = self.clock.now()
        if endpoint.news is News.POLL:
            return feed
        hook = self.hook(endpoint, now + HOOKED_FOR)
        known = feed.hooks if feed.hooks.get(HOOK_URL) == hook.url else {}
        if known and feed.hooks_until and now < feed.hooks_until - HOOKED_FOR / 2:
            return feed
        ids = {about: id for about, id in known.items() if about != HOOK_URL}
        try:
            hooks = await self.ehrs.listening(endpoint).hook_up(hook, ids, self.timing.find)
        except EhrUnavailable as outage:
            log.info("%s takes no Subscription: %s", endpoint.id, outage.word)
            return feed
        return replace(feed, hooks={**hooks, HOOK_URL: hook.url}, hooks_until=hook.until)


def _goes_on_from(told: EhrNews, delay: timedelta) -> datetime | None:
    """The latest that was told of. Of what did not fit, the rest is asked for without telling the first part again."""
    if not told.whole:
        return told.until + delay if told.until else None
    return max((change.at for change in told.changes if change.at), default=None)


def _is_recent(change: EhrChange, since: datetime) -> bool:
    return change.at is None or change.at >= since


def _hash(change: EhrChange) -> str:
    return blake2b(change.key.encode(), digest_size=6).hexdigest()
