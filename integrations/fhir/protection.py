"""What stands between us and one endpoint, so that neither drags the other down.

Every call waits for its turn and keeps the pace; an endpoint that fails or asks for peace is left alone; a read whose
failure may have been a passing one is tried once more.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from domain.endpoint import Endpoint
from domain.ports import EhrUnavailable, Outage, OutageWord, Pace
from integrations.fhir.breaker import Breaker
from integrations.fhir.failures import Unanswered
from integrations.fhir.turns import Turns

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.15
"""Seconds before the second attempt."""

LONGEST_QUIET = 120.0
"""Seconds that an endpoint is left alone at most because it asked for it."""

T = TypeVar("T")


class Protection:
    """One for each endpoint. `pace`: None where calls are not counted at all."""

    def __init__(self, endpoint: Endpoint, pace: Pace | None = None, breaker: Breaker | None = None) -> None:
        self._endpoint = endpoint
        self._pace = pace if endpoint.calls_per_second > 0 else None
        self._breaker = breaker or Breaker()
        self._turns = Turns(endpoint.max_concurrency)
        self._quiet_until = 0.0
        self._quiet_word = OutageWord.RATE_LIMITED

    async def ask(self, attempt: Callable[[bool], Awaitable[T]], *, reading: bool, until: float) -> T:
        """Make one attempt, or two of a read; each is told whether it is the second.

        `until` is in the loop's time. An attempt may raise `FhirFailure` and `Unanswered`; besides, this raises
        `EhrUnavailable` for a call that was not made.
        """
        self._check(reading)
        give_up = min(until, _now() + self._endpoint.longest_wait.total_seconds())
        async with self._turns.one(give_up):
            try:
                return await self._once(attempt, reading, give_up, second=False)
            except Unanswered as failed:
                pause = random.uniform(SHORTEST_PAUSE, LONGEST_PAUSE) if failed.blames else 0.0
                if not (reading and failed.again) or _now() + pause >= until:
                    raise
                first = failed
            await asyncio.sleep(pause)
            try:
                return await self._once(attempt, reading, give_up, second=True)
            except EhrUnavailable as again:
                again.sent = first.sent = first.sent or again.sent
                if isinstance(again, Unanswered) and again.outage is Outage.OFFLINE:
                    raise
                raise first from again  # time ran out, or the call was not made: that tells less

    async def _once(self, attempt: Callable[[bool], Awaitable[T]], reading: bool, give_up: float, *, second: bool) -> T:
        self._check(reading)
        await self._keep_pace(give_up)
        try:
            with self._breaker.call(reading=reading):
                return await attempt(second)
        except Unanswered as failed:
            if failed.retry_after:
                self._quiet_until = _now() + min(failed.retry_after.total_seconds(), LONGEST_QUIET)
                self._quiet_word = failed.word
            raise

    def _check(self, reading: bool) -> None:
        self._breaker.check(reading=reading)
        left = self._quiet_until - _now()
        if reading and left > 0:
            reason = "it asked to be left alone"
            raise EhrUnavailable(reason, sent=False, retry_after=timedelta(seconds=left), word=self._quiet_word)

    async def _keep_pace(self, give_up: float) -> None:
        if self._pace is None:
            return
        key, within = f"{self._endpoint.tenant_id}:{self._endpoint.id}", max(give_up - _now(), 0.0)
        wait = await self._pace.turn(key, self._endpoint.calls_per_second, timedelta(seconds=within))
        if wait > timedelta(seconds=within):
            reason = "it takes no more calls in that time"
            raise EhrUnavailable(reason, sent=False, retry_after=wait, word=OutageWord.RATE_LIMITED)
        if wait:
            await asyncio.sleep(wait.total_seconds())


def _now() -> float:
    return asyncio.get_running_loop().time()
