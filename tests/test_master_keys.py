"""Master keys that are wrong or missing are told before anybody is served, and by health checks later."""

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from api.bootstrap import open_house
from api.master_keys import read_master_keys
from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.commands import ROOT, run
from tests.databases import statements_sent
from tests.living import OTHER, SECRET, Client, Town, in_process, until
from tests.store.making import an_id, make_identity
from tests.test_commands import KEY, NEEDED, told_in_one_line

ANOTHER = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
FIRST, WRONG = f"1:{KEY}", f"1:{ANOTHER}"


def masters(text: str) -> Sealing:
    return Sealing(SECRET, read_master_keys(text), fresh_seconds=0.0)


@pytest.fixture
async def engine(sqlite_filled_url: str) -> AsyncIterator[AsyncEngine]:
    """Of a database where somebody of each tenant is known, sealed by keys that master key 1 wraps."""
    engine = open_engine(sqlite_filled_url)
    for tenant_id in ("nordhelse", OTHER):
        await somebody_known(engine, tenant_id)
    yield engine
    await engine.dispose()


async def somebody_known(engine: AsyncEngine, tenant_id: str) -> None:
    async with StartSqlWork(engine, masters(FIRST))(tenant_id) as work:
        await work.patients.recognise(tenant_id, make_identity(), an_id("somebody"))
        await work.commit()


async def wraps(engine: AsyncEngine, tenant_id: str) -> set[tuple[int, bool]]:
    """By which master keys, and whether the first one of them opens."""
    async with StartSqlWork(engine, masters(FIRST))(tenant_id) as work:
        return {
            (each.master, (await work.sealing.read(tenant_id)).complete) for each in await work.keys.report(tenant_id)
        }


COMMANDS = [("serve",), ("worker",), ("seal", "rotate"), ("seal", "rewrap"), ("seal", "rewrap", "nordhelse")]


@pytest.mark.parametrize("order", COMMANDS, ids=" ".join)
async def test_a_wrong_or_missing_master_key_is_told_at_start(
    order: tuple[str, ...], engine: AsyncEngine, sqlite_filled_url: str
) -> None:
    told = {**NEEDED, "port": 0, "database_url": sqlite_filled_url, "log_level": "error"}
    wrong = told_in_one_line(run(*order, **told, master_keys=WRONG))
    assert wrong == "itb: the keys of annan, nordhelse do not open by the master key 1 in ITB_MASTER_KEYS"
    missing = told_in_one_line(run(*order, **told, master_keys=f"2:{KEY}"))
    assert (
        missing == "itb: the keys of annan, nordhelse are wrapped by master key 1, which ITB_MASTER_KEYS does not hold"
    )
    assert KEY not in wrong + missing and ANOTHER not in wrong + missing
    assert await wraps(engine, "nordhelse") == {(1, True)}


async def test_another_secret_is_told_likewise(sqlite_filled_url: str) -> None:
    engine = open_engine(sqlite_filled_url)
    async with StartSqlWork(engine, Sealing(SECRET))("nordhelse") as work:
        await work.patients.recognise("nordhelse", make_identity(), an_id("somebody"))
        await work.commit()
    await engine.dispose()
    told = {**NEEDED, "secret": SECRET[::-1], "database_url": sqlite_filled_url, "log_level": "error"}
    line = told_in_one_line(run("worker", **told))
    assert line == "itb: the keys of nordhelse do not open by the master key 0 that follows from ITB_SECRET"


async def test_nothing_is_wrapped_by_a_key_that_does_not_open_the_others(
    engine: AsyncEngine, sqlite_filled_url: str
) -> None:
    """One tenant's keys are wrapped by master key 2 already, and the 2 that is given now is another."""
    told = {**NEEDED, "database_url": sqlite_filled_url, "log_level": "error"}
    assert run("seal", "rewrap", OTHER, **told, master_keys=f"{FIRST},2:{KEY}").stdout.startswith(OTHER)
    line = told_in_one_line(run("seal", "rewrap", "nordhelse", **told, master_keys=f"{FIRST},2:{ANOTHER}"))
    assert line == "itb: the keys of annan do not open by the master key 2 in ITB_MASTER_KEYS"
    assert await wraps(engine, "nordhelse") == {(1, True)}


async def health(client: Client) -> tuple[int, str]:
    answer = await client.http.get("/health/ready")
    return answer.status_code, answer.json()["keys"]


async def test_a_server_whose_keys_were_wrapped_by_another_master_key_is_not_ready(
    town: Town, engine: AsyncEngine, sqlite_filled_url: str
) -> None:
    settings = town.settings(sqlite_filled_url, secret=SECRET, master_keys=FIRST, key_seconds=0.1)

    elsewhere = open_house(town.settings(sqlite_filled_url, secret=SECRET, master_keys=f"{FIRST},2:{ANOTHER}"))
    async with in_process(settings) as (client, _):
        assert await health(client) == (200, "ok")
        await elsewhere.use.rotate_keys.rewrap(["nordhelse"], lambda _: None)
        await until(lambda: _becomes(client, (503, "shut")))
        whole = await client.http.get("/health")
        assert (whole.status_code, whole.json()["status"]) == (503, "down")
    await elsewhere.close()


async def _becomes(client: Client, wanted: tuple[int, str]) -> bool:
    return await health(client) == wanted


async def test_a_health_check_looks_at_keys_seldom(town: Town, engine: AsyncEngine, sqlite_filled_url: str) -> None:
    settings = town.settings(sqlite_filled_url, secret=SECRET, master_keys=FIRST, key_seconds=3600.0)
    async with in_process(settings) as (client, _):
        with statements_sent(lambda line: "tenant_key" in line) as seen:
            for _ in range(5):
                assert await health(client) == (200, "ok")
    assert len(seen) <= len(("nordhelse", OTHER))


def test_the_documents_own_lines_make_one_key_and_never_another(tmp_path: Path) -> None:
    """Whoever pastes them a second time goes on with the first key."""
    text = (ROOT / "docs" / "operations.md").read_text()
    [made] = re.findall(r"^\$ (.*openssl rand -base64 32.*)$", text, re.MULTILINE)
    [used] = re.findall(r"^\$ (export ITB_MASTER_KEYS=.*)$", text, re.MULTILINE)
    said = []
    for _ in range(2):
        script = f'{made}\n{used}\nprintf %s "$ITB_MASTER_KEYS"'
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        said.append(done.stdout)
    assert said[0] == said[1] and list(read_master_keys(said[0])) == [1]
    [kept] = tmp_path.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
