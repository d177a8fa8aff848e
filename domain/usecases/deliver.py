"""Tell the world of an event: every receiver, at least once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from domain.ports import Clock, Job, OutboxReads, Receiver, UnitOfWork
from domain.usecases.run_jobs import Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    outbox: OutboxReads
    receivers: Sequence[Receiver]
    clock: Clock

    async def __call__(self, job: Job) -> Finish | None:
        """Raises the first failure after all were told: one receiver that is down keeps nothing from the others.

        It is told again later, and they with it. An event that the outbox has forgotten is nobody's news any more.
        """
        event_id = UUID(job.payload["event_id"])
        event = await self.outbox.event(job.tenant_id, event_id)
        if event is None:
            return None
        told = await asyncio.gather(*(each.receive(event) for each in self.receivers), return_exceptions=True)
        for failure in told:
            if failure:
                raise failure

        async def delivered(work: UnitOfWork) -> None:
            await work.outbox.delivered(job.tenant_id, event_id, self.clock.now())

        return delivered
