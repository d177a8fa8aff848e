"""Which identity providers a tenant believes, and by what settings."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from time import monotonic

from api.settings import Settings
from domain.patient import Identity, LogoutToken
from domain.ports import Catalogue, Clock
from domain.tenant import IdentityProvider, Tenant
from integrations.oidc.bearer import BearerTokens
from integrations.oidc.keys import KeyRing
from integrations.oidc.login import LoginFailed, LoginProblem
from integrations.oidc.logout import LogoutTokens
from integrations.oidc.provider import NATIONAL_ID_CLAIMS, OidcSettings

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 10.0
MOST_KEPT = 1000

Place = tuple[str, str]
"""An issuer and an audience there."""


class Issuers:
    """Made of each tenant's own words, and of ours where it says nothing. `secrets` is the process's environment."""

    def __init__(self, settings: Settings, catalogue: Catalogue, secrets: Mapping[str, str]) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._secrets = secrets
        self._kept: dict[str, tuple[Tenant, frozenset[Place], Sequence[OidcSettings]]] = {}
        self._shared: frozenset[Place] = frozenset()
        self._look_again_at = 0.0

    async def of(self, tenant: Tenant) -> Sequence[OidcSettings]:
        """All that the tenant believes. One that cannot be made sense of is left out, and logged."""
        shared = await self._shared_places()
        before = self._kept.get(tenant.id)
        if before and before[0] is tenant and before[1] is shared:
            return before[2]
        built = [each for provider in tenant.identity_providers if (each := self._tried(tenant, provider, shared))]
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[tenant.id] = (tenant, shared, built)
        return built

    def for_login(self, tenant: Tenant, provider: IdentityProvider) -> OidcSettings:
        """Raises `LoginFailed` for a provider that is not set up so that anybody could log in there."""
        missing = provider.client_secret_variable and not self._secrets.get(provider.client_secret_variable)
        try:
            if not missing:
                return self._settings_of(provider)
        except ValueError as why:
            log.error("identity provider %s of %s: %s", provider.id, tenant.slug, why)
            raise LoginFailed(LoginProblem.PROVIDER_UNAVAILABLE, "settings") from why
        log.error("identity provider %s of %s: its secret is not set", provider.id, tenant.slug)
        raise LoginFailed(LoginProblem.PROVIDER_UNAVAILABLE, "secret")

    async def _shared_places(self) -> frozenset[Place]:
        """Where an access token alone does not tell which of several tenants it is for."""
        if monotonic() >= self._look_again_at:
            tenants = await self._catalogue.tenants()
            places = Counter(
                place for tenant in tenants for place in {self._place(p) for p in tenant.identity_providers}
            )
            shared = frozenset(place for place, count in places.items() if count > 1)
            if shared != self._shared:
                self._shared = shared
            self._look_again_at = monotonic() + LOOK_AGAIN_SECONDS
        return self._shared

    def _place(self, provider: IdentityProvider) -> Place:
        return provider.issuer or self._settings.oidc_issuer, provider.audience or self._settings.oidc_audience

    def _tried(self, tenant: Tenant, provider: IdentityProvider, shared: frozenset[Place]) -> OidcSettings | None:
        try:
            return self._settings_of(provider, tenant.slug if self._place(provider) in shared else "")
        except ValueError as why:
            log.error("identity provider %s of %s: %s", provider.id, tenant.slug, why)
            return None

    def _settings_of(self, provider: IdentityProvider, tenant: str = "") -> OidcSettings:
        """Raises `ValueError` where they would not be safe. Our secret at the settings' issuer goes to no other."""
        issuer, audience = self._place(provider)
        secret = self._secrets.get(provider.client_secret_variable) if provider.client_secret_variable else None
        ours = issuer == self._settings.oidc_issuer and not provider.client_secret_variable and not provider.client_id
        return OidcSettings(
            issuer=issuer,
            client_id=provider.client_id or self._settings.oidc_client_id,
            client_secret=(self._settings.oidc_client_secret if ours else secret) or None,
            audience=audience,
            app_clients=provider.app_clients or self._settings.own_app_clients,
            synthetic_allowed=self._settings.synthetic_people,
            kc_idp_hint=provider.hint,
            acr_values=provider.acr_values or None,
            acr_prefixes=provider.acr_prefixes,
            plain_jwt_allowed=provider.plain_jwt_allowed,
            ask_userinfo=provider.ask_userinfo,
            tenant=tenant,
            national_id_claims=provider.national_id_claims or NATIONAL_ID_CLAIMS,
        )


class TenantTokens:
    """What signed tokens mean to a tenant: nothing, unless one of its own issuers made them for it."""

    def __init__(self, issuers: Issuers, clock: Clock) -> None:
        keys = KeyRing(clock)
        self._issuers = issuers
        self._bearer, self._logout = BearerTokens(clock, keys), LogoutTokens(clock, keys)

    async def identity(self, tenant: Tenant, token: str) -> Identity:
        """Of an access token. Raises `TokenRefused` or `IdentityProviderUnavailable`."""
        return await self._bearer.identity(token, await self._issuers.of(tenant))

    async def logout(self, tenant: Tenant, token: str) -> LogoutToken:
        """A logout token's. Raises likewise."""
        return await self._logout.read(token, await self._issuers.of(tenant))
