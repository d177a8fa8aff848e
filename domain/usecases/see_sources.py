"""Whether record systems answer at this moment."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.availability import SourceState, SourceStatus
from domain.endpoint import Endpoint
from domain.ports import Catalogue, Clock, Ehrs, EhrUnavailable, Outage
from domain.timing import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class SeeSources:
    catalogue: Catalogue
    ehrs: Ehrs
    clock: Clock
    timing: Timing

    async def __call__(self, tenant_id: str, endpoint_ids: Sequence[str]) -> Mapping[str, SourceStatus]:
        """By endpoint id, all asked at once and each within the look-up deadline; it names no clinics."""
        endpoints = [e for e in await self.catalogue.endpoints(tenant_id) if e.id in endpoint_ids]
        states = await asyncio.gather(*(self._ask(endpoint) for endpoint in endpoints))
        return {endpoint.id: state for endpoint, state in zip(endpoints, states, strict=True)}

    async def _ask(self, endpoint: Endpoint) -> SourceStatus:
        try:
            await self.ehrs.at(endpoint).probe(self.timing.look_up)
        except EhrUnavailable as outage:
            state = SourceState.TIMEOUT if outage.outage is Outage.TIMEOUT else SourceState.OFFLINE
            return SourceStatus(clinic_ids=(), state=state, reason=state.value, retry_after=outage.retry_after)
        return SourceStatus(clinic_ids=(), state=SourceState.OK, as_of=self.clock.now())
