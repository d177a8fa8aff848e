"""What an identity provider publishes: fetched once for everybody, and kept while the provider is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import httpx2
from joserfc.errors import JoseError

from domain.ports import Clock
from domain.single_flight import SingleFlight
from integrations.oidc.discovery import BadDiscovery

log = logging.getLogger(__name__)

FRESH_FOR = timedelta(hours=1)
REST = timedelta(seconds=2)
"""A provider that has not answered is left alone for so long: whoever knows its name could have us ask on and on."""

DEADLINE_SECONDS = 5.0
"""For all that is fetched at once; a login waits twice as long, and so has time left to go on with what is kept."""

NEVER = datetime.min.replace(tzinfo=UTC)
FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, BadDiscovery, JoseError, ValueError, TypeError, KeyError)
"""No answer, or one that is not what was asked for, such as a document that is no key set."""

T = TypeVar("T")


class IdentityProviderUnavailable(Exception):
    """The provider does not tell what is needed, and nothing is known of it: nobody can be told in or out."""


class Kept(Generic[T]):
    """One thing that `issuer` publishes. `fetch` gets it or raises one of `FAILURES`.

    `pause` is how long the provider is not asked again while there is a copy, and `lasts` how old a copy may become
    while no new one is to be had.
    """

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[httpx2.AsyncClient], Awaitable[T]],
        clock: Clock,
        *,
        pause: timedelta = REST,
        lasts: timedelta = timedelta.max,
    ) -> None:
        self._issuer, self._fetch, self._clock = issuer, fetch, clock
        self._pause, self._lasts = pause, lasts
        self._copy: T | None = None
        self._fetched_at = self._ask_again_at = NEVER
        self._failure = ""
        self._asking: SingleFlight[None, None] = SingleFlight()

    async def get(self, suits: Callable[[T], bool] = lambda _: True) -> T:
        """A copy of the last hour that `suits`, or a new one; the old one while no new one is to be had.

        Raises `IdentityProviderUnavailable`.
        """
        copy = self._younger_than(FRESH_FOR)
        if copy is not None and suits(copy):
            return copy
        if self._clock.now() >= self._ask_again_at:  # which stays as it is while somebody asks
            await self._asking(None, self._ask)
        copy = self._younger_than(self._lasts)
        if copy is None:
            raise IdentityProviderUnavailable(self._failure)
        return copy

    def _younger_than(self, age: timedelta) -> T | None:
        return self._copy if self._clock.now() - self._fetched_at < age else None

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
                self._copy = await self._fetch(http)
            self._fetched_at = self._clock.now()
        except FAILURES as error:
            self._failure = type(error).__name__
            log.warning("identity provider %s cannot be asked: %s", self._issuer, self._failure)
        self._ask_again_at = self._clock.now() + (REST if self._copy is None else self._pause)
