"""What is remembered of free times while record systems are slow: nobody is given an answer from before a change."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from domain.clinic import Clinic
from domain.endpoint import Dialect, Endpoint
from domain.offer import Offer
from domain.ports import Offering, OutageWord
from domain.practitioner import Practitioner
from domain.slot import FoundTime, Span
from domain.timing import Timing
from domain.treatment import Treatment
from domain.usecases.free_times import FreeTimes, Told, Wish, shelf_of
from domain.usecases.visits import wanted_of
from integrations.clock import SystemClock
from integrations.fhir.ehrs import FhirEhrs
from integrations.memory.times import MemoryTimes
from integrations.sandbox.world import Role, World
from tests.fhir.conftest import WORLDS
from tests.living import until
from tests.sandbox.conftest import Installation, launch

CODE = "skin-check"
MINUTES = 45
REMEMBERS = Timing(find=60.0, fresh=timedelta(hours=1), stale=timedelta(hours=2), silence=timedelta())


@dataclass
class Wire:
    """A proxy between us and a record system that can keep answers back, and cut calls that name somebody."""

    upstream: int
    port: int = 0
    holding: bool = False
    cut: str = ""
    answers: int = 0
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection("127.0.0.1", self.upstream)
        back = asyncio.ensure_future(self._back(there, writer, held=self.holding))
        with suppress(ConnectionError, asyncio.CancelledError):  # the test is over
            while (asked := await reader.read(65_536)) and not self._is_cut(asked):
                to_there.write(asked)
        for each in (to_there, writer):
            each.close()
        await back

    async def _back(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        with suppress(ConnectionError):
            while told := await there.read(1_000_000):
                self.answers += told.startswith(b"HTTP/")
                if held:
                    await self.let_go.wait()
                writer.write(told)

    def _is_cut(self, asked: bytes) -> bool:
        return bool(self.cut) and (self.cut.encode() in asked or self.cut.replace(":", "%3A").encode() in asked)

    async def has_answered(self, count: int) -> None:
        async def look() -> bool | None:
            return self.answers >= count or None

        await until(look)


@dataclass
class Place:
    """A record system behind the wire, and one process's memory of what it tells."""

    ehr: Installation
    wire: Wire
    world: World
    endpoint: Endpoint
    cache: MemoryTimes
    ehrs: FhirEhrs
    free: FreeTimes

    @property
    def roles(self) -> list[Role]:
        return [role for role in self.world.roles if CODE in role.treatments]

    @property
    def days(self) -> list[date]:
        first = datetime.now(self.world.zone).date() + timedelta(days=2)
        return [first + timedelta(days=n) for n in range(7)]

    def wish(self, role: Role) -> Wish:
        return Wish(offering=offering(self.world, role), days=self.days)

    async def ask(self, *roles: Role) -> Told:
        return await self.free(self.endpoint, [self.wish(role) for role in roles])

    async def first_free(self, role: Role) -> FoundTime:
        """As the record system itself tells it, past the wire and all memory."""
        now, ehrs = datetime.now(UTC), FhirEhrs()
        direct = replace(self.endpoint, base_url=self.ehr.url)
        span = Span(start=now + timedelta(days=3), end=now + timedelta(days=8))
        found = await ehrs.at(direct).find([wanted_of(offering(self.world, role))], span, 60.0)
        await ehrs.close()
        return found.times[0]

    def ring(self, time: FoundTime) -> None:
        asked = {"role": time.practitioner_ehr_id, "start": time.start.isoformat(), "minutes": MINUTES}
        assert self.ehr.http.post("/_sandbox/phone-bookings", json=asked).status_code == 201

    async def drop(self, role: Role | None) -> None:
        practitioner = offering(self.world, role).practitioner.id if role else None
        await self.cache.drop("t", "e", practitioner)

    @property
    def calls(self) -> int:
        operation = "find" if self.endpoint.dialect is Dialect.IHE else "slot-search"
        count: int = self.ehr.get("/_sandbox/calls")["counts"].get(operation, 0)
        return count

    def starts(self, told: Told, role: Role) -> set[datetime]:
        days = told.days[shelf_of(offering(self.world, role))]
        return {time.start for each in days.values() for time in each.times}


def offering(world: World, role: Role) -> Offering:
    id = UUID(int=1 + world.roles.index(role))
    clinic = UUID(int=1000 + [each.id for each in world.clinics].index(role.clinic))
    return Offering(
        offer=Offer(
            tenant_id="t",
            id=id,
            endpoint_id="e",
            clinic_id=clinic,
            treatment_id=UUID(int=1),
            practitioner_id=id,
            duration=timedelta(minutes=MINUTES),
        ),
        clinic=Clinic(
            tenant_id="t",
            id=clinic,
            endpoint_id="e",
            ehr_id=role.clinic,
            slug=role.clinic,
            name=role.clinic,
            time_zone=world.zone.key,
        ),
        practitioner=Practitioner(
            tenant_id="t",
            id=id,
            endpoint_id="e",
            ehr_id=role.id,
            clinic_id=clinic,
            name=role.name,
            schedule_ids=(role.schedule,),
        ),
        treatment=Treatment(tenant_id="t", id=UUID(int=1), code=CODE, title={}),
    )


@asynccontextmanager
async def place_of(ehr: Installation, dialect: Dialect, timing: Timing = REMEMBERS) -> AsyncIterator[Place]:
    wire = Wire(ehr.server.port)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    endpoint = Endpoint(tenant_id="t", id="e", dialect=dialect, base_url=f"http://127.0.0.1:{wire.port}")
    cache, ehrs = MemoryTimes(), FhirEhrs()
    free = FreeTimes(cache, ehrs, SystemClock(), timing)
    ehr.http.delete("/_sandbox/calls")
    yield Place(ehr, wire, WORLDS[dialect], endpoint, cache, ehrs, free)
    wire.let_go.set()
    await ehrs.close()
    server.close()


@pytest.fixture(params=list(Dialect))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return Dialect(request.param)


@pytest.fixture
def ehr(dialect: Dialect) -> Iterator[Installation]:
    running = launch(WORLDS[dialect], now=None)
    yield running
    running.stop()


async def held_back(place: Place, roles: Sequence[Role], calls: int) -> "asyncio.Task[Told]":
    """A question that the record system has answered, but whose answer is still on its way."""
    place.wire.holding = True
    task = asyncio.create_task(place.ask(*roles))
    await place.wire.has_answered(calls)
    place.wire.holding = False
    return task


@pytest.mark.parametrize("whose", ["the practitioner's", "everybody's"])
async def test_who_asks_after_a_change_does_not_wait_for_an_answer_from_before_it(
    ehr: Installation, dialect: Dialect, whose: str
) -> None:
    async with place_of(ehr, dialect) as place:
        role = place.roles[0]
        time = await place.first_free(role)
        before = place.calls
        early = await held_back(place, [role], 1)
        place.ring(time)
        await place.drop(role if whose == "the practitioner's" else None)
        late = await place.ask(role)  # which would never come, were it the answer that is held back
        assert not early.done() and place.calls == before + 2
        assert time.start not in place.starts(late, role) != set()
        place.wire.let_go.set()
        assert time.start in place.starts(await early, role)
        again = await place.ask(role)
        assert place.calls == before + 2  # it is remembered, and what came late has not taken its place
        assert place.starts(again, role) == place.starts(late, role)


async def test_what_changed_for_one_is_asked_anew_for_that_one_alone(ehr: Installation, dialect: Dialect) -> None:
    """The others' answer, still on its way, is waited for; what it says of the one is from before the change."""
    async with place_of(ehr, dialect) as place:
        roles = place.roles[:3]
        time = await place.first_free(roles[0])
        before, at_once = place.calls, len(roles) if dialect is Dialect.IHE else 1
        early = await held_back(place, roles, at_once)
        place.ring(time)
        await place.drop(roles[0])
        late = asyncio.create_task(place.ask(*roles))
        await place.wire.has_answered(at_once + 1)
        assert not late.done()
        place.wire.let_go.set()
        told = await late
        assert place.calls == before + at_once + 1
        assert time.start not in place.starts(told, roles[0]) != set()
        for role in roles[1:]:
            assert place.starts(told, role) == place.starts(await early, role) != set()
        again = await place.ask(*roles)
        assert place.calls == before + at_once + 1
        assert [place.starts(again, role) for role in roles] == [place.starts(told, role) for role in roles]


async def test_what_is_being_asked_is_not_asked_again(ehr: Installation, dialect: Dialect) -> None:
    async with place_of(ehr, dialect) as place:
        role, other = place.roles[:2]
        first = await held_back(place, [role], 1)
        same = [asyncio.create_task(place.ask(role)) for _ in range(50)]
        more = asyncio.create_task(place.ask(role, other))
        await place.wire.has_answered(2)
        await asyncio.sleep(0)
        assert not any(each.done() for each in (*same, more))
        place.wire.let_go.set()
        answers = await asyncio.gather(first, *same, more)
        assert place.calls == 2
        assert {frozenset(place.starts(each, role)) for each in answers} == {frozenset(place.starts(answers[0], role))}
        assert place.starts(answers[0], role) and place.starts(answers[-1], other)


@pytest.mark.parametrize("dialect", [Dialect.IHE], indirect=True)
async def test_one_who_cannot_be_told_of_takes_nothing_from_the_others(ehr: Installation, dialect: Dialect) -> None:
    """An IHE system is asked for each practitioner by itself: one answer that fails leaves the others remembered."""
    async with place_of(ehr, dialect) as place:
        roles = place.roles[:4]
        place.wire.cut = roles[1].id
        told = await place.ask(*roles)
        assert told.missing and told.trouble and told.trouble.word is OutageWord.OFFLINE
        assert [bool(place.starts(told, role)) for role in roles] == [True, False, True, True]
        asked = place.calls
        others = [role for role in roles if role is not roles[1]]
        well = await place.ask(*others)
        assert (place.calls, well.missing, well.trouble) == (asked, False, None)
        place.wire.cut = ""
        whole = await place.ask(*roles)
        assert (place.calls, whole.missing, whole.trouble) == (asked + 1, False, None)
        assert all(place.starts(whole, role) for role in roles)
        assert all(place.starts(whole, role) == place.starts(told, role) for role in others)


@pytest.mark.parametrize("dialect", [Dialect.IHE], indirect=True)
async def test_one_who_has_just_not_been_told_of_is_let_be_and_the_others_are_not(
    ehr: Installation, dialect: Dialect
) -> None:
    forgetful = replace(REMEMBERS, fresh=timedelta(), stale=timedelta(), silence=timedelta(hours=1))
    async with place_of(ehr, dialect, forgetful) as place:
        roles = place.roles[:3]
        place.wire.cut = roles[1].id
        await place.ask(*roles)
        place.wire.cut = ""
        asked = place.calls
        told = await place.ask(*roles)
        assert place.calls == asked + 2
        assert told.missing and told.trouble and told.trouble.word is OutageWord.OFFLINE
        assert [bool(place.starts(told, role)) for role in roles] == [True, False, True]
