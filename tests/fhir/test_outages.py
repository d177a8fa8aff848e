"""When record systems are slow, silent, down or gone: answers in time, and nothing claimed that is not certain."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.endpoint import Endpoint
from domain.ports import AppointmentState, Ehr, EhrUnavailable, Outage, OutageWord, Visit
from integrations.fhir.ehrs import FhirEhrs
from tests.fhir.conftest import KARI, NOW, PATIENCE, WEEK, Lab

SHORT = 0.4
MARGIN = 9.0
"""For a busy machine; a hung server would take for ever."""

READS: dict[str, Callable[[Ehr, Visit], Awaitable[object]]] = {
    "catalogue": lambda ehr, visit: ehr.catalogue(SHORT),
    "probe": lambda ehr, visit: ehr.probe(SHORT),
    "look_up": lambda ehr, visit: ehr.look_up(visit, SHORT),
    "registered_phone": lambda ehr, visit: ehr.registered_phone(KARI, SHORT),
}
WRITES: dict[str, Callable[[Ehr, Visit], Awaitable[object]]] = {
    "book": lambda ehr, visit: ehr.book(visit, SHORT),
    "move": lambda ehr, visit: ehr.move(visit, visit, SHORT),
    "cancel": lambda ehr, visit: ehr.cancel(visit, SHORT),
}


@pytest.mark.parametrize("kind", ["hang", "hang-in-body"])
@pytest.mark.parametrize("name", READS)
async def test_a_read_ends_at_its_deadline(lab: Lab, kind: str, name: str) -> None:
    visit = await lab.free_visit()
    lab.fault(kind)
    began = time.monotonic()
    with pytest.raises(EhrUnavailable) as outage:
        await READS[name](lab.ehr, visit)
    assert time.monotonic() - began < SHORT + MARGIN
    assert outage.value.outage is Outage.TIMEOUT


@pytest.mark.parametrize("kind", ["hang", "hang-in-body"])
async def test_a_find_ends_at_its_deadline_and_says_so(lab: Lab, kind: str) -> None:
    lab.fault(kind)
    began = time.monotonic()
    found = await lab.find(deadline=SHORT)
    assert time.monotonic() - began < SHORT + MARGIN
    assert found.times == []
    assert found.trouble and found.trouble.outage is Outage.TIMEOUT


async def test_what_was_found_before_a_later_page_hung_is_kept(lab: Lab) -> None:
    lab.set(page_size=5)
    lab.fault("hang-between-pages")
    found = await lab.find(deadline=1.5)
    assert found.times
    assert found.trouble and found.trouble.outage is Outage.TIMEOUT


async def test_a_slow_answer_within_the_deadline_is_an_answer(lab: Lab) -> None:
    lab.fault("slow", lab.search, seconds=0.3)
    assert (await lab.find()).trouble is None


async def test_an_answer_after_the_deadline_is_none(lab: Lab) -> None:
    lab.fault("slow", lab.search, seconds=PATIENCE)
    found = await lab.find(deadline=SHORT)
    assert found.trouble and found.trouble.outage is Outage.TIMEOUT


async def test_a_system_that_is_down_is_offline(lab: Lab) -> None:
    visit = await lab.free_visit()
    lab.fault("down")
    found = await lab.find()
    assert found.times == [] and found.trouble and found.trouble.outage is Outage.OFFLINE
    for read in READS.values():
        with pytest.raises(EhrUnavailable) as outage:
            await read(lab.ehr, visit)
        assert outage.value.outage is Outage.OFFLINE


async def test_a_throttled_call_says_when_to_come_back(lab: Lab) -> None:
    lab.fault("throttled", lab.search)
    found = await lab.find()
    assert found.trouble and found.trouble.retry_after == timedelta(seconds=60)


@pytest.mark.parametrize("kind", ["down", "hang", "hang-in-body", "lost-answer"])
async def test_a_write_without_an_answer_may_have_happened(lab: Lab, kind: str) -> None:
    visit = await lab.free_visit()
    lab.fault(kind, lab.write)
    began = time.monotonic()
    with pytest.raises(EhrUnavailable) as outage:
        await lab.ehr.book(visit, 1.0)
    assert time.monotonic() - began < 1.0 + MARGIN
    assert outage.value.sent


async def test_a_cancel_without_an_answer_is_found_cancelled(lab: Lab) -> None:
    visit = await lab.booked_visit()
    lab.fault("hang-in-body", lab.write, times=1)
    with pytest.raises(EhrUnavailable) as outage:
        await lab.ehr.cancel(visit, 1.0)
    assert outage.value.sent
    held = await lab.ehr.look_up(visit, PATIENCE)
    assert held and held.state is AppointmentState.CANCELLED
    await lab.ehr.cancel(visit, PATIENCE)
    assert await lab.is_free(visit)


async def test_a_move_that_was_not_done_leaves_the_old_time(lab: Lab) -> None:
    visit = await lab.booked_visit()
    to = lab.visit((await lab.times())[-1], booking_id=visit.booking_id, ehr_id=visit.ehr_id)
    lab.fault("down", lab.write)
    with pytest.raises(EhrUnavailable) as outage:
        await lab.ehr.move(visit, to, PATIENCE)
    assert outage.value.sent
    held = await lab.ehr.look_up(visit, PATIENCE)
    assert held and held.start == visit.start


@pytest.mark.parametrize("name", ["move", "cancel"])
async def test_a_change_whose_look_before_failed_was_surely_not_sent(lab: Lab, name: str) -> None:
    visit = await lab.booked_visit()
    lab.fault("down", "read")
    lab.fault("down", "search")
    with pytest.raises(EhrUnavailable) as outage:
        await WRITES[name](lab.ehr, visit)
    assert not outage.value.sent
    lab.heal()
    assert [each["status"] for each in lab.appointments()] == ["booked"]


@pytest.mark.parametrize("name", [*READS, *WRITES])
async def test_nothing_was_sent_to_a_port_where_nobody_listens(lab: Lab, name: str) -> None:
    visit = await lab.booked_visit()
    ehrs = FhirEhrs()
    with pytest.raises(EhrUnavailable) as outage:
        await {**READS, **WRITES}[name](ehrs.at(_unreachable(lab.endpoint)), visit)
    assert outage.value.outage is Outage.OFFLINE
    assert not outage.value.sent
    await ehrs.close()


async def test_a_find_at_a_closed_port_is_trouble_and_no_exception(lab: Lab) -> None:
    ehrs = FhirEhrs()
    found = await ehrs.at(_unreachable(lab.endpoint)).find(lab.wanted(), WEEK, SHORT)
    assert found.times == [] and found.trouble and found.trouble.outage is Outage.OFFLINE
    await ehrs.close()


async def test_waiting_for_a_turn_counts_and_what_never_had_its_turn_was_not_sent(lab: Lab) -> None:
    visit = await lab.free_visit()
    lab.set(max_concurrency=1)
    lab.fault("hang", "patient")
    busy = asyncio.create_task(lab.ehr.registered_phone(KARI, PATIENCE))
    while not lab.calls("patient") and not busy.done():  # noqa: ASYNC110 - told over HTTP, not by an event
        await asyncio.sleep(0.01)
    began = time.monotonic()
    with pytest.raises(EhrUnavailable) as outage:
        await lab.ehr.book(visit, SHORT)
    assert time.monotonic() - began < SHORT + MARGIN
    assert (outage.value.outage, outage.value.sent) == (Outage.TIMEOUT, False)
    assert outage.value.word is OutageWord.BUSY
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)


async def test_never_more_calls_at_once_than_the_endpoint_bears(ihe: Lab) -> None:
    ihe.set(max_concurrency=3)
    ihe.fault("slow", "find", seconds=0.1)
    assert (await ihe.find("consultation")).trouble is None
    assert ihe.calls("find", "max_concurrent") == 3


async def test_the_fan_out_runs_side_by_side(ihe: Lab) -> None:
    ihe.set(max_concurrency=16)
    ihe.fault("slow", "find", seconds=0.5)
    await ihe.find("consultation")
    assert ihe.calls("find", "max_concurrent") >= 8


async def test_the_find_operation_is_called_once_for_each_practitioner(ihe: Lab) -> None:
    ihe.set(page_size=500)
    twenty = (ihe.wanted("consultation") + ihe.wanted("skin-check") + ihe.wanted("ear-care"))[:20]
    assert len(twenty) == 20
    await ihe.ehr.find([*twenty, *twenty], WEEK, PATIENCE)
    assert ihe.calls("find") == 20


async def test_one_slot_search_serves_all_practitioners(r4: Lab) -> None:
    r4.set(page_size=1000)
    found = await r4.find("consultation")
    assert len({each.practitioner_ehr_id for each in found.times}) >= 8
    assert r4.calls("slot-search") == 1


async def test_one_failing_practitioner_does_not_spoil_the_others(ihe: Lab) -> None:
    everything = {time.practitioner_ehr_id for time in await ihe.times()}
    ihe.set(max_concurrency=1)  # so that the second attempt meets the second fault
    ihe.fault("down", "find", times=2)
    found = await ihe.find()
    assert len({time.practitioner_ehr_id for time in found.times}) == len(everything) - 1
    assert found.trouble


async def test_far_from_the_visit_moving_it_costs_no_further_call(r4: Lab) -> None:
    visit = await r4.booked_visit()
    r4.set(page_size=1000)
    r4.forget_calls()
    later = replace(WEEK, start=NOW + timedelta(days=4))
    await r4.find(span=later, moving=visit)
    assert r4.calls("slot-search") == 1


def _unreachable(endpoint: Endpoint) -> Endpoint:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return replace(endpoint, base_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
