"""Which group of clinics a request is for."""

from time import monotonic

from api.errors import BadInput, Forbidden
from domain.origins import LOOPBACK
from domain.ports import Catalogue
from domain.tenant import Tenant

KEPT_SECONDS = 10.0
MOST_MISSES = 1000
"""Names that nobody has; strangers invent them, and must not push out those that there are."""

Name = tuple[str | None, str | None]


class TenantDirectory:
    """Tenants by host name or slug, remembered for seconds: every request asks, and they hardly ever change."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kept: dict[Name, tuple[float, Tenant]] = {}
        self._missing: dict[Name, float] = {}

    async def of(self, *, host: str | None, slug: str | None) -> Tenant:
        """The X-Tenant header's, else the host's. Raises `BadInput` when there is no such tenant, and `Forbidden` when
        the host is another tenant's: what is good at one tenant opens nothing at another's address. Loopback is
        nobody's own: it serves its tenant where none is named.
        """
        served = await self.at(host)
        tenant = await self._looked_up(None, slug) if slug else served
        if tenant is None:
            raise BadInput("No such tenant: name one by the host or by the X-Tenant header.")
        if served and served.id != tenant.id and _name_of(host) not in LOOPBACK:
            raise Forbidden("Another tenant is served under this host.")
        return tenant

    async def at(self, host: str | None) -> Tenant | None:
        """The one that is served under the host name, if any. Raises `BadInput` for a name that cannot be one."""
        return await self._looked_up(_name_of(host), None)

    async def _looked_up(self, host: str | None, slug: str | None) -> Tenant | None:
        key = (host, slug)
        if "\0" in "".join(filter(None, key)):
            raise BadInput("No tenant is called that.")  # nor could PostgreSQL be asked for it
        until, tenant = self._kept.get(key, (self._missing.get(key, 0.0), None))
        return tenant if monotonic() <= until else await self._read(key)

    async def _read(self, key: Name) -> Tenant | None:
        tenant = await self._catalogue.tenant(host=key[0], slug=key[1])
        until = monotonic() + KEPT_SECONDS
        if tenant is None:
            if len(self._missing) >= MOST_MISSES:
                self._missing.clear()
            self._kept.pop(key, None)
            self._missing[key] = until
        else:
            self._kept[key] = (until, tenant)
        return tenant


def _name_of(host: str | None) -> str | None:
    """A Host header without its port; IPv6 literals keep their brackets off."""
    if not host:
        return None
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
