"""Free times over any number of clinics and record systems, and how much of the truth they are."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from operator import itemgetter
from uuid import UUID

from domain.availability import Availability, Search, SourceState, SourceStatus
from domain.booking import Booking, BookingStatus
from domain.catalogue import OfferFilter
from domain.choosing import one_each, place
from domain.endpoint import Endpoint
from domain.offered import Placed, Windows, apart_from, offered, on_days, own_held, whole_days, windows_of
from domain.ports import BookingReads, Catalogue, Clock, Ehrs, Offering, Outage, Visit
from domain.slot import FoundTime, Slot, Span
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.free_times import FreeTimes, Told, Wish, shelf_of
from domain.usecases.visits import Visits, wanted_of

HORIZON = 3
"""How many stretches of 31 days are looked through for the next free time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindSlots:
    catalogue: Catalogue
    reads: BookingReads
    ehrs: Ehrs
    visits: Visits
    free_times: FreeTimes
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, search: Search, *, wait_for_fresh: bool = False) -> Availability:
        """Every EHR concerned at once, each within the deadline; without what is kept and what rules forbid.

        `wait_for_fresh`: rather wait for EHRs than be shown what they told a while ago.
        """
        now, offerings = self.clock.now(), await self._offerings(tenant, search)
        windows = windows_of(tenant, search, offerings, now)
        online = [each for each in offerings if each.clinic.id in windows]
        endpoints = {e.id: e for e in await self.catalogue.endpoints(tenant.id)} if online else {}
        moving = await self.visits.moving(search.moving) if search.moving and online else None
        by_endpoint: defaultdict[str, list[Offering]] = defaultdict(list)
        for offering in online:
            by_endpoint[offering.offer.endpoint_id].append(offering)
        asked = await asyncio.gather(
            *(self._ask(endpoints[id], own, windows, search, moving, wait_for_fresh) for id, own in by_endpoint.items())
        )
        told = list(chain.from_iterable(s for s, _ in asked))
        held = own_held(await self._own_held(tenant, search, now), online, windows, search)
        known = {each.place for each in told}
        told += [each for each in held if each.place not in known]
        free = await self._not_kept(tenant, search, told, online, now)
        told_at = {id: s.as_of for id, (_, s) in zip(by_endpoint, asked, strict=True) if s.as_of}
        return Availability(
            slots=free,
            sources=[s for _, s in asked],
            as_of=self.clock.now(),
            told_at=told_at,
            practitioner_ids=frozenset(o.practitioner.id for o in online),
        )

    async def _offerings(self, tenant: Tenant, search: Search) -> list[Offering]:
        where = OfferFilter(
            clinic_ids=search.clinic_ids,
            treatment_ids=(search.treatment_id,),
            practitioner_ids=search.practitioner_ids,
        )
        offerings = await self.catalogue.offerings(tenant.id, where, area_ids=search.area_ids)
        return [o for o in offerings if _movable(o, search)]

    async def _own_held(self, tenant: Tenant, search: Search, now: datetime) -> list[Slot]:
        """What an EHR keeps for the viewer it tells as taken. To move a visit there is another wish than to keep it."""
        if not search.own_ids or search.moving:
            return []
        own = (await self.reads.get(tenant.id, search.own_ids)).values()
        live = [b for b in own if b.held_in_ehr and b.status is BookingStatus.HELD and not b.lapsed(now)]
        return [b.slot for b in live]

    async def next(self, tenant: Tenant, search: Search, known: Availability) -> Slot | None:
        """The first free time from the first day on, looked for beyond the last day where there is none.

        Looking on takes no longer than one more deadline, and only where the EHR has just answered.
        """
        if known.slots:
            return known.slots[0]
        try:
            async with asyncio.timeout(self.timing.find):
                return await self._beyond(tenant, search, known)
        except TimeoutError:
            return None

    async def _beyond(self, tenant: Tenant, search: Search, known: Availability) -> Slot | None:
        for _ in range(HORIZON):
            answering = [s.clinic_ids for s in known.sources if s.state in (SourceState.OK, SourceState.STALE)]
            if not answering:
                return None
            search = replace(search.following(), clinic_ids=tuple(chain.from_iterable(answering)))
            known = await self(tenant, search)
            if known.slots:
                return known.slots[0]
        return None

    async def _ask(
        self,
        endpoint: Endpoint,
        offerings: Sequence[Offering],
        windows: Windows,
        search: Search,
        moving: Visit | None,
        wait_for_fresh: bool,
    ) -> tuple[list[Placed], SourceStatus]:
        clinic_ids = tuple(dict.fromkeys(o.clinic.id for o in offerings))
        wishes = [Wish(offering=o, days=tuple(windows[o.clinic.id])) for o in offerings if windows[o.clinic.id]]
        if not wishes:
            return [], _status(endpoint, clinic_ids, Told(days={}, as_of=self.clock.now()))
        if moving is None:
            told = await self.free_times(endpoint, wishes, wait_for_fresh=wait_for_fresh)
        else:
            told = await self._ask_for_moving(endpoint, wishes, windows, moving)
        return _offered(wishes, windows, told, search), _status(endpoint, clinic_ids, told)

    async def _ask_for_moving(
        self, endpoint: Endpoint, wishes: Sequence[Wish], windows: Windows, moving: Visit
    ) -> Told:
        """What opens up when a visit moves is that visit's alone, so it is asked for each time and kept by nobody."""
        asked_at = self.clock.now()
        own = [window for wish in wishes for window in windows[wish.offering.clinic.id].values()]
        span = Span(start=min(each.start for each in own), end=max(each.end for each in own))
        found = await self.ehrs.at(endpoint).find(
            [wanted_of(wish.offering) for wish in wishes], span, self.timing.find, moving=moving
        )
        times: defaultdict[str, list[FoundTime]] = defaultdict(list)
        for time in found.times:
            times[time.practitioner_ehr_id].append(time)
        days = {
            shelf_of(o): on_days(times[o.practitioner.ehr_id], wish.days, o.clinic.time_zone, asked_at)
            for wish in wishes
            for o in (wish.offering,)
        }
        as_of = asked_at if found.times or not found.trouble else None
        return Told(days=days, as_of=as_of, missing=found.trouble is not None, trouble=found.trouble)

    async def _not_kept(
        self, tenant: Tenant, search: Search, slots: Sequence[Placed], offerings: Sequence[Offering], now: datetime
    ) -> list[Slot]:
        """Without what our own store keeps for somebody, in order."""
        if not slots:
            return []
        practitioners = tuple({o.practitioner.id for o in offerings})
        whole = whole_days(slots)
        own = (*search.own_ids, *((search.moving.id,) if search.moving else ()))
        kept = await self.reads.occupied(tenant.id, practitioners, whole, now, except_ids=own)
        free = apart_from(slots, kept)
        if search.any_practitioner and free:
            turns = await self.reads.turns(tenant.id, practitioners, whole)
            zones = {o.clinic.id: o.clinic.time_zone for o in offerings}
            return sorted(one_each([each.slot for each in free], kept, turns, zones), key=place)
        return [each.slot for each in sorted(free, key=itemgetter(0))]


def _movable(offering: Offering, search: Search) -> bool:
    return search.moving is None or is_movable(search.moving, offering.offer.endpoint_id, offering.treatment.id)


def is_movable(booking: Booking, endpoint_id: str, treatment_id: UUID) -> bool:
    """A move stays within its EHR and its treatment: anything else is another booking."""
    return (booking.slot.endpoint_id, booking.slot.treatment_id) == (endpoint_id, treatment_id)


def _offered(wishes: Sequence[Wish], windows: Windows, told: Told, search: Search) -> list[Placed]:
    found: list[Placed] = []
    for wish in wishes:
        own = windows[wish.offering.clinic.id]
        for day, times in told.days[shelf_of(wish.offering)].items():
            if day in own and times.times:
                found.extend(offered(wish.offering, times, own[day], search))
    return found


def _status(endpoint: Endpoint, clinic_ids: tuple[UUID, ...], told: Told) -> SourceStatus:
    """Not all that was asked for: why. All of it, but not from just now: stale, and why where the EHR is silent."""
    trouble = told.trouble
    if told.missing and trouble:
        state = SourceState.TIMEOUT if trouble.outage is Outage.TIMEOUT else SourceState.OFFLINE
    else:
        state = SourceState.STALE if told.stale else SourceState.OK
    return SourceStatus(
        endpoint_id=endpoint.id,
        clinic_ids=clinic_ids,
        state=state,
        as_of=told.as_of if state in (SourceState.OK, SourceState.STALE) or _shows_something(told) else None,
        reason=getattr(trouble, "word", trouble.outage.value) if trouble else None,
        retry_after=trouble.retry_after if trouble else None,
    )


def _shows_something(told: Told) -> bool:
    return any(each.times for own in told.days.values() for each in own.values())
