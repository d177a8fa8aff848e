"""Databases for tests: a fresh one for each, on both engines, copied from one that was migrated once.

Named in the topmost `conftest.py`: `pytest_plugins = ["tests.databases"]`. Set TEST_DATABASE_URL to use a PostgreSQL
server of your own (its user must be allowed to create databases); else 127.0.0.1:5432 is tried, else a private server
is started from local binaries. In CI a missing PostgreSQL is a failure, elsewhere those tests are skipped.
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from integrations.store.engine import open_engine
from integrations.store.migrate import upgrade
from integrations.store.roles import grant
from integrations.store.work import StartSqlWork

ENGINES = ("sqlite", "postgresql")

_LOCAL = "postgresql://postgres:postgres@127.0.0.1:5432/postgres"
_STARTED_IN = 30.0
_FAST = (
    *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
    *("-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "listen_addresses=127.0.0.1"),
)
_numbers = count(1)
_owners: dict[tuple[str | None, int | None], URL] = {}
"""Who made the databases, by server: a superuser, past both walls."""


@pytest.fixture(scope="session")
def postgres_server(worker_name: str) -> Iterator[str]:
    """The address of a PostgreSQL server's maintenance database."""
    given = os.environ.get("TEST_DATABASE_URL")
    for url in [given] if given else [_LOCAL]:
        if _apart(_answers(url)):
            yield _known(url)
            return
    binaries = _binaries()
    if given or binaries is None:
        missing = f"PostgreSQL does not answer at {given}" if given else "no PostgreSQL server and no binaries of one"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with contextmanager(_private_server)(binaries, worker_name) as url:
        yield _known(url)


@pytest.fixture(scope="session")
def worker_name(request: pytest.FixtureRequest) -> str:
    """Names what this process makes, so that processes side by side never meet."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    return f"itb_{worker}_{os.getpid()}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _apart(upgrade(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def server_role(postgres_server: str, worker_name: str) -> Iterator[str]:
    """The role that a server is to have: neither superuser nor owner. Its name is its password."""
    name = f"{worker_name}_server"
    _apart(_execute(postgres_server, f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{name}'"))
    yield name
    _apart(_execute(postgres_server, f'DROP ROLE "{name}"'))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str, server_role: str, worker_name: str) -> Iterator[str]:
    name = f"{worker_name}_template"
    _apart(_execute(postgres_server, f'CREATE DATABASE "{name}"'))
    owner = _named(postgres_server, name)
    _apart(upgrade(owner))
    _apart(grant(owner, as_role(owner, server_role)))
    yield name
    _apart(_execute(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated database; the test runs once on each engine."""
    yield from _fresh(request, request.param)


@pytest.fixture
def sqlite_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, migrated SQLite database, for tests of what is above the store."""
    yield from _fresh(request, "sqlite")


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _fresh(request, "postgresql")


@pytest.fixture(params=ENGINES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with contextmanager(_postgres_copy)(request, "template0") as url:
        yield owner_of(url)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


def _fresh(request: pytest.FixtureRequest, engine: str) -> Iterator[str]:
    if engine == "postgresql":
        yield from _postgres_copy(request, request.getfixturevalue("postgres_template"))
        return
    path = request.getfixturevalue("tmp_path") / "itb.db"
    shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
    yield f"sqlite:///{path}"


def _postgres_copy(request: pytest.FixtureRequest, template: str) -> Iterator[str]:
    server, worker = request.getfixturevalue("postgres_server"), request.getfixturevalue("worker_name")
    name = f"{worker}_{next(_numbers)}"
    _apart(_execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    yield as_role(_named(server, name), request.getfixturevalue("server_role"))
    _apart(_execute(server, f'DROP DATABASE "{name}" WITH (FORCE)'))


def as_role(url: str, role: str) -> str:
    return make_url(url).set(username=role, password=role).render_as_string(hide_password=False)


def owner_of(url: str) -> str:
    """The same database, to be migrated or looked into by its owner."""
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return url
    owner = _owners[address.host, address.port]
    return address.set(username=owner.username, password=owner.password).render_as_string(hide_password=False)


@asynccontextmanager
async def raw(whose: str | AsyncEngine | StartSqlWork) -> AsyncIterator[AsyncConnection]:
    """A connection past both walls, committed at the end, for tests that look into or change the tables themselves."""
    engine = whose._engine if isinstance(whose, StartSqlWork) else whose
    url = engine if isinstance(engine, str) else engine.url.render_as_string(hide_password=False)
    own = open_engine(owner_of(url), pool_size=1, scoped=False)
    try:
        async with own.connect() as connection:
            yield connection
            await connection.commit()
    finally:
        await own.dispose()


async def waits_for_a_lock(url: str) -> bool:
    """Whether somebody in this PostgreSQL database waits for what somebody else keeps."""
    mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with raw(url) as connection:
        return bool((await connection.execute(text(mine))).scalar_one())


def _known(url: str) -> str:
    address = make_url(url)
    _owners[address.host, address.port] = address
    return url


def _named(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)


def _apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs in a thread of its own: fixtures of a session have no event loop, and a test's loop is none of theirs."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _execute(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _answers(url: str) -> bool:
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await (await asyncpg.connect(url, timeout=3)).close()
        return True
    return False


def _binaries() -> Path | None:
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def _private_server(binaries: Path, name: str) -> Iterator[str]:
    """A cluster in a folder of its own, gone with the tests. PostgreSQL refuses to be run by root."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}_"))
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"
    # The C locale is the hardest on code that leans on a database's collation.
    made = [
        str(binaries / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "-N",
    ]
    subprocess.run(made, check=True, capture_output=True, user=user, group=user, cwd=folder)
    port = _free_port()
    command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), *_FAST]
    with open(log, "wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, user=user, group=user, cwd=folder)
    try:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        _apart(_until_it_answers(url, server, log))
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: nobody is waited for
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(_STARTED_IN):
        while not await _answers(url):
            if server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start, see {log}")
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def statements_sent(counts: Callable[[str], bool], engine: Any = Engine) -> Iterator[list[str]]:
    """What is sent to the database meanwhile, each statement on one line: those that count, of one engine or all."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        line = " ".join(statement.split())
        if counts(line):
            seen.append(line)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
