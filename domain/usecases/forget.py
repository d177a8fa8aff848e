"""Let go of what has been kept long enough, a few rows at a time, so that nobody waits for it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.ports import EVERY_TENANT, Clock, StartWork, UnitOfWork

DAY = timedelta(days=1)
DONE_JOBS, DEAD_JOBS = DAY, 30 * DAY
EVENTS = 7 * DAY
LAPSED_HOLDS = DAY
NUMBERS, PATIENTS = 30 * DAY, 90 * DAY
"""After the visit: until then a booking may be moved, cancelled and reminded of."""

TRAIL = 5 * 366 * DAY
"""Of the audit trail and of consents that others took the place of: five years at least (HSLF-FS 2016:40)."""

ERASED = 30 * DAY
"""No token is good for longer."""

AT_ONCE = 500
MOST_ROUNDS = 100

Step = Callable[[UnitOfWork], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetOld:
    start_work: StartWork
    clock: Clock

    async def __call__(self) -> int:
        """Each step in transactions of its own; returns how many rows are gone."""
        now = self.clock.now()
        async with self.start_work(EVERY_TENANT) as work:
            tenants = await work.retention.tenants()
        gone = await self._all(EVERY_TENANT, _jobs_of("", now))
        for tenant_id in tenants:
            gone += sum([await self._all(tenant_id, step) for step in _steps_of(tenant_id, now)])
        return gone

    async def _all(self, tenant_id: str, step: Step) -> int:
        gone = 0
        for _ in range(MOST_ROUNDS):
            async with self.start_work(tenant_id) as work:
                some = await step(work)
                await work.commit()
            gone += some
            if some < AT_ONCE:
                break
        return gone


def _jobs_of(tenant_id: str, now: datetime) -> Step:
    return lambda work: work.jobs.forget(tenant_id, now - DONE_JOBS, now - DEAD_JOBS, AT_ONCE)


def _steps_of(tenant_id: str, now: datetime) -> Sequence[Step]:
    return (
        _jobs_of(tenant_id, now),
        lambda work: work.outbox.forget(tenant_id, now - EVENTS, AT_ONCE),
        lambda work: work.bookings.forget_lapsed(tenant_id, now - LAPSED_HOLDS, AT_ONCE),
        lambda work: work.idempotency.forget(tenant_id, now, AT_ONCE),
        lambda work: work.sessions.forget(tenant_id, now, AT_ONCE),
        lambda work: work.sessions.forget_tokens(tenant_id, now, AT_ONCE),
        lambda work: work.retention.forget_numbers(tenant_id, now - NUMBERS, AT_ONCE),
        lambda work: work.retention.forget_visits(tenant_id, now, AT_ONCE),
        lambda work: work.retention.forget_patients(tenant_id, now - PATIENTS, now, AT_ONCE),
        lambda work: work.retention.forget_exports(tenant_id, now, AT_ONCE),
        lambda work: work.retention.forget_consents(tenant_id, now - TRAIL, AT_ONCE),
        lambda work: work.retention.forget_erased(tenant_id, now - ERASED, AT_ONCE),
        lambda work: work.retention.forget_audit(tenant_id, now - TRAIL, AT_ONCE),
    )
