"""A record system that can keep times keeps them for us, from everybody, and for no longer than we want them."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from domain.booking import Booking, BookingStatus
from domain.patient import Patient
from domain.ports import LET_GO, Job
from domain.refusals import RefusalCode, Refused
from domain.slot import Slot
from domain.usecases.take_hold import Taken
from tests import databases
from tests.proof.ground import BOOKING_SYSTEM, Ground, Place, copied, fill, number_on, prepared

KEPT = timedelta(minutes=30)
"""Longer than our own holds, so that what is let go of is seen to be."""

S = BookingStatus


@pytest.fixture(scope="module")
def keeping() -> Iterator[Ground]:
    yield from prepared(holds=KEPT)


@pytest.fixture(scope="module")
def template(keeping: Ground, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("holds") / "filled.db"
    shutil.copyfile(sqlite_template, path)
    databases._apart(fill(keeping, f"sqlite:///{path}", holds=True))
    return path


@pytest.fixture
def place(keeping: Ground, template: Path, tmp_path: Path) -> Iterator[Place]:
    keeping.calm()
    keeping.reset()
    with asyncio.Runner() as runner:
        place = Place(keeping, copied(template, tmp_path / "place.db"), runner)
        place.open()
        place.run(place.know())
        yield place
        place.close()


def pending(place: Place) -> list[dict[str, Any]]:
    """What the record system keeps for somebody who makes up their mind."""
    return [each for each in place.ground.ihe.get("/_sandbox/appointments") if each["status"] == "pending"]


def booked(place: Place) -> list[dict[str, Any]]:
    return [each for each in place.ground.ihe.get("/_sandbox/appointments") if each["status"] == "booked"]


def held(place: Place) -> list[Booking]:
    return [each for each in place.run(place.everything()) if each.status is S.HELD]


def asked(place: Place, operation: str = "hold") -> int:
    return int(place.ground.ihe.get("/_sandbox/calls")["counts"].get(operation, 0))


def free(place: Place, count: int = 3) -> list[Slot]:
    """Times of one practitioner, none of which overlaps another."""
    chosen: list[Slot] = []
    for slot in place.run(place.free("ihe", days=5)):
        first = chosen[0] if chosen else slot
        if slot.practitioner_id == first.practitioner_id and not (chosen and slot.start < chosen[-1].end):
            chosen.append(slot)
    return chosen[:count]


def rings(place: Place, slot: Slot) -> int:
    """Somebody rings the clinic, and wants that time: 201, or 409 where it is taken."""
    known = place.run(place.catalogue.practitioners_by_id(place.tenant.id, [slot.practitioner_id]))
    call = {"role": known[slot.practitioner_id].ehr_id, "start": slot.start.isoformat(), "minutes": 45}
    return place.ground.ihe.http.post("/_sandbox/phone-bookings", json=call).status_code


def confirm(place: Place, hold: Booking) -> Booking:
    return place.run(place.confirm(place.people[0], hold.id, str(uuid4())))


def refusal(place: Place, patient: Patient | None, slot: Slot, **more: Any) -> RefusalCode:
    with pytest.raises(Refused) as refused:
        place.run(place.hold(patient, slot, **more))
    return refused.value.refusals[0].code


def release(place: Place, hold: Booking) -> None:
    place.run(place.use.release_hold(place.tenant, place.actor(None), place.people[0], hold.id))


def now_is(place: Place, hold: Booking) -> Booking:
    return {each.id: each for each in place.run(place.everything())}[hold.id]


def passes(place: Place, span: timedelta) -> None:
    place.ground.clock.moment += span


@pytest.mark.parametrize("who", [None, 0], ids=["a-stranger", "a-patient"])
def test_a_held_time_is_nobody_elses_at_the_clinic_either(place: Place, who: int | None) -> None:
    slot = free(place)[0]
    hold = place.run(place.hold(None if who is None else place.people[who], slot))
    [kept] = pending(place)
    assert (hold.held_in_ehr, hold.ehr_id) == (True, kept["id"])
    assert number_on(kept) is None and "identifier" not in str(kept["participant"]), "nobody is told whose it is"
    assert rings(place, slot) == 409
    release(place, hold)
    place.run(place.do_jobs())
    assert pending(place) == [] and rings(place, slot) == 201


def test_what_was_held_is_booked_under_its_id(place: Place) -> None:
    hold = place.run(place.hold(None, free(place)[0]))
    booking = confirm(place, hold)
    [visit] = booked(place)
    assert (visit["id"], booking.ehr_id, number_on(visit)) == (hold.ehr_id, hold.ehr_id, booking.id)
    assert pending(place) == []


def test_a_hold_that_ended_there_first_is_as_good_as_one_of_ours_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.ground.sandbox("ihe"), "holds", timedelta(minutes=5))
    one, two, _ = free(place)
    hold = first = place.run(place.hold(None, one))
    passes(place, timedelta(minutes=6))
    assert pending(place) == []
    assert confirm(place, hold).status is S.BOOKED
    assert [number_on(each) for each in booked(place)] == [hold.id]

    hold = place.run(place.hold(place.people[0], two))
    booking = now_is(place, first)
    own = {"own_ids": (hold.id,)}
    assert two not in place.run(place.free("ihe", days=5, moving=booking, **own)), "to move there is another wish"
    passes(place, timedelta(minutes=6))
    assert place.run(place.free("ihe", days=5, **own)).count(two) == 1
    assert rings(place, two) == 201
    with pytest.raises(Refused) as refused:
        confirm(place, hold)
    assert refused.value.refusals[0].code is RefusalCode.SLOT_TAKEN


def test_another_time_is_kept_before_the_former_is_let_go(place: Place) -> None:
    one, two, _ = free(place)
    first = place.run(place.hold(None, one))
    second = place.run(place.hold(None, two, replaces=first.id))
    assert [each.id for each in held(place)] == [second.id]
    place.run(place.do_jobs())
    assert [each["id"] for each in pending(place)] == [second.ehr_id]


def test_who_changes_to_a_time_that_is_taken_there_keeps_what_they_had(place: Place) -> None:
    one, two, _ = free(place)
    first = place.run(place.hold(None, one))
    place.ground.fault("ihe", "taken", "hold")
    assert refusal(place, None, two, replaces=first.id, key="same") is RefusalCode.SLOT_TAKEN
    assert held(place) == [first]
    assert refusal(place, None, two, replaces=first.id, key="same") is RefusalCode.SLOT_TAKEN
    place.run(place.do_jobs())
    assert [each["id"] for each in pending(place)] == [first.ehr_id]
    assert confirm(place, first).status is S.BOOKED


def test_one_patient_who_holds_two_times_at_once_keeps_exactly_one_there_too(place: Place) -> None:
    times, patient = free(place, 6), place.people[0]

    async def both(one: Slot, other: Slot) -> None:
        await asyncio.gather(place.hold(patient, one), place.hold(patient, other))

    for n in range(4):
        place.run(both(times[n], times[n + 1]))
        [left] = held(place)
        place.run(place.do_jobs())
        assert [each["id"] for each in pending(place)] == [left.ehr_id]
        release(place, left)
        place.run(place.do_jobs())


@pytest.mark.parametrize("kind", ["lost-request", "lost-answer", "late", "down"])
def test_a_record_system_that_does_not_answer_leaves_a_hold_of_ours(place: Place, kind: str) -> None:
    slot = free(place)[0]
    place.ground.fault("ihe", kind, "hold")
    hold = place.run(place.hold(None, slot, key="same"))
    assert (hold.status, hold.held_in_ehr, hold.ehr_id) == (S.HELD, False, None)
    assert place.run(place.hold(None, slot, key="same")) == hold
    if kind == "lost-answer":
        passes(place, KEPT - timedelta(minutes=5))  # nobody knows its id: it ends by itself
        place.run(place.use.expire_holds())
        passes(place, timedelta(minutes=5))
        hold = place.run(place.hold(None, slot))
    assert confirm(place, hold).status is S.BOOKED
    assert place.ground.ihe.http.post("/_sandbox/late").status_code in (200, 204)
    assert [number_on(each) for each in booked(place)] == [hold.id]


def test_a_hold_that_runs_out_is_let_go_of_there(place: Place) -> None:
    slot = free(place)[0]
    place.run(place.hold(None, slot))
    passes(place, timedelta(minutes=10))
    place.run(place.use.expire_holds())
    assert len(pending(place)) == 1
    place.run(place.do_jobs())
    assert pending(place) == [] and rings(place, slot) == 201


def test_letting_go_waits_for_a_record_system_that_is_down(place: Place) -> None:
    hold = place.run(place.hold(None, free(place)[0]))
    release(place, hold)
    place.ground.fault("ihe", "lost-request", "book")
    place.run(place.do_jobs())
    assert len(pending(place)) == 1
    passes(place, timedelta(seconds=10))
    place.run(place.do_jobs())
    assert pending(place) == []


def test_what_went_on_to_be_booked_is_never_let_go_of(place: Place) -> None:
    hold = place.run(place.hold(None, free(place)[0]))
    payload = {"booking_id": str(hold.id), "ehr_id": str(hold.ehr_id)}
    job = Job(tenant_id=place.tenant.id, id=uuid4(), kind=LET_GO, payload=payload, attempt=1)
    place.run(place.use.let_go.job(job))
    assert len(pending(place)) == 1, "it is held"
    confirm(place, hold)
    place.run(place.use.let_go.job(job))
    assert [each["id"] for each in booked(place)] == [hold.ehr_id]


def test_only_the_id_that_a_hold_lives_under_is_kept(place: Place) -> None:
    """What an earlier try left there under another id is nobody's."""
    one, other, *_ = free(place)
    hold, visits = place.run(place.hold(None, one)), place.use.let_go.visits
    _, ehr = place.run(visits.ehr_of(hold))
    stray = place.run(ehr.hold(place.run(visits.kept(replace(hold, slot=other, ehr_id=None))), 20))
    assert stray and {each["id"] for each in pending(place)} == {hold.ehr_id, stray}
    payload = {"booking_id": str(hold.id), "ehr_id": stray}
    place.run(place.use.let_go.job(Job(tenant_id=place.tenant.id, id=uuid4(), kind=LET_GO, payload=payload, attempt=1)))
    assert [each["id"] for each in pending(place)] == [hold.ehr_id]


def test_one_that_fails_leaves_nothing_there(place: Place) -> None:
    """The record system knows our number already, for another time."""
    one, two, _ = free(place)
    hold = place.run(place.hold(place.people[0], one))
    other = place.run(place.hold(place.people[1], two))
    place.run(place.confirm(place.people[1], other.id, str(uuid4())))
    place.ground.sandbox("ihe").calendar.appointments[other.ehr_id]["identifier"] = [
        {"system": BOOKING_SYSTEM, "value": str(hold.id)}
    ]
    with pytest.raises(Refused):
        confirm(place, hold)
    assert now_is(place, hold).status is S.FAILED and len(pending(place)) == 1
    place.run(place.do_jobs())
    assert pending(place) == []


def test_ones_own_time_is_shown_to_whoever_shows_the_hold_and_to_nobody_else(place: Place) -> None:
    slot = free(place)[0]
    hold = place.run(place.hold(None, slot))
    own = (hold.id,)
    assert slot not in place.run(place.free("ihe", days=5))
    shown = place.run(place.free("ihe", days=5, own_ids=own))
    assert shown.count(slot) == 1 and shown == sorted(shown, key=lambda each: (each.start, str(each.clinic_id)))
    assert slot in place.run(place.free("ihe", days=5, own_ids=own, any_practitioner=True))
    assert slot not in place.run(place.free("r4", days=5, own_ids=own))
    assert slot not in place.run(place.free("ihe", days=5, own_ids=own, not_before=slot.end.time()))
    assert slot not in place.run(place.free("ihe", days=5, own_ids=own, practitioner_ids=(uuid4(),)))
    assert place.run(place.hold(None, slot, replaces=hold.id)).id == hold.id, "what is shown can be held"
    passes(place, timedelta(minutes=10))
    assert slot not in place.run(place.free("ihe", days=5, own_ids=own))


def test_ones_own_time_is_of_no_other_treatment(place: Place) -> None:
    slot = free(place)[0]
    own = (place.run(place.hold(None, slot)).id,)
    other = place.run(place.catalogue.treatments_by_code(place.tenant.id, ["consultation"]))
    place.treatment = other["consultation"]
    assert slot not in place.run(place.free("ihe", days=5, own_ids=own))


def test_login_keeps_a_hold_longer_where_it_is(place: Place) -> None:
    hold = place.run(place.hold(None, free(place)[0]))
    place.run(place.use.renew_hold(place.tenant, place.actor(None), place.people[0], hold.id))
    renewed = now_is(place, hold)
    assert (renewed.renewed, renewed.held_in_ehr, renewed.ehr_id) == (True, True, hold.ehr_id)
    assert confirm(place, renewed).ehr_id == hold.ehr_id


def test_a_request_that_comes_again_asks_for_nothing_twice(place: Place) -> None:
    slot, before = free(place)[0], asked(place)
    first = place.run(place.hold(None, slot, key="same"))
    assert place.run(place.hold(None, slot, key="same")) == first
    assert asked(place) == before + 1


def test_a_time_to_move_to_is_kept_by_us_alone_and_a_held_one_can_be_moved_to(place: Place) -> None:
    one, two, three = free(place)
    patient = place.people[0]
    booking = confirm(place, place.run(place.hold(patient, one)))
    moving = place.run(place.hold(patient, two, moving_booking_id=booking.id))
    assert not moving.held_in_ehr and pending(place) == []
    plain = place.run(place.hold(patient, three))
    assert plain.held_in_ehr

    place.ground.fault("ihe", "lost-request", "book")
    with pytest.raises(Refused) as refused:
        place.run(place.reschedule(patient, booking, plain.id, "same"))
    assert refused.value.refusals[0].code is RefusalCode.UPSTREAM_UNAVAILABLE
    moved = place.run(place.reschedule(patient, booking, plain.id, "same"))
    assert (moved.slot.start, moved.status) == (three.start, S.BOOKED)
    place.run(place.do_jobs())
    assert [(each["id"], number_on(each)) for each in booked(place)] == [(booking.ehr_id, booking.id)]
    assert pending(place) == []


def test_over_ones_own_former_time_a_hold_is_ours_alone(place: Place) -> None:
    times = place.run(place.free("ihe", days=5))
    pairs = (
        (a, b) for a in times for b in times if a.practitioner_id == b.practitioner_id and a.start < b.start < a.end
    )
    one, over = next(pairs)
    place.ground.fault("ihe", "lost-request", "hold")
    first = place.run(place.hold(None, one))
    before = asked(place)
    second = place.run(place.hold(None, over, replaces=first.id))
    assert (second.held_in_ehr, asked(place)) == (False, before)
    assert [each.id for each in held(place)] == [second.id]


def test_a_hold_that_ended_while_the_record_system_was_asked_leaves_nothing_there(place: Place) -> None:
    one, two, _ = free(place)
    former = place.run(place.hold(None, two))
    place.ground.fault("ihe", "lost-request", "hold")
    hold = place.run(place.hold(None, one))
    release(place, hold)
    taken = Taken(hold=hold, asks=True, former=[former.id])
    place.run(place.use.hold_slot.hold_in_ehr(place.actor(None), taken))
    assert len(pending(place)) == 2
    place.run(place.do_jobs())
    assert [each["id"] for each in pending(place)] == [former.ehr_id]
    assert held(place) == [former]


def test_what_is_pending_there_is_no_news_of_any_booking(place: Place) -> None:
    one, two, _ = free(place)
    first = place.run(place.hold(place.people[0], one))
    second = place.run(place.hold(place.people[0], two))
    place.run(place.do_jobs())
    before = place.run(place.everything())
    passes(place, timedelta(minutes=3))
    place.run(place.use.follow_ehrs())
    assert place.run(place.everything()) == before
    assert (now_is(place, first).status, now_is(place, second).status) == (S.RELEASED, S.HELD)
    assert confirm(place, second).status is S.BOOKED
    passes(place, timedelta(minutes=3))
    place.run(place.use.follow_ehrs())
    assert now_is(place, second).status is S.BOOKED


def test_plain_r4_keeps_nothing_whatever_is_said_of_it(place: Place) -> None:
    hold = place.run(place.hold(None, place.run(place.free("r4"))[0]))
    assert (hold.status, hold.held_in_ehr) == (S.HELD, False)
    assert confirm(place, hold).status is S.BOOKED


def test_holds_that_were_let_go_are_forgotten_as_any_other(place: Place) -> None:
    hold = place.run(place.hold(None, free(place)[0]))
    release(place, hold)
    place.run(place.do_jobs())
    passes(place, timedelta(days=2))
    place.run(place.use.forget_old())
    assert hold.id not in [each.id for each in place.run(place.everything())]


def test_releasing_twice_is_no_error_and_a_booking_is_no_hold(place: Place) -> None:
    one, two, _ = free(place)
    first = place.run(place.hold(None, one))
    for _ in range(2):
        release(place, first)
    second = place.run(place.hold(None, two))
    confirm(place, second)
    with pytest.raises(Refused):
        release(place, second)
