"""What an EHR told a moment ago is never believed over what it says now, nor over what we have written since."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api.app import House
from api.bootstrap import open_house
from api.signing import from_text
from domain.booking import Asked, Booking, BookingStatus
from domain.endpoint import Endpoint, News
from domain.ports import AppointmentState, EhrAppointment, EhrChange
from domain.slot import Span
from domain.usecases.take_in_changes import Claim
from integrations.sandbox.world_se import SWEDEN
from tests.living import Town, fill, in_process, seeds, sign_in
from tests.sandbox.conftest import Installation, launch
from tests.system.journey import Journey
from tests.system.test_notifications import everything
from tests.system.watching import appointment_of, at_the_clinic

CLINIC = "vasastans-vardcentral"


@dataclass
class Bench:
    """The use cases of a process of their own beside the API, over one database."""

    town: Town
    house: House
    journey: Journey
    endpoint: Endpoint

    async def changes(self) -> list[EhrChange]:
        """Everything of the last hours."""
        follow = self.house.use.follow_ehrs
        told = await follow.ehrs.listening(self.endpoint).changes(datetime.now(UTC) - timedelta(hours=3), 30)
        return list(told.changes)

    async def of(self, booking: dict[str, Any]) -> list[EhrChange]:
        return [c for c in await self.changes() if c.booking_id == number(booking)]

    async def take_in(self, changes: list[EhrChange], pending: list[UUID] | None = None) -> list[UUID]:
        return list(await self.house.use.follow_ehrs.take_in(self.endpoint, changes, pending or []))

    async def booking(self, booking: dict[str, Any]) -> Booking:
        return (await self.house.reads.get("nordhelse", [number(booking)]))[number(booking)]


def number(booking: dict[str, Any]) -> UUID:
    return UUID(from_text(booking["id"]).decode().partition(":")[2])


@asynccontextmanager
async def bench(town: Town, url: str) -> AsyncIterator[Bench]:
    settings = town.settings(url)
    house = open_house(settings)
    async with in_process(settings) as (client, _):
        journey = Journey(client, CLINIC, token=await sign_in(town, "astrid"))
        [endpoint] = [e for e in await house.catalogue.endpoints("nordhelse") if e.id == "malar"]
        yield Bench(town, house, journey, endpoint)
    await house.close()


async def test_a_poll_that_is_overtaken_by_the_patient_changes_nothing(town: Town, sqlite_filled_url: str) -> None:
    """It read the visit at its old time; meanwhile the patient moved it, and the EHR agrees."""
    async with bench(town, sqlite_filled_url) as one:
        slots = await one.journey.slots()
        booked = await one.journey.booked(slots[0]["id"])
        old = await one.of(booked)
        to = next(s for s in await one.journey.slots(movingBookingId=booked["id"]) if s["start"] > booked["end"])
        held = await one.journey.hold(to["id"], movingBookingId=booked["id"])
        moved = (await one.journey.reschedule(booked, held["hold"]["token"]))["booking"]
        before = await one.booking(booked)
        assert await one.take_in([c for c in old if c.appointment]) == []
        assert await one.booking(booked) == before
        assert before.slot.start == datetime.fromisoformat(moved["start"])
        await one.journey.cancel(moved)


async def test_what_was_read_before_somebody_wrote_the_booking_changes_nothing(
    town: Town, sqlite_filled_url: str
) -> None:
    async with bench(town, sqlite_filled_url) as one:
        booked = await one.journey.booked()
        read = await one.booking(booked)
        held = EhrAppointment(
            ehr_id=read.ehr_id or "",
            state=AppointmentState.CANCELLED,
            start=read.slot.span.start,
            end=read.slot.span.end,
        )
        await write(one, read)  # somebody did, in between
        take_in = one.house.use.follow_ehrs.take_in
        staff = await take_in._staff(one.endpoint)
        assert not await take_in._written(one.endpoint, staff, [Claim(booking=read, held=held)])
        assert (await one.booking(booked)).status is BookingStatus.BOOKED
        now = await one.booking(booked)
        assert await take_in._written(one.endpoint, staff, [Claim(booking=now, held=held)])
        assert (await one.booking(booked)).status is BookingStatus.CANCELLED


async def test_a_cancelled_copy_that_carries_our_number_cancels_nothing(town: Town, sqlite_filled_url: str) -> None:
    async with bench(town, sqlite_filled_url) as one:
        booked = await one.journey.booked()
        original = appointment_of(town.sweden, booked["id"])
        copy = {**{k: v for k, v in original.items() if k not in ("id", "meta")}, "status": "cancelled"}
        assert town.sweden.http.post("/Appointment", json=copy).status_code == 201
        changes = await one.of(booked)
        assert len(changes) == 2
        assert await one.take_in(changes) == []
        assert (await one.booking(booked)).status is BookingStatus.BOOKED


async def test_a_change_while_our_own_question_is_open_is_taken_in_afterwards(
    town: Town, sqlite_filled_url: str
) -> None:
    async with bench(town, sqlite_filled_url) as one:
        slots = await one.journey.slots()
        booked = await one.journey.booked(slots[0]["id"])
        open_question = replace(await one.booking(booked), asked=Asked.CANCEL, asked_at=datetime.now(UTC))
        await write(one, open_question)
        to = next(s for s in reversed(slots) if s["practitioner"] == slots[0]["practitioner"])
        appointment = appointment_of(town.sweden, booked["id"])["id"]
        at_the_clinic(town.sweden, f"appointments/{appointment}/move", start=to["start"], silent=True)
        pending = await one.take_in(await one.of(booked))
        assert pending == [number(booked)]
        await write(one, replace(open_question, version=open_question.version + 1, asked=None, asked_at=None))
        assert await one.take_in([], pending) == []
        assert (await one.booking(booked)).slot.start == datetime.fromisoformat(to["start"])


async def write(one: Bench, booking: Booking) -> None:
    async with one.house.use.release_hold.start_work(booking.tenant_id) as work:
        assert await work.bookings.save(replace(booking, version=booking.version + 1))
        await work.commit()


async def test_what_cannot_be_read_now_is_looked_at_again(town: Town, sqlite_filled_url: str) -> None:
    async with bench(town, sqlite_filled_url) as one:
        booked = await one.journey.booked()
        appointment = appointment_of(town.sweden, booked["id"])["id"]
        at_the_clinic(town.sweden, f"appointments/{appointment}/cancel", silent=True)
        changes = await one.of(booked)
        town.fault(town.sweden, "throttled", operation="read")
        assert await one.take_in(changes) == [number(booked)]
        assert (await one.booking(booked)).status is BookingStatus.BOOKED


async def test_a_thousand_changes_are_few_hints(town: Town, sqlite_filled_url: str) -> None:
    async with bench(town, sqlite_filled_url) as one:
        schedules = [role.schedule for role in SWEDEN.roles]
        before = await log_length(sqlite_filled_url)
        start = datetime(2027, 1, 4, 9, tzinfo=UTC)
        many = [
            EhrChange(
                key=f"Slot/{n}/1",
                schedule_id=schedules[n % len(schedules)],
                span=Span(start=start + timedelta(minutes=n), end=start + timedelta(minutes=n + 45)),
            )
            for n in range(1000)
        ]
        await one.take_in(many)
        assert await log_length(sqlite_filled_url) - before <= len(schedules)


async def log_length(url: str) -> int:
    return len((await everything(url))[0])


@pytest.fixture
def ahead(sqlite_url: str) -> Any:
    """A record system whose clock runs two hours ahead of ours."""
    running: Installation = launch(SWEDEN, now=lambda: datetime.now(UTC) + timedelta(hours=2))
    yield running
    running.stop()


async def test_a_clock_that_runs_ahead_there_makes_nobody_deaf_here(
    town: Town, ahead: Installation, sqlite_url: str
) -> None:
    seed = seeds(town)[0]
    endpoints = [replace(e, base_url=ahead.url, news=News.POLL) for e in seed.endpoints if e.id == "malar"]
    clinics = {key: values for key, values in seed.clinics.items() if key[0] == "malar"}
    prices = {key: value for key, value in seed.prices.items() if key[0] == "malar"}
    await fill(town, sqlite_url, replace(seed, endpoints=endpoints, clinics=clinics, prices=prices))
    house = open_house(town.settings(sqlite_url, poll_seconds=0.001, slowest_poll_seconds=0.001))
    follow = house.use.follow_ehrs
    day = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=7)
    while day.weekday() > 4:
        day += timedelta(days=1)
    heard = 0
    for role in SWEDEN.roles:
        asked = {"role": role.id, "start": day.isoformat(), "minutes": 15}
        before = await log_length(sqlite_url)
        if ahead.http.post("/_sandbox/phone-bookings", json=asked).status_code == 201:
            for _ in range(5):
                await follow()
            assert await log_length(sqlite_url) > before, role
            heard += 1
    assert heard > 1
    await house.close()
