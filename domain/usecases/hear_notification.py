"""An EHR sends word that something has changed: believed when it proves who it is, and only as a reason to look."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from hashlib import sha256

from domain.endpoint import Endpoint, News
from domain.ports import Catalogue, Clock, EhrsListening, Notification, NotificationUnreadable, StartWork
from domain.timing import Timing
from domain.usecases.take_in_changes import TakeInChanges

OLDEST = timedelta(hours=24)
"""What was changed longer ago is no news. For so long it is also known what has been sent before."""


class Verdict(Enum):
    """What became of what was sent."""

    TAKEN = "taken"
    UNSIGNED = "unsigned"  # no such endpoint, or without its secret or signature: all the same to who sent it
    UNREADABLE = "unreadable"
    REPLAYED = "replayed"  # sent before, or too old to be news


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A request as it came: the headers `Authorization` and `X-Signature`, and the body."""

    authorization: str
    signature: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HearNotification:
    """`secret` is what an endpoint was given with its Subscriptions."""

    catalogue: Catalogue
    start_work: StartWork
    take_in: TakeInChanges
    ehrs: EhrsListening
    secret: Callable[[Endpoint], str]
    clock: Clock
    timing: Timing

    async def __call__(self, tenant_id: str, endpoint_id: str, delivery: Delivery) -> Verdict:
        """Whatever is not taken changes nothing."""
        endpoint = (await self.catalogue.endpoints_by_id(tenant_id, [endpoint_id])).get(endpoint_id)
        if endpoint is None or endpoint.news is News.POLL or not self._is_signed(endpoint, delivery):
            return Verdict.UNSIGNED
        try:
            notification = self.ehrs.listening(endpoint).notification(delivery.body)
        except NotificationUnreadable:
            return Verdict.UNREADABLE
        oldest = self.clock.now() - OLDEST
        if any(change.at and change.at < oldest for change in notification.changes):
            return Verdict.REPLAYED
        return await self._take(endpoint, notification, sha256(delivery.body).hexdigest())

    def _is_signed(self, endpoint: Endpoint, delivery: Delivery) -> bool:
        secret = self.secret(endpoint)
        known = hmac.compare_digest(delivery.authorization.encode(), f"Bearer {secret}".encode())
        if not endpoint.signs_news:
            return known
        signature = hmac.new(secret.encode(), delivery.body, sha256).hexdigest()
        given = delivery.signature.removeprefix("sha256=").lower()
        return known and hmac.compare_digest(given.encode(), signature.encode())

    async def _take(self, endpoint: Endpoint, notification: Notification, digest: str) -> Verdict:
        async with self.start_work(endpoint.tenant_id) as work:
            now, place = self.clock.now(), (endpoint.tenant_id, endpoint.id)
            await work.feeds.ensure([place], now, self.timing.poll.total_seconds())
            if notification.events and not await work.feeds.notified(*place, digest, now):
                return Verdict.REPLAYED
            before = None
            if notification.subscription and notification.number is not None:
                # a handshake or heartbeat says how many events there have been: fewer than before, it counts anew
                before = await work.feeds.advance(
                    *place, notification.subscription, notification.number, restarted=not notification.events
                )
                if notification.events and before is not None and notification.number <= before:
                    return Verdict.REPLAYED
            await work.feeds.request(*place, now)
            await work.commit()
        if _leaves_a_gap(notification, before):
            await self.take_in.look_at(endpoint)
        else:
            await self.take_in.hint(endpoint, notification.changes)
        return Verdict.TAKEN


def _leaves_a_gap(notification: Notification, before: int | None) -> bool:
    """Events that came before these were never heard, or these come without saying what they are about."""
    if notification.number is None:
        return False
    first = notification.number - notification.events
    missed = before is not None and (first > before or (not notification.events and first < before))
    return missed or len(notification.changes) < notification.events
