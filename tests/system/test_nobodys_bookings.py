"""Bookings whose patient was erased go on as times of the clinic: kept in line, and in nobody's way."""

from datetime import UTC, datetime, timedelta

from domain.booking import Booking, BookingStatus
from domain.usecases.sweep import keep_looking
from tests.api.test_own_data import ERASE, say
from tests.living import Town, in_process, sign_in
from tests.system.journey import Journey, codes, key
from tests.system.test_bringing_in_line import Bench, bench
from tests.system.watching import appointment_of, at_the_clinic


async def erased(one: Bench) -> tuple[dict[str, object], Booking]:
    """A visit that stands, and its patient gone."""
    booked = await one.journey.booked()
    answer = await say(one.journey.client, ERASE, one.journey.token or "", idempotencyKey=key())
    assert answer["erased"] and len(answer["notErased"]) == 4
    return booked, await one.booking(booked)


async def test_what_staff_do_with_a_visit_that_is_nobodys_is_taken_in(town: Town, filled_url: str) -> None:
    async with bench(town, filled_url) as one:
        booked, ours = await erased(one)
        assert (ours.patient_id, ours.status, ours.comment) == (None, BookingStatus.BOOKED, None)
        appointment = appointment_of(town.sweden, str(booked["id"]))["id"]
        at_the_clinic(town.sweden, f"appointments/{appointment}/cancel", silent=True)
        assert await one.take_in(await one.of(booked)) == []
        assert (await one.booking(booked)).status is BookingStatus.CANCELLED


async def test_looking_for_what_may_surface_harms_no_visit_that_is_nobodys(town: Town, filled_url: str) -> None:
    async with bench(town, filled_url) as one:
        booked, ours = await erased(one)
        async with one.house.use.reconcile.start_work(ours.tenant_id) as work:
            await keep_looking(work.jobs, ours, datetime.now(UTC) - timedelta(days=2))
            await work.commit()
        await one.house.use.sweep(ours.tenant_id, ours.id, ours.slot.reference)
        assert await one.house.use.reconcile() == 0
        assert appointment_of(town.sweden, str(booked["id"]))["status"] == "booked"


async def test_the_hold_that_became_nobodys_visit_shows_it_to_nobody(town: Town, sqlite_filled_url: str) -> None:
    kari, ola = await sign_in(town, "kari"), await sign_in(town, "ola")
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = Journey(client, "grunerlokka-legesenter", token=kari)
        held = (await journey.hold((await journey.slots())[0]["id"]))["hold"]
        assert (await journey.confirm(held["token"]))["booking"]
        await say(client, ERASE, kari, idempotencyKey=key())
        for stranger in (ola, await sign_in(town, "ola")):
            told = await Journey(client, "grunerlokka-legesenter", token=stranger).confirm(held["token"])
            assert (told["booking"], codes(told)) == (None, ["HOLD_NOT_FOUND"])
