"""What EHRs call free, as slots of our own catalogue: within the hours asked for, and not kept for somebody else."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.availability import Search, Window
from domain.choosing import place, place_at
from domain.ports.catalogue import Offering
from domain.ports.times import DayTimes
from domain.rules import opens_at
from domain.slot import FoundTime, Slot, Span
from domain.tenant import Tenant

Windows = Mapping[UUID, Mapping[date, Window]]
"""When visits may start, by clinic and day."""


class Placed(NamedTuple):
    """A slot with what it is sorted and compared by; `start` and `end` in seconds since 1970."""

    place: bytes
    start: float
    end: float
    slot: Slot


def windows_of(tenant: Tenant, search: Search, offerings: Sequence[Offering], now: datetime) -> Windows:
    """The rules before finding, as the stretches that they leave: cut before anybody is asked.

    A clinic that cannot be booked here has none, and is left out.
    """
    clinics = {o.clinic.id: o.clinic for o in offerings}.values()
    opens = ((clinic, opens_at(tenant, clinic, now)) for clinic in clinics)
    return {clinic.id: search.windows_at(clinic, first) for clinic, first in opens if first is not None}


def offered(offering: Offering, day: DayTimes, window: Window, search: Search) -> Iterator[Placed]:
    """The day's free times that the search is about."""
    slots = placed(offering, day)
    if window.whole:
        return iter(slots)
    first, last = window.start.timestamp(), window.end.timestamp()
    within = (each for each in slots if first <= each.start < last)
    return (each for each in within if search.on_the_wall(each.slot.start)) if window.wall else within


def placed(offering: Offering, day: DayTimes) -> list[Placed]:
    """Made once for as long as the day's times are kept: slots are the same whoever asks."""
    key = (offering.offer.id, offering.clinic.time_zone)
    made: list[Placed] | None = day.made.get(key)
    if made is None:
        made = day.made[key] = list(_placed(offering, day.times))
    return made


def _placed(offering: Offering, times: Sequence[FoundTime]) -> Iterator[Placed]:
    ids = offering.clinic.id.bytes + offering.practitioner.id.bytes + offering.offer.id.bytes
    for time in times:
        start = time.start.timestamp()
        yield Placed(place_at(start, ids), start, time.end.timestamp(), slot_of(offering, time))


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


def own_held(held: Sequence[Slot], offerings: Sequence[Offering], windows: Windows, search: Search) -> Iterator[Placed]:
    """Times that the search is about, too, though their EHR does not tell them while it keeps them."""
    offers = {each.offer.id for each in offerings}
    for slot in held:
        window = windows.get(slot.clinic_id, {}).get(slot.start.date())
        if slot.offer_id not in offers or window is None or not window.start <= slot.start < window.end:
            continue
        if not window.wall or search.on_the_wall(slot.start):
            yield Placed(place(slot), slot.start.timestamp(), slot.end.timestamp(), slot)


def apart_from(slots: Sequence[Placed], kept: Mapping[UUID, Sequence[Span]]) -> list[Placed]:
    """Those that share no time with what their practitioner is kept for."""
    busy = {id: [(s.start.timestamp(), s.end.timestamp()) for s in spans] for id, spans in kept.items() if spans}
    if not busy:
        return list(slots)
    return [each for each in slots if not _shares_time(each, busy.get(each.slot.practitioner_id, ()))]


def _shares_time(each: Placed, busy: Sequence[tuple[float, float]]) -> bool:
    return bool(busy) and any(start < each.end and each.start < end for start, end in busy)


def on_days(times: Sequence[FoundTime], days: Sequence[date], zone: str, asked_at: datetime) -> dict[date, DayTimes]:
    """Times that were asked for at once, day by day on the clinic's wall."""
    by_day: defaultdict[date, list[FoundTime]] = defaultdict(list)
    wall = ZoneInfo(zone)
    for time in times:
        by_day[time.start.astimezone(wall).date()].append(time)
    return {day: DayTimes(tuple(by_day[day]), asked_at) for day in days}


def whole_days(slots: Sequence[Placed]) -> Span:
    """From the first slot's midnight on, so that a day's earlier bookings count in whose turn it is."""
    first = min(slots, key=lambda each: each.start).slot
    midnight = first.start.replace(hour=0, minute=0, second=0)
    return Span(start=midnight, end=max(slots, key=lambda each: each.end).slot.span.end)
