"""Free times over any number of clinics and record systems, and how much of the truth they are."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import chain
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.availability import Availability, Search, SourceState, SourceStatus
from domain.booking import Booking
from domain.catalogue import OfferFilter
from domain.clinic import ClinicBooking
from domain.endpoint import Endpoint
from domain.ports import BookingReads, Catalogue, Clock, Ehrs, Found, Offering, Outage, Turn, Visit
from domain.rules import BEFORE_HOLD, Proposal, refusals, rules_of
from domain.slot import FoundTime, Slot, Span
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.visits import Visits, wanted_of

HORIZON = 3
"""How many stretches of 31 days are looked through for the next free time."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindSlots:
    catalogue: Catalogue
    reads: BookingReads
    ehrs: Ehrs
    visits: Visits
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, search: Search) -> Availability:
        """Ask every EHR concerned at once, each within the deadline; leave out what is kept and what rules forbid."""
        where = OfferFilter(
            clinic_ids=search.clinic_ids,
            treatment_ids=(search.treatment_id,),
            practitioner_ids=search.practitioner_ids,
        )
        offerings = await self.catalogue.offerings(tenant.id, where, area_ids=search.area_ids)
        now = self.clock.now()
        online = [o for o in offerings if o.clinic.booking is ClinicBooking.ONLINE and _movable(o, search)]
        endpoints = {e.id: e for e in await self.catalogue.endpoints(tenant.id)} if online else {}
        moving = await self.visits.moving(search.moving) if search.moving and online else None
        by_endpoint: defaultdict[str, list[Offering]] = defaultdict(list)
        for offering in online:
            by_endpoint[offering.offer.endpoint_id].append(offering)
        asked = await asyncio.gather(
            *(self._ask(tenant, endpoints[id], own, search, now, moving) for id, own in by_endpoint.items())
        )
        slots = [slot for found, _ in asked for slot in found]
        free = await self._not_kept(tenant, search, slots, online, now)
        return Availability(slots=free, sources=[source for _, source in asked], as_of=self.clock.now())

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
            answering = [s.clinic_ids for s in known.sources if s.state is SourceState.OK]
            if not answering:
                return None
            search = replace(search.following(), clinic_ids=tuple(chain.from_iterable(answering)))
            known = await self(tenant, search)
            if known.slots:
                return known.slots[0]
        return None

    async def _ask(
        self,
        tenant: Tenant,
        endpoint: Endpoint,
        offerings: Sequence[Offering],
        search: Search,
        now: datetime,
        moving: Visit | None,
    ) -> tuple[list[Slot], SourceStatus]:
        clinic_ids = tuple(dict.fromkeys(o.clinic.id for o in offerings))
        span = _askable(tenant, search, offerings, now)
        if span is None:
            return [], SourceStatus(clinic_ids=clinic_ids, state=SourceState.OK, as_of=now)
        wanted = [wanted_of(offering) for offering in offerings]
        found = await self.ehrs.at(endpoint).find(wanted, span, self.timing.find, moving=moving)
        status = _status(clinic_ids, found, self.clock.now())
        return list(_offered(tenant, search, offerings, found.times, now)), status

    async def _not_kept(
        self, tenant: Tenant, search: Search, slots: Sequence[Slot], offerings: Sequence[Offering], now: datetime
    ) -> Sequence[Slot]:
        if not slots:
            return []
        zones = {o.clinic.id: o.clinic.time_zone for o in offerings}
        practitioners = tuple({slot.practitioner_id for slot in slots})
        whole = _whole_days(slots, zones)
        own = (*search.own_ids, *((search.moving.id,) if search.moving else ()))
        kept = await self.reads.occupied(tenant.id, practitioners, whole, now, except_ids=own)
        free = [s for s in slots if not any(s.span.overlaps(k) for k in kept.get(s.practitioner_id, ()))]
        if search.any_practitioner and free:
            turns = await self.reads.turns(tenant.id, practitioners, whole)
            free = one_each(free, kept, turns, zones)
        return sorted(free, key=place)


def place(slot: Slot) -> tuple[float, UUID, UUID, UUID]:
    """Where a slot stands in every list: by start, then clinic, then practitioner."""
    return slot.start.timestamp(), slot.clinic_id, slot.practitioner_id, slot.offer_id


def _movable(offering: Offering, search: Search) -> bool:
    return search.moving is None or is_movable(search.moving, offering.offer.endpoint_id, offering.treatment.id)


def is_movable(booking: Booking, endpoint_id: str, treatment_id: UUID) -> bool:
    """A move stays within its EHR and its treatment: anything else is another booking."""
    return (booking.slot.endpoint_id, booking.slot.treatment_id) == (endpoint_id, treatment_id)


def _askable(tenant: Tenant, search: Search, offerings: Sequence[Offering], now: datetime) -> Span | None:
    """The stretch worth asking for: what notice and the past rule out is cut before the EHR is asked."""
    clinics = {o.clinic.id: o.clinic for o in offerings}.values()
    spans = [
        Span(start=max(own.start, now + rules_of(tenant.rules, clinic.rules).minimum_notice), end=own.end)
        for clinic in clinics
        for own in (search.span_at(clinic),)
    ]
    spans = [span for span in spans if span.start < span.end]
    if not spans:
        return None
    return Span(start=min(s.start for s in spans), end=max(s.end for s in spans))


def _status(clinic_ids: tuple[UUID, ...], found: Found, now: datetime) -> SourceStatus:
    if found.trouble is None:
        return SourceStatus(clinic_ids=clinic_ids, state=SourceState.OK, as_of=now)
    state = SourceState.TIMEOUT if found.trouble.outage is Outage.TIMEOUT else SourceState.OFFLINE
    return SourceStatus(
        clinic_ids=clinic_ids,
        state=state,
        as_of=now if found.times else None,
        reason=state.value,
        retry_after=found.trouble.retry_after,
    )


def _offered(
    tenant: Tenant, search: Search, offerings: Sequence[Offering], times: Iterable[FoundTime], now: datetime
) -> Iterable[Slot]:
    """What the EHR calls free and our rules allow, as slots of our own catalogue."""
    by_ref = {(o.practitioner.ehr_id, o.treatment.code): o for o in offerings}
    rules = {o.clinic.id: rules_of(tenant.rules, o.clinic.rules) for o in offerings}
    for time in times:
        offering = by_ref.get((time.practitioner_ehr_id, time.service_code))
        if offering is None or not search.wants(time.start, offering.clinic):
            continue
        clinic = offering.clinic
        proposal = Proposal(start=time.start, time_zone=clinic.time_zone, rules=rules[clinic.id], now=now)
        if not refusals(proposal, BEFORE_HOLD):
            yield slot_of(offering, time)


def slot_of(offering: Offering, time: FoundTime) -> Slot:
    """The clinic's own offset on both ends, so that the wall's date and time can be read off them."""
    zone = ZoneInfo(offering.clinic.time_zone)
    return Slot(
        endpoint_id=offering.offer.endpoint_id,
        offer_id=offering.offer.id,
        clinic_id=offering.clinic.id,
        treatment_id=offering.treatment.id,
        practitioner_id=offering.practitioner.id,
        reference=time.reference,
        start=time.start.astimezone(zone),
        end=time.end.astimezone(zone),
        time_zone=offering.clinic.time_zone,
        resources=time.resources,
    )


def _whole_days(slots: Sequence[Slot], zones: Mapping[UUID, str]) -> Span:
    """From the first slot's midnight on, so that a day's earlier bookings count in whose turn it is."""
    first = min(slots, key=lambda s: s.span.start)
    midnight = first.start.astimezone(ZoneInfo(zones[first.clinic_id])).replace(hour=0, minute=0, second=0)
    return Span(start=midnight, end=max(slot.span.end for slot in slots))


def one_each(
    slots: Sequence[Slot],
    kept: Mapping[UUID, Sequence[Span]],
    turns: Mapping[UUID, Turn],
    zones: Mapping[UUID, str],
) -> list[Slot]:
    """One slot for each clinic and start: the practitioner with fewest bookings that day, then longest unused."""
    days: Counter[tuple[UUID, date]] = Counter()
    rank = {id: (turn.last_given_at or _EPOCH, str(id)) for id, turn in turns.items()}
    zone_of = {slot.practitioner_id: ZoneInfo(zones[slot.clinic_id]) for slot in slots}
    for practitioner_id, spans in kept.items():
        for span in spans:
            days[practitioner_id, span.start.astimezone(zone_of[practitioner_id]).date()] += 1
    best: dict[tuple[UUID, datetime], tuple[tuple[int, datetime, str], Slot]] = {}
    for slot in slots:
        id = slot.practitioner_id
        turn = (days[id, slot.start.astimezone(zone_of[id]).date()], *rank.get(id, (_EPOCH, str(id))))
        place = (slot.clinic_id, slot.span.start)
        if place not in best or turn < best[place][0]:
            best[place] = (turn, slot)
    return [slot for _, slot in best.values()]


def nearest(availability: Availability, wanted: Slot, count: int) -> tuple[Slot, ...]:
    """The free times nearest to a lost one, each at another start; the same practitioner's first."""
    by_start: dict[datetime, Slot] = {}
    for slot in availability.slots:
        start = slot.span.start
        if start not in by_start or slot.practitioner_id == wanted.practitioner_id:
            by_start[start] = slot
    nearest_first = sorted(by_start, key=lambda start: (abs(start - wanted.span.start), start))
    return tuple(by_start[start] for start in nearest_first[:count])
