"""Which group of clinics a request is for."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import urlsplit

from api.errors import BadInput, Forbidden
from domain.origins import LOOPBACK
from domain.ports import Catalogue
from domain.single_flight import SingleFlight
from domain.tenant import Tenant

log = logging.getLogger(__name__)

KEPT_SECONDS = 10.0

AGAIN_SECONDS = 2.0
"""After a read that failed: a database that is down costs a wait now and then, not one at every request."""

LASTS_SECONDS = 300.0
"""For how long what was read last is gone by when it cannot be read again."""


class TenantsUnreadable(Exception):
    """The database did not tell, and what it told before is too old."""


@dataclass(frozen=True, slots=True)
class _Served:
    by_host: Mapping[str, Tenant] = field(default_factory=dict)
    by_slug: Mapping[str, Tenant] = field(default_factory=dict)


class TenantDirectory:
    """Tenants by host name or slug, remembered for seconds: every request asks, and they hardly ever change.

    All are read at once, by one statement. So a name that somebody invents asks the database for nothing, and there is
    nothing to remember of it. What was read is gone by for a while when the database tells no more: what then goes
    wrong is told to the pages that may read it.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._served = _Served()
        self._until = self._lasts_until = 0.0
        self._is_failing = False
        self._reading = SingleFlight[None, _Served]()

    async def of(self, *, host: str | None, slug: str | None) -> Tenant:
        """The X-Tenant header's, else the host's. Raises `BadInput` when there is no such tenant, and `Forbidden` when
        the host is another tenant's: what is good at one tenant opens nothing at another's address. Loopback is
        nobody's own: it serves its tenant where none is named. Raises `TenantsUnreadable`.
        """
        served = await self._all()
        tenant = served.by_slug.get(slug) if slug else served.by_host.get(_name_of(host))
        if tenant is None:
            raise BadInput("No such tenant: name one by the host or by the X-Tenant header.")
        owner = await self.owner(host)
        if owner and owner.id != tenant.id:
            raise Forbidden("Another tenant is served under this host.")
        return tenant

    async def owner(self, host: str | None) -> Tenant | None:
        """Whose own host it is, if anybody's. Raises `TenantsUnreadable`."""
        name = _name_of(host)
        return None if name in LOOPBACK else (await self._all()).by_host.get(name)

    async def _all(self) -> _Served:
        return self._served if monotonic() < self._until else await self._reading(None, self._read)

    async def _read(self) -> _Served:
        now = monotonic()
        try:
            tenants = await self._catalogue.tenants()
        except Exception as failure:
            return self._as_it_was(failure)
        by_host = {host: tenant for tenant in tenants for host in tenant.hosts}
        self._served = _Served(by_host, {tenant.slug: tenant for tenant in tenants})
        self._until, self._lasts_until, self._is_failing = now + KEPT_SECONDS, now + LASTS_SECONDS, False
        return self._served

    def _as_it_was(self, failure: Exception) -> _Served:
        """Logged once for all requests, until it can be read again."""
        if not self._is_failing:
            log.error("cannot read the tenants", exc_info=failure)
        self._is_failing, now = True, monotonic()
        if now >= self._lasts_until:
            raise TenantsUnreadable from failure
        self._until = now + AGAIN_SECONDS
        return self._served


def reached_under(tenant: Tenant, host: str | None, base_url: str) -> str:
    """The URL, without a slash at its end, that whoever asks for the tenant at this host reaches us under.

    Its own host by that name, and loopback by the one it was asked by: a cookie that is set there comes back nowhere
    else. Any other is `base_url`, which always tells port and path, since a Host header may say anything. Plain http is
    for loopback alone.
    """
    name, base = _name_of(host), urlsplit(base_url)
    own = name in tenant.hosts and name not in LOOPBACK and base.scheme == "https"
    if not own and not (name in LOOPBACK and base.hostname in LOOPBACK):
        return base_url
    port = f":{base.port}" if base.port else ""
    return base._replace(netloc=(f"[{name}]" if ":" in name else name) + port).geturl()


def _name_of(host: str | None) -> str:
    """A Host header's without its port; IPv6 literals keep their brackets off."""
    if not host:
        return ""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].removesuffix(".").lower()
