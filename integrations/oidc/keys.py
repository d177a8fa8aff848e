"""The keys an identity provider signs with: fetched once for everybody, and again when a new one shows up."""

from collections import OrderedDict
from datetime import timedelta
from typing import Any

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet, OctKey

from domain.ports import Clock
from integrations.oidc.discovery import discover
from integrations.oidc.kept import IdentityProviderUnavailable, Kept
from integrations.oidc.provider import OidcSettings

__all__ = ["IdentityProviderUnavailable", "KeyRing", "ProviderKeys", "usable_keys"]

ASK_AGAIN_AFTER = timedelta(seconds=30)
"""Without this limit, tokens with invented key ids would turn us against the provider."""

NOT_UNDERSTOOD = (JoseError, KeyError, TypeError, ValueError)
"""What joserfc raises for keys that it does not know, and for what is none."""


class ProviderKeys:
    """Keys that were fetched once go on being used while the provider is away."""

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings = settings
        self._kept = Kept(settings.issuer, self._fetch, clock, pause=ASK_AGAIN_AFTER)

    async def for_kid(self, kid: str | None) -> KeySet:
        """The keys, asked for anew when `kid` is not among them, but at most every 30 seconds.

        Raises `IdentityProviderUnavailable`.
        """
        return await self._kept.get(lambda keys: _holds(keys, kid))

    async def _fetch(self, http: httpx2.AsyncClient) -> KeySet:
        metadata = await discover(self._settings, http)
        answer = await http.get(str(metadata["jwks_uri"]))
        answer.raise_for_status()
        return usable_keys(answer.json())


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


def usable_keys(document: object) -> KeySet:
    """The keys to check signatures by. One that is not understood is ignored, as RFC 7517, section 5, asks.

    Raises ValueError where none is left.
    """
    told = document.get("keys") if isinstance(document, dict) else None
    keys = [key for each in told if (key := _understood(each))] if isinstance(told, list) else []
    if not keys:
        raise ValueError("no usable key")
    return KeySet(keys)


def _understood(told: Any) -> Key | None:
    """A shared secret has no place in a public document, so such a key is none."""
    try:
        key = JWKRegistry.import_key(told)
    except NOT_UNDERSTOOD:
        return None
    return None if isinstance(key, OctKey) else key
