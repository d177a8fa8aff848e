"""Which foreign pages a tenant's agencies may use their keys from."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.ports import Clock, KeyReads
from domain.single_flight import SingleFlight

MOST_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TellKeyOrigins:
    """Which foreign pages a tenant's agencies may use their keys from; what it answers counts for `kept`."""

    keys: KeyReads
    clock: Clock
    kept: timedelta
    _told: dict[str, tuple[datetime, frozenset[str]]] = field(default_factory=dict, init=False)
    _asking: SingleFlight[str, frozenset[str]] = field(default_factory=SingleFlight, init=False)

    async def __call__(self, tenant_id: str) -> frozenset[str]:
        until, origins = self._told.get(tenant_id, (None, frozenset()))
        if until is not None and self.clock.now() < until:
            return origins
        return await self._asking(tenant_id, lambda: self._look_up(tenant_id))

    async def _look_up(self, tenant_id: str) -> frozenset[str]:
        now = self.clock.now()
        standing = [key for key in await self.keys.of_tenant(tenant_id) if key.stands(now)]
        origins = frozenset(origin for key in standing for origin in key.origins)
        if len(self._told) >= MOST_KEPT:
            self._told.clear()
        self._told[tenant_id] = (now + self.kept, origins)
        return origins
