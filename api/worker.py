"""The work nobody waits for: settling what EHRs left open."""

import asyncio
import logging

from domain.usecases import UseCases

log = logging.getLogger(__name__)


async def work_forever(use: UseCases, interval: float) -> None:
    """Looks every `interval` seconds; a failed round is logged, and the next one starts afresh."""
    while True:
        try:
            if settled := await use.reconcile():
                log.info("settled %d open questions to EHRs", settled)
        except Exception:
            log.exception("a round of reconciling failed")
        await asyncio.sleep(interval)
