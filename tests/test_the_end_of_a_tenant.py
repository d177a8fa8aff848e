"""`seal forget`: what a tenant's keys have sealed is gone, and every other tenant's is as it was."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.commands import PATIENCE, ROOT, environment, run
from tests.living import OTHER
from tests.store.making import an_id, make_identity
from tests.test_commands import NEEDED, told_in_one_line

NOT_SURE = "itb: nothing is done: that is not the slug of nordhelse"


def forget(url: str, *order: str, typed: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", "seal", "forget", *order],
        env=environment(**{**NEEDED, "database_url": url, "log_level": "warning", **more}),
        cwd=ROOT,
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.fixture
async def engine(filled_url: str) -> AsyncIterator[AsyncEngine]:
    """Of a database where two people of each tenant are known."""
    engine = open_engine(filled_url)
    for tenant_id in ("nordhelse", OTHER):
        async with works(engine)(tenant_id) as work:
            for name in ("a", "b"):
                told: dict[str, Any] = {"subject": name, "national_id": None}
                await work.patients.recognise(tenant_id, make_identity(**told), an_id(name))
            await work.commit()
    yield engine
    await engine.dispose()


def works(engine: AsyncEngine) -> StartSqlWork:
    return StartSqlWork(engine, Sealing(NEEDED["secret"], fresh_seconds=0.0))


async def name(engine: AsyncEngine, tenant_id: str) -> str:
    async with works(engine)(tenant_id) as work:
        found = await work.patients.get(tenant_id, an_id("a"))
    assert found
    return found.name


async def test_a_tenants_people_are_gone_and_nobody_elses(engine: AsyncEngine, filled_url: str) -> None:
    done = await asyncio.to_thread(forget, filled_url, "nordhelse", typed="nordhelse\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        ": nordhelse: 2 keys deleted; for ever gone is who and what was sealed in: "
        "2 of patient, 0 of booking, 0 of data_export, 0 of session\n"
    )
    assert await name(engine, "nordhelse") == ""
    assert await name(engine, OTHER) == "Kari Øyen"
    order = ("audit", "--tenant", "nordhelse", "--action", "tenant_key.forgotten")
    [line] = run(*order, **NEEDED, database_url=filled_url).stdout.splitlines()
    [entity] = json.loads(line)["entity"]
    details = {each["type"]: each["valueString"] for each in entity["detail"]}
    assert (details["keys"], details["patient"]) == ("2", "2")


async def test_it_needs_no_master_key_and_may_be_told_that_one_is_sure(engine: AsyncEngine, filled_url: str) -> None:
    done = await asyncio.to_thread(forget, filled_url, "nordhelse", "--yes", secret=NEEDED["secret"][::-1])
    assert (done.returncode, done.stdout[:27]) == (0, "nordhelse: 2 keys deleted; ")
    again = await asyncio.to_thread(forget, filled_url, "nordhelse", "--yes")
    assert again.stdout.startswith("nordhelse: 0 keys deleted; ")


async def test_nothing_is_in_the_way_of_what_comes_after(engine: AsyncEngine, filled_url: str) -> None:
    """Keys of a tenant that goes on being served begin at the same numbers again, which the former ones had."""
    for order in (("rotate",), ("forget", "nordhelse", "--yes"), ("rotate",), ("rewrap",)):
        told = {**NEEDED, "database_url": filled_url, "log_level": "warning", "key_seconds": 0.1}
        done = await asyncio.to_thread(run, "seal", *order, **told)
        assert (done.returncode, done.stderr) == (0, ""), order
    async with works(engine)("nordhelse") as work:
        anew = await work.patients.recognise("nordhelse", make_identity(subject="a", national_id=None), an_id("new"))
        await work.commit()
    assert (anew.id, anew.name) == (an_id("new"), "Kari Øyen")
    assert await name(engine, OTHER) == "Kari Øyen"


@pytest.mark.parametrize("typed", ["", "\n", "annan\n", "yes\n"])
async def test_who_types_another_slug_was_not_sure(engine: AsyncEngine, filled_url: str, typed: str) -> None:
    done = await asyncio.to_thread(forget, filled_url, "nordhelse", typed=typed)
    assert (done.returncode, done.stderr.splitlines()) == (2, [NOT_SURE])
    assert await name(engine, "nordhelse") == "Kari Øyen"


@pytest.mark.parametrize("order", [(), ("--yes",), ("nordhelse", "--no"), ("nordhelse", "--yes", "annan"), ("nobody",)])
def test_what_cannot_be_meant_is_told(order: tuple[str, ...], sqlite_filled_url: str) -> None:
    line = told_in_one_line(forget(sqlite_filled_url, *order))
    assert "seal forget TENANT [--yes]" in line or line.startswith("itb: there is no tenant ")
