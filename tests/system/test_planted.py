"""What is planted through every door is in no log, metric or error; without the scrubber it would be."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from starlette.applications import Starlette

from api.app import create_app
from api.bootstrap import open_house
from api.worker import _again_and_again
from domain.endpoint import Dialect
from integrations.fhir.ehrs import ADAPTERS
from tests.fhir.conftest import KARI, NOW, PATIENCE
from tests.fhir.scripted import endpoint_at, scripted
from tests.fhir.test_ihe import appointment, bundle, refusal
from tests.fhir.test_visits import visit_of
from tests.living import Client, Town, in_process, running
from tests.planted import PEOPLE, Scan, pattern_of
from tests.transports.small import served
from tests.transports.talking import talking

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmVk"
PLANTED = (
    *("13116900216", "197010632391", "701063-2391", "131169 00216", "planted.person@post.example", "+4793331722"),
    *(JWT, "itb_live_pl4nt3d0_0123456789abcdefghij", "f00dbabef00dbabe"),
)
TEXT = " ".join((*PLANTED[:6], JWT, PLANTED[7], f"__Host-sid={PLANTED[8]}"))
KNOWN = pattern_of(PLANTED)
READ = "{ clinics(first: 1) { nodes { name } } }"

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


async def test_an_exception_that_quotes_somebody(logs: Logs) -> None:
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
    found_only_without_the_scrubber(logs)


async def test_a_task_that_nobody_waited_for(logs: Logs) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": ValueError(TEXT)})
    found_only_without_the_scrubber(logs)


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


HEADERS = {
    "Authorization": f"Bearer {JWT}",
    "Cookie": f"__Host-sid={PLANTED[8]}; sid={PLANTED[8]}",
    "X-Request-Id": PLANTED[0],
    "User-Agent": PLANTED[4],
    "X-Tenant": PLANTED[1],
    "Accept-Language": PLANTED[0],
    "Referer": f"https://planted.example/?nin={PLANTED[0]}",
    "traceparent": PLANTED[0],
}

Knock = Callable[[httpx2.AsyncClient], Awaitable[httpx2.Response]]
DOORS: dict[str, Knock] = {
    "headers": lambda http: http.post("/graphql", json={"query": READ}, headers=HEADERS),
    "each header": lambda http: http.post("/graphql", json={"query": READ}, headers={"Authorization": f"Basic {JWT}"}),
    "another tenant": lambda http: http.post("/graphql", json={"query": READ}, headers={"X-Tenant": PLANTED[0]}),
    "a query in the address": lambda http: http.get(f"/graphql?query={quote(READ)}&variables={quote(TEXT)}"),
    "a body that is no JSON": lambda http: http.post("/graphql", content=TEXT.encode()),
    "a login that failed": lambda http: http.get(
        f"/login/callback?error=access_denied&error_description={quote(TEXT)}&state={quote(TEXT)}"
    ),
    "an unknown provider": lambda http: http.get(f"/login/{quote(PLANTED[0])}?returnTo={quote(TEXT)}"),
    "a foreign page to go back to": lambda http: http.get(f"/login/bankid-no?returnTo=https://x.example/{PLANTED[0]}"),
    "a webhook": lambda http: http.post(f"/webhooks/ehr/{PLANTED[0]}/{PLANTED[1]}", content=TEXT.encode()),
    "an unknown path": lambda http: http.get(f"/{PLANTED[0]}?{quote(TEXT)}"),
    "a calendar": lambda http: http.get(f"/calendar/{JWT}.ics"),
}


@asynccontextmanager
async def at_the_door(town: Town, url: str) -> AsyncIterator[Client]:
    async with in_process(town.settings(url)) as (client, _):
        yield client


@pytest.mark.parametrize("door", DOORS)
async def test_what_anybody_sends(logs: Logs, town: Town, sqlite_filled_url: str, door: str) -> None:
    async with at_the_door(town, sqlite_filled_url) as client:
        answer = await DOORS[door](client.http)
        metrics = await client.http.get("/metrics")
    assert not KNOWN.search(answer.text) and not KNOWN.search(answer.headers.get("location", ""))
    assert metrics.status_code == 200 and not KNOWN.search(metrics.text)
    assert [each.leaks for each in logs] == [[], []]


async def test_what_comes_over_a_websocket(logs: Logs, town: Town, sqlite_filled_url: str) -> None:
    """Whoever knows no better puts it into the address, which uvicorn tells when it lets somebody in."""
    house = open_house(town.settings(sqlite_filled_url, log_level="info"))
    app: Starlette = create_app(house, [])
    with served(app) as (address, _, _):
        logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # as `serve` has it; tests serve without a word
        for payload in ({"Authorization": f"Bearer {JWT}"}, {"X-Tenant": PLANTED[0]}):
            async with talking(f"ws://{address}/graphql?nin={PLANTED[0]}&token={JWT}") as talk:
                await talk.say({"type": "connection_init", "payload": payload})
                code, reason = await talk.closed()
                assert code in (4400, 4403) and not KNOWN.search(reason)
        async with talking(f"ws://{address}/graphql") as talk:
            await talk.begin()
            await talk.say(TEXT)
            assert not KNOWN.search((await talk.closed())[1])
    found_only_without_the_scrubber(logs)


async def test_what_a_process_of_its_own_writes(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    """The same over a socket, in the form for those who collect logs."""
    number = next(each.number for each in PEOPLE if each.number)
    settings = town.settings(sqlite_filled_url, log_level="debug", log_format="json")
    with running(settings, tmp_path / "stderr") as server:
        async with talking(f"{server.url.replace('http', 'ws')}/graphql?nin={number}") as talk:
            await talk.begin()
        async with httpx2.AsyncClient(base_url=server.url, timeout=60) as http:
            for knock in DOORS.values():
                assert not KNOWN.search((await knock(http)).text)
    written = (tmp_path / "stderr").read_text()
    assert "WebSocket" in written, "nothing was written that could have had it in it"
    assert not KNOWN.search(written) and str(number) not in written


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
