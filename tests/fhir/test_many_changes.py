"""More changes than a record system tells at once, or in time: what was told is used, and not taken for all."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from domain.endpoint import Dialect
from domain.ports import EhrListening, EhrNews, EhrUnavailable, Outage
from integrations.fhir import paging
from integrations.fhir.ehrs import FhirEhrs
from tests.fhir.conftest import NOW, PATIENCE
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted
from tests.fhir.test_ihe import appointment, refusal

SILENT = b"HTTP/1.1 200 OK\r\n"
NO_SORT = refusal("not-supported", 400, "no such order")
NONSENSE = answer("{[")
BROKEN = answer("", 500)
PAUSE = timedelta(seconds=1)


@asynccontextmanager
async def listening(*answers: bytes, dialect: Dialect = Dialect.IHE) -> AsyncIterator[tuple[Scripted, EhrListening]]:
    """One call at a time, so that the answers come in the order that the test gives."""
    async with scripted(*answers) as (server, _):
        ehrs = FhirEhrs()
        yield server, ehrs.listening(replace(endpoint_at(server.url, dialect), max_concurrency=1))
        await ehrs.close()


def at(second: int) -> datetime:
    return NOW + second * PAUSE


def changed(second: int, **more: Any) -> dict[str, Any]:
    return appointment(id=f"ap:{second}", meta={"lastUpdated": at(second).isoformat()}, **more)


def page(*resources: dict[str, Any], following: int | None = None) -> bytes:
    link = [{"relation": "next", "url": f"Appointment?page={following}"}] if following else []
    return answer(json.dumps({"resourceType": "Bundle", "link": link, "entry": [{"resource": r} for r in resources]}))


def asked(server: Scripted) -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(each.target).query) for each in server.requests]


def ids(news: EhrNews) -> list[str]:
    return [each.key.split("/")[1] for each in news.changes]


async def test_the_oldest_change_is_asked_for_first() -> None:
    async with listening(page(changed(1), following=2), page(changed(2))) as (server, ehr):
        news = await ehr.changes(NOW, PATIENCE)
    assert asked(server)[0]["_sort"] == ["_lastUpdated"]
    assert (ids(news), news.whole, news.until) == (["ap:1", "ap:2"], True, None)


async def test_a_server_that_cannot_sort_is_asked_without_it() -> None:
    async with listening(NO_SORT, page(changed(2), changed(1))) as (server, ehr):
        news = await ehr.changes(NOW, PATIENCE)
    assert ["_sort" in each for each in asked(server)] == [True, False]
    assert all(each["_lastUpdated"] for each in asked(server))
    assert (ids(news), news.whole) == (["ap:1", "ap:2"], True)


async def test_one_that_cannot_be_asked_for_changes_at_all_has_none_and_that_is_whole() -> None:
    async with listening(NO_SORT, NO_SORT) as (server, ehr):
        news = await ehr.changes(NOW, PATIENCE)
    assert (ids(news), news.whole) == ([], True)
    assert len(server.requests) == 2


async def test_more_pages_than_are_read_are_not_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_PAGES", 3)
    async with listening(*(page(changed(n), following=n + 1) for n in range(1, 9))) as (server, ehr):
        news = await ehr.changes(NOW, PATIENCE)
    assert len(server.requests) == 3
    assert (ids(news), news.whole, news.until) == (["ap:1", "ap:2", "ap:3"], False, at(3))


@pytest.mark.parametrize("end", [refusal("too-costly", 403), refusal("not-found", 410), NONSENSE, BROKEN])
async def test_what_was_told_before_a_page_failed_is_not_lost_and_not_the_whole(end: bytes) -> None:
    async with listening(page(changed(1), changed(2), following=2), end) as (_, ehr):
        news = await ehr.changes(NOW, PATIENCE)
    assert (ids(news), news.whole, news.until) == (["ap:1", "ap:2"], False, at(2))


async def test_what_was_told_until_the_deadline_is_used() -> None:
    async with listening(page(changed(1), changed(2), following=2), SILENT) as (_, ehr):
        news = await ehr.changes(NOW, 2.0)
    assert (ids(news), news.whole, news.until) == (["ap:1", "ap:2"], False, at(2))


@pytest.mark.parametrize("end", [BROKEN, NONSENSE, refusal("not-found", 410)])
async def test_an_outage_before_anything_was_told_is_an_outage(end: bytes) -> None:
    async with listening(page(following=2), end) as (_, ehr):
        with pytest.raises(EhrUnavailable):
            await ehr.changes(NOW, PATIENCE)
    async with listening(SILENT) as (_, ehr):
        with pytest.raises(EhrUnavailable) as outage:
            await ehr.changes(NOW, 0.2)
    assert outage.value.outage is Outage.TIMEOUT


@pytest.mark.parametrize("order", [(3, 2, 1), (1, 3, 2), (2,), (2, 2)])
async def test_where_the_order_is_not_known_nothing_is_known_of_what_is_left_out(order: tuple[int, ...]) -> None:
    """A server may ignore what it is asked to sort by; of one change, or one instant, nobody can tell."""
    first = [changed(second, comment=str(n)) for n, second in enumerate(order)]
    async with listening(page(*first, following=2), BROKEN) as (_, ehr):
        news = await ehr.changes(NOW, PATIENCE)
    assert news.changes and (news.whole, news.until) == (False, None)
    async with listening(NO_SORT, page(changed(1), changed(2), following=2), BROKEN) as (_, ehr):
        news = await ehr.changes(NOW, PATIENCE)
    assert news.changes and (news.whole, news.until) == (False, None)


async def test_all_is_whole_only_where_every_kind_is() -> None:
    slot = {
        "resourceType": "Slot",
        "id": "s",
        "status": "free",
        "schedule": {"reference": "Schedule/1"},
        "start": at(9).isoformat(),
        "end": at(99).isoformat(),
        "meta": {"lastUpdated": at(0).isoformat()},
    }
    several = page(changed(1), changed(2), following=2)
    for end, whole, until in ((page(changed(3)), True, None), (refusal("gone", 410), False, at(2))):
        async with listening(several, page(slot), end, dialect=Dialect.R4) as (_, ehr):
            news = await ehr.changes(NOW, PATIENCE)
        assert ids(news)[:3] == ["s", "ap:1", "ap:2"]  # by age, of whatever kind
        assert (news.whole, news.until) == (whole, until)
