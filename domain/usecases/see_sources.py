"""Whether record systems answer at this moment."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.availability import SourceState, SourceStatus
from domain.endpoint import Endpoint
from domain.ports import Catalogue, Clock, Ehrs, EhrUnavailable, Outage
from domain.single_flight import SingleFlight
from domain.timing import Timing

FRESH = timedelta(seconds=5)
"""For so long after a good answer, to whatever was asked, an EHR is taken to answer still, unless it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeeSources:
    catalogue: Catalogue
    ehrs: Ehrs
    clock: Clock
    timing: Timing
    _looking: SingleFlight[Endpoint, SourceStatus] = field(default_factory=SingleFlight, init=False, compare=False)

    async def __call__(self, tenant_id: str, endpoint_ids: Sequence[str]) -> Mapping[str, SourceStatus]:
        """By endpoint id, all asked at once and each within the look-up deadline; it names no clinics."""
        endpoints = [e for e in await self.catalogue.endpoints(tenant_id) if e.id in endpoint_ids]
        states = await asyncio.gather(*(self._see(endpoint) for endpoint in endpoints))
        return {endpoint.id: state for endpoint, state in zip(endpoints, states, strict=True)}

    async def _see(self, endpoint: Endpoint) -> SourceStatus:
        """However many want to know, an EHR is asked once, and not at all where it has just answered something."""
        if answered := self._fresh(endpoint):
            return _well(answered)
        return await self._looking(endpoint, lambda: self._look(endpoint))

    def _fresh(self, endpoint: Endpoint) -> datetime | None:
        answered = None if self.ehrs.has_failed_since(endpoint) else self.ehrs.last_answer(endpoint)
        return answered if answered and timedelta() <= self.clock.now() - answered < FRESH else None

    async def _look(self, endpoint: Endpoint) -> SourceStatus:
        try:
            await self.ehrs.at(endpoint).probe(self.timing.look_up)
            return _well(self.clock.now())
        except EhrUnavailable as outage:
            return SourceStatus(
                clinic_ids=(),
                state=SourceState.TIMEOUT if outage.outage is Outage.TIMEOUT else SourceState.OFFLINE,
                as_of=self.ehrs.last_answer(endpoint),
                reason=outage.word.value,
                retry_after=outage.retry_after,
            )


def _well(as_of: datetime) -> SourceStatus:
    return SourceStatus(clinic_ids=(), state=SourceState.OK, as_of=as_of)
