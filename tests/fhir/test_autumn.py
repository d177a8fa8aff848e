"""The hour that comes twice: a visit is at its instant, whatever the walls say."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.endpoint import Dialect
from domain.ports import Visit, Wanted
from domain.refusals import Refused, SlotTaken
from domain.slot import Span
from integrations.fhir.instants import fixed, fixed_visit
from integrations.fhir.r4 import R4
from tests.fhir.conftest import PATIENCE
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted
from tests.fhir.test_ihe import OURS, VISIT, appointment, bundle, sent, speaking

OSLO = ZoneInfo("Europe/Oslo")
WRITTEN = (
    ("2026-10-25T02:15:00+02:00", "2026-10-25T02:00:00+01:00"),
    ("2026-10-25T02:15:00+01:00", "2026-10-25T03:00:00+01:00"),
)
"""45 minutes from a quarter past two, the first time and the second."""


def at(fold: int) -> Visit:
    """As the domain has it: on the clinic's wall, in its zone."""
    start, end = (datetime.fromisoformat(each).astimezone(OSLO) for each in WRITTEN[fold])
    assert start.fold == fold and start.tzinfo is OSLO
    return replace(VISIT, start=start, end=end, reference="s")


def told(fold: int, **changes: Any) -> dict[str, Any]:
    return appointment(**{"start": WRITTEN[fold][0], "end": WRITTEN[fold][1], "meta": {"versionId": "2"}, **changes})


def slot(fold: int, **changes: Any) -> dict[str, Any]:
    kept = {"resourceType": "Slot", "id": "s", "meta": {"versionId": "1"}, "schedule": {"reference": "Schedule/k"}}
    return kept | {"status": "free", "start": WRITTEN[fold][0], "end": WRITTEN[fold][1], **changes}


@asynccontextmanager
async def plain(*said: dict[str, Any] | bytes) -> AsyncIterator[tuple[Scripted, R4]]:
    answers = [each if isinstance(each, bytes) else answer(json.dumps(each)) for each in said]
    async with scripted(*answers) as (server, client):
        yield server, R4(client=client, endpoint=endpoint_at(server.url, Dialect.R4))


@pytest.mark.parametrize("fold", [0, 1])
def test_a_fixed_time_is_the_same_instant_on_the_same_wall(fold: int) -> None:
    visit = fixed_visit(at(fold))
    assert (visit.start.isoformat(), visit.end.isoformat()) == WRITTEN[fold]
    assert visit.start == datetime.fromisoformat(WRITTEN[fold][0])
    assert visit.end - visit.start == timedelta(minutes=45)
    with pytest.raises(ValueError, match="without a zone"):
        fixed(visit.start.replace(tzinfo=None))


@pytest.mark.parametrize("fold", [0, 1])
async def test_plain_r4_books_the_hour_that_was_meant(fold: int) -> None:
    taken = slot(fold, status="busy", identifier=[OURS])
    async with plain(slot(fold), taken, told(fold, identifier=[OURS])) as (server, r4):
        booked = await r4.book(at(fold), PATIENCE)
    assert booked.start == datetime.fromisoformat(WRITTEN[fold][0])
    assert [each.method for each in server.requests] == ["GET", "PUT", "POST"]
    assert json.loads(server.requests[2].body)["start"] == ("2026-10-25T00:15:00Z", "2026-10-25T01:15:00Z")[fold]


@pytest.mark.parametrize("fold", [0, 1])
async def test_plain_r4_does_not_take_the_slot_of_the_other_hour(fold: int) -> None:
    async with plain(slot(1 - fold)) as (server, r4):
        with pytest.raises(Refused) as refused:
            await r4.book(at(fold), PATIENCE)
    assert refused.value.refusals == (SlotTaken(),)
    assert len(server.requests) == 1


@pytest.mark.parametrize("fold", [0, 1])
async def test_a_move_into_that_hour_whose_answer_was_lost_is_seen_to_be_done(fold: int) -> None:
    visit, to = replace(VISIT, ehr_id="ap:1", reference="old"), at(fold)
    before, taken = appointment(meta={"versionId": "1"}), slot(fold, status="busy", identifier=[OURS])
    gone = answer("", 404)
    async with plain(before, slot(fold), taken, answer("", 500), told(fold), gone) as (_, r4):
        moved = await r4.move(visit, to, PATIENCE)
    assert moved.start == datetime.fromisoformat(WRITTEN[fold][0])


@pytest.mark.parametrize("fold", [0, 1])
async def test_by_patient_the_visit_is_found_in_its_own_hour(fold: int) -> None:
    number = {"system": "urn:oid:2.16.578.1.12.4.1.4.1", "value": "13815512300"}
    hers = [*appointment()["participant"], {"actor": {"identifier": number}, "status": "accepted"}]
    there = [told(1 - fold, id="other", participant=hers), told(fold, participant=hers)]
    async with speaking(bundle(), bundle(*there)) as (_, ihe):
        held = await ihe.look_up(at(fold), PATIENCE)
    assert held and held.ehr_id == "ap:1"
    async with speaking(bundle(), bundle(there[0])) as (_, ihe):
        assert await ihe.look_up(at(fold), PATIENCE) is None


@pytest.mark.parametrize("fold", [0, 1])
async def test_ihe_is_sent_the_offset_of_the_hour_that_was_meant(fold: int) -> None:
    async with speaking(bundle(told(fold))) as (server, ihe):
        await ihe.book(at(fold), PATIENCE)
    new = sent(server)["appointment-resource"]
    assert (new["start"], new["end"]) == WRITTEN[fold]


@pytest.mark.parametrize("fold", [0, 1])
async def test_times_near_a_visit_in_that_hour_open_up_by_the_instant(fold: int) -> None:
    visit = at(fold)
    wanted = Wanted(
        practitioner_ehr_id=visit.practitioner_ehr_id,
        clinic_ehr_id=visit.clinic_ehr_id,
        schedule_ids=(),
        service_code=visit.service_code,
        duration=timedelta(minutes=45),
    )
    begins = [fixed(visit.end) + timedelta(minutes=n) for n in (0, 15)]
    free = [(each.isoformat(), (each + timedelta(minutes=45)).isoformat()) for each in begins]
    proposed = [told(fold, status="proposed", start=start, end=end) for start, end in free]
    day = Span(start=datetime(2026, 10, 25, tzinfo=OSLO), end=datetime(2026, 10, 26, tzinfo=OSLO))
    async with speaking(bundle(*proposed)) as (_, ihe):
        found = await ihe.find([wanted], day, PATIENCE, moving=visit)
    later = [int((time.start - fixed(visit.start)).total_seconds() / 60) for time in found.times]
    assert later == [15, 30, 45, 60]
