"""The work nobody waits for: settling what EHRs left open, listening to them, and tidying up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from domain.usecases import UseCases

log = logging.getLogger(__name__)

TIDY_EVERY = 600.0


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """Seconds between two rounds: of looks into open questions, and into whether an EHR is due to be asked."""

    check: float
    listen: float


async def work_forever(use: UseCases, rhythm: Rhythm) -> None:
    """Each kind of work at its own pace: an EHR that hangs keeps none of the others up."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_every(rhythm.check, "reconciling", use.reconcile))
        tasks.create_task(_every(rhythm.check, "letting go of lapsed holds", use.expire_holds))
        tasks.create_task(_every(rhythm.listen, "listening to record systems", use.follow_ehrs))
        tasks.create_task(_every(TIDY_EVERY, "tidying the log of changes", use.forget_changes))


async def _every(seconds: float, what: str, work: Callable[[], Awaitable[int]]) -> None:
    """A failed round is logged, and the next one starts afresh."""
    while True:
        try:
            if done := await work():
                log.info("%s: %d", what, done)
        except Exception:
            log.exception("a round of %s failed", what)
        await asyncio.sleep(seconds)
