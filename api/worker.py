"""The work nobody waits for: jobs are taken up as they come, and what comes again is queued when it is due."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from domain.usecases import UseCases

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that running jobs get when the worker is stopped."""


async def work_forever(use: UseCases, look_every: float) -> None:
    """`look_every`: seconds between looks for jobs of other processes; those of this one are taken up at once."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again_and_again("jobs", use.run_jobs, partial(use.run_jobs.wait, look_every)))
            for each in use.recurring:
                tasks.create_task(
                    _again_and_again(each.kind, partial(use.recur, each), partial(asyncio.sleep, each.every))
                )
    finally:
        await use.run_jobs.stop(PATIENCE)


async def _again_and_again(
    what: str, look: Callable[[], Awaitable[object]], pause: Callable[[], Awaitable[None]]
) -> None:
    """A database that cannot be asked is logged, and asked again after the pause."""
    while True:
        try:
            await look()
        except Exception:
            log.exception("cannot look for %s", what)
        await pause()
