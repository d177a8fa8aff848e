"""Whether EHRs answer: told to however many ask, and asked of the EHR once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domain.availability import SourceState, SourceStatus
from domain.catalogue import Seed
from domain.endpoint import Endpoint
from domain.ports import EhrUnavailable
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases import see_sources
from domain.usecases.see_sources import SeeSources
from integrations.clock import SystemClock
from integrations.fhir.ehrs import FhirEhrs
from integrations.store.catalogue import SqlCatalogue
from integrations.store.engine import open_engine
from integrations.store.migrate import upgrade
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.fhir.conftest import PATIENCE
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted

GOOD = answer("{}")
SILENT = b"HTTP/1.1 200 OK\r\n"


class Town:
    """A catalogue with one EHR, and that EHR."""

    def __init__(self, ehr: Scripted, catalogue: SqlCatalogue, endpoint: Endpoint) -> None:
        self.ehr, self.catalogue, self.endpoint = ehr, catalogue, endpoint
        self.ehrs = FhirEhrs()
        self.see = self.asking(PATIENCE)

    def asking(self, look_up: float) -> SeeSources:
        return SeeSources(catalogue=self.catalogue, ehrs=self.ehrs, clock=SystemClock(), timing=Timing(look_up=look_up))

    async def source(self) -> SourceStatus:
        return (await self.see("t", ["e"]))["e"]


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    url = f"sqlite:///{tmp_path / 'itb.db'}"
    await upgrade(url)
    engine = open_engine(url)
    async with scripted(GOOD) as (ehr, _):
        endpoint = endpoint_at(ehr.url)
        async with StartSqlWork(engine, Sealing("s" * 32), SystemClock())("t") as work:
            tenant = Tenant(id="t", slug="t", name="T")
            await work.catalogue.put_seed(Seed(tenant=tenant, endpoints=[endpoint], areas=[]))
            await work.commit()
        town = Town(ehr, SqlCatalogue(engine), endpoint)
        yield town
        await town.ehrs.close()
    await engine.dispose()


@pytest.fixture
def never_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(see_sources, "FRESH", timedelta())


async def test_a_system_that_answers_is_ok_as_of_now(town: Town) -> None:
    began = datetime.now(UTC)
    source = await town.source()
    assert (source.state, source.reason, source.retry_after) == (SourceState.OK, None, None)
    assert source.as_of and began <= source.as_of <= datetime.now(UTC)


async def test_a_system_that_has_just_answered_anything_is_not_asked(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(see_sources, "FRESH", timedelta(minutes=5))  # for a busy machine
    town.ehr.answers = [answer('{"resourceType":"Bundle"}')]
    await town.ehrs.at(town.endpoint).catalogue(PATIENCE)
    answered = town.ehrs.last_answer(town.endpoint)
    calls = len(town.ehr.requests)
    for _ in range(10):
        source = await town.source()
        assert (source.state, source.as_of) == (SourceState.OK, answered)
    assert len(town.ehr.requests) == calls


async def test_one_that_has_failed_since_its_last_answer_is_not_taken_to_answer_still(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(see_sources, "FRESH", timedelta(minutes=5))  # for a busy machine
    assert (await town.source()).state is SourceState.OK
    answered = town.ehrs.last_answer(town.endpoint)
    town.ehr.answers = [answer("", 500)]
    with pytest.raises(EhrUnavailable):
        await town.ehrs.at(town.endpoint).catalogue(PATIENCE)
    for _ in range(2):
        source = await town.source()
        assert (source.state, source.as_of) == (SourceState.OFFLINE, answered)
    town.ehr.answers = [GOOD]
    calls = len(town.ehr.requests)
    assert [(await town.source()).state for _ in range(2)] == [SourceState.OK] * 2
    assert len(town.ehr.requests) == calls + 1


async def test_an_answer_of_a_while_ago_is_not_enough(town: Town, never_fresh: None) -> None:
    for _ in range(3):
        await town.source()
    assert len(town.ehr.requests) == 3


async def test_a_crowd_shares_one_call(town: Town, never_fresh: None) -> None:
    town.see = town.asking(3.0)  # so long that all of the crowd have come by then
    town.ehr.answers = [SILENT]
    sources = await asyncio.gather(*(town.source() for _ in range(50)))
    assert {source.state for source in sources} == {SourceState.TIMEOUT}
    assert len(town.ehr.requests) == 1


async def test_who_goes_away_takes_the_answer_from_nobody_else(town: Town, never_fresh: None) -> None:
    town.see = town.asking(1.0)
    town.ehr.answers = [SILENT]
    askers = [asyncio.create_task(town.source()) for _ in range(3)]
    while not town.ehr.requests:  # noqa: ASYNC110 - told by the server, not by an event
        await asyncio.sleep(0.01)
    askers[0].cancel()
    gone, *others = await asyncio.gather(*askers, return_exceptions=True)
    assert isinstance(gone, asyncio.CancelledError)
    assert [each.state for each in others if isinstance(each, SourceStatus)] == [SourceState.TIMEOUT] * 2
    town.ehr.answers = [GOOD]
    assert (await town.source()).state is SourceState.OK


async def test_a_system_that_fails_says_why_and_since_when(town: Town, never_fresh: None) -> None:
    await town.source()
    answered = town.ehrs.last_answer(town.endpoint)
    told = []
    for said in (answer("", 500), answer("", 429, Retry_After="60")):
        town.ehr.answers = [said]
        told.append(await town.source())
    told.append(await town.source())
    assert [each.reason for each in told] == ["OFFLINE", "RATE_LIMITED", "RATE_LIMITED"]
    assert {each.state for each in told} == {SourceState.OFFLINE}
    assert {each.as_of for each in told} == {answered}
    assert told[1].retry_after == timedelta(seconds=60)


async def test_one_that_never_answered_is_as_of_never_and_in_the_end_not_asked(town: Town) -> None:
    town.ehr.answers = [answer("", 500)]
    told = [await town.source() for _ in range(12)]
    assert [each.reason for each in told] == ["OFFLINE"] * 10 + ["CIRCUIT_OPEN"] * 2
    assert {each.as_of for each in told} == {None}
    assert told[-1].retry_after and told[-1].retry_after > timedelta()
    assert len(town.ehr.requests) == 10
