"""A visitor keeps one time at once, whatever times their other holds and visits have."""

from uuid import uuid4

import pytest

from domain.booking import Booking, BookingStatus
from domain.slot import Slot
from tests.proof.ground import Place


def held_now(place: Place) -> list[Booking]:
    return [each for each in place.run(place.everything()) if each.status is BookingStatus.HELD]


def visit_in_a_free_morning(place: Place) -> tuple[Booking, list[Slot]]:
    """A visit of the patient's, and the times that open up around it."""
    patient = place.people[0]
    for slot in place.run(place.free("ihe", days=5)):
        booking = place.run(place.confirm(patient, place.run(place.hold(patient, slot)).id, str(uuid4())))
        near = [each for each in place.run(place.free("ihe", days=5, moving=booking)) if overlaps(each, booking.slot)]
        if len(near) > 1:
            return booking, near
    pytest.fail("no visit can be moved by a quarter of an hour")


def overlaps(one: Slot, other: Slot) -> bool:
    return one.practitioner_id == other.practitioner_id and one.span.overlaps(other.span)


def test_a_hold_elsewhere_does_not_keep_a_visit_from_moving_over_its_own_time(place: Place) -> None:
    booking, near = visit_in_a_free_morning(place)
    patient = place.people[0]
    place.run(place.hold(patient, place.run(place.free("r4"))[0]))
    moving = place.run(place.hold(patient, near[0], moving_booking_id=booking.id))
    assert [each.id for each in held_now(place)] == [moving.id]
    moved = place.run(place.reschedule(patient, booking, moving.id, str(uuid4())))
    assert moved.slot.start == near[0].start


def test_one_that_overlaps_the_visit_and_ones_own_hold_can_be_held(place: Place) -> None:
    """The first hold is beside the visit, the second over both."""
    booking, near = visit_in_a_free_morning(place)
    patient = place.people[0]
    free = [s for s in place.run(place.free("ihe", days=5)) if s.practitioner_id == booking.slot.practitioner_id]
    pairs = [(s, n) for s in free for n in near if overlaps(s, n) and not overlaps(s, booking.slot)]
    if not pairs:
        pytest.fail("the calendar has no such pair")
    beside, over = pairs[0]
    place.run(place.hold(patient, beside))
    moving = place.run(place.hold(patient, over, moving_booking_id=booking.id))
    assert [each.id for each in held_now(place)] == [moving.id]
    assert moving.moves_booking_id == booking.id


def test_a_time_over_two_of_ones_own_holds_can_be_held(place: Place) -> None:
    """One was held before signing in, the other after."""
    patient = place.people[0]
    free = place.run(place.free("ihe", days=5))
    triples = [
        (a, b, c)
        for a in free
        for b in free
        for c in free
        if a.practitioner_id == b.practitioner_id and a.start < c.start < b.start and not overlaps(a, b)
        if overlaps(a, c) and overlaps(c, b)
    ]
    first, last, over = triples[0]
    anonymous = place.run(place.hold(None, first))
    place.run(place.hold(patient, last))
    held = place.run(place.hold(patient, over, replaces=anonymous.id))
    assert [each.id for each in held_now(place)] == [held.id]
    assert held.moves_booking_id is None
