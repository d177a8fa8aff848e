"""Backups as docs/operations.md tells to make them, word by word, and the ways that make none."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from domain.catalogue import Seed
from integrations.store.engine import open_engine
from integrations.store.migrate import upgrade
from integrations.store.roles import check_role, grant
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests import databases
from tests.store.making import SECRET, an_id, make_identity, make_tenant

SECTION = (Path(__file__).parents[2] / "docs" / "operations.md").read_text().split("## Backups\n")[1].split("\n## ")[0]
TOOLS = ("pg_dump", "pg_restore", "psql")


class Place:
    """A server whose database has an owner who is no superuser; the document's names stand for names of our own."""

    def __init__(self, server: str, worker: str, role: str, folder: Path) -> None:
        self.server, self.role, self.folder = server, role, folder
        self.databases = {"itb": f"{worker}_live", "itb_again": f"{worker}_again"}
        self.roles = {"itb_owner": f"{worker}_owner", "itb_backup": f"{worker}_backup"}
        address = make_url(server)
        self.address = f"{address.host}:{address.port}"

    def said(self, text: str) -> str:
        names = {**self.databases, **self.roles}
        told = re.sub(r"\bitb(?:_[a-z]+)?\b(?!\.dump)", lambda match: f"{names[match[0]]}", text)
        return told.replace("127.0.0.1:5432", self.address).replace("PASSWORD '...'", "PASSWORD 'hush'")

    def sql(self, statement: str) -> None:
        databases._apart(databases._execute(self.server, self.said(statement)))

    def url(self, role: str, database: str) -> str:
        return self.said(f"postgresql://{role}:hush@127.0.0.1:5432/{database}")

    def shell(self, line: str, *, well: bool = True) -> str:
        done = subprocess.run(
            ["bash", "-c", self.said(line)],
            cwd=self.folder,
            env={**os.environ, "PGPASSWORD": "hush"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode == 0) is well, done.stderr
        return done.stdout if well else done.stderr


@pytest.fixture
def place(postgres_server: str, worker_name: str, server_role: str, tmp_path: Path) -> Iterator[Place]:
    if missing := [each for each in TOOLS if not shutil.which(each)]:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no {missing[0]}")
    place = Place(postgres_server, worker_name, server_role, tmp_path)
    place.sql("CREATE ROLE itb_owner LOGIN PASSWORD '...'")
    [roles] = re.findall(r"```sql\n(.*?)```", SECTION, re.DOTALL)
    place.sql(roles)
    for database in place.databases:
        place.sql(f"CREATE DATABASE {database} OWNER itb_owner")
    yield place
    for database in place.databases.values():
        place.sql(f'DROP DATABASE "{database}" WITH (FORCE)')
    for role in place.roles.values():
        place.sql(f'DROP ROLE "{role}"')


def start(place: Place, database: str) -> StartSqlWork:
    """As the server's own role."""
    engine = open_engine(databases.as_role(place.url("itb_owner", database), place.role))
    return StartSqlWork(engine, Sealing(SECRET))


async def filled(place: Place) -> None:
    owner = place.url("itb_owner", "itb")
    await upgrade(owner)
    await grant(owner, databases.as_role(owner, place.role))
    works = start(place, "itb")
    async with works("nord") as work:
        await work.catalogue.put_seed(Seed(tenant=make_tenant("nord")))
        await work.patients.recognise("nord", make_identity(), an_id("somebody"))
        await work.commit()
    await works._engine.dispose()


def shown() -> list[str]:
    """The document's commands, each with the lines it goes on in."""
    blocks = re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL)
    return re.findall(r"^\$ (.*?)$(?!\n>)", "".join(blocks), re.DOTALL | re.MULTILINE)


async def test_a_backup_holds_everybody_and_is_served_again(place: Place) -> None:
    await filled(place)
    dump, restore, count = (re.sub(r"\n> ", "\n", each) for each in shown())
    place.shell(dump)
    place.shell(restore)
    assert place.shell(count).split() == ["tenant_key|2", "patient|1", "booking|0", "audit|1"]
    works = start(place, "itb_again")
    await check_role(works._engine)
    async with works("nord") as work:
        found = await work.patients.get("nord", an_id("somebody"))
    await works._engine.dispose()
    assert found and found.name == "Kari Øyen"
    as_owner = 'psql postgresql://itb_owner@127.0.0.1:5432/itb_again -Atc "SELECT count(*) FROM patient"'
    assert place.shell(as_owner) == "0\n", "the owner is held back there as well"


async def test_the_ways_that_the_document_warns_of_make_no_backup(place: Place) -> None:
    await filled(place)
    dump = shown()[0].replace("itb_backup", "itb_owner")
    assert "row-level security policy" in place.shell(dump, well=False)
    place.shell(dump.replace("pg_dump ", "pg_dump --enable-row-security "))
    told = place.shell("pg_restore --data-only --table=patient --file=- itb.dump")
    assert "COPY public.patient" in told and "\n\\.\n" in told
    assert str(an_id("somebody")) not in told
