"""News: the log of our own changes, how they reach other processes, and how far each EHR was listened to."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.changes import Heard, Mark


class ChangeLog(Protocol):
    """Every committed change in order, for some time. Read outside a unit of work."""

    async def latest(self) -> Mark:
        """The place behind the last change that everybody can see."""
        ...

    async def after(self, mark: Mark, limit: int) -> Sequence[Heard]:
        """What was committed since, over all tenants, oldest first; none is ever left out or told out of order."""
        ...

    async def of_patient(self, tenant_id: str, patient_id: UUID, mark: Mark, limit: int) -> Sequence[Heard] | None:
        """One patient's, oldest first; None when the log does not reach back to `mark`."""
        ...

    async def reaches(self, mark: Mark) -> bool:
        """Whether everything since that place can still be told: not one forgotten, nor one of another log's."""
        ...

    async def forget(self, before: datetime) -> None:
        """Changes and notifications older than that; the newest change stays, so that numbers go on."""
        ...


class Bus(Protocol):
    """Carries changes to the other processes at once; may lose any of them, and says when it may have."""

    async def publish(self, heard: Sequence[Heard]) -> None:
        """Never raises and never waits long."""
        ...

    async def listen(self, hear: Callable[[Sequence[Heard]], Awaitable[None]], lost: Callable[[], None]) -> None:
        """Until it is cancelled. `lost` is called whenever something may have passed by unheard."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """How far an EHR has been listened to.

    `since` is the latest `lastUpdated` taken in, `seen` what of its last stretch was (hashes of `Type/id/version`): an
    EHR may tell of a change late. `pending` are bookings that could not be brought in line yet. `interval` in seconds
    grows while nothing happens. `hooks` are our Subscriptions there by what they are about, `heard` the number of the
    last event of each.
    """

    tenant_id: str
    endpoint_id: str
    due_at: datetime
    interval: float
    since: datetime | None = None
    seen: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    failures: int = 0
    requests: int = 0
    hooks: Mapping[str, str] = field(default_factory=dict)
    hooks_until: datetime | None = None
    heard: Mapping[str, int] = field(default_factory=dict)


class FeedReads(Protocol):
    async def any_due(self, now: datetime) -> bool:
        """Whether somebody should claim one, or an EHR that is served has none yet: to look costs no writer's turn."""
        ...


class Feeds(Protocol):
    """Part of a unit of work. Feeds are claimed by lease, so that one process at a time asks an EHR."""

    async def ensure(self, endpoints: Sequence[tuple[str, str]], now: datetime, interval: float) -> None:
        """A feed, due at once, for each (tenant, endpoint) that has none yet."""
        ...

    async def claim(
        self, owner: str, now: datetime, until: datetime, limit: int, *, only: tuple[str, str] | None = None
    ) -> Sequence[Feed]:
        """Feeds that are due and that nobody else holds, now held by `owner`; `only` of that (tenant, endpoint)."""
        ...

    async def finish(self, owner: str, feed: Feed, now: datetime) -> bool:
        """Write what was learnt and let go; due at once if that was wished for meanwhile. False for a lost lease."""
        ...

    async def request(self, tenant_id: str, endpoint_id: str, now: datetime) -> None:
        """Have that EHR asked at once."""
        ...

    async def notified(self, tenant_id: str, endpoint_id: str, digest: str, now: datetime) -> bool:
        """Note what an EHR has sent, by its hash; False when the very same was sent before."""
        ...

    async def advance(
        self, tenant_id: str, endpoint_id: str, subscription: str, number: int, *, restarted: bool = False
    ) -> int | None:
        """Note the number of an event heard, and return the one noted before, None for the first.

        It only goes back where the EHR says that it counts anew.
        """
        ...
