"""The keys an identity provider signs with: fetched once for everybody, and again when a new one shows up."""

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime, timedelta

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

from domain.ports import Clock
from integrations.oidc.discovery import BadDiscovery, discover
from integrations.oidc.provider import OidcSettings

FRESH_FOR = timedelta(hours=1)
ASK_AGAIN_AFTER = timedelta(seconds=30)
REST = timedelta(seconds=2)
"""A provider that has not answered is left alone for so long: whoever knows its name could have us ask on and on."""

DEADLINE_SECONDS = 5.0
NEVER = datetime.min.replace(tzinfo=UTC)
BAD_KEYS = (JoseError, ValueError, TypeError, KeyError)
"""What joserfc raises for a document that is no key set."""


class IdentityProviderUnavailable(Exception):
    """The provider's keys could not be fetched and none are known: nobody can be told in or out."""


class ProviderKeys:
    """Keys that were fetched once go on being used while the provider is away."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = NEVER
        self._asked_at = NEVER
        self._failed_at = NEVER
        self._flight: asyncio.Task[KeySet] | None = None

    async def for_kid(self, kid: str | None) -> KeySet:
        """The keys, asked for anew when `kid` is not among them, but at most every 30 seconds.

        Without that limit, tokens with invented key ids would turn us against the provider. Raises
        `IdentityProviderUnavailable`.
        """
        now = self._clock.now()
        if self._keys is None:
            if now - self._failed_at < REST and not self._under_way:
                raise IdentityProviderUnavailable("it has just not answered")
            return await self._fetched()
        good = now - self._fetched_at < FRESH_FOR and _holds(self._keys, kid)
        asked_lately = now - self._asked_at < ASK_AGAIN_AFTER and not self._under_way
        if good or asked_lately:
            return self._keys
        try:
            return await self._fetched()
        except IdentityProviderUnavailable:
            return self._keys

    @property
    def _under_way(self) -> bool:
        return self._flight is not None and not self._flight.done()

    async def _fetched(self) -> KeySet:
        """One request for all who wait; one waiter giving up does not take it from the others."""
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._fetch())
        return await asyncio.shield(self._flight)

    async def _fetch(self) -> KeySet:
        self._asked_at = self._clock.now()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), httpx2.AsyncClient(timeout=DEADLINE_SECONDS) as http:
                metadata = await discover(self._settings, http)
                answer = await http.get(str(metadata["jwks_uri"]))
                answer.raise_for_status()
                keys = _asymmetric_keys(answer.json())
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, BadDiscovery, *BAD_KEYS) as error:
            self._failed_at = self._clock.now()
            raise IdentityProviderUnavailable(type(error).__name__) from error
        self._keys, self._fetched_at = keys, self._clock.now()
        return keys


class KeyRing:
    """The keys of every issuer that was asked for lately. Only configured issuers are ever asked for."""

    def __init__(self, clock: Clock, most: int = 500) -> None:
        self._clock = clock
        self._most = most
        self._kept: OrderedDict[str, ProviderKeys] = OrderedDict()

    def of(self, settings: OidcSettings) -> ProviderKeys:
        keys = self._kept.get(settings.issuer)
        if keys is None:
            keys = self._kept[settings.issuer] = ProviderKeys(settings, self._clock)
        self._kept.move_to_end(settings.issuer)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return keys


def _holds(keys: KeySet, kid: str | None) -> bool:
    return kid is None or any(key.kid == kid for key in keys)


def _asymmetric_keys(document: object) -> KeySet:
    """A shared secret has no place in a public document, so such keys are left out."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a key set")
    keys = KeySet.import_key_set({"keys": document["keys"]})
    return KeySet([key for key in keys if not isinstance(key, OctKey)])
