"""Bookings in a unit of work: what is saved comes back, and nobody overwrites what they have not seen."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import StatementError

from domain.booking import Asked, BookingStatus, BookingStep
from domain.ports import StaleBooking
from domain.slot import Span
from integrations.store.tables_bookings import BOOKING
from tests.store.making import NOW, TENANTS, an_id, at, make_booking, make_identity

S = BookingStatus


async def put(start, *bookings) -> None:
    for booking in bookings:
        async with start(booking.tenant_id) as work:
            await work._connection.execute(insert(BOOKING).values(await work.bookings._values(booking)))
            await work.commit()


async def a_patient(start, tenant_id: str = "nord"):
    async with start(tenant_id) as work:
        patient = await work.patients.recognise(tenant_id, make_identity(), an_id("patient"))
        await work.commit()
        return patient


async def test_every_field_comes_back(start):
    patient = await a_patient(start)
    booking = make_booking(
        "full",
        status=S.BOOKED,
        version=7,
        patient_id=patient.id,
        moves_booking_id=an_id("moved"),
        any_practitioner=True,
        renewed=True,
        ehr_id="A/1",
        booked_at=NOW,
        moves_made=2,
        comment="Ræv: «ø» 🐺",
        terms_version="2026-01",
        sms_confirmation=True,
        sms_to="+4790000000",
        asked=Asked.MOVE,
        asked_at=NOW,
        check_at=NOW + timedelta(microseconds=1),
        empty_reads=1,
        failure="SLOT_TAKEN",
    )
    async with start("nord") as work:
        assert await work.bookings.hold(booking, NOW)
        await work.commit()
    async with start("nord") as work:
        assert await work.bookings.get("nord", booking.id) == booking


async def test_a_tenant_sees_only_its_own(start):
    await put(start, *(make_booking("same", tenant_id=t, comment=t) for t in TENANTS))
    for tenant_id in TENANTS:
        async with start(tenant_id) as work:
            assert (await work.bookings.get(tenant_id, an_id("same"))).comment == tenant_id
    async with start("syd") as work:
        theirs = await work.bookings.get("syd", an_id("same"))
        await work.bookings.save(theirs.becomes(S.RELEASED))
        await work.commit()
    async with start("nord") as work:
        assert (await work.bookings.get("nord", an_id("same"))).status is S.HELD


async def test_what_is_not_committed_is_gone(start):
    async with start("nord") as work:
        assert await work.bookings.hold(make_booking("lost"), NOW)
    async with start("nord") as work:
        assert await work.bookings.get("nord", an_id("lost")) is None


async def test_who_saves_second_is_told(start):
    await put(start, make_booking("one"))
    async with start("nord") as work:
        seen = await work.bookings.get("nord", an_id("one"))
        assert await work.bookings.save(seen.becomes(S.CONFIRMING))
        for late in (seen.becomes(S.RELEASED), seen.becomes(S.CONFIRMING)):
            with pytest.raises(StaleBooking):
                await work.bookings.save(late)
        await work.commit()
    async with start("nord") as work:
        assert (await work.bookings.get("nord", seen.id)).status is S.CONFIRMING


async def test_a_locked_booking_is_waited_for(start):
    await put(start, make_booking("one"))
    order: list[str] = []

    async def confirm(name: str) -> None:
        async with start("nord") as work:
            booking = await work.bookings.get("nord", an_id("one"), lock=True)
            order.append(f"{name} sees {booking.status}")
            if booking.status is S.HELD:
                await asyncio.sleep(0.05)
                await work.bookings.save(booking.becomes(S.CONFIRMING))
            await work.commit()

    await asyncio.gather(confirm("a"), confirm("b"))
    assert sorted(line.split()[-1] for line in order) == ["CONFIRMING", "HELD"]


async def test_the_patients_other_visits_are_seen_by_one_at_a_time(start):
    """Two confirms of one patient at one time, with two practitioners: the second sees the first."""
    patient = await a_patient(start)
    holds = [make_booking(f"h{n}", practitioner=f"p{n}", patient_id=patient.id) for n in range(2)]
    await put(start, *holds)
    seen: list[int] = []

    async def confirm(hold) -> None:
        async with start("nord") as work:
            others = await work.bookings.of_patient_in("nord", patient.id, hold.slot.span)
            seen.append(len(others))
            await asyncio.sleep(0.05)
            await work.bookings.save(hold.becomes(S.CONFIRMING))
            await work.commit()

    await asyncio.gather(*(confirm(hold) for hold in holds))
    assert sorted(seen) == [0, 1]


async def test_of_the_patient_only_occupying_visits_that_overlap(start):
    patient = await a_patient(start)
    assert patient == replace(await a_patient(start, "syd"), tenant_id="nord")
    mine = {"patient_id": patient.id, "status": S.BOOKED}
    await put(
        start,
        make_booking("in", **mine),
        make_booking("touching", at(10, 30), **mine),
        make_booking("hold", practitioner="p2", patient_id=patient.id),
        make_booking("gone", practitioner="p3", **{**mine, "status": S.CANCELLED}),
        make_booking("stranger's", practitioner="p4", status=S.BOOKED),
        make_booking("theirs", tenant_id="syd", **mine),
    )
    async with start("nord") as work:
        found = await work.bookings.of_patient_in("nord", patient.id, Span(start=at(10), end=at(10, 30)))
    assert [booking.reference for booking in found] == ["in"]


async def test_steps_come_back_in_order(start, engine):
    from integrations.store.booking_reads import SqlBookingReads

    await put(start, *(make_booking("one", tenant_id=t) for t in TENANTS))
    booking = make_booking("one")
    steps = [
        BookingStep(at=NOW, version=n, status=status, actor="PATIENT", start=at(10))
        for n, status in enumerate((S.HELD, S.CONFIRMING, S.BOOKED), 1)
    ]
    async with start("nord") as work:
        for step in steps:
            await work.bookings.add_step(booking, step)
        await work.commit()
    reads = SqlBookingReads(engine)
    assert await reads.steps("nord", [booking.id]) == {booking.id: steps}
    assert await reads.steps("syd", [booking.id]) == {booking.id: []}


async def test_a_time_without_a_zone_is_refused(start):
    naive = datetime(2026, 3, 3, 10, 0)  # noqa: DTZ001
    async with start("nord") as work:
        with pytest.raises(StatementError, match="without a zone"):
            await work.bookings.hold(make_booking("naive", expires_at=naive), NOW)


async def test_instants_with_other_offsets_are_the_same_instants(start):
    from zoneinfo import ZoneInfo

    there = at(10).astimezone(ZoneInfo("America/New_York"))
    async with start("nord") as work:
        assert await work.bookings.hold(make_booking("there", there), NOW)
        assert not await work.bookings.hold(make_booking("here", at(10, 15)), NOW)
        await work.commit()
