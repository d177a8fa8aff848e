"""What is planted through every door is in no log, metric or error; without the scrubber it would be."""

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from api.app import create_app
from api.bootstrap import open_house
from api.worker import _again_and_again
from domain.endpoint import Dialect
from integrations.fhir.ehrs import ADAPTERS
from tests.fhir.conftest import KARI, NOW, PATIENCE
from tests.fhir.scripted import endpoint_at, scripted
from tests.fhir.test_ihe import appointment, bundle, refusal
from tests.fhir.test_visits import visit_of
from tests.living import BY_SCRIPT, ROOT, Town, in_process, running
from tests.planted import HOOKS, PEOPLE, Scan, as_written, pattern_of
from tests.system.doors import ALL, DOORS, KNOWN, OPERATIONS, PAYLOADS, PLANTED, TEXT, Careless, text_of
from tests.transports.small import served
from tests.transports.talking import begun, talking

Logs = tuple[Scan, Scan]


@pytest.fixture
def logs() -> Iterator[Logs]:
    """What the product would log, and what it would without its scrubber."""
    both = Scan(KNOWN), Scan(KNOWN, scrub=False)
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error")]
    before = [(each.level, each.propagate) for each in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG if logger.name != "root" else logging.INFO)
        for handler in both:
            logger.addHandler(handler)
    yield both
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        for handler in both:
            logger.removeHandler(handler)


async def test_what_an_exception_says_needs_no_scrubber(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    noted = asyncio.Event()

    async def fails() -> None:
        raise ValueError(f"cannot read {TEXT}") from KeyError(TEXT)

    async def rest() -> None:
        noted.set()
        await asyncio.Event().wait()

    going = asyncio.create_task(_again_and_again("jobs", fails, rest))
    await asyncio.wait_for(noted.wait(), 60)
    going.cancel()
    with suppress(asyncio.CancelledError):
        await going
    assert_told_without_words(logs, caplog)


async def test_nor_what_a_task_that_nobody_waited_for_ended_with(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ValueError(TEXT)

    nobodys = asyncio.create_task(fails())
    await asyncio.wait([nobodys])
    del nobodys
    gc.collect()
    assert_told_without_words(logs, caplog)


def assert_told_without_words(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    """Though pytest, which writes it down by itself, has seen them."""
    assert "ValueError" in as_written(caplog.records) and KNOWN.search(caplog.text)
    assert [each.leaks for each in logs] == [[], []]


@pytest.mark.parametrize("code", PLANTED[:6])
async def test_what_a_record_system_complains_of(logs: Logs, code: str) -> None:
    """Its words are nowhere; its codes are logged, and could hold anything."""
    by_reference = bundle(visit_of({"reference": "Patient/1"}))
    async with scripted(by_reference, refusal(code, 400, TEXT)) as (server, client):
        ehr = ADAPTERS[Dialect.IHE](client, endpoint_at(server.url))
        assert await ehr.visits_of(KARI, NOW, PATIENCE) == []
    scrubbed, plain = logs
    assert scrubbed.leaks == []
    assert plain.leaks and not pattern_of([PLANTED[7]]).search("".join(plain.leaks))


async def test_what_a_record_system_answers(logs: Logs) -> None:
    odd = appointment(id=TEXT, status=TEXT, description=TEXT, participant=[{"actor": {"display": TEXT}}], comment=TEXT)
    async with scripted(bundle(odd, visit_of({"display": TEXT}, start=TEXT))) as (server, client):
        ehr = ADAPTERS[Dialect.R4](client, endpoint_at(server.url, Dialect.R4))
        assert await ehr.visits_of(KARI, NOW, PATIENCE) == []
    assert [each.leaks for each in logs] == [[], []]


@asynccontextmanager
async def at_the_door(app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    """Whoever knocks has what a page's script sends along, so that a cookie counts."""
    around = httpx2.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx2.AsyncClient(
        transport=around, base_url="http://127.0.0.1", headers=BY_SCRIPT, timeout=60, event_hooks=HOOKS
    ) as http:
        yield http


@asynccontextmanager
async def an_app(town: Town, url: str) -> AsyncIterator[Starlette]:
    async with in_process(town.settings(url)) as (_, app):
        yield app


def nothing_planted(answer: httpx2.Response) -> None:
    assert not KNOWN.search(answer.text), answer.text
    assert not KNOWN.search(str(answer.headers.raw))


@pytest.mark.parametrize("door", DOORS)
async def test_what_anybody_sends(logs: Logs, town: Town, sqlite_filled_url: str, door: str) -> None:
    knock, status = DOORS[door]
    async with an_app(town, sqlite_filled_url) as app:
        async with at_the_door(app) as http:
            answer, metrics = await knock(http), await http.get("/metrics")
        assert answer.status_code == status, answer.text
        nothing_planted(answer)
        assert metrics.status_code == 200 and not KNOWN.search(metrics.text)
        assert [each.leaks for each in logs] == [[], []]
        async with at_the_door(Careless(app)) as http:
            await knock(http)
    found_only_without_the_scrubber(logs)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("asked", OPERATIONS)
async def test_what_an_operation_holds(logs: Logs, town: Town, sqlite_filled_url: str, asked: str, accept: str) -> None:
    async with an_app(town, sqlite_filled_url) as app:
        async with at_the_door(app) as http:
            answer = await http.post("/graphql", json=OPERATIONS[asked], headers={"Accept": accept})
        assert '"errors":[{' in answer.text and "INTERNAL_SERVER_ERROR" not in answer.text
        nothing_planted(answer)
        assert [each.leaks for each in logs] == [[], []]
        async with at_the_door(Careless(app)) as http:
            await http.post("/graphql", json=OPERATIONS[asked], headers={"Accept": accept})
    found_only_without_the_scrubber(logs)


async def test_what_an_operation_holds_over_a_websocket(logs: Logs, town: Town, sqlite_filled_url: str) -> None:
    house = open_house(town.settings(sqlite_filled_url))
    with served(Careless(create_app(house, []))) as (address, _, _):
        async with begun(f"ws://{address}/graphql") as talk:
            for asked, operation in OPERATIONS.items():
                logs[1].taken()
                await talk.say({"id": asked, "type": "subscribe", "payload": operation})
                told = await talk.hear()
                while told["type"] == "complete":
                    told = await talk.hear()
                assert (told["id"] == asked and "errors" in told["payload"]) or told["type"] == "error", told
                assert not KNOWN.search(text_of(told)), told
                found_only_without_the_scrubber(logs)


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_what_opens_a_websocket(logs: Logs, town: Town, sqlite_filled_url: str, payload: str) -> None:
    """Whoever knows no better puts it into the address as well, of which uvicorn tells nothing."""
    house = open_house(town.settings(sqlite_filled_url, log_level="info"))
    with served(Careless(create_app(house, []))) as (address, _, _):
        logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # as `serve` has it; tests serve without a word
        async with talking(f"ws://{address}/graphql?{ALL}") as talk:
            await talk.say({"type": "connection_init", "payload": PAYLOADS[payload]})
            code, reason = await talk.closed()
            assert code in (4400, 4403) and not KNOWN.search(reason)
    found_only_without_the_scrubber(logs)
    assert {leak.split()[2].rstrip(":") for leak in logs[1].leaks} == {"careless"}


@pytest.mark.parametrize("said", [TEXT, {"type": TEXT}, {"id": [TEXT], "type": "subscribe"}, {"id": "1", TEXT: 1}])
async def test_what_is_no_message(logs: Logs, town: Town, sqlite_filled_url: str, said: object) -> None:
    house = open_house(town.settings(sqlite_filled_url))
    with served(Careless(create_app(house, []))) as (address, _, _):
        async with begun(f"ws://{address}/graphql") as talk:
            await talk.say(said)
            code, reason = await talk.closed()
            assert code == 4400 and not KNOWN.search(reason)
    found_only_without_the_scrubber(logs)


async def test_what_a_process_of_its_own_writes(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    """The same over a socket, in the form for those who collect logs."""
    number = next(each.number for each in PEOPLE if each.number)
    settings = town.settings(sqlite_filled_url, log_level="debug", log_format="json")
    with running(settings, tmp_path / "stderr") as server:
        async with talking(f"{server.url.replace('http', 'ws')}/graphql?nin={number}") as talk:
            await talk.begin()
        async with httpx2.AsyncClient(base_url=server.url, timeout=60, headers=BY_SCRIPT, event_hooks=HOOKS) as http:
            for knock, status in DOORS.values():
                answer = await knock(http)
                assert answer.status_code == status
                nothing_planted(answer)
            for operation in OPERATIONS.values():
                nothing_planted(await http.post("/graphql", json=operation))
    written = (tmp_path / "stderr").read_text()
    assert "login failed" in written, "nothing was written that could have had it in it"
    assert not KNOWN.search(written) and str(number) not in written


async def test_what_comes_as_an_event_or_over_a_websocket_is_looked_through(a_scan: Scan) -> None:
    person = PEOPLE[0]
    errors = [{"message": f"no {person.name}"}]
    event = f"event: next\ndata: {json.dumps({'errors': errors})}\n\n".encode()

    async def events(_: Request) -> StreamingResponse:
        return StreamingResponse(iter([event[:40], event[40:]]), media_type="text/event-stream")

    around = httpx2.ASGITransport(Starlette(routes=[Route("/", events)]))  # type: ignore[arg-type]
    hooks: dict[str, list[Any]] = {"response": [a_scan.answer]}
    async with httpx2.AsyncClient(transport=around, base_url="http://t", event_hooks=hooks) as http:
        assert (await http.get("/")).content == event
    assert len(a_scan.taken()) == 1
    for message in ({"type": "next", "payload": {"errors": errors}}, {"type": "error", "payload": errors}):
        a_scan.heard(json.dumps({"id": "1", **message}))
        assert len(a_scan.taken()) == 1
    a_scan.heard(json.dumps({"id": "1", "type": "next", "payload": {"data": {"name": person.name}}}))
    assert a_scan.taken() == [], "what was asked for is no leak"


LATE = """
import logging, pytest

@pytest.fixture(scope="session")
def late():
    yield
    logging.getLogger("late").warning("sent to {name}")

def test_nothing(late):
    pass
"""


@pytest.mark.parametrize("name", ["nobody", PEOPLE[0].name])
def test_what_is_logged_after_the_last_test_is_looked_through(tmp_path: Path, name: str) -> None:
    (tmp_path / "test_late.py").write_text(LATE.format(name=name))
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.planted", "test_late.py"]
    paths = {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(asked, cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if name == "nobody" else 1), done.stdout + done.stderr
    assert name == "nobody" or "1 lines after the last test" in done.stdout


def test_what_is_found_fails_the_test_it_happened_in(a_scan: Scan) -> None:
    person = next(each for each in PEOPLE if each.number)
    for secret in (person.name, person.email, str(person.number)):
        a_scan.emit(logging.LogRecord("x", logging.INFO, "x.py", 1, f"sent to {secret}", None, None))
    [leak] = a_scan.taken()
    assert person.name in leak, "a name has no pattern: the scan finds what the scrubber cannot"


@pytest.fixture
def a_scan() -> Scan:
    return Scan()


def found_only_without_the_scrubber(logs: Logs) -> None:
    scrubbed, plain = logs
    assert scrubbed.leaks == []
    assert plain.leaks, "nothing came through that door: the test would not notice a hole"
