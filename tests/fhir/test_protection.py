"""One endpoint and we, protected from each other: over HTTP, with the server counting what reaches it."""

import asyncio
import time as clock
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from domain.ports import EhrUnavailable, Outage, OutageWord, Pace
from integrations.fhir import turns
from integrations.fhir.client import FhirClient, asking
from integrations.fhir.connections import Connections, Deadline, Request, exchange
from integrations.fhir.ehrs import FhirEhrs
from integrations.fhir.failures import FhirFailure, Unanswered
from integrations.fhir.protection import Protection
from integrations.fhir.turns import Turns
from integrations.memory.pace import MemoryPace
from tests.fhir.conftest import PATIENCE, Lab
from tests.fhir.scripted import Scripted, answer, endpoint_at, scripted
from tests.fhir.test_breaker import Time

GOOD = answer("{}")
SILENT = b"HTTP/1.1 200 OK\r\n"
SHORT = 0.3
NOT_FOUND = answer('{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}', 404)


@asynccontextmanager
async def protected(
    *answers: bytes, pace: Pace | None = None, **settings: Any
) -> AsyncIterator[tuple[Scripted, FhirClient, Time]]:
    async with scripted(*answers) as (server, _):
        time, endpoint = Time(), replace(endpoint_at(server.url), **settings)
        client = FhirClient(endpoint, protection=Protection(endpoint, pace, time.breaker()))
        try:
            yield server, client, time
        finally:
            await client.close()


async def outage_of(client: FhirClient, method: str = "GET", seconds: float = PATIENCE) -> EhrUnavailable:
    with pytest.raises(EhrUnavailable) as outage, asking(seconds):
        await client.send(method, "Slot/1", data=None if method == "GET" else {})
    return outage.value


@pytest.mark.parametrize(
    ("said", "calls"),
    [
        (b"", 2),
        (answer("", 502), 2),
        (answer("<html>", 503), 2),
        (answer("", 504), 2),
        (answer("", 500), 1),
        (answer("", 503, Retry_After="1"), 1),
        (answer("", 503, Retry_After="0"), 1),
        (answer("", 429), 1),
        (answer("", 302), 1),
        (b"nonsense\r\n\r\n", 1),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_a_read_is_tried_twice_at_most_and_a_write_once(said: bytes, calls: int, method: str) -> None:
    async with protected(said) as (server, client, _):
        outage = await outage_of(client, method)
        assert outage.sent and outage.outage is Outage.OFFLINE
    assert len(server.requests) == (calls if method == "GET" else 1)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_is_repeated_after_silence_or_a_no(method: str) -> None:
    async with protected(SILENT) as (server, client, _):
        outage = await outage_of(client, method, SHORT)
        assert (outage.outage, outage.word) == (Outage.TIMEOUT, OutageWord.TIMEOUT)
        server.answers = [NOT_FOUND]
        with pytest.raises(FhirFailure):
            await client.send(method, "Slot/1")
    assert len(server.requests) == 2


@pytest.mark.parametrize("said", [b"", answer("", 503), GOOD[:-1]])
async def test_a_passing_trouble_is_not_noticed(said: bytes) -> None:
    async with protected(said, GOOD) as (server, client, _):
        server.hang_up_after = True
        with asking(PATIENCE):
            assert await client.read_bytes("Slot/1") == b"{}"
    assert len(server.requests) == 2


async def test_what_the_second_attempt_says_is_believed() -> None:
    async with protected(b"", NOT_FOUND) as (_, client, _):
        with pytest.raises(FhirFailure):
            await client.read_bytes("Slot/1")


async def test_a_second_attempt_without_time_does_not_hide_what_was_wrong() -> None:
    async with protected(answer("", 503), SILENT) as (server, client, _):
        outage = await outage_of(client, seconds=1.0)
    assert (outage.outage, outage.reason) == (Outage.OFFLINE, "HTTP 503")
    assert len(server.requests) == 2


async def test_a_second_attempt_that_reached_nobody_does_not_unsay_the_first() -> None:
    async with protected(b"") as (server, client, _):
        server.stop_after = 1
        outage = await outage_of(client)
    assert outage.sent and len(server.requests) == 1


async def test_a_server_that_keeps_failing_is_left_alone_until_one_read_gets_through() -> None:
    async with protected(answer("", 500)) as (server, client, time):
        for _ in range(30):
            outage = await outage_of(client)
        assert len(server.requests) == 10
        assert (outage.word, outage.sent, outage.retry_after) == (OutageWord.CIRCUIT_OPEN, False, timedelta(seconds=10))
        assert (await outage_of(client, "POST")).word is OutageWord.CIRCUIT_OPEN
        server.answers = [GOOD]
        time.now += 10
        refused = await outage_of(client, "POST")
        assert (refused.word, refused.sent) == (OutageWord.CIRCUIT_OPEN, False)
        assert len(server.requests) == 10
        told = await asyncio.gather(*(client.read_bytes("Slot/1") for _ in range(50)), return_exceptions=True)
        assert len([each for each in told if each == b"{}"]) == 1
        assert len(server.requests) == 11
        await client.send("POST", "Slot", data={})
        await asyncio.gather(*(client.read_bytes("Slot/1") for _ in range(50)))
    assert len(server.requests) == 62


async def test_a_probe_that_fails_is_no_call_twice() -> None:
    async with protected(answer("", 503)) as (server, client, time):
        for _ in range(6):
            await outage_of(client)
        assert len(server.requests) == 10
        time.now += 10
        assert (await outage_of(client)).word is OutageWord.OFFLINE
        assert len(server.requests) == 11
        assert (await outage_of(client)).retry_after == timedelta(seconds=20)


async def test_a_port_where_nobody_listens_is_left_alone_too() -> None:
    async with protected(GOOD) as (server, client, _):
        assert server.server
        server.server.close()
        words = [(await outage_of(client)).word for _ in range(7)]
    assert words == [OutageWord.OFFLINE] * 5 + [OutageWord.CIRCUIT_OPEN] * 2


async def test_servers_that_are_well_are_not_left_alone() -> None:
    for said in (NOT_FOUND, answer("", 401), answer("", 429)):
        async with protected(said) as (server, client, _):
            for _ in range(25):
                with suppress(FhirFailure, EhrUnavailable):
                    await client.read_bytes("Slot/1")
        assert len(server.requests) == 25


async def test_silence_is_a_failure() -> None:
    async with protected(SILENT) as (server, client, _):
        told = await asyncio.gather(*(outage_of(client, seconds=SHORT) for _ in range(8)))
        told += await asyncio.gather(*(outage_of(client, seconds=SHORT) for _ in range(8)))
        assert {each.word for each in told} == {OutageWord.TIMEOUT}
        assert (await outage_of(client)).word is OutageWord.CIRCUIT_OPEN
    assert len(server.requests) <= 16


@pytest.mark.parametrize(("left", "blames"), [(0.3, True), (0.1, False)])
async def test_silence_is_held_against_a_server_only_where_it_had_time(left: float, blames: bool) -> None:
    """The rest had gone by in our own queue, or on other calls."""
    connections = Connections()
    async with scripted(SILENT) as (server, _):
        deadline = Deadline(until=asyncio.get_running_loop().time() + left, seconds=0.3)
        with pytest.raises(Unanswered) as outage:
            await exchange(connections.of(pooled=True), Request("GET", URL(server.url), None, {}, True), deadline)
    await connections.close()
    assert outage.value.outage is Outage.TIMEOUT
    assert outage.value.blames is blames


async def test_a_connection_that_was_kept_too_long_is_nobodys_failure_and_one_that_was_new_is() -> None:
    connections, told = Connections(), []
    async with scripted(GOOD, b"") as (server, _):
        request, deadline = (
            Request("GET", URL(server.url), None, {}, True),
            Deadline(asyncio.get_running_loop().time() + 60, 60),
        )
        await exchange(connections.of(pooled=True), request, deadline)
        for _ in range(2):
            with pytest.raises(Unanswered) as outage:
                await exchange(connections.of(pooled=True), request, deadline)
            told.append((outage.value.blames, outage.value.again))
    await connections.close()
    assert told == [(False, True), (True, True)]
    assert [each.connection for each in server.requests] == [1, 1, 2]


async def test_the_second_attempt_trusts_no_kept_connection() -> None:
    async with protected(GOOD, GOOD, b"", GOOD) as (server, client, _):
        await asyncio.gather(client.read_bytes("Slot/1"), client.read_bytes("Slot/1"))
        await client.read_bytes("Slot/1")
    assert [each.connection for each in server.requests][3:] == [3]


async def test_calls_that_their_caller_gave_up_count_neither_way() -> None:
    async with protected(SILENT) as (server, client, _):
        for number in range(1, 13):
            call = asyncio.create_task(client.read_bytes("Slot/1"))
            while len(server.requests) < number:  # noqa: ASYNC110 - told by the server, not by an event
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        server.answers = [GOOD]
        assert await client.read_bytes("Slot/1") == b"{}"


async def test_a_call_gives_up_waiting_for_its_turn_and_that_is_nobodys_failure() -> None:
    wait = timedelta(seconds=0.2)
    async with protected(SILENT, GOOD, max_concurrency=1, longest_wait=wait) as (server, client, _):
        hanging = asyncio.create_task(client.read_bytes("Slot/1"))
        while not server.requests:  # noqa: ASYNC110 - told by the server, not by an event
            await asyncio.sleep(0.01)
        began = clock.monotonic()
        told = await asyncio.gather(*(outage_of(client, method, seconds=60) for method in ["GET", "POST"] * 10))
        assert clock.monotonic() - began < 30
        assert {(each.word, each.outage, each.sent) for each in told} == {(OutageWord.BUSY, Outage.TIMEOUT, False)}
        assert len(server.requests) == 1
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        assert await client.read_bytes("Slot/1") == b"{}"


async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_WAITING", 2)
    places, until = Turns(1), asyncio.get_running_loop().time() + PATIENCE
    done = asyncio.Event()

    async def call() -> None:
        async with places.one(until):
            await done.wait()

    calls = [asyncio.create_task(call()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(EhrUnavailable, match="waiting for it already"):
        await call()
    calls[1].cancel()
    await asyncio.gather(calls[1], return_exceptions=True)
    calls.append(asyncio.create_task(call()))
    done.set()
    await asyncio.gather(calls[0], *calls[2:])


async def test_more_calls_than_the_pace_allows_are_told_when_to_come_back() -> None:
    frozen = MemoryPace(now=lambda: 0.0)
    settings = {"calls_per_second": 0.1, "longest_wait": timedelta(seconds=1)}
    async with protected(GOOD, pace=frozen, **settings) as (server, client, _):
        await client.read_bytes("Slot/1")
        for method in ("GET", "POST") * 10:
            outage = await outage_of(client, method)
            assert (outage.word, outage.outage, outage.sent) == (OutageWord.RATE_LIMITED, Outage.OFFLINE, False)
            assert outage.retry_after == timedelta(seconds=10), "who gives up takes no place"
    assert len(server.requests) == 1


async def test_a_call_waits_for_its_place_where_there_is_time() -> None:
    frozen = MemoryPace(now=lambda: 0.0)
    async with protected(GOOD, pace=frozen, calls_per_second=2.0, longest_wait=timedelta(seconds=9)) as (_, client, _):
        await client.read_bytes("Slot/1")
        began = clock.monotonic()
        with asking(PATIENCE):
            await client.read_bytes("Slot/1")
        assert clock.monotonic() - began >= 0.5
        assert (await outage_of(client, seconds=0.9)).word is OutageWord.RATE_LIMITED


async def test_an_endpoint_without_a_pace_is_not_counted() -> None:
    async with protected(GOOD, pace=MemoryPace(now=lambda: 0.0)) as (server, client, _):
        for _ in range(20):
            await client.read_bytes("Slot/1")
    assert len(server.requests) == 20


@pytest.mark.parametrize(
    ("status", "told", "word"),
    [
        (429, {"Retry_After": "7"}, OutageWord.RATE_LIMITED),
        (429, {"RateLimit": '"default";r=0;t=7'}, OutageWord.RATE_LIMITED),
        (503, {"Retry_After": "7"}, OutageWord.OFFLINE),
    ],
)
async def test_a_server_that_asks_for_peace_gets_it_from_reads(
    status: int, told: dict[str, str], word: OutageWord
) -> None:
    async with protected(answer("", status, **told), GOOD) as (server, client, _):
        asked = await outage_of(client)
        assert (asked.word, asked.sent, asked.retry_after) == (word, True, timedelta(seconds=7))
        kept = await outage_of(client)
        assert (kept.word, kept.sent, kept.outage) == (word, False, Outage.OFFLINE)
        assert kept.retry_after and timedelta() < kept.retry_after <= timedelta(seconds=7)
        assert len(server.requests) == 1
        await client.send("POST", "Slot", data={})
    assert len(server.requests) == 2


async def test_those_who_wait_for_their_turn_leave_it_in_peace_too() -> None:
    async with protected(answer("", 429, Retry_After="60"), max_concurrency=1) as (server, client, _):
        told = await asyncio.gather(*(outage_of(client) for _ in range(10)))
        assert {each.word for each in told} == {OutageWord.RATE_LIMITED}
    assert len(server.requests) == 1


async def test_nobody_waits_for_a_turn_that_would_be_refused() -> None:
    settings = {"max_concurrency": 1, "longest_wait": timedelta(seconds=60)}
    async with protected(answer("", 429, Retry_After="60"), SILENT, **settings) as (server, client, _):
        await outage_of(client)
        hanging = asyncio.create_task(client.send("POST", "Slot", data={}))
        while len(server.requests) < 2:  # noqa: ASYNC110 - told by the server, not by an event
            await asyncio.sleep(0.01)
        assert (await outage_of(client)).word is OutageWord.RATE_LIMITED
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_peace_ends() -> None:
    async with protected(answer("", 429, Retry_After="1"), GOOD) as (_, client, _):
        await outage_of(client)
        await asyncio.sleep(1.1)
        assert await client.read_bytes("Slot/1") == b"{}"


async def test_nobody_is_left_alone_for_a_day_because_it_asked_for_it() -> None:
    async with protected(answer("", 503, Retry_After="86400")) as (_, client, _):
        await outage_of(client)
        kept = await outage_of(client)
        assert kept.retry_after and timedelta(seconds=60) < kept.retry_after <= timedelta(seconds=120)


async def test_the_last_good_answer_is_remembered() -> None:
    async with scripted(answer("", 500), NOT_FOUND, GOOD, answer("", 500)) as (server, _):
        ehrs, endpoint = FhirEhrs(), endpoint_at(server.url)
        assert ehrs.last_answer(endpoint) is None
        for _ in range(2):
            with pytest.raises(EhrUnavailable):
                await ehrs.at(endpoint).probe(PATIENCE)
        assert ehrs.last_answer(endpoint) is None
        began = datetime.now(UTC)
        await ehrs.at(endpoint).probe(PATIENCE)
        told = ehrs.last_answer(endpoint)
        assert told and began <= told <= datetime.now(UTC)
        with pytest.raises(EhrUnavailable):
            await ehrs.at(endpoint).probe(PATIENCE)
        assert ehrs.last_answer(endpoint) == told
        assert ehrs.last_answer(replace(endpoint, page_size=7)) is None
        await ehrs.close()


async def test_a_find_at_a_system_that_is_down_ends_with_few_calls(ihe: Lab) -> None:
    ihe.set(max_concurrency=1)
    ihe.fault("down", "find")
    for _ in range(3):
        found = await ihe.find("consultation")
        assert found.trouble and found.trouble.outage is Outage.OFFLINE
    assert ihe.calls("find") == 10
    assert found.trouble and found.trouble.word is OutageWord.CIRCUIT_OPEN
    assert (found.trouble.sent, bool(found.trouble.retry_after)) == (False, True)
