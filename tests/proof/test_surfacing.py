"""What a record system does after we have stopped waiting for it is found and put right."""

from datetime import timedelta
from uuid import uuid4

import pytest

from domain.booking import Booking, BookingStatus
from domain.usecases.sweep import looks_after
from integrations.sandbox.taken import Taken
from tests.proof.ground import BOOKING_SYSTEM, MORNING, Place

S = BookingStatus
WRITE = {"ihe": "book", "r4": "appointment-write"}
both = pytest.mark.parametrize("dialect", sorted(WRITE))


def booked(place: Place, dialect: str, which: int = 0) -> Booking:
    patient = place.people[0]
    slot = place.run(place.free(dialect))[which]
    return place.run(place.confirm(patient, place.run(place.hold(patient, slot)).id, str(uuid4())))


def given_up(place: Place, dialect: str) -> Booking:
    """A booking whose request lies about in the network, and that was believed lost."""
    place.ground.fault(dialect, "late", WRITE[dialect])
    unsure = booked(place, dialect)
    assert unsure.status is S.UNKNOWN
    for _ in range(4):
        place.ground.clock.moment += timedelta(seconds=70)
        place.run(place.use.reconcile())
    failed = now_of(place, unsure)
    assert failed.status is S.FAILED
    return failed


def now_of(place: Place, booking: Booking) -> Booking:
    return next(each for each in place.run(place.everything()) if each.id == booking.id)


def arrives(place: Place, dialect: str) -> None:
    assert place.ground.ehr(dialect).http.post("/_sandbox/late").json() == {"delivered": 1}


@both
def test_a_booking_that_surfaces_late_is_cancelled_when_the_record_system_tells_of_it(
    place: Place, dialect: str
) -> None:
    failed = given_up(place, dialect)
    arrives(place, dialect)
    if dialect == "ihe":
        assert failed.id in place.ground.numbered(dialect)
    place.ground.clock.moment += timedelta(minutes=3)
    place.run(place.use.follow_ehrs())
    assert failed.id not in place.ground.numbered(dialect)
    assert failed.id not in place.ground.taken_numbers(dialect)
    assert now_of(place, failed).status is S.FAILED


@both
def test_a_booking_that_surfaces_late_is_cancelled_also_when_nobody_tells(place: Place, dialect: str) -> None:
    failed = given_up(place, dialect)
    place.ground.clock.moment += timedelta(hours=3)
    place.run(place.do_jobs())
    arrives(place, dialect)
    place.ground.clock.moment += timedelta(hours=20)
    place.run(place.do_jobs())
    assert failed.id not in place.ground.numbered(dialect)
    assert failed.id not in place.ground.taken_numbers(dialect)


def test_it_is_looked_for_often_at_first_and_a_last_time_after_a_day() -> None:
    looks = list(looks_after(MORNING))
    assert looks[0] == MORNING + timedelta(minutes=1) and looks[-1] == MORNING + timedelta(hours=24)
    waits = [after - before for before, after in zip([MORNING, *looks], looks, strict=False)]
    assert len(looks) == 12 and waits[:-1] == sorted(waits[:-1])


def test_a_time_that_a_lost_move_took_is_free_again(place: Place) -> None:
    """The Slot was taken in the booking's name after the move was believed lost; the visit stands where it stood."""
    booking = booked(place, "r4")
    patient = place.people[0]
    to = place.run(place.free("r4", moving=booking))[-1]
    hold = place.run(place.hold(patient, to, moving_booking_id=booking.id))
    place.ground.fault("r4", "late", "slot-write")
    place.run(place.reschedule(patient, booking, hold.id, str(uuid4())))
    for _ in range(4):
        place.ground.clock.moment += timedelta(seconds=70)
        place.run(place.use.reconcile())
    assert (now_of(place, booking).status, now_of(place, hold).status) == (S.BOOKED, S.FAILED)
    arrives(place, "r4")
    assert len(place.ground.taken_numbers("r4")[booking.id]) == 2
    place.ground.clock.moment += timedelta(hours=1)
    place.run(place.do_jobs())
    [kept] = place.ground.taken_numbers("r4")[booking.id]
    assert kept.start * 60 == booking.slot.start.timestamp()


def test_a_time_that_a_cancellation_could_not_free_is_freed_later(place: Place) -> None:
    booking = booked(place, "r4")
    place.ground.fault("r4", "lost-request", "slot-write")
    gone = place.run(place.cancel(place.people[0], booking, str(uuid4())))
    assert gone.status is S.CANCELLED and booking.id in place.ground.taken_numbers("r4")
    place.run(place.do_jobs())
    assert booking.id not in place.ground.taken_numbers("r4")


def test_the_time_a_visit_left_is_freed_later_where_that_could_not_be_done_at_once(place: Place) -> None:
    booking = booked(place, "r4")
    patient = place.people[0]
    to = place.run(place.free("r4", moving=booking))[-1]
    hold = place.run(place.hold(patient, to, moving_booking_id=booking.id))
    place.ground.sandbox("r4").faults.clear()
    place.ground.after_one("r4", "lost-request", "slot-write")
    moved = place.run(place.reschedule(patient, booking, hold.id, str(uuid4())))
    assert moved.slot.start == to.start and len(place.ground.taken_numbers("r4")[booking.id]) == 2
    place.run(place.do_jobs())
    [kept] = place.ground.taken_numbers("r4")[booking.id]
    assert kept.start * 60 == to.start.timestamp()


def test_a_visit_that_came_back_to_the_time_keeps_it(place: Place) -> None:
    """A job may be done twice, and the second time be late: by now the visit is where it was."""
    booking = booked(place, "r4")
    patient, home = place.people[0], booking.slot
    to = place.run(place.free("r4", moving=booking))[-1]
    hold = place.run(place.hold(patient, to, moving_booking_id=booking.id))
    moved = place.run(place.reschedule(patient, booking, hold.id, str(uuid4())))
    back = place.run(place.hold(patient, home, moving_booking_id=booking.id))
    returned = place.run(place.reschedule(patient, moved, back.id, str(uuid4())))
    assert returned.slot.start == home.start
    place.run(place.use.sweep(place.tenant.id, booking.id, home.reference))
    [kept] = place.ground.taken_numbers("r4")[booking.id]
    assert kept.start * 60 == home.start.timestamp()


def lost_move(place: Place, booking: Booking, operation: str) -> Booking:
    """A move that was believed lost; its request still lies about. Answers the hold that it was made with."""
    to = place.run(place.free("r4", moving=booking))[-1]
    hold = place.run(place.hold(place.people[0], to, moving_booking_id=booking.id))
    place.ground.fault("r4", "late", operation)
    place.run(place.reschedule(place.people[0], booking, hold.id, str(uuid4())))
    for _ in range(4):
        place.ground.clock.moment += timedelta(seconds=70)
        place.run(place.use.reconcile())
    assert now_of(place, hold).status is S.FAILED
    return hold


def test_a_time_that_the_visit_got_at_the_second_try_is_not_freed(place: Place) -> None:
    booking, patient = booked(place, "r4"), place.people[0]
    lost = lost_move(place, booking, "slot-write")
    again = place.run(place.hold(patient, lost.slot, moving_booking_id=booking.id))
    moved = place.run(place.reschedule(patient, now_of(place, booking), again.id, str(uuid4())))
    assert moved.slot.start == lost.slot.start
    place.ground.clock.moment += timedelta(hours=1)
    place.run(place.do_jobs())
    assert [each.start * 60 for each in place.ground.taken_numbers("r4")[booking.id]] == [lost.slot.start.timestamp()]


def test_a_visit_that_was_carried_off_after_all_has_its_new_time_and_not_the_old_one(place: Place) -> None:
    booking = booked(place, "r4")
    lost = lost_move(place, booking, "appointment-write")
    arrives(place, "r4")
    place.ground.clock.moment += timedelta(minutes=10)
    place.run(place.do_jobs())
    assert lost.slot.start.timestamp() in [each.start * 60 for each in place.ground.taken_numbers("r4")[booking.id]]
    place.run(place.use.follow_ehrs())
    assert now_of(place, booking).slot.start == lost.slot.start
    place.ground.clock.moment += timedelta(hours=1)
    place.run(place.do_jobs())
    assert [each.start * 60 for each in place.ground.taken_numbers("r4")[booking.id]] == [lost.slot.start.timestamp()]


def test_a_time_that_is_held_for_a_second_try_is_left_alone(place: Place) -> None:
    """Between a look and the freeing that move may take the time, and would find it given away."""
    booking, patient = booked(place, "r4"), place.people[0]
    lost = lost_move(place, booking, "slot-write")
    again = place.run(place.hold(patient, lost.slot, moving_booking_id=booking.id))
    arrives(place, "r4")
    place.ground.clock.moment += timedelta(minutes=5)
    place.run(place.do_jobs())
    assert len(place.ground.taken_numbers("r4")[booking.id]) == 2
    moved = place.run(place.reschedule(patient, now_of(place, booking), again.id, str(uuid4())))
    assert moved.slot.start == lost.slot.start


def left_taken(place: Place, booking: Booking) -> None:
    """As where staff change the Appointment, and the Slot that carries our number stays as it was."""
    calendar = place.ground.sandbox("r4").calendar
    start = int(booking.slot.start.timestamp() // 60)
    number = ({"system": BOOKING_SYSTEM, "value": str(booking.id)},)
    key = booking.slot.reference
    calendar.take(Taken(key=key, role="pr11", start=start, end=start + 45, identifier=number))


def is_taken(place: Place, booking: Booking) -> bool:
    return booking.slot.reference in [e.key for e in place.ground.sandbox("r4").calendar.everything_taken()]


def test_a_time_that_staff_left_taken_under_our_number_is_freed(place: Place) -> None:
    booking = booked(place, "r4")
    place.ground.ehr("r4").http.post(f"/_sandbox/appointments/{booking.ehr_id}/cancel")
    left_taken(place, booking)
    place.ground.clock.moment += timedelta(minutes=3)
    place.run(place.use.follow_ehrs())
    assert now_of(place, booking).status is S.CANCELLED and is_taken(place, booking)
    place.run(place.do_jobs())
    assert not is_taken(place, booking)


def test_the_time_that_staff_moved_a_visit_from_is_freed_too(place: Place) -> None:
    booking = booked(place, "r4")
    to = place.run(place.free("r4"))[-1]
    asked = {"start": to.start.isoformat()}
    assert place.ground.ehr("r4").http.post(f"/_sandbox/appointments/{booking.ehr_id}/move", json=asked).is_success
    left_taken(place, booking)
    place.ground.clock.moment += timedelta(minutes=3)
    place.run(place.use.follow_ehrs())
    assert now_of(place, booking).slot.start == to.start and is_taken(place, booking)
    place.run(place.do_jobs())
    assert not is_taken(place, booking)


def test_a_move_that_was_under_way_when_the_clinic_cancelled_leaves_nothing_taken(place: Place) -> None:
    """The new time's Slot was asked for and its request lies about; meanwhile the visit is off."""
    booking = booked(place, "r4")
    to = place.run(place.free("r4", moving=booking))[-1]
    hold = place.run(place.hold(place.people[0], to, moving_booking_id=booking.id))
    place.ground.fault("r4", "late", "slot-write")
    unsure = place.run(place.reschedule(place.people[0], booking, hold.id, str(uuid4())))
    assert unsure.asked
    place.ground.ehr("r4").http.post(f"/_sandbox/appointments/{booking.ehr_id}/cancel")
    place.ground.clock.moment += timedelta(seconds=20)
    place.run(place.use.reconcile())
    assert now_of(place, booking).status is S.CANCELLED
    arrives(place, "r4")
    assert booking.id in place.ground.taken_numbers("r4")
    place.ground.clock.moment += timedelta(hours=1)
    place.run(place.do_jobs())
    assert booking.id not in place.ground.taken_numbers("r4")


def test_a_time_is_freed_also_when_the_record_system_is_down_for_hours(place: Place) -> None:
    booking = booked(place, "r4")
    place.ground.fault("r4", "lost-request", "slot-write")
    assert place.run(place.cancel(place.people[0], booking, str(uuid4()))).status is S.CANCELLED
    place.ground.sandbox("r4").faults.add({"kind": "down"}, place.ground.sandbox("r4").calendar)
    for _ in range(30):
        place.ground.clock.moment += timedelta(minutes=20)
        place.run(place.do_jobs())
    place.ground.calm()
    place.restart()  # which has not learnt yet to leave the record system alone
    place.ground.clock.moment += timedelta(hours=1)
    place.run(place.do_jobs())
    assert not is_taken(place, booking)


def test_a_visit_of_the_patients_own_that_was_called_off_is_not_taken_for_ours(place: Place) -> None:
    """Made and cancelled by phone at that very time; what we asked for arrives late, and stands."""
    patient = place.people[0]
    slot = place.run(place.free("ihe"))[0]
    number = {"system": patient.national_id.system, "value": patient.national_id.number}
    role = place.run(place.catalogue.practitioners_by_id(place.tenant.id, [slot.practitioner_id]))[slot.practitioner_id]
    asked = {"role": role.ehr_id, "start": slot.start.isoformat(), "minutes": 45, "patient": number}
    rung = place.ground.ehr("ihe").http.post("/_sandbox/phone-bookings", json=asked).json()
    assert place.ground.ehr("ihe").http.post(f"/_sandbox/appointments/{rung['id']}/cancel").is_success
    hold = place.run(place.hold(patient, slot))
    place.ground.fault("ihe", "late", "book")
    unsure = place.run(place.confirm(patient, hold.id, str(uuid4())))
    place.ground.clock.moment += timedelta(seconds=20)
    place.run(place.use.reconcile())
    assert now_of(place, unsure).status is S.UNKNOWN
    arrives(place, "ihe")
    place.ground.clock.moment += timedelta(seconds=20)
    place.run(place.use.reconcile())
    assert now_of(place, unsure).status is S.BOOKED
