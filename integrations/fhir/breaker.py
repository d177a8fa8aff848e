"""Leaving a server alone that fails half of the time, until one read has found it well again."""

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from domain.ports import EhrUnavailable, OutageWord
from integrations.fhir.failures import FhirFailure, Unanswered

WINDOW, MOST_FAILURES = 20, 10
FIRST_REST, LONGEST_REST = 10.0, 120.0
"""Seconds; doubled, and stretched by up to a quarter, with each probe that fails."""

WHILE_PROBED = 1.0
"""Seconds after which those may ask again whom a probe under way keeps out."""


class Breaker:
    """Knows nothing of HTTP, and of time only what it is given. Two states: closed, or open until a read gets through.

    Writes are never what finds out: nobody's booking is to be left in doubt for it.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random) -> None:
        """`jitter` gives numbers from 0 to 1."""
        self._now = now
        self._jitter = jitter
        self._failed: deque[bool] = deque(maxlen=WINDOW)
        self._rest = FIRST_REST
        self._open_until: float | None = None
        self._probing = False
        self._epoch = 0

    def check(self, *, reading: bool) -> None:
        """Raises `EhrUnavailable` where such a call would be refused now."""
        if self._open_until is None:
            return
        left = self._open_until - self._now()
        if left <= 0 and reading and not self._probing:
            return
        raise EhrUnavailable(
            "it failed too often and is left alone",
            sent=False,
            retry_after=timedelta(seconds=left if left > 0 else WHILE_PROBED),
            word=OutageWord.CIRCUIT_OPEN,
        )

    @contextmanager
    def call(self, *, reading: bool) -> Iterator[None]:
        """One call; how it ends is remembered. The first read after the rest is the probe, and alone. As `check`."""
        self.check(reading=reading)
        epoch, self._probing = self._epoch, self._open_until is not None
        try:
            yield
        except FhirFailure:
            self._ended(epoch, failed=False)  # it understood, and said no
            raise
        except Unanswered as outage:
            self._ended(epoch, failed=True if outage.blames else None)
            raise
        except BaseException:
            self._ended(epoch, failed=None)
            raise
        self._ended(epoch, failed=False)

    def _ended(self, epoch: int, *, failed: bool | None) -> None:
        """None tells nothing of the server. Calls from before the last opening or closing are old news."""
        if epoch != self._epoch:
            return
        self._probing = False
        if failed is None:
            return
        if self._open_until is not None:
            return self._reopen() if failed else self._close()
        self._failed.append(failed)
        if sum(self._failed) >= MOST_FAILURES:
            self._open()

    def _open(self) -> None:
        self._epoch += 1
        self._failed.clear()
        self._open_until = self._now() + min(self._rest * (1 + self._jitter() / 4), LONGEST_REST)

    def _reopen(self) -> None:
        self._rest = min(2 * self._rest, LONGEST_REST)
        self._open()

    def _close(self) -> None:
        self._epoch += 1
        self._rest = FIRST_REST
        self._open_until = None
