"""`migrate` and `import` by whoever does it for the first time: what is set wrongly is one line that names it."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from integrations.store.engine import open_engine
from tests import databases
from tests.commands import ROOT, run
from tests.databases import as_role, owner_of
from tests.fhir.scripted import answer, scripted
from tests.living import Town
from tests.test_commands import NEEDED, told_in_one_line

SEED = (ROOT / "integrations" / "sandbox" / "demo.toml").read_text()


@pytest.fixture
def empty_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty PostgreSQL database, as its superuser owner."""
    with contextmanager(databases._postgres_copy)(request, "template0") as url:
        yield owner_of(url)


def tables(url: str) -> int:
    async def count() -> int:
        engine = open_engine(url, scoped=False)
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
        await engine.dispose()
        return int(found.scalar_one())

    return asyncio.run(count())


def test_a_first_migration_as_the_servers_role_is_told_the_setting(empty_url: str, server_role: str) -> None:
    server = as_role(empty_url, server_role)
    line = told_in_one_line(run("migrate", **NEEDED, database_url=server, log_level="warning"))
    assert line.startswith(f"itb: ITB_DATABASE_OWNER_URL: the role {server_role} may not change the tables: ")
    assert tables(empty_url) == 0


def test_an_owner_of_another_database_is_told_before_anything_is_made(
    empty_url: str, postgres_url: str, server_role: str
) -> None:
    told = {"database_url": postgres_url, "database_owner_url": empty_url}
    line = told_in_one_line(run("migrate", **NEEDED, **told, log_level="warning"))
    assert line.startswith("itb: ITB_DATABASE_OWNER_URL: names another database than ITB_DATABASE_URL: ")
    assert make_url(empty_url).database in line and make_url(postgres_url).database in line
    assert tables(empty_url) == 0


def test_one_database_may_go_by_two_names_of_its_host(postgres_url: str) -> None:
    owner = make_url(owner_of(postgres_url)).set(host="localhost").render_as_string(hide_password=False)
    done = run("migrate", **NEEDED, database_url=postgres_url, database_owner_url=owner, log_level="warning")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("url", ["itb", "mysql://owner@db/itb", "sqlite:////no/such/folder/itb.db"])
def test_an_owners_address_that_is_none_is_told(url: str, sqlite_url: str) -> None:
    told_in_one_line(run("migrate", **NEEDED, database_url=sqlite_url, database_owner_url=url))


def test_two_files_are_two_databases(sqlite_url: str, tmp_path: Path) -> None:
    told = {"database_url": sqlite_url, "database_owner_url": f"sqlite:///{tmp_path / 'other.db'}"}
    line = told_in_one_line(run("migrate", **NEEDED, **told, log_level="warning"))
    assert line.startswith("itb: ITB_DATABASE_OWNER_URL: names another database than ITB_DATABASE_URL: ")
    assert not (tmp_path / "other.db").exists()


@pytest.fixture
def around(town: Town, monkeypatch: pytest.MonkeyPatch) -> Town:
    monkeypatch.setenv("EHR_NO", town.norway.url)
    monkeypatch.setenv("EHR_SE", town.sweden.url)
    return town


def imported(url: str, seed: Path, text: str) -> str:
    seed.write_text(text)
    return told_in_one_line(run("import", **NEEDED, database_url=url, seed=seed, log_level="error"))


def test_what_is_another_tenants_already_is_told(around: Town, filled_url: str, tmp_path: Path) -> None:
    """`annan` has the host annan.example and the slug annan."""
    host = SEED.replace("hosts = [", 'hosts = ["new.example", "Annan.example", ')
    assert host != SEED
    line = imported(filled_url, tmp_path / "seed.toml", host)
    assert line == "itb: the host annan.example is another tenant's: it cannot be one of nordhelse's `hosts`"
    slug = SEED.replace('slug = "nordhelse"', 'slug = "annan"', 1)
    assert imported(filled_url, tmp_path / "seed.toml", slug) == (
        "itb: the slug annan is another tenant's: nordhelse needs one of its own"
    )
    new = slug.replace('id = "nordhelse"', 'id = "ny"', 1)
    assert imported(filled_url, tmp_path / "seed.toml", new).startswith("itb: the slug annan is another tenant's: ny ")


def two(first: str, second: str) -> str:
    """A seed with two endpoints: their addresses, and what else is said of them."""
    tenant = '[tenant]\nid = "twins"\nslug = "twins"\nname = "Twins"\n'
    endpoints = (("one", first), ("two", second))
    return tenant + "".join(
        f'[[endpoints]]\nid = "{id}"\nname = "{id}"\ndialect = "ihe"\nbase_url = {said}\n' for id, said in endpoints
    )


def test_clinics_of_two_record_systems_that_count_alike_are_told(around: Town, filled_url: str, tmp_path: Path) -> None:
    line = imported(filled_url, tmp_path / "seed.toml", two('"${EHR_NO}"', '"${EHR_NO}"'))
    assert re.fullmatch(
        r"itb: the clinics (\S+) of one and \1 of two would both have the slug \S+: give one its own in the seed", line
    )


LOGIN = (
    '{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"login","diagnostics":"Kari Testesen"}]}'
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (answer("", 401), "it refused us with 401"),
        (answer(LOGIN, 403), "it refused us with 403 (login)"),
        (answer("", 503), "HTTP 503"),
    ],
    ids=["refused", "refused by a code", "down"],
)
async def test_why_a_record_system_is_not_imported_is_told(
    sqlite_url: str, tmp_path: Path, said: bytes, told: str
) -> None:
    async with scripted(said) as (server, _):
        seed = two(f'"{server.url}"', f'"{server.url}"\nauthorization_variable = "NOBODY_HAS_SET_THIS"')
        line = await asyncio.to_thread(imported, sqlite_url, tmp_path / "seed.toml", seed)
    unset = "the environment variable NOBODY_HAS_SET_THIS is not set"
    assert line == f"itb: not imported: one: {told}; two: {unset}"
