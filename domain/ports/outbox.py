"""Events that were told, and who hears them."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.events import Event


class Outbox(Protocol):
    """The log of events, part of a unit of work; `UnitOfWork.tell` adds to it."""

    async def delivered(self, tenant_id: str, event_id: UUID, now: datetime) -> None:
        """Every receiver has it."""
        ...

    async def forget(self, tenant_id: str, before: datetime, limit: int) -> int:
        """Events older than that, at most so many; returns how many."""
        ...


class OutboxReads(Protocol):
    async def event(self, tenant_id: str, event_id: UUID) -> Event | None: ...


class Receiver(Protocol):
    """Somebody outside who is told of events: at least once, in any order, and never within a transaction."""

    async def receive(self, event: Event) -> None:
        """Raises when it is to be told again later."""
        ...
