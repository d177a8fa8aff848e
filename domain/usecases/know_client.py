"""Tell which client a key or a system token stands for, in every request anew."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from domain.api_key import ApiKey, KeyKind, KeyMistyped, KeyText, Peppers
from domain.client import SYSTEM_SCOPES, Client
from domain.ports import Clock, FoundKey, KeyReads, StartWork, SystemToken, SystemTokens, TokenUnreadable
from domain.single_flight import SingleFlight

log = logging.getLogger(__name__)

MOST_KEPT = 10_000
NOTED_EVERY = timedelta(minutes=1)
"""The last use of a key is written at most so often."""


class CredentialRefused(Exception):
    """A key or token that opens nothing here; the message says why, in English, for developers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownClient:
    client: Client
    tenant_id: str
    tenant_slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowClient:
    """What was looked up counts for `kept`: so long after its revocation a key may still open something.

    `synthetic`: whether this is an installation where test keys count.
    """

    keys: KeyReads
    tokens: SystemTokens
    start_work: StartWork
    clock: Clock
    peppers: Peppers
    kept: timedelta
    synthetic: bool
    _found: OrderedDict[str, tuple[datetime, FoundKey | None]] = field(default_factory=OrderedDict, init=False)
    _asking: SingleFlight[str, FoundKey | None] = field(default_factory=SingleFlight, init=False)
    _noted: dict[str, datetime] = field(default_factory=dict, init=False)
    _noting: set[asyncio.Future[None]] = field(default_factory=set, init=False)

    async def by_key(self, text: str, before_asking: Callable[[], Awaitable[None]] | None = None) -> KnownClient:
        """Raises `CredentialRefused`, and whatever `before_asking` does, which comes before the database is asked for
        a key that was not found lately: anybody can invent an id with its checksum."""
        try:
            written = KeyText.parsed(text)
        except KeyMistyped:
            raise CredentialRefused("The API key is not written as one: look for a typing mistake.") from None
        if written.kind is KeyKind.TEST and not self.synthetic:
            raise CredentialRefused("A test key counts only in installations with synthetic people.")
        found = await self._key(written.key_id, before_asking)
        if found is None or not self.peppers.matches(written, found.key):
            raise CredentialRefused("The API key is not valid here.")
        self._check_stands(found.key)
        self._note(found.key, written)
        return _known(found, found.key.client())

    async def by_token(self, text: str) -> KnownClient:
        """Raises `CredentialRefused`, also when the key that it was given for has ended."""
        try:
            token = self.tokens.read(text)
        except TokenUnreadable as wrong:
            raise CredentialRefused(f"The system token is not valid here: {wrong}.") from None
        found = await self._key(token.key_id)
        if found is None or found.tenant_slug != token.tenant or found.key.agency != token.agency:
            raise CredentialRefused("The system token is not valid here.")
        self._check_stands(found.key)
        self._note(found.key, None)
        return _known(found, _of_token(found.key.client(), token))

    async def close(self) -> None:
        """Waits for what is being noted."""
        await asyncio.gather(*self._noting, return_exceptions=True)

    def _check_stands(self, key: ApiKey) -> None:
        if key.revoked_at is not None:
            raise CredentialRefused("The API key has been revoked.")
        if not key.stands(self.clock.now()):
            raise CredentialRefused("The API key has expired.")

    async def _key(self, key_id: str, before_asking: Callable[[], Awaitable[None]] | None = None) -> FoundKey | None:
        until, found = self._found.get(key_id, (None, None))
        if until is not None and self.clock.now() < until:
            self._found.move_to_end(key_id)
            return found
        if found is None and before_asking:
            await before_asking()
        return await self._asking(key_id, lambda: self._look_up(key_id))

    async def _look_up(self, key_id: str) -> FoundKey | None:
        """What is found counts from when it was asked for: a revocation meanwhile is not put off by a slow answer."""
        until = self.clock.now() + self.kept
        found = await self.keys.find(key_id)
        self._found[key_id] = (until, found)
        self._found.move_to_end(key_id)
        if len(self._found) > MOST_KEPT:  # invented ids push each other out, not those in use
            self._found.popitem(last=False)
        return found

    def _note(self, key: ApiKey, written: KeyText | None) -> None:
        """Behind the request's back. A key under another pepper is kept under the current one from now on."""
        now, last = self.clock.now(), self._noted.get(key.key_id)
        if last is not None and now < last + NOTED_EVERY:
            return
        self._noted[key.key_id] = now
        pepper, digest = self.peppers.digest(written) if written else (key.pepper, key.digest)
        noting = asyncio.ensure_future(self._write(key, now, pepper, digest))
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)

    async def _write(self, key: ApiKey, now: datetime, pepper: int, digest: bytes) -> None:
        try:
            async with self.start_work(key.tenant_id) as work:
                await work.api_keys.used(key, now, now - NOTED_EVERY, pepper, digest)
                await work.commit()
        except Exception as failure:
            log.warning("the use of key %s is not noted: %s", key.key_id, type(failure).__qualname__)


def _known(found: FoundKey, client: Client) -> KnownClient:
    return KnownClient(client=client, tenant_id=found.key.tenant_id, tenant_slug=found.tenant_slug)


def _of_token(client: Client, token: SystemToken) -> Client:
    """A token has what it was given, as far as its key still has it, and never anything of a patient."""
    return replace(client, scopes=client.scopes & token.scopes & SYSTEM_SCOPES, is_system=True)
