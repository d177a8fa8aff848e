"""However many want overlapping times at once: one has each of them, and nobody is told anything but yes or no."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import combinations
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from domain.booking import OCCUPYING, Booking, BookingStatus
from domain.patient import Patient
from domain.slot import Slot
from integrations.store.booking_rows import booking_of
from integrations.store.tables_bookings import BOOKING, BOOKING_STEP
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.planted import PEOPLE, SCAN
from tests.store.making import NOW, an_id, at, make_booking, make_identity
from tests.store.racing import Outcome, Racer, processes, race
from tests.store.test_bookings_guard import put

S = BookingStatus
RACERS, ROUNDS, STARTS, VISIT = 200, 4, 31, 3
"""A visit is three quarters of an hour long, and may start at every quarter."""


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with processes() as pool:
        yield pool


@dataclass
class Days:
    """The same day of two practitioners, and who wants what of it. Times are quarters since eight o'clock."""

    start: StartSqlWork
    round: int
    before: dict[UUID, Booking] = field(default_factory=dict)
    racers: list[Racer] = field(default_factory=list)

    def name(self, who: str, practitioner: int) -> str:
        return f"{who}/{practitioner}/{self.round}"

    def time(self, practitioner: int, quarter: int, quarters: int = VISIT) -> dict[str, Any]:
        begins = at(8) + timedelta(minutes=15 * quarter)
        return {"start": begins, "minutes": 15 * quarters, "practitioner": self.name("p", practitioner)}

    def slot(self, practitioner: int, quarter: int) -> Slot:
        """The practitioners have an offer each, as everywhere."""
        offer = an_id(self.name("offer", practitioner))
        return replace(make_booking("wanted", **self.time(practitioner, quarter)).slot, offer_id=offer)

    async def put(self, who: str, practitioner: int, *time: int, **more: Any) -> Booking:
        name = self.name(who, practitioner)
        booking = make_booking(name, **self.time(practitioner, *time), reference=name, **more)
        await put(self.start, booking)
        self.before[booking.id] = booking
        return booking

    def joins(self, who: str, practitioner: int, slot: Slot, **more: Any) -> None:
        self.racers.append(Racer(name=self.name(f"{who} races", practitioner), wants=slot, **more))

    async def fill(self) -> None:
        for one in (0, 1):
            for n, (quarter, quarters) in enumerate(((3, 1), (4, 2), (30, 2))):
                await self.put(f"lapsed {n}", one, quarter, quarters, expires_at=NOW)
            await self.swaps("across", one, 0, self.slot(1 - one, 0))
            await self.swaps("forwards", one, 6, self.slot(one, 8 if self.round % 2 else 7))
            await self.swaps("backwards", one, 9, self.slot(one, 7 if self.round % 2 else 11))
            # each over their own hold, which is beside their visit, and every other time over their neighbour's too
            await self.moves("down", one, (12, 15), 16 if self.round % 2 else 14)
            await self.moves("up", one, (21, 18), 17 if self.round % 2 else 19)
            await self.moves("into the lapsed", one, (24, 27), 29)
        random = Random(self.round)
        for n in range(RACERS - len(self.racers)):
            one = n % 2
            self.joins(f"visitor {n}", one, self.slot(one, random.randrange(STARTS)))
        random.shuffle(self.racers)

    async def swaps(self, who: str, practitioner: int, quarter: int, wanted: Slot) -> None:
        """A visitor who has a time and wants another."""
        own = await self.put(who, practitioner, quarter)
        self.joins(who, practitioner, wanted, replaces=own.id)

    async def moves(self, who: str, practitioner: int, times: tuple[int, int], wanted: int) -> None:
        """A patient who has a visit and a hold, and wants a time to move the visit to."""
        patient = await self.patient(self.name(who, practitioner))
        visit = await self.put(f"{who} visit", practitioner, times[0], status=S.BOOKED, patient_id=patient.id)
        await self.put(f"{who} hold", practitioner, times[1], patient_id=patient.id)
        self.joins(who, practitioner, self.slot(practitioner, wanted), patient=patient, moving=visit.id)

    async def patient(self, name: str) -> Patient:
        async with self.start("nord") as work:
            found = await work.patients.recognise("nord", make_identity(name, national_id=None), an_id(name))
            await work.commit()
            return found

    async def after(self) -> dict[UUID, Booking]:
        practitioners = [an_id(self.name("p", one)) for one in (0, 1)]
        async with raw(self.start) as connection:
            rows = await connection.execute(select(BOOKING).where(BOOKING.c.practitioner_id.in_(practitioners)))
            return {row.id: booking_of(row) for row in rows}

    async def times_lapsed(self) -> list[int]:
        """How often the history of each lapsed hold that is gone says so."""
        async with raw(self.start) as connection:
            steps = await connection.execute(select(BOOKING_STEP).where(BOOKING_STEP.c.status == S.EXPIRED))
            return list(Counter(row.booking_id for row in steps).values())


def owned(racer: Racer, before: dict[UUID, Booking]) -> set[UUID]:
    """What is in nobody's way but others'."""
    shown = {racer.replaces} if racer.replaces else set()
    patient = racer.patient.id if racer.patient else None
    return shown | {each.id for each in before.values() if patient and each.patient_id == patient}


def occupy(bookings: Sequence[Booking]) -> list[Booking]:
    return [each for each in bookings if each.status in OCCUPYING and not each.lapsed(NOW)]


def clash(one: Slot, other: Slot) -> bool:
    return one.practitioner_id == other.practitioner_id and one.span.overlaps(other.span)


def is_for(hold: Booking, racer: Racer) -> bool:
    kept = (hold.status, hold.slot.span, hold.slot.practitioner_id, hold.moves_booking_id)
    return kept == (S.HELD, racer.wants.span, racer.wants.practitioner_id, racer.moving)


def check_winners(outcomes: Sequence[Outcome], before: dict[UUID, Booking], after: dict[UUID, Booking]) -> None:
    """Each has what they wanted, and gave up the time they had; nobody else has or gave up anything."""
    won = {each.hold: each.racer for each in outcomes if each.hold}
    assert all(is_for(after[id], racer) for id, racer in won.items())
    assert {id for id in after if id not in before} == set(won)
    given_up = {id for racer in won.values() for id in owned(racer, before) if before[id].status is S.HELD}
    assert {id for id, each in after.items() if each.status is S.RELEASED} == given_up


def check_times(outcomes: Sequence[Outcome], before: dict[UUID, Booking], after: dict[UUID, Booking]) -> None:
    """No time has two winners, and whoever was refused was refused for somebody."""
    for one, other in combinations(occupy(list(after.values())), 2):
        of_one_visit = (one.moves_booking_id or one.id) == (other.moves_booking_id or other.id)
        assert of_one_visit or not clash(one.slot, other.slot), (one, other)
    occupied = {each.id: each for each in (*occupy(list(before.values())), *occupy(list(after.values())))}
    for outcome in outcomes:
        own = owned(outcome.racer, before)
        others = [each for id, each in occupied.items() if id not in own and id != outcome.hold]
        assert outcome.hold or any(clash(outcome.racer.wants, each.slot) for each in others), outcome


async def test_of_two_hundred_racers_each_time_has_one_and_nothing_fails(
    start: StartSqlWork, database_url: str, pool: ProcessPoolExecutor
) -> None:
    for number in range(ROUNDS):
        days = Days(start, number)
        await days.fill()
        outcomes = await race(pool, database_url, days.racers)
        after = await days.after()

        assert len(outcomes) == RACERS
        assert Counter(each.error for each in outcomes if each.error) == {}
        assert {each.refused for each in outcomes if not each.hold} == {"SLOT_TAKEN"}
        check_winners(outcomes, days.before, after)
        check_times(outcomes, days.before, after)
        assert set(await days.times_lapsed()) == {1}


def _says(name: str) -> None:
    logging.getLogger("domain").info("sent to %s", name)


def test_what_racers_log_in_their_processes_is_read(pool: ProcessPoolExecutor) -> None:
    pool.submit(_says, PEOPLE[0].name).result(timeout=120)
    [leak] = SCAN.taken()
    assert "in a child" in leak and PEOPLE[0].name in leak
