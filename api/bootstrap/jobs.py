"""What is done later, and what is done again and again: each kind of job with what does it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from api.settings import Settings
from domain.ports import DELIVER, LET_GO, Clock, StartWork
from domain.usecases.deliver import Deliver
from domain.usecases.recur import Recur, Recurring, always
from domain.usecases.run_jobs import Kind, RetryJob, RunJobs
from domain.usecases.sweep import SWEEP
from integrations.console import Console
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.feeds import SqlFeedReads
from integrations.store.jobs import SqlJobReads
from integrations.store.outbox import SqlOutboxReads

TIDY_EVERY = 600.0


def done_later(
    engine: AsyncEngine, start: StartWork, clock: Clock, bell: asyncio.Event, settings: Settings, use: Mapping[str, Any]
) -> dict[str, Any]:
    """Use cases over those that are there already; `bell` rings when this process has queued a job."""
    recurring = _recurring(SqlBookingReads(engine), SqlFeedReads(engine), settings, use)
    deliver = Deliver(outbox=SqlOutboxReads(engine), receivers=[Console()], clock=clock)
    kinds = {each.kind: each.as_kind() for each in recurring}
    kinds[DELIVER] = Kind(run=deliver, seconds=settings.job_seconds)
    kinds[LET_GO] = Kind(run=use["let_go"].job, seconds=settings.job_seconds)
    kinds[SWEEP] = Kind(run=use["sweep"].job, seconds=settings.job_seconds)
    run_jobs = RunJobs(kinds=kinds, reads=SqlJobReads(engine), start_work=start, clock=clock, bell=bell)
    recur = Recur(start_work=start, run_jobs=run_jobs, clock=clock)
    retry = RetryJob(start_work=start, clock=clock)
    return {"deliver": deliver, "run_jobs": run_jobs, "retry_job": retry, "recur": recur, "recurring": recurring}


def _recurring(
    bookings: SqlBookingReads, feeds: SqlFeedReads, settings: Settings, use: Mapping[str, Any]
) -> Sequence[Recurring]:
    async def unsettled(now: datetime) -> bool:
        return bool(await bookings.due(now, 1))

    check, listen = settings.check_interval, min(1.0, settings.poll_seconds)
    return (
        Recurring(kind="reconcile", every=check, due=unsettled, run=use["reconcile"]),
        Recurring(kind="expire_holds", every=check, due=bookings.any_lapsed, run=use["expire_holds"]),
        Recurring(kind="follow_ehrs", every=listen, due=feeds.any_due, run=use["follow_ehrs"]),
        Recurring(kind="forget_changes", every=TIDY_EVERY, due=always, run=use["forget_changes"]),
        Recurring(kind="forget_old", every=TIDY_EVERY, due=always, run=use["forget_old"]),
    )
