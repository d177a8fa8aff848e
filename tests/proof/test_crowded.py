"""Impatience: one patient presses often, and nobody's connection is waited for by whoever holds another."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest

from domain.booking import Booking, BookingStatus
from domain.refusals import Refused
from domain.usecases.moving import moved_to
from domain.usecases.reconcile import Verdict
from tests import databases
from tests.databases import waits_for_a_lock
from tests.living import until
from tests.proof.ground import Ground, Place

PRESSES = 24
"""Three times as many as there are connections."""


@pytest.fixture
def crowded(ground: Ground, postgres_ground: str, request: pytest.FixtureRequest) -> Iterator[Place]:
    with asyncio.Runner() as runner:
        for url in databases._postgres_copy(request, postgres_ground):
            place = Place(ground, url, runner)
            place.open()
            place.run(place.know())
            yield place
            place.close()


async def pressed(place: Place, what: str) -> Counter[str]:
    """One hold, confirmed by so many requests at once, each with a key of its own."""
    patient = place.people[0]
    hold = await place.hold(patient, (await place.free("ihe"))[0])

    async def press(n: int) -> str:
        try:
            return (await place.confirm(patient, hold.id, f"{what}-{n}")).status.value
        except Refused as refused:
            return str(refused)

    return Counter(await asyncio.gather(*(press(n) for n in range(PRESSES))))


def test_many_confirmations_of_one_hold_never_wait_for_each_others_connections(crowded: Place) -> None:
    told = crowded.run(pressed(crowded, "crowd"))
    assert set(told) <= {"BOOKED", "IN_PROGRESS"} and told["BOOKED"] >= 1
    [booking] = [b for b in crowded.run(crowded.everything()) if b.status is BookingStatus.BOOKED]
    assert len(crowded.ground.numbered("ihe")[booking.id]) == 1


Writer = Callable[[Place, Booking, Booking], Awaitable[object]]


async def by_the_request(place: Place, released: Booking, moved: Booking) -> object:
    changing = place.use.cancel_booking.changing
    return await changing.settle(place.actor(place.people[0]), released, moved, action="booking.rescheduled")


async def by_the_worker(place: Place, released: Booking, moved: Booking) -> object:
    return await place.use.reconcile._write(Verdict(bookings=[released, moved], action="booking.rescheduled"))


async def settled_against_a_repeat(place: Place, write: Writer) -> None:
    """The repeat has the booking and wants the hold; whoever settles must not have the hold and want the booking."""
    patient = place.people[0]
    now, *_, later = await place.free("ihe")
    booking = await place.confirm(patient, (await place.hold(patient, now)).id, "booked")
    hold = await place.hold(patient, later, moving_booking_id=booking.id)
    asked = place.change(patient, booking, "moved", hold_id=hold.id)
    moving = await place.use.reschedule_booking._intend(place.tenant, place.actor(patient), patient, asked)
    assert moving[1] is not None
    async with place.use.reconcile.start_work(place.tenant.id) as repeat:
        await repeat.bookings.get(place.tenant.id, booking.id, lock=True)
        settling = asyncio.ensure_future(write(place, *moved_to(moving[0], moving[1])))
        await until(lambda: waits_for_a_lock(place.url))
        assert await repeat.bookings.get(place.tenant.id, hold.id, lock=True)
    await settling
    [known] = [each for each in await place.everything() if each.id == booking.id]
    assert (known.status, known.slot.start, known.asked) == (BookingStatus.BOOKED, later.start, None)


@pytest.mark.parametrize("write", [by_the_request, by_the_worker])
def test_a_change_that_is_settled_and_its_repeat_never_wait_for_each_other(crowded: Place, write: Writer) -> None:
    crowded.run(settled_against_a_repeat(crowded, write))
