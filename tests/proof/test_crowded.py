"""Impatience: one patient presses often, and nobody's connection is waited for by whoever holds another."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest

from domain.booking import BookingStatus
from domain.refusals import Refused
from tests import databases
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
