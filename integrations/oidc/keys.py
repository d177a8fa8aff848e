"""The keys an identity provider signs with: fetched once for everybody, and again when a new one shows up."""

from collections import OrderedDict
from datetime import timedelta

import httpx2
from joserfc.jwk import KeySet, OctKey

from domain.ports import Clock
from integrations.oidc.discovery import discover
from integrations.oidc.kept import IdentityProviderUnavailable, Kept
from integrations.oidc.provider import OidcSettings

__all__ = ["IdentityProviderUnavailable", "KeyRing", "ProviderKeys"]

ASK_AGAIN_AFTER = timedelta(seconds=30)
"""Without this limit, tokens with invented key ids would turn us against the provider."""


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
        return _asymmetric_keys(answer.json())


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
