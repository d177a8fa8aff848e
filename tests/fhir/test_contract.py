"""What every adapter promises, against a record system of its dialect over HTTP."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from domain.ports import AppointmentState, EhrUnavailable, Wanted
from domain.refusals import NationalIdRequired, Refused, RejectedByEhr, SlotTaken
from domain.slot import FoundTime, Span
from tests.fhir.conftest import KARI, PATIENCE, WEEK, Lab, pair_a_quarter_apart


async def test_a_system_that_answers_says_so(lab: Lab) -> None:
    await lab.ehr.probe(PATIENCE)


async def test_the_catalogue_says_who_does_what_where(lab: Lab) -> None:
    catalogue = await lab.ehr.catalogue(PATIENCE)
    world = lab.world
    assert {each.ehr_id for each in catalogue.clinics} == set(world.clinic_by_id)
    assert {each.code for each in catalogue.treatments} <= set(world.treatment_by_code)
    expected = {(role.clinic, role.id, code) for role in world.roles for code in role.treatments}
    assert {(o.clinic_ehr_id, o.practitioner_ehr_id, o.treatment_code) for o in catalogue.offers} == expected
    assert catalogue.language == world.language


async def test_the_catalogue_carries_names_hours_lengths_and_schedules(lab: Lab) -> None:
    catalogue = await lab.ehr.catalogue(PATIENCE)
    role, clinic = lab.world.roles[0], lab.world.clinics[0]
    person = next(each for each in catalogue.practitioners if each.ehr_id == role.id)
    place = next(each for each in catalogue.clinics if each.ehr_id == clinic.id)
    lengths = {each.code: each.duration for each in catalogue.treatments}
    assert (person.name, person.title, person.schedule_ids) == (role.name, role.title, (role.schedule,))
    assert person.photo_url
    assert place.address and (place.address.city, place.address.country_code) == (clinic.city, lab.world.country)
    assert place.phone == clinic.phone.replace(" ", "") and place.position
    assert len(place.opening_hours) == 7
    assert lengths["skin-check"] == timedelta(minutes=45)


async def test_a_catalogue_is_read_to_its_last_page(lab: Lab) -> None:
    lab.set(page_size=3)
    assert len((await lab.ehr.catalogue(PATIENCE)).practitioners) == len(lab.world.roles)


async def test_free_times_are_as_long_as_asked_and_start_within_the_span(lab: Lab) -> None:
    times = await lab.times()
    assert {time.end - time.start for time in times} == {timedelta(minutes=45)}
    assert all(WEEK.start <= time.start < WEEK.end for time in times)
    assert len({(time.practitioner_ehr_id, time.start) for time in times}) == len(times)
    assert all(time.reference for time in times)


async def test_a_length_that_no_slot_has_finds_nothing(lab: Lab) -> None:
    wanted = [replace(each, duration=timedelta(minutes=40)) for each in lab.wanted()]
    found = await lab.ehr.find(wanted, WEEK, PATIENCE)
    assert found.times == [] and found.trouble is None


async def test_all_pages_are_followed(lab: Lab) -> None:
    everything = await lab.times()
    lab.set(page_size=max(2, len(everything) // 30))
    assert await lab.times() == everything


async def test_an_answer_without_total_link_or_full_url_is_understood(lab: Lab) -> None:
    lab.set(page_size=500)  # what leaves `link` out has one page only
    everything = await lab.times()
    lab.fault("sparse")
    assert await lab.times() == everything


async def test_a_booking_is_made_and_its_time_is_gone(lab: Lab) -> None:
    visit = await lab.free_visit(comment="Ringer på ved inngangen")
    booked = await lab.ehr.book(visit, PATIENCE)
    assert booked.state is AppointmentState.BOOKED
    assert (booked.start, booked.end) == (visit.start, visit.end)
    assert booked.practitioner_ehr_id == visit.practitioner_ehr_id
    [kept] = lab.booked()
    assert kept["id"] == booked.ehr_id
    assert str(visit.booking_id) in [each["value"] for each in kept["identifier"]]
    assert kept["comment"] == visit.comment
    assert not await lab.is_free(visit)


async def test_nobody_is_booked_without_a_national_number(lab: Lab) -> None:
    visit = await lab.free_visit(patient=replace(KARI, national_id=None))
    with pytest.raises(Refused) as refused:
        await lab.ehr.book(visit, PATIENCE)
    assert refused.value.refusals == (NationalIdRequired(),)


async def test_one_of_ten_patients_gets_the_slot(lab: Lab) -> None:
    visit = await lab.free_visit()
    racers = [replace(visit, booking_id=uuid4()) for _ in range(10)]
    results = await asyncio.gather(*(lab.ehr.book(each, 30) for each in racers), return_exceptions=True)
    refusals = [each.refusals for each in results if isinstance(each, Refused)]
    assert refusals == [(SlotTaken(),)] * 9
    assert len(lab.booked()) == 1


async def test_a_time_that_somebody_took_first_is_slot_taken(lab: Lab) -> None:
    visit = await lab.free_visit()
    lab.fault("taken", times=1)
    with pytest.raises(Refused) as refused:
        await lab.ehr.book(visit, PATIENCE)
    assert refused.value.refusals == (SlotTaken(),)
    assert await lab.ehr.look_up(visit, PATIENCE) is None


@pytest.mark.parametrize("kind", ["outcome-200", "outcome-200-wrapped"])
async def test_a_refusal_under_http_200_is_a_refusal(lab: Lab, kind: str) -> None:
    visit = await lab.free_visit()
    await lab.ehr.book(visit, PATIENCE)
    lab.fault(kind)
    with pytest.raises(Refused) as refused:
        await lab.ehr.book(replace(visit, booking_id=uuid4()), PATIENCE)
    assert refused.value.refusals == (SlotTaken(),)


async def test_a_booking_is_looked_up_by_its_number(lab: Lab) -> None:
    visit = await lab.free_visit()
    assert await lab.ehr.look_up(visit, PATIENCE) is None
    booked = await lab.ehr.book(visit, PATIENCE)
    assert await lab.ehr.look_up(visit, PATIENCE) == booked
    assert await lab.ehr.look_up(replace(visit, booking_id=uuid4()), PATIENCE) is None


async def test_cancelling_frees_the_time_and_may_be_repeated(lab: Lab) -> None:
    visit = await lab.booked_visit()
    await lab.ehr.cancel(visit, PATIENCE)
    await lab.ehr.cancel(visit, PATIENCE)
    held = await lab.ehr.look_up(visit, PATIENCE)
    assert held and held.state is AppointmentState.CANCELLED
    assert await lab.is_free(visit)


async def test_what_staff_cancelled_is_cancelled_already(lab: Lab) -> None:
    visit = await lab.booked_visit()
    assert lab.admin.post(f"/_sandbox/appointments/{visit.ehr_id}/cancel").status_code == 200
    await lab.ehr.cancel(visit, PATIENCE)
    with pytest.raises(Refused) as refused:
        await lab.ehr.move(visit, visit, PATIENCE)
    assert isinstance(refused.value.refusals[0], RejectedByEhr)


async def test_cancelling_what_the_record_system_does_not_know_is_refused(lab: Lab) -> None:
    visit = replace(await lab.free_visit(), ehr_id="no/such:one")
    with pytest.raises(Refused) as refused:
        await lab.ehr.cancel(visit, PATIENCE)
    assert isinstance(refused.value.refusals[0], RejectedByEhr)


async def test_a_visit_moves_to_another_time_and_its_old_one_is_free(lab: Lab) -> None:
    visit = await lab.booked_visit()
    times = await lab.times()
    to = lab.visit(times[-1], booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    moved = await lab.ehr.move(visit, to, PATIENCE)
    assert (moved.ehr_id, moved.start, moved.practitioner_ehr_id) == (visit.ehr_id, to.start, to.practitioner_ehr_id)
    assert await lab.ehr.look_up(visit, PATIENCE) == moved
    assert await lab.is_free(visit)
    assert not await lab.is_free(to)
    assert len(lab.booked()) == 1


async def test_forty_five_minutes_move_by_a_quarter_of_an_hour(lab: Lab) -> None:
    time, later = pair_a_quarter_apart(await lab.times())
    visit = lab.visit(time)
    visit = replace(visit, ehr_id=(await lab.ehr.book(visit, PATIENCE)).ehr_id)
    offered = [each for each in await lab.times(moving=visit) if _same_place(each, later)]
    assert len(offered) == 1
    to = lab.visit(offered[0], booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    moved = await lab.ehr.move(visit, to, PATIENCE)
    assert moved.start == visit.start + timedelta(minutes=15)
    assert len(lab.booked()) == 1


async def test_the_opened_time_is_found_when_only_it_is_asked_for(lab: Lab) -> None:
    time, later = pair_a_quarter_apart(await lab.times())
    visit = lab.visit(time)
    visit = replace(visit, ehr_id=(await lab.ehr.book(visit, PATIENCE)).ehr_id)
    found = await lab.find(span=Span(start=later.start, end=later.end), moving=visit)
    assert [each.start for each in found.times if _same_place(each, later)] == [later.start]
    assert all(later.start <= each.start < later.end for each in found.times)


async def test_a_move_to_a_taken_time_leaves_the_old_one_untouched(lab: Lab) -> None:
    visit = await lab.booked_visit()
    to = lab.visit((await lab.times())[-1], booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    lab.fault("taken", times=1)
    with pytest.raises(Refused) as refused:
        await lab.ehr.move(visit, to, PATIENCE)
    assert refused.value.refusals == (SlotTaken(),)
    held = await lab.ehr.look_up(visit, PATIENCE)
    assert held and (held.state, held.start) == (AppointmentState.BOOKED, visit.start)


async def test_a_lost_answer_leaves_it_open_and_the_look_up_settles_it(lab: Lab) -> None:
    visit = await lab.free_visit()
    lab.fault("lost-answer", lab.write, times=1)
    with pytest.raises(EhrUnavailable) as outage:
        await lab.ehr.book(visit, PATIENCE)
    assert outage.value.sent
    held = await lab.ehr.look_up(visit, PATIENCE)
    assert held and held.state is AppointmentState.BOOKED
    assert len(lab.booked()) == 1


async def test_a_write_is_sent_once(lab: Lab) -> None:
    visit = await lab.free_visit()
    lab.forget_calls()
    lab.fault("lost-answer", lab.write, times=1)
    with pytest.raises(EhrUnavailable):
        await lab.ehr.book(visit, PATIENCE)
    assert lab.calls(lab.write) == 1


async def test_abandoning_cancels_what_was_booked_after_all(lab: Lab) -> None:
    visit = await lab.free_visit()
    lab.fault("lost-answer", lab.write, times=1)
    with pytest.raises(EhrUnavailable):
        await lab.ehr.book(visit, PATIENCE)
    await lab.ehr.abandon(visit, PATIENCE)
    await lab.ehr.abandon(visit, PATIENCE)
    assert lab.booked() == []
    assert await lab.is_free(visit)


async def test_the_clinics_phone_number_is_told_in_e164(lab: Lab) -> None:
    assert await lab.ehr.registered_phone(KARI, PATIENCE) == "+4799900001"
    stranger = replace(KARI, national_id=replace(KARI.national_id, number="13815512999"))  # type: ignore[type-var]
    assert await lab.ehr.registered_phone(stranger, PATIENCE) is None


async def test_two_endpoints_do_not_share_a_client_and_one_endpoint_does(lab: Lab) -> None:
    other = replace(lab.endpoint, id="other")
    assert lab.ehrs.at(lab.endpoint) is lab.ehrs.at(replace(lab.endpoint))
    assert lab.ehrs.at(other) is not lab.ehrs.at(lab.endpoint)


def _same_place(time: FoundTime, other: FoundTime) -> bool:
    return (time.practitioner_ehr_id, time.start) == (other.practitioner_ehr_id, other.start)


async def test_a_quarter_of_an_hour_is_enough_to_move_by_one(lab: Lab) -> None:
    """No other visit of that length would fit behind it: what the practitioner's shorter services say counts too."""
    roles = {r.id: r for r in lab.world.roles if {"skin-check", "vaccination"} <= set(r.treatments)}
    time, later = pair_a_quarter_apart([t for t in await lab.times() if t.practitioner_ehr_id in roles])
    visit = lab.visit(time, other_services=tuple(w for w in lab.wanted("vaccination") if _is_by(w, time)))
    visit = replace(visit, ehr_id=(await lab.ehr.book(visit, PATIENCE)).ehr_id)
    behind = {"role": time.practitioner_ehr_id, "start": later.end.isoformat(), "minutes": 15}
    lab.admin.post("/_sandbox/phone-bookings", json=behind)  # refused where that time was taken before
    offered = [each for each in await lab.times(moving=visit) if _same_place(each, later)]
    assert [each.start for each in offered] == [later.start]
    to = lab.visit(offered[0], booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    assert (await lab.ehr.move(visit, to, PATIENCE)).start == later.start


async def test_tidying_frees_what_a_change_left_behind_and_nothing_else(lab: Lab) -> None:
    visit = await lab.booked_visit()
    to = lab.visit((await lab.times())[-1], booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    lab.fault("lost-answer", lab.write, times=1)
    with suppress(EhrUnavailable):
        await lab.ehr.move(visit, to, PATIENCE)
    held = await lab.ehr.look_up(visit, PATIENCE)
    assert held and held.start == to.start
    await lab.ehr.tidy(visit, PATIENCE)
    assert await lab.is_free(visit)
    assert not await lab.is_free(to)
    assert len(lab.booked()) == 1


def _is_by(wanted: Wanted, time: FoundTime) -> bool:
    return wanted.practitioner_ehr_id == time.practitioner_ehr_id
