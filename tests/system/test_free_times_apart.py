"""What is remembered of free times while clocks are set back, and of offers that are alike in all but their length."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import pytest

from domain.endpoint import Dialect
from domain.ports import Offering
from domain.usecases.free_times import FreeTimes, Wish, shelf_of
from integrations.fhir.ehrs import FhirEhrs
from integrations.memory.times import MemoryTimes
from tests.fhir.conftest import WORLDS
from tests.fhir.scripted import answer, endpoint_at, scripted
from tests.sandbox.conftest import Installation, launch
from tests.system.test_free_times import CODE, REMEMBERS, Place, offering, place_of

HOUR = timedelta(hours=1)


@dataclass
class Wall:
    """A clock that is set, and beside it the seconds that pass all the same."""

    off: timedelta = timedelta()
    passed: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off

    def seconds(self) -> float:
        return self.passed


@pytest.fixture
def ehr() -> Iterator[Installation]:
    running = launch(WORLDS[Dialect.IHE], now=None)
    yield running
    running.stop()


def by(wall: Wall, place: Place, **timing: timedelta) -> None:
    place.free = FreeTimes(place.cache, place.ehrs, wall, replace(REMEMBERS, **timing), seconds=wall.seconds)


async def test_what_was_told_before_the_clock_was_set_back_is_asked_for_again(ehr: Installation) -> None:
    wall = Wall()
    async with place_of(ehr, Dialect.IHE) as place:
        by(wall, place)
        role = place.roles[0]
        taken = await place.first_free(role)
        assert taken.start in place.starts(await place.ask(role), role)
        asked = place.calls
        await place.ask(role)
        assert place.calls == asked
        place.ring(taken)
        wall.off = -HOUR / 2  # within what counts as fresh, were it an age
        told = await place.ask(role)
        assert place.calls == asked + 1
        assert taken.start not in place.starts(told, role) != set()
        assert not told.stale and told.as_of and told.as_of <= wall.now()
        await place.ask(role)
        assert place.calls == asked + 1


async def test_a_silence_lasts_as_long_whatever_the_clock_says(ehr: Installation) -> None:
    wall = Wall()
    async with place_of(ehr, Dialect.IHE) as place:
        by(wall, place, fresh=timedelta(), stale=timedelta(), silence=timedelta(seconds=10))
        role = place.roles[0]
        place.wire.cut = role.id
        assert (await place.ask(role)).missing
        place.wire.cut = ""
        for wall.passed, wall.off, is_let_be in ((9.0, HOUR, True), (9.0, -HOUR, True), (11.0, -HOUR, False)):
            told = await place.ask(role)
            assert (told.missing, told.trouble is not None) == (is_let_be, is_let_be)


async def test_offers_that_differ_in_length_alone_have_times_of_their_own() -> None:
    world = WORLDS[Dialect.R4]
    role = next(each for each in world.roles if CODE in each.treatments)
    day = datetime.now(UTC).date() + timedelta(days=3)
    start = datetime.combine(day, time(11), UTC)
    lengths = {45: offering(world, role), 30: _as_long(offering(world, role), 30)}
    slots = [_slot(role.schedule, start, minutes) for minutes in lengths]
    told = answer(json.dumps({"resourceType": "Bundle", "entry": [{"resource": each} for each in slots]}))
    async with scripted(told) as (server, _):
        endpoint, ehrs = endpoint_at(server.url, Dialect.R4), FhirEhrs()
        free = FreeTimes(MemoryTimes(), ehrs, Wall(), REMEMBERS)
        wishes = [Wish(offering=each, days=[day]) for each in lengths.values()]
        for asked in (wishes, wishes[:1], wishes[1:]):  # at once, and from what is remembered then
            found = await free(endpoint, asked)
            assert not found.missing
            for wish in asked:
                [only] = found.days[shelf_of(wish.offering)][day].times
                assert (only.start, only.end - only.start) == (start, wish.offering.offer.duration)
        assert len(server.requests) == 2
        await ehrs.close()


def _as_long(each: Offering, minutes: int) -> Offering:
    other = replace(each.offer, id=UUID(int=77), duration=timedelta(minutes=minutes))
    return replace(each, offer=other)


def _slot(schedule: str, start: datetime, minutes: int) -> dict[str, object]:
    return {
        "resourceType": "Slot",
        "id": f"{minutes}",
        "status": "free",
        "schedule": {"reference": f"Schedule/{schedule}"},
        "start": start.isoformat(),
        "end": (start + timedelta(minutes=minutes)).isoformat(),
    }
