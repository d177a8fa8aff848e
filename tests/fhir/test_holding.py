"""What `$hold` is sent, and how its answers are taken."""

import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.endpoint import Dialect
from domain.ports import AppointmentState, EhrUnavailable
from domain.refusals import Refused, RejectedByEhr, SlotTaken
from integrations.fhir.ihe import Ihe
from integrations.fhir.reading import SLOT_ID
from integrations.sandbox.ehr import EhrServer
from tests.fhir.conftest import PATIENCE, Lab, lab_for
from tests.fhir.scripted import answer, endpoint_at, scripted
from tests.fhir.test_ihe import CHAIR, OURS, VISIT, appointment, bundle, refusal


@pytest.fixture
async def keeping(running: list[tuple[EhrServer, threading.Thread]]) -> AsyncIterator[Lab]:
    """An installation that keeps held times; its clock stands still."""
    async for each in lab_for(Dialect.IHE, running, holds=timedelta(minutes=5)):
        yield each


async def test_a_held_time_is_kept_until_it_is_let_go_of(keeping: Lab) -> None:
    visit = await keeping.free_visit()
    kept = await keeping.ehr.hold(visit, PATIENCE)
    assert kept and not await keeping.is_free(visit)
    assert await keeping.ehr.look_up(replace(visit, ehr_id=kept), PATIENCE) is None, "nothing is booked yet"
    with pytest.raises(Refused) as refused:
        await keeping.ehr.hold(visit, PATIENCE)
    assert refused.value.refusals == (SlotTaken(),)
    for _ in range(2):
        await keeping.ehr.let_go(visit, kept, PATIENCE)
    await keeping.ehr.let_go(visit, "no/such:one", PATIENCE)
    assert await keeping.is_free(visit)


async def test_what_is_held_is_booked_under_its_id_and_then_never_let_go_of(keeping: Lab) -> None:
    visit = await keeping.free_visit()
    kept = await keeping.ehr.hold(visit, PATIENCE)
    booked = await keeping.ehr.book(replace(visit, ehr_id=kept), PATIENCE)
    assert booked.ehr_id == kept
    await keeping.ehr.let_go(visit, booked.ehr_id, PATIENCE)
    held = await keeping.ehr.look_up(visit, PATIENCE)
    assert held and held.state is AppointmentState.BOOKED


@pytest.mark.parametrize(("kind", "left"), [("lost-request", 0), ("lost-answer", 1), ("late", 0)])
async def test_no_answer_to_a_hold_is_no_refusal(keeping: Lab, kind: str, left: int) -> None:
    visit = await keeping.free_visit()
    keeping.fault(kind, "hold", times=1)
    with pytest.raises(EhrUnavailable) as outage:
        await keeping.ehr.hold(visit, PATIENCE)
    assert outage.value.sent
    assert [each["status"] for each in keeping.appointments()] == ["pending"] * left
    assert keeping.calls("hold") == 1


async def test_plain_r4_keeps_nothing(r4: Lab) -> None:
    visit = await r4.free_visit()
    assert await r4.ehr.hold(visit, PATIENCE) is None
    await r4.ehr.let_go(visit, "1", PATIENCE)
    assert await r4.is_free(visit)


async def test_a_hold_says_what_is_kept_and_not_for_whom() -> None:
    async with scripted(bundle(appointment(status="pending"))) as (server, client):
        ehr = Ihe(client=client, endpoint=replace(endpoint_at(server.url), book_parameter="appointment"))
        assert await ehr.hold(VISIT, PATIENCE) == "ap:1"
        [request] = server.requests
    assert request.target.endswith("/Appointment/$hold")
    [asked] = json.loads(request.body)["parameter"]
    sent = asked["resource"]
    assert (asked["name"], sent["status"]) == ("appointment", "proposed")
    assert sent["identifier"] == [{"system": SLOT_ID, "value": VISIT.reference}] and OURS not in sent["identifier"]
    assert len(sent["participant"]) == 2 and sent["supportingInformation"] == [json.loads(CHAIR)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (refusal("not-found"), SlotTaken),
        (refusal("invalid", 400, "Requested time slot is not available"), SlotTaken),
        (refusal("not-supported", 405), RejectedByEhr),
    ],
)
async def test_a_no_is_somebody_faster_or_a_refusal(said: bytes, expected: type) -> None:
    async with scripted(said) as (server, client):
        with pytest.raises(Refused) as refused:
            await Ihe(client=client, endpoint=endpoint_at(server.url)).hold(VISIT, PATIENCE)
    assert isinstance(refused.value.refusals[0], expected)


@pytest.mark.parametrize(
    "said", [bundle(), bundle(appointment()), bundle(appointment(status="pending", id="")), answer("", 404)]
)
async def test_an_answer_without_one_pending_appointment_is_none(said: bytes) -> None:
    async with scripted(said) as (server, client):
        with pytest.raises(EhrUnavailable):
            await Ihe(client=client, endpoint=endpoint_at(server.url)).hold(VISIT, PATIENCE)


async def test_letting_go_of_what_a_broken_server_may_still_keep_is_tried_again() -> None:
    kept = answer(json.dumps(appointment(status="pending")))
    async with scripted(kept, refusal("exception", 400)) as (server, client):
        with pytest.raises(EhrUnavailable):
            await Ihe(client=client, endpoint=endpoint_at(server.url)).let_go(VISIT, "ap:1", PATIENCE)
