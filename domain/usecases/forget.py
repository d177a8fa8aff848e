"""Let go of what has been kept long enough, a few rows at a time, so that nobody waits for it."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.ports import EVERY_TENANT, Clock, StartWork, UnitOfWork

log = logging.getLogger(__name__)

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


class NotAllForgotten(Exception):
    """Some of it cannot be let go of, and the log says what of whom; all else is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetOld:
    start_work: StartWork
    clock: Clock

    async def __call__(self) -> int:
        """Each step in transactions of its own; returns how many rows are gone.

        What fails is in nobody else's way. Raises `NotAllForgotten` at the end, so that the round counts as failed.
        """
        async with self.start_work(EVERY_TENANT) as work:
            tenants = await work.retention.tenants()
        gone, failed = 0, 0
        for tenant_id, what, step in _everything((EVERY_TENANT, *tenants), self.clock.now()):
            try:
                gone += await self._all(tenant_id, step)
            except Exception:
                log.exception("%s of %s cannot be let go of", what, tenant_id)  # all else still can
                failed += 1
        if failed:
            raise NotAllForgotten(f"{failed} steps failed, {gone} rows are gone")
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


def _everything(tenant_ids: Iterable[str], now: datetime) -> Iterator[tuple[str, str, Step]]:
    for tenant_id in tenant_ids:
        steps = _jobs_of("", now) if tenant_id == EVERY_TENANT else _steps_of(tenant_id, now)
        yield from ((tenant_id, what, step) for what, step in steps.items())


def _jobs_of(tenant_id: str, now: datetime) -> Mapping[str, Step]:
    return {"jobs": lambda work: work.jobs.forget(tenant_id, now - DONE_JOBS, now - DEAD_JOBS, AT_ONCE)}


def _steps_of(tenant_id: str, now: datetime) -> Mapping[str, Step]:
    """By what the log calls it."""
    return {
        **_jobs_of(tenant_id, now),
        "events": lambda work: work.outbox.forget(tenant_id, now - EVENTS, AT_ONCE),
        "lapsed holds": lambda work: work.bookings.forget_lapsed(tenant_id, now - LAPSED_HOLDS, AT_ONCE),
        "idempotency keys": lambda work: work.idempotency.forget(tenant_id, now, AT_ONCE),
        "sessions": lambda work: work.sessions.forget(tenant_id, now, AT_ONCE),
        "logout tokens": lambda work: work.sessions.forget_tokens(tenant_id, now, AT_ONCE),
        "phone numbers": lambda work: work.retention.forget_numbers(tenant_id, now - NUMBERS, AT_ONCE),
        "visits without a person": lambda work: work.retention.forget_visits(tenant_id, now, AT_ONCE),
        "patients of bookings": lambda work: work.retention.forget_patients(tenant_id, now - PATIENTS, now, AT_ONCE),
        "exports": lambda work: work.retention.forget_exports(tenant_id, now, AT_ONCE),
        "consents": lambda work: work.retention.forget_consents(tenant_id, now - TRAIL, AT_ONCE),
        "marks of the erased": lambda work: work.retention.forget_erased(tenant_id, now - ERASED, AT_ONCE),
        "the trail": lambda work: work.retention.forget_audit(tenant_id, now - TRAIL, AT_ONCE),
    }
