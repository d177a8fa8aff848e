"""One patient's visits as a record system tells them, and what servers tell beside them; the same for both dialects."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.endpoint import Dialect
from domain.ports import AppointmentState, EhrUnavailable, EhrVisit
from integrations.fhir.ehrs import ADAPTERS
from integrations.fhir.visits import MOST_VISITS
from tests.fhir.conftest import KARI, NOW, PATIENCE, Lab
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted
from tests.fhir.test_ihe import OURS, VISIT, appointment, bundle, refusal

LAST_YEAR = NOW - timedelta(days=365)
WHO = {"system": "urn:oid:2.16.578.1.12.4.1.4.1", "value": "13815512300"}
SOMEBODY = WHO | {"value": "13815512999"}
STAFF = {"actor": {"reference": "PractitionerRole/B544:E472", "type": "PractitionerRole"}}
DIALECTS = pytest.mark.parametrize("dialect", Dialect)


async def of_kari(lab: Lab, since: datetime = LAST_YEAR) -> list[EhrVisit]:
    return list(await lab.ehr.visits_of(KARI, since, PATIENCE))


async def rung(lab: Lab, nth: int = 0, **more: Any) -> dict[str, Any]:
    time = (await lab.times())[nth]
    asked = {"role": time.practitioner_ehr_id, "start": time.start.isoformat(), "minutes": 45, "patient": WHO, **more}
    answered = lab.admin.post("/_sandbox/phone-bookings", json=asked)
    assert answered.status_code == 201, answered.text
    kept: dict[str, Any] = answered.json()
    return kept


async def test_what_was_booked_by_phone_is_told_with_all_it_says(lab: Lab) -> None:
    kept = await rung(lab)
    [visit] = await of_kari(lab)
    role = lab.world.role_by_id[visit.held.practitioner_ehr_id or ""]
    assert (visit.held.ehr_id, visit.held.state) == (kept["id"], AppointmentState.BOOKED)
    assert visit.held.start == datetime.fromisoformat(kept["start"])
    assert (visit.clinic_ehr_id, visit.booking_id) == (role.clinic, None)
    assert visit.created == datetime.fromisoformat(kept["created"])
    assert visit.service_code in role.treatments
    assert visit.title == lab.world.treatment_by_code[visit.service_code or ""].title
    hours = 24 if lab.endpoint.dialect is Dialect.IHE else 0
    assert visit.no_change_within == timedelta(hours=hours)
    assert visit.can_be_cancelled and visit.can_be_rescheduled


async def test_what_we_booked_is_told_with_our_number(lab: Lab) -> None:
    booked = await lab.booked_visit()
    [visit] = await of_kari(lab)
    assert (visit.booking_id, visit.held.ehr_id) == (booked.booking_id, booked.ehr_id)


async def test_what_is_over_or_off_is_told_as_that(lab: Lab) -> None:
    first, second = await rung(lab), await rung(lab, -1)
    assert lab.admin.post(f"/_sandbox/appointments/{first['id']}/cancel").status_code == 200
    lab.admin.post(f"/_sandbox/appointments/{second['id']}/outcome", json={"status": "noshow"})
    states = {each.held.ehr_id: each.held.state for each in await of_kari(lab)}
    assert states == {first["id"]: AppointmentState.CANCELLED, second["id"]: AppointmentState.NO_SHOW}


async def test_other_peoples_visits_and_earlier_ones_are_left_out(lab: Lab) -> None:
    own = await rung(lab)
    await rung(lab, -1, patient=SOMEBODY)
    await rung(lab, 60, patient=None)
    assert [each.held.ehr_id for each in await of_kari(lab)] == [own["id"]]
    assert await of_kari(lab, since=datetime.fromisoformat(own["start"]) + timedelta(minutes=1)) == []


async def test_all_pages_of_them_are_read(lab: Lab) -> None:
    kept = {(await rung(lab, nth))["id"] for nth in (0, 30, -1)}
    lab.set(page_size=1)
    assert {each.held.ehr_id for each in await of_kari(lab)} == kept


async def test_who_has_no_number_has_none_and_nobody_is_asked(lab: Lab) -> None:
    await rung(lab)
    lab.forget_calls()
    assert await lab.ehr.visits_of(replace(KARI, national_id=None), LAST_YEAR, PATIENCE) == []
    assert lab.calls("search") == 0


async def test_a_visit_that_the_clinic_made_gets_our_number_when_it_is_moved(lab: Lab) -> None:
    kept = await rung(lab)
    [told] = await of_kari(lab)
    times = [t for t in await lab.times() if t.practitioner_ehr_id == told.held.practitioner_ehr_id]
    visit = replace(lab.visit(times[0]), ehr_id=kept["id"], start=told.held.start, end=told.held.end, reference="")
    visit = replace(visit, service_code=told.service_code or "")
    to = replace(lab.visit(times[-1], booking_id=visit.booking_id, ehr_id=kept["id"]), service_code=visit.service_code)
    await lab.ehr.move(visit, to, PATIENCE)
    [moved] = await of_kari(lab)
    assert (moved.booking_id, moved.held.start) == (visit.booking_id, to.start)
    again = lab.visit((await lab.times())[-2], booking_id=visit.booking_id, ehr_id=kept["id"])
    await lab.ehr.move(to, replace(again, service_code=visit.service_code), PATIENCE)
    [kept] = lab.booked()
    assert len([each for each in kept["identifier"] if each["system"] == lab.endpoint.booking_system]) == 1


@asynccontextmanager
async def telling(dialect: Dialect, *answers: bytes) -> AsyncIterator[tuple[Scripted, Any]]:
    async with scripted(*answers) as (server, client):
        ehr = ADAPTERS[dialect](client, endpoint_at(server.url, dialect))
        yield server, lambda: ehr.visits_of(KARI, LAST_YEAR, PATIENCE)


def visit_of(*patients: dict[str, Any], **more: Any) -> dict[str, Any]:
    return appointment(participant=[STAFF, *({"actor": each} for each in patients)], **more)


def patient(id: str, **identifier: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, "identifier": [identifier]}


@DIALECTS
@pytest.mark.parametrize(
    "actors",
    [
        [{"identifier": SOMEBODY}],
        [{"identifier": SOMEBODY, "type": "Patient"}],
        [{"identifier": WHO}, {"identifier": SOMEBODY}],
        [{"identifier": WHO, "type": "RelatedPerson"}],
        [{"identifier": WHO, "type": "RelatedPerson"}, {"identifier": SOMEBODY, "type": "Patient"}],
        [{"identifier": WHO, "type": "Practitioner"}],
        [{"identifier": WHO, "reference": "Practitioner/7"}],
        [{"identifier": {"system": "urn:records", "value": WHO["value"]}, "type": "Patient"}],
        [{"display": KARI.name, "type": "Patient"}],
        [],
    ],
    ids=[
        *("somebody else", "a patient who is somebody else", "two people", "next of kin", "a child's parent"),
        *("the doctor", "the doctor by reference", "another register", "a namesake", "nobody"),
    ],
)
async def test_a_visit_that_does_not_show_to_be_the_patients_is_left_out(
    dialect: Dialect, actors: list[dict[str, Any]]
) -> None:
    """Some servers ignore what they are asked for, and answer with everybody's."""
    own = visit_of({"identifier": WHO}, id="own")
    async with telling(dialect, bundle(visit_of(*actors, id="other"), own)) as (_, visits):
        assert [each.held.ehr_id for each in await visits()] == ["own"]


@DIALECTS
async def test_a_patient_by_reference_is_known_by_what_the_server_says_of_its_number(dialect: Dialect) -> None:
    mine, theirs = visit_of({"reference": "Patient/1"}, id="mine"), visit_of({"reference": "Patient/2"}, id="theirs")
    known = bundle(patient("1", **WHO), patient("2", **SOMEBODY))
    async with telling(dialect, bundle(mine, theirs), known) as (server, visits):
        assert [each.held.ehr_id for each in await visits()] == ["mine"]
    assert [each.target for each in server.requests] == ["/fhir/Appointment/_search", "/fhir/Patient/_search"]


@DIALECTS
@pytest.mark.parametrize(
    "known", [bundle(), bundle(patient("2", **WHO)), bundle(patient("1", **SOMEBODY)), refusal("not-supported", 400)]
)
async def test_a_patient_by_reference_whose_number_nobody_tells_is_left_out(dialect: Dialect, known: bytes) -> None:
    async with telling(dialect, bundle(visit_of({"reference": "Patient/1"})), known) as (_, visits):
        assert await visits() == []


@DIALECTS
async def test_a_reference_to_another_server_is_no_patient_of_this_one(dialect: Dialect) -> None:
    away = visit_of({"reference": "https://elsewhere.example/fhir/Patient/1"})
    async with telling(dialect, bundle(away), bundle(patient("1", **WHO))) as (_, visits):
        assert await visits() == []


@DIALECTS
async def test_a_number_of_somebody_else_is_not_made_good_by_a_reference(dialect: Dialect) -> None:
    torn = visit_of({"reference": "Patient/1", "identifier": SOMEBODY})
    async with telling(dialect, bundle(torn), bundle(patient("1", **WHO))) as (_, visits):
        assert await visits() == []


@DIALECTS
async def test_proposals_requests_and_what_cannot_be_read_hide_nothing(dialect: Dialect) -> None:
    who = {"identifier": WHO}
    told = [visit_of(who, id=status, status=status) for status in ("proposed", "pending", "waitlist")]
    odd = [visit_of(who, id="odd", status="unheard-of"), visit_of(who, id="timeless", start=None), {"id": 7}]
    async with telling(dialect, bundle(*told, *odd, visit_of(who, id="own"))) as (_, visits):
        assert [each.held.ehr_id for each in await visits()] == ["own"]


@DIALECTS
async def test_words_of_the_record_system_come_without_markup(dialect: Dialect) -> None:
    concepts = [{"text": "<b>Kontroll</b> &lt;i&gt;6&lt;/i&gt;&nbsp;mnd "}, {"coding": [{"display": "under 5 < 6 år"}]}]
    async with telling(dialect, bundle(visit_of({"identifier": WHO}, serviceType=concepts))) as (_, visits):
        [visit] = await visits()
    assert (visit.title, visit.service_code) == ("Kontroll 6 mnd, under 5 < 6 år", None)


@DIALECTS
async def test_what_the_record_system_lets_nobody_change_is_told(dialect: Dialect) -> None:
    connect = "http://canonical.fhir.link/servicewell/wof-connect/StructureDefinition"
    update = [{"url": "canBeCancelled", "valueBoolean": False}, {"url": "canBeRescheduled", "valueBoolean": True}]
    limit = [{"url": "scheduling", "extension": [{"url": "minChangeHours", "valueInteger": 48}]}]
    extension = [
        {"url": f"{connect}/wofconnect-appointment-update", "extension": update},
        {"url": f"{connect}/wofconnect-characteristic", "extension": limit},
    ]
    more = {"extension": extension, "created": "2026-11-20T09:30:00+01:00", "identifier": [OURS]}
    async with telling(dialect, bundle(visit_of({"identifier": WHO}, **more))) as (_, visits):
        [visit] = await visits()
    assert (visit.can_be_cancelled, visit.can_be_rescheduled) == (False, True)
    assert visit.no_change_within == timedelta(hours=48)
    assert visit.created == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    assert visit.booking_id == VISIT.booking_id


@DIALECTS
@pytest.mark.parametrize("created", ["2026-11-20", "2026", "yesterday", "2026-11-20T09:30:00"])
async def test_a_day_is_no_moment_of_booking(dialect: Dialect, created: str) -> None:
    async with telling(dialect, bundle(visit_of({"identifier": WHO}, created=created))) as (_, visits):
        [visit] = await visits()
    assert visit.created is None


@DIALECTS
async def test_a_life_full_of_visits_is_cut_and_that_is_logged(
    dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    many = [visit_of({"identifier": WHO}, id=f"ap{n}") for n in range(MOST_VISITS + 20)]
    with caplog.at_level(logging.WARNING):
        async with telling(dialect, bundle(*many)) as (_, visits):
            assert len(await visits()) == MOST_VISITS
    assert "left out" in caplog.text and WHO["value"] not in caplog.text


@DIALECTS
@pytest.mark.parametrize("no", [refusal("not-supported", 400), answer("", 503), answer("no json")])
async def test_a_server_that_cannot_be_asked_is_silent_not_empty(dialect: Dialect, no: bytes) -> None:
    async with telling(dialect, no) as (_, visits):
        with pytest.raises(EhrUnavailable):
            await visits()
