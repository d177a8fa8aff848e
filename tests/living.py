"""The product alive: two record systems, an identity provider, a filled database, and server processes over it.

One town of record systems lives as long as the test process; what tests book there stays, so tests look for free times
and never count on one. Each test has a database of its own, copied from one that was filled once.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from starlette.applications import Starlette

from api.bootstrap import build_app, open_house
from api.settings import Settings
from domain.catalogue import Seed
from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.people import PEOPLE, as_ehr_patients, crowd
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.seed import read_seed
from tests import databases
from tests.oidc.serving import MovableClock, served, tokens_of
from tests.planted import HOOKS, SCAN
from tests.sandbox.conftest import Installation, launch

ROOT = Path(__file__).parents[1]
SECRET = "tests-only-not-a-secret-0123456789abcdef"
OTHER = "annan"
"""The second tenant: the same record systems, row ids and identity provider, under another host name."""
OTHER_AUDIENCE = "https://annan.example/api"
"""Whom its patients' access tokens are for, since two tenants at one provider need one each."""

BY_SCRIPT = {"GraphQL-Require-Preflight": "1"}
"""What pages' scripts send along, so that a cookie counts."""

T = TypeVar("T")


@dataclass(frozen=True)
class Town:
    """What lies around the API. `patient` signs somebody in and answers their bearer token."""

    norway: Installation
    sweden: Installation
    issuer: str

    @property
    def ehrs(self) -> tuple[Installation, Installation]:
        return self.norway, self.sweden

    def settings(self, database_url: str, **changes: Any) -> Settings:
        """Deadlines are long, since machines are busy; tests of deadlines shorten their own. Nothing is remembered of
        what EHRs tell, since tests change calendars under each other; tests of remembering say for how long.

        Pools are small: suites side by side share one PostgreSQL server. All tests come from one address, and may ask
        for much; tests of limits set their own.
        """
        patient = {"find_deadline": 20.0, "look_up_deadline": 10.0, "book_deadline": 30.0}
        patient |= {"query_seconds": 120.0, "check_interval": 0.2}
        many = dict.fromkeys(
            (
                *("operations_per_viewer", "operations_per_address", "logins_per_address"),
                *("connections_per_address", "most_connections"),
            ),
            10**6,
        )
        forgetful = {"fresh_seconds": 0.0, "stale_seconds": 0.0, "silence_seconds": 0.0}
        return Settings(
            **{
                "secret": SECRET,
                "oidc_issuer": self.issuer,
                "oidc_client_secret": "demo-only-not-a-secret",
                "oidc_app_clients": "itb-app",
                "database_url": database_url,
                "database_pool": 5,
                "synthetic_people": True,
                "worker": False,
                "log_level": "warning",
                **patient,
                **many,
                **forgetful,
                **changes,
            }
        )

    def fault(self, ehr: Installation, kind: str, **more: Any) -> None:
        assert ehr.http.post("/_sandbox/faults", json={"kind": kind, **more}).status_code == 204

    def calm(self) -> None:
        for ehr in self.ehrs:
            ehr.http.delete("/_sandbox/faults")
            ehr.http.delete("/_sandbox/calls")

    def begin_afresh(self) -> None:
        """No bookings and no subscribers either: each test has databases of its own, and would find the times of the
        next days taken by the tests before it, the sooner the more of them there are.
        """
        for ehr in self.ehrs:
            assert ehr.http.post("/_sandbox/reset").status_code == 204

    def calls(self, ehr: Installation) -> Mapping[str, int]:
        counts: Mapping[str, int] = ehr.get("/_sandbox/calls")["counts"]
        return counts


@pytest.fixture(scope="session")
def whole_town() -> Iterator[Town]:
    everybody = [*PEOPLE, *crowd(60)]
    norway = launch(NORWAY, now=None, people=as_ehr_patients("NO", everybody))
    sweden = launch(SWEDEN, now=None, people=as_ehr_patients("SE", everybody))
    with served(create_identity_provider()) as issuer:
        yield Town(norway, sweden, issuer)
    norway.stop()
    sweden.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    """That of every house that is opened from here on; record systems and identity providers keep the real time."""
    moved = MovableClock()
    monkeypatch.setattr("api.bootstrap.house.SystemClock", lambda: moved)
    return moved


@pytest.fixture
def town(whole_town: Town) -> Iterator[Town]:
    """With nobody booked by a test before, without faults, and with every call counted from here."""
    whole_town.begin_afresh()
    yield whole_town
    whole_town.calm()


def seeds(town: Town) -> tuple[Seed, Seed]:
    places = {"EHR_NO": town.norway.url, "EHR_SE": town.sweden.url}
    seed = read_seed(ROOT / "integrations" / "sandbox" / "demo.toml", places)
    other = replace(
        seed,
        tenant=replace(
            seed.tenant,
            id=OTHER,
            slug=OTHER,
            name="Annan vård",
            hosts=("annan.example",),
            origins=(),
            identity_providers=tuple(replace(each, audience=OTHER_AUDIENCE) for each in seed.tenant.identity_providers),
        ),
        endpoints=[replace(endpoint, tenant_id=OTHER) for endpoint in seed.endpoints],
        areas=[replace(area, tenant_id=OTHER) for area in seed.areas],
    )
    return seed, other


async def fill(town: Town, database_url: str, *said: Seed) -> None:
    """Both tenants' catalogues, or what the given seeds say, put over what is there."""
    house = open_house(town.settings(database_url))
    for seed in said or seeds(town):
        assert await house.use.import_catalogue(seed) == {}
    await house.close()


@pytest.fixture(scope="session")
def filled_sqlite(whole_town: Town, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "filled.db"
    shutil.copyfile(sqlite_template, path)
    databases._apart(fill(whole_town, f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def filled_postgres(request: pytest.FixtureRequest, whole_town: Town, postgres_template: str) -> Iterator[str]:
    with contextmanager(databases._postgres_copy)(request, postgres_template) as url:
        databases._apart(fill(whole_town, url))
        yield url.rpartition("/")[2]


@pytest.fixture(params=databases.ENGINES)
def filled_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with both tenants' catalogues; the test runs once on each engine."""
    if request.param == "postgresql":
        yield from databases._postgres_copy(request, request.getfixturevalue("filled_postgres"))
        return
    shutil.copyfile(request.getfixturevalue("filled_sqlite"), tmp_path / "town.db")
    yield f"sqlite:///{tmp_path / 'town.db'}"


@pytest.fixture
def postgres_filled_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """For what only a database with many writers at once can get wrong."""
    yield from databases._postgres_copy(request, request.getfixturevalue("filled_postgres"))


@pytest.fixture
def sqlite_filled_url(filled_sqlite: Path, tmp_path: Path) -> str:
    """For what is above the store, and so the same on both engines."""
    shutil.copyfile(filled_sqlite, tmp_path / "town.db")
    return f"sqlite:///{tmp_path / 'town.db'}"


@dataclass(frozen=True)
class Server:
    """A server process of its own, and where it listens."""

    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """As a power cut would: nothing is finished, nothing is told."""
        self.process.kill()
        self.process.wait(15)


@contextmanager
def running(settings: Settings, stderr: Path) -> Iterator[Server]:
    """A server that listens; it is stopped as a supervisor would, if it still runs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ITB_")}
    told = {
        f"ITB_{name.upper()}": str(getattr(settings, name))
        for name in settings.__dataclass_fields__
        if getattr(settings, name) != ""
    }
    with stderr.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "serve"],
            env={**kept, **told, "ITB_PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
        )
        try:
            with stopping(process):
                yield Server(_address(process, stderr), process)
        finally:
            SCAN.file(stderr)


@contextmanager
def serving(settings: Settings, stderr: Path) -> Iterator[str]:
    """The base URL of such a server, for those who need no more of it."""
    with running(settings, stderr) as server:
        yield server.url


@contextmanager
def stopping(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        assert process.stdout
        process.stdout.close()


def _address(process: subprocess.Popen[bytes], stderr: Path) -> str:
    """Waits for the line that says where it listens; a server that does not come up is killed after a minute."""
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stdout
    line = process.stdout.readline().decode()
    watchdog.cancel()
    assert line.startswith("serving on "), stderr.read_text()
    return line.removeprefix("serving on ").strip().removesuffix("/graphql")


class TopLevelErrors(AssertionError):
    """An operation that failed as a whole where it was expected to answer."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclass
class Client:
    """Speaks GraphQL to an application, in this process or another."""

    http: httpx2.AsyncClient

    async def __call__(self, query: str, token: str | None = None, /, **variables: Any) -> dict[str, Any]:
        """The data of an operation without top-level errors."""
        body = await self.raw(query, token, **variables)
        if "errors" in body:
            raise TopLevelErrors(body["errors"])
        data: dict[str, Any] = body["data"]
        return data

    async def raw(self, query: str, token: str | None = None, /, **variables: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        body: dict[str, Any] = answer.json()
        return body


@asynccontextmanager
async def in_process(settings: Settings, host: str = "127.0.0.1") -> AsyncIterator[tuple[Client, Starlette]]:
    """The application in this process, lifespan and all."""
    app = await build_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(
            transport=transport, base_url=f"http://{host}", headers=BY_SCRIPT, timeout=60, event_hooks=HOOKS
        ) as http:
            yield Client(http), app


@asynccontextmanager
async def over_http(url: str) -> AsyncIterator[Client]:
    limits = httpx2.Limits(max_connections=200)
    asked: dict[str, Any] = {"headers": BY_SCRIPT, "event_hooks": HOOKS}
    async with httpx2.AsyncClient(base_url=url, timeout=90, limits=limits, **asked) as http:
        yield Client(http)


async def sign_in(town: Town, login: str, tenant: str | None = None) -> str:
    """An app's access token, for the first tenant or `OTHER`."""
    audience = {"resource": OTHER_AUDIENCE} if tenant == OTHER else {}
    return str((await tokens_of(town.issuer, login, **audience))["access_token"])


async def until(look: Callable[[], Awaitable[T | None]], seconds: float = 120) -> T:
    """What `look` finds at last. The bound is far beyond what anything takes, so that no busy machine fails a test."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.05)
