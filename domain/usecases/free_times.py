"""What EHRs call free: remembered for a moment, asked for once however many want to know, honest about its age."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import chain
from time import monotonic
from zoneinfo import ZoneInfo

from domain.endpoint import Endpoint
from domain.offered import on_days
from domain.ports import Clock, DayTimes, Ehrs, EhrUnavailable, Offering, Shelf, Shelved, TimesCache
from domain.slot import FoundTime, Span
from domain.timing import Timing
from domain.usecases.visits import wanted_of

log = logging.getLogger(__name__)

MOST_SILENCES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One offering's times on some of its clinic's days, in order."""

    offering: Offering
    days: Sequence[date]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of one EHR's free times: `as_of` is the oldest of it, None where nothing is known.

    `trouble` with `missing`: part of what was asked for is not known at all. `trouble` alone: it did not answer, but
    what it told not long ago is here. `stale`: some of it is older than an answer may be without saying so.
    """

    days: Mapping[Shelf, Mapping[date, DayTimes]]
    as_of: datetime | None = None
    stale: bool = False
    missing: bool = False
    trouble: EhrUnavailable | None = None


_Place = tuple[Shelf, str]
"""A shelf under its stamp: who asks after it was dropped does not take an answer from before."""


@dataclass(slots=True, eq=False)
class _Flight:
    """A question that is under way. `partly`: what came before the EHR fell silent, good for this once."""

    told: dict[Shelf, dict[date, DayTimes]] = field(default_factory=dict)
    partly: dict[Shelf, dict[date, DayTimes]] = field(default_factory=dict)
    silent: dict[Shelf, EhrUnavailable] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


_Flights = dict[Shelf, dict[date, _Flight]]


def shelf_of(offering: Offering) -> Shelf:
    return Shelf(offering.offer.tenant_id, offering.offer.endpoint_id, offering.practitioner.id, offering.offer.id)


class FreeTimes:
    """One for a process: it knows which questions are under way. `seconds` never go back, as a clock may."""

    def __init__(
        self, cache: TimesCache, ehrs: Ehrs, clock: Clock, timing: Timing, seconds: Callable[[], float] = monotonic
    ) -> None:
        self._cache = cache
        self._ehrs = ehrs
        self._clock = clock
        self._timing = timing
        self._seconds = seconds
        self._flights: dict[_Place, dict[date, _Flight]] = {}
        self._silences: dict[Shelf, tuple[float, EhrUnavailable]] = {}

    async def __call__(self, endpoint: Endpoint, wishes: Sequence[Wish], *, wait_for_fresh: bool = False) -> Told:
        """What is too old is asked for again: at once where nothing else can be shown, else behind the answer's back.

        `wait_for_fresh`: rather wait than be shown what is old.
        """
        wanted = {shelf_of(wish.offering): wish for wish in wishes}
        known = await self._cache.get({shelf: wish.days for shelf, wish in wanted.items()})
        now = self._clock.now()
        old = {shelf: days for shelf, wish in wanted.items() if (days := self._old(known, shelf, wish, now))}
        silent = {shelf: trouble for shelf in old if (trouble := self._silence(shelf))}
        flights = self._under_way(endpoint, wanted, {s: d for s, d in old.items() if s not in silent}, known)
        if flights and (wait_for_fresh or self._lacks(known, old, now)):
            under_way = {flight for own in flights.values() for flight in own.values()}
            await asyncio.gather(*(asyncio.shield(each.task) for each in under_way if each.task))
        return self._told(wanted, known, flights, silent)

    def _old(self, known: Shelved, shelf: Shelf, wish: Wish, now: datetime) -> list[date]:
        kept, since = known.days.get(shelf, {}), now - self._timing.fresh
        return [day for day in wish.days if not _is_from(kept.get(day), since, now)]

    def _lacks(self, known: Shelved, old: Mapping[Shelf, Sequence[date]], now: datetime) -> bool:
        """Whether there is a day of which nothing can be shown, not even what is stale."""
        since = now - self._timing.stale
        kept = ((known.days.get(shelf, {}), days) for shelf, days in old.items())
        return any(not _is_from(own.get(day), since, now) for own, days in kept for day in days)

    def _silence(self, shelf: Shelf) -> EhrUnavailable | None:
        """An EHR that has just not answered is not asked again by everybody who comes."""
        until, trouble = self._silences.get(shelf, (0.0, None))
        return trouble if until > self._seconds() else None

    def _under_way(
        self,
        endpoint: Endpoint,
        wanted: Mapping[Shelf, Wish],
        old: Mapping[Shelf, Sequence[date]],
        known: Shelved,
    ) -> _Flights:
        """Each day's own question: one that is joined for some days may know others from before they were dropped."""
        flights: _Flights = {}
        own: dict[Shelf, list[date]] = {}
        for shelf, days in old.items():
            known_here = self._flights.get((shelf, known.stamps[shelf]), {})
            flights[shelf] = {day: known_here[day] for day in days if day in known_here}
            if missing := [day for day in days if day not in known_here]:
                own[shelf] = missing
        if own:
            wishes = [Wish(offering=wanted[shelf].offering, days=days) for shelf, days in own.items()]
            started = self._start(endpoint, wishes, known)
            for shelf, days in own.items():
                flights[shelf].update(dict.fromkeys(days, started))
        return flights

    def _start(self, endpoint: Endpoint, wishes: Sequence[Wish], known: Shelved) -> _Flight:
        flight = _Flight()
        places = [((shelf, known.stamps[shelf]), wish.days) for wish in wishes for shelf in (shelf_of(wish.offering),)]
        for place, days in places:
            self._flights.setdefault(place, {}).update(dict.fromkeys(days, flight))
        flight.task = asyncio.ensure_future(self._ask(endpoint, wishes, known, flight, places))
        flight.task.add_done_callback(_tell_of_bug)
        return flight

    async def _ask(
        self,
        endpoint: Endpoint,
        wishes: Sequence[Wish],
        known: Shelved,
        flight: _Flight,
        places: Sequence[tuple[_Place, Sequence[date]]],
    ) -> None:
        try:
            await asyncio.gather(*(self._ask_for(endpoint, own, known, flight) for own in _asked_together(wishes)))
        finally:
            for place, days in places:
                for day in days:
                    del self._flights[place][day]
                if not self._flights[place]:
                    del self._flights[place]

    async def _ask_for(self, endpoint: Endpoint, wishes: Sequence[Wish], known: Shelved, flight: _Flight) -> None:
        """Wishes of one stretch of days in one zone: every day of it is known afterwards."""
        asked_at = self._clock.now()
        zone = ZoneInfo(wishes[0].offering.clinic.time_zone)
        days = list(_every_day(wishes[0].days[0], wishes[0].days[-1]))
        span = Span(start=max(_midnight(days[0], zone), asked_at), end=_midnight(days[-1] + timedelta(days=1), zone))
        by_wanted = {wanted_of(wish.offering): shelf_of(wish.offering) for wish in wishes}
        if span.start >= span.end:
            return
        found = await self._ehrs.at(endpoint).find(list(by_wanted), span, self._timing.find)
        by_name = {(each.practitioner_ehr_id, each.service_code): shelf for each, shelf in by_wanted.items()}
        times = _by_shelf(found.times, by_name)
        for wanted, shelf in by_wanted.items():
            own = on_days(times.get(shelf, ()), days, zone.key, asked_at)
            if found.trouble and wanted in found.unanswered:
                flight.partly[shelf] = own
                self._fell_silent(flight, shelf, found.trouble)
                continue
            flight.told[shelf] = own
            self._silences.pop(shelf, None)
            await self._cache.put(shelf, own, known.stamps[shelf], self._timing.stale)

    def _fell_silent(self, flight: _Flight, shelf: Shelf, trouble: EhrUnavailable) -> None:
        flight.silent[shelf] = trouble
        if len(self._silences) >= MOST_SILENCES:
            self._silences.clear()
        self._silences[shelf] = (self._seconds() + self._timing.silence.total_seconds(), trouble)

    def _told(
        self,
        wanted: Mapping[Shelf, Wish],
        known: Shelved,
        flights: _Flights,
        silent: Mapping[Shelf, EhrUnavailable],
    ) -> Told:
        """The newest of what is known of each day: just told, kept, or told before the EHR fell silent."""
        now = self._clock.now()
        fresh, usable = now - self._timing.fresh, now - self._timing.stale
        days: dict[Shelf, dict[date, DayTimes]] = {}
        stale = missing = False
        for shelf, wish in wanted.items():
            kept, own = known.days.get(shelf, {}), days.setdefault(shelf, {})
            told, partly = _from_flights(shelf, flights.get(shelf, {}))
            for day in wish.days:
                if day in told:
                    own[day] = told[day]
                elif _is_from(kept.get(day), usable, now):
                    own[day] = kept[day]
                    stale = stale or kept[day].as_of < fresh
                else:
                    missing = True
                    own.update({day: partly[day]} if day in partly else {})
        fell_silent = (f.silent.get(shelf) for shelf, under_way in flights.items() for f in under_way.values())
        return Told(
            days=days,
            as_of=min((each.as_of for own in days.values() for each in own.values()), default=None),
            stale=stale,
            missing=missing,
            trouble=next(filter(None, chain(silent.values(), fell_silent)), None) if missing or stale else None,
        )


def _from_flights(shelf: Shelf, under_way: Mapping[date, _Flight]) -> tuple[dict[date, DayTimes], dict[date, DayTimes]]:
    """What was told of each day by its own question: as a whole, and before the EHR fell silent."""
    whole: dict[date, DayTimes] = {}
    partly: dict[date, DayTimes] = {}
    for flight in set(under_way.values()):
        for found, told in ((whole, flight.told.get(shelf, {})), (partly, flight.partly.get(shelf, {}))):
            found.update({day: told[day] for day, own in under_way.items() if own is flight and day in told})
    return whole, {day: part for day, part in partly.items() if part.times}


def _tell_of_bug(task: asyncio.Task[None]) -> None:
    """Nobody may be waiting for it."""
    if not task.cancelled() and (bug := task.exception()):
        log.error("free times could not be asked for", exc_info=bug)


def _is_from(kept: DayTimes | None, since: datetime, now: datetime) -> bool:
    """Whether it was told since then. The clock went back where it is from the future: then nobody knows."""
    return kept is not None and since <= kept.as_of <= now


def _asked_together(wishes: Sequence[Wish]) -> Iterable[Sequence[Wish]]:
    """By zone and stretch of days; apart where practitioner and service do not tell one's answers from another's."""
    together: dict[tuple[str, date, date, int], list[Wish]] = {}
    alike: Counter[tuple[str, date, date, str, str]] = Counter()
    for wish in wishes:
        span = (wish.offering.clinic.time_zone, wish.days[0], wish.days[-1])
        name = (*span, wish.offering.practitioner.ehr_id, wish.offering.treatment.code)
        together.setdefault((*span, alike[name]), []).append(wish)
        alike[name] += 1
    return together.values()


def _every_day(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _by_shelf(times: Sequence[FoundTime], by_name: Mapping[tuple[str, str], Shelf]) -> dict[Shelf, list[FoundTime]]:
    found: dict[tuple[str, str], list[FoundTime]] = {}
    for each in times:
        found.setdefault((each.practitioner_ehr_id, each.service_code), []).append(each)
    return {by_name[name]: own for name, own in found.items() if name in by_name}
