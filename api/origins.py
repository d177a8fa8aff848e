"""Whose pages may speak to us: our own, a tenant's, and those of its agencies."""

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from domain.origins import origin_of
from domain.tenant import Tenant

log = logging.getLogger(__name__)


async def _no_keys(_: str) -> Collection[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Origins:
    """`everywhere` may speak for every tenant. `of_keys` answers the origins of a tenant's agencies, by its id."""

    everywhere: frozenset[str] = frozenset()
    https: bool = False
    of_keys: Callable[[str], Awaitable[Collection[str]]] = _no_keys

    def are_ours(self, origin: str, host: str | None, tenant: Tenant | None) -> bool:
        """Whether a visitor's session may be used by its pages: those of this very host, and those that are listed."""
        name = normal(origin)
        if name is None:
            return False
        listed = name in self.everywhere or (tenant is not None and name in tenant.origins)
        return listed or name == normal(f"{'https' if self.https else 'http'}://{host}")

    async def are_an_agencys(self, origin: str, tenant: Tenant | None) -> bool:
        """Whether a key that stands may be used by its pages: never with a visitor's session."""
        return tenant is not None and normal(origin) in await self.of_keys(tenant.id)

    async def are_found_an_agencys(self, origin: str, tenant: Tenant | None) -> bool:
        """For where nothing lies around that answers for what goes wrong: what cannot be looked up is nobody's."""
        try:
            return await self.are_an_agencys(origin, tenant)
        except Exception as failure:
            log.error("cannot look up the pages of agencies", exc_info=failure)
            return False

    async def are_known(self, origin: str, host: str | None, tenant: Tenant | None) -> bool:
        return self.are_ours(origin, host, tenant) or await self.are_found_an_agencys(origin, tenant)


def normal(origin: str) -> str | None:
    """None for what is no origin, such as `null`, which browsers send for pages that are nobody's."""
    try:
        return origin_of(origin)
    except ValueError:
        return None
