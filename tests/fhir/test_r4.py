"""Plain R4: the Slot first, then the Appointment, and nothing left behind."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from domain.endpoint import Dialect
from domain.ports import EhrUnavailable
from domain.refusals import Refused, RejectedByEhr, SlotTaken
from integrations.fhir.r4 import R4
from tests.fhir.conftest import PATIENCE, WEEK, Lab, pair_a_quarter_apart
from tests.fhir.scripted import answer, endpoint_at, scripted
from tests.fhir.test_ihe import VISIT, appointment, refusal


async def test_a_slot_whose_answer_was_lost_is_ours_all_the_same(r4: Lab) -> None:
    visit = await r4.free_visit()
    r4.fault("lost-answer", "slot-write", times=1)
    await r4.ehr.book(visit, PATIENCE)
    assert r4.calls("slot-write") == 1
    assert len(r4.booked()) == 1


async def test_a_slot_that_did_not_answer_and_is_still_free_leaves_it_open(r4: Lab) -> None:
    visit = await r4.free_visit()
    r4.fault("down", "slot-write")
    with pytest.raises(EhrUnavailable) as outage:
        await r4.ehr.book(visit, PATIENCE)
    assert outage.value.sent
    assert r4.calls("appointment-write") == 0


async def test_nothing_was_written_when_the_slot_could_not_even_be_read(r4: Lab) -> None:
    visit = await r4.free_visit()
    r4.fault("down", "read")
    with pytest.raises(EhrUnavailable) as outage:
        await r4.ehr.book(visit, PATIENCE)
    assert not outage.value.sent
    assert r4.calls("slot-write") == 0


async def test_a_slot_without_its_appointment_is_let_go_of(r4: Lab) -> None:
    visit = await r4.free_visit()
    r4.fault("down", "appointment-write")
    with pytest.raises(EhrUnavailable):
        await r4.ehr.book(visit, PATIENCE)
    r4.heal()
    assert [each["id"] for each in r4.kept_slots(visit.booking_id)] == [visit.reference]
    await r4.ehr.abandon(visit, PATIENCE)
    assert r4.kept_slots(visit.booking_id) == []
    assert await r4.is_free(visit)


async def test_abandoning_leaves_other_peoples_slots_alone(r4: Lab) -> None:
    visit = await r4.booked_visit()
    await r4.ehr.abandon(replace(visit, booking_id=uuid4(), ehr_id=None), PATIENCE)
    assert len(r4.booked()) == 1
    assert not await r4.is_free(visit)


async def test_a_booking_goes_on_from_the_slot_it_had_taken(r4: Lab) -> None:
    visit = await r4.free_visit()
    r4.fault("down", "appointment-write", times=1)
    with pytest.raises(EhrUnavailable):
        await r4.ehr.book(visit, PATIENCE)
    await r4.ehr.book(visit, PATIENCE)
    assert len(r4.booked()) == 1


async def test_an_appointment_that_was_cancelled_before_is_no_booking_and_the_slot_is_freed(r4: Lab) -> None:
    visit = await r4.booked_visit()
    await r4.ehr.cancel(visit, PATIENCE)
    with pytest.raises(Refused) as refused:
        await r4.ehr.book(visit, PATIENCE)
    assert isinstance(refused.value.refusals[0], RejectedByEhr)
    assert r4.kept_slots(visit.booking_id) == []
    assert await r4.is_free(visit)


async def test_a_slot_that_is_gone_or_elsewhere_is_taken(r4: Lab) -> None:
    visit = await r4.free_visit()
    later = replace(visit, start=visit.start + timedelta(minutes=15), end=visit.end + timedelta(minutes=15))
    for other in (replace(visit, reference="no-such-slot"), replace(visit, reference=""), later):
        with pytest.raises(Refused) as refused:
            await r4.ehr.book(other, PATIENCE)
        assert refused.value.refusals == (SlotTaken(),)
    assert r4.calls("slot-write") == 0


async def test_what_is_cancelled_stays_cancelled_though_its_slot_could_not_be_freed(r4: Lab) -> None:
    visit = await r4.booked_visit()
    r4.fault("down", "slot-write")
    await r4.ehr.cancel(visit, PATIENCE)
    assert r4.booked() == []
    r4.heal()
    await r4.ehr.cancel(visit, PATIENCE)
    assert await r4.is_free(visit)


async def test_a_move_whose_answer_was_lost_is_seen_to_be_done(r4: Lab) -> None:
    visit = await r4.booked_visit()
    to = r4.visit((await r4.times())[-1], booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    r4.fault("lost-answer", "appointment-write", times=1)
    moved = await r4.ehr.move(visit, to, PATIENCE)
    assert moved.start == to.start
    assert [each["id"] for each in r4.kept_slots(visit.booking_id)] == [to.reference]


async def test_a_move_whose_appointment_changed_in_between_frees_the_new_slot() -> None:
    ours = [{"system": "https://itb.example/identifiers/booking", "value": str(VISIT.booking_id)}]
    to = replace(VISIT, reference="new", start=VISIT.start + timedelta(days=1), end=VISIT.end + timedelta(days=1))
    slot = {"resourceType": "Slot", "id": "new", "meta": {"versionId": "4"}, "status": "free"}
    slot |= {"schedule": {"reference": "Schedule/s"}, "start": to.start.isoformat(), "end": to.end.isoformat()}
    taken = slot | {"status": "busy", "identifier": ours, "meta": {"versionId": "5"}}
    known = appointment(meta={"versionId": "2"}, slot=[{"reference": "Slot/old"}])
    said = [known, slot, taken, None, taken, slot]
    answers = [answer(json.dumps(each)) if each else answer("", 412) for each in said]
    async with scripted(*answers) as (server, client):
        adapter = R4(client=client, endpoint=endpoint_at(server.url, Dialect.R4))
        with pytest.raises(Refused) as refused:
            await adapter.move(replace(VISIT, ehr_id="ap:1"), to, PATIENCE)
    assert isinstance(refused.value.refusals[0], RejectedByEhr)
    writes = [(each.target, each.headers["if-match"]) for each in server.requests if each.method == "PUT"]
    assert writes == [
        ("/fhir/Slot/new", 'W/"4"'),
        ("/fhir/Appointment/ap:1", 'W/"2"'),
        ("/fhir/Slot/new", 'W/"5"'),
    ]
    freed = json.loads(server.requests[-1].body)
    assert freed["status"] == "free" and "identifier" not in freed and "comment" not in freed


async def test_a_cancel_is_left_open_when_nobody_answers_the_look_after_a_no() -> None:
    known = appointment(meta={"versionId": "2"})
    async with scripted(answer(json.dumps(known), Connection="close"), answer("", 412)) as (server, client):
        server.stop_after = 2
        adapter = R4(client=client, endpoint=endpoint_at(server.url, Dialect.R4))
        with pytest.raises(EhrUnavailable) as outage:
            await adapter.cancel(replace(VISIT, ehr_id="ap:1"), PATIENCE)
    assert [each.method for each in server.requests] == ["GET", "PUT"]
    assert outage.value.sent


async def test_a_quarter_that_somebody_took_in_between_is_not_overwritten(r4: Lab) -> None:
    time, later = pair_a_quarter_apart(await r4.times())
    visit = r4.visit(time)
    visit = replace(visit, ehr_id=(await r4.ehr.book(visit, PATIENCE)).ehr_id)
    to = r4.visit(later, booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    ring = {"role": visit.practitioner_ehr_id, "start": visit.end.isoformat(), "minutes": 15}
    assert r4.admin.post("/_sandbox/phone-bookings", json=ring).status_code == 201
    r4.forget_calls()
    with pytest.raises(Refused) as refused:
        await r4.ehr.move(visit, to, PATIENCE)
    assert refused.value.refusals == (SlotTaken(),)
    assert r4.calls("slot-write") == 0


async def test_moving_within_one_slot_keeps_it(r4: Lab) -> None:
    visit = await r4.booked_visit()
    moved = await r4.ehr.move(visit, visit, PATIENCE)
    assert moved.start == visit.start
    assert [each["id"] for each in r4.kept_slots(visit.booking_id)] == [visit.reference]


async def test_nobody_without_a_schedule_is_asked_for(r4: Lab) -> None:
    wanted = [replace(each, schedule_ids=()) for each in r4.wanted()]
    found = await r4.ehr.find(wanted, WEEK, PATIENCE)
    assert found.times == [] and found.trouble is None
    assert r4.calls("slot-search") == 0


async def test_several_treatments_are_told_apart(r4: Lab) -> None:
    found = await r4.ehr.find([*r4.wanted("ear-care"), *r4.wanted("skin-check")], WEEK, PATIENCE)
    assert {time.service_code for time in found.times} == {"ear-care", "skin-check"}
    assert all(time.service_code in time.reference for time in found.times)


async def test_a_catalogue_that_fails_leaves_no_question_running() -> None:
    """A read is tried again after a pause, by when whoever asked may have closed all connections."""
    async with scripted(refusal("not-supported", 400), b"") as (server, client):
        with pytest.raises(EhrUnavailable):
            await R4(client=client, endpoint=endpoint_at(server.url, Dialect.R4)).catalogue(PATIENCE)
        running = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
    assert not [name for name in running if name.startswith("R4.")]
