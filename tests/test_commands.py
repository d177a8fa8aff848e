"""`python -m api`: whatever somebody outside must put right is one line and exit code 2; what stays can be stopped."""

import asyncio
import shlex
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.settings import SettingsInvalid, read_settings
from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.commands import FREE_PORTS, PATIENCE, ROOT, Demo, demo, run, running
from tests.databases import as_role
from tests.living import BY_SCRIPT, Town, over_http
from tests.oidc.serving import tokens_of
from tests.store.making import an_id, make_identity
from tests.system.journey import Journey

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
NEEDED = {"secret": "tests-only-not-a-secret-0123456789abcdef", "oidc_issuer": "http://127.0.0.1:9"}
NEEDED_NAMES = {f"ITB_{name.upper()}": value for name, value in NEEDED.items()}


def told_in_one_line(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 2, (ended.returncode, ended.stderr)
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("itb: ")
    return line


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        yield somebody.getsockname()[1]


@pytest.fixture
def closed() -> int:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return int(nobody.getsockname()[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ITB_SECRET", value) for value in ("", "short")),
        *(("ITB_OIDC_ISSUER", value) for value in ("", "http://login.example.org", "login.example.org")),
        *(("ITB_PORT", value) for value in ("http", "-1", "65536")),
        *(("ITB_WORKER", value) for value in ("maybe", "2")),
        *(("ITB_FIND_DEADLINE", value) for value in ("soon", "0", "-1", "nan", "inf", "1e9")),
        *(("ITB_HOLD_SECONDS", value) for value in ("1.5", "0", "99999999999999999999")),
        ("ITB_HOLD_CAP_SECONDS", "599"),
        ("ITB_QUERY_SECONDS", "6"),
        ("ITB_DATABASE_POOL", "0"),
        *(("ITB_API_KEY_SECONDS", value) for value in ("-1", "31", "nan")),
        *(("ITB_API_KEY_PEPPERS", value) for value in ("pepper", "1:short", f"0:{'a' * 32}")),
        *(("ITB_API_KEY_PEPPER", value) for value in ("one", "1", "-1")),
        ("ITB_TOKEN_KEY", "0"),
        ("ITB_HOLDS_PER_ADDRESS", "0"),
        *(("ITB_DATABASE_URL", value) for value in ("mysql://db/itb", "itb.db", "postgresql://u@host:port/name")),
        *(("ITB_REDIS_URL", value) for value in ("http://redis", "redis", "redis://host:port")),
        *(("ITB_TRUSTED_PROXIES", value) for value in ("proxy.example.org", "10.0.0.1, 10.0.0.2")),
        ("ITB_LOG_LEVEL", "loud"),
        ("ITB_LOG_FORMAT", "xml"),
        *(("ITB_MASTER_KEYS", value) for value in ("1", "1:short", f"0:{KEY}", f"x:{KEY}", f"1:{KEY},1:{KEY}")),
        ("ITB_DEMO_OIDC_PORT", "70000"),
        ("ITB_PROT", "8000"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=rf"^{name}: [^\n]+$"):
        read_settings({**NEEDED_NAMES, name: value})


@pytest.mark.parametrize(
    "url",
    [
        "http://booking.example.org",
        "http://127.0.0.1.example.org",
        "ftp://127.0.0.1",
        "booking.example.org",
        "https://",
        "https://booking.example.org:port",
        "https://[::1",
        "https://booking.example.org/?a=b",
        "https://booking.example.org/#a",
        "https://me@booking.example.org",
        "https://booking.example.org /",
        "\x01https://booking.example.org",
        "https://booking.example.org/\x7f",
    ],
)
def test_the_public_url_is_https_and_plain(url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"^ITB_PUBLIC_URL: "):
        read_settings({**NEEDED_NAMES, "ITB_PUBLIC_URL": url})


@pytest.mark.parametrize(
    ("told", "base_url", "https"),
    [
        ({"ITB_PUBLIC_URL": "https://booking.example.org/"}, "https://booking.example.org", True),
        ({"ITB_PUBLIC_URL": "HTTPS://booking.example.org"}, "HTTPS://booking.example.org", True),
        ({"ITB_PUBLIC_URL": "http://localhost:8000"}, "http://localhost:8000", False),
        ({}, "http://127.0.0.1:8000", False),
        ({"ITB_HOST": "::1", "ITB_PORT": "8080"}, "http://[::1]:8080", False),
    ],
)
def test_what_browsers_reach_us_under(told: dict[str, str], base_url: str, https: bool) -> None:
    settings = read_settings({**NEEDED_NAMES, **told})
    settings.check_public_url()
    assert (settings.base_url, settings.is_https) == (base_url, https)


@pytest.mark.parametrize(
    ("verb", "told", "named"),
    [
        ("serve", {}, "ITB_SECRET"),
        ("migrate", {**NEEDED, "prot": 8000}, "ITB_PROT"),
        ("serve", {**NEEDED, "port": "http"}, "ITB_PORT"),
        ("serve", {**NEEDED, "public_url": "http://booking.example.org"}, "ITB_PUBLIC_URL"),
        ("serve", {**NEEDED, "host": "0.0.0.0", "port": 0}, "ITB_PUBLIC_URL"),
        ("import", NEEDED, "ITB_SEED"),
        ("demo", {"demo_dir": "/proc/demo", **FREE_PORTS}, "ITB_DEMO_DIR"),
    ],
)
def test_a_command_tells_what_is_set_wrongly(verb: str, told: dict[str, Any], named: str) -> None:
    assert told_in_one_line(run(verb, **told)).startswith(f"itb: {named}: ")


@pytest.mark.parametrize("arguments", [[], ["srve"], ["serve", "now"], ["--help"]], ids=" ".join)
def test_an_unknown_verb_is_answered_by_the_known_ones(arguments: list[str]) -> None:
    line = told_in_one_line(run(*arguments))
    assert "demo | serve | worker | migrate | import | schema" in line


def test_the_schema_is_printed_without_any_setting() -> None:
    printed = run("schema")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "type Query {" in printed.stdout


def test_a_busy_port_is_told_before_anything_is_done(busy: int, tmp_path: Path) -> None:
    database = tmp_path / "itb.db"
    line = told_in_one_line(run("serve", **NEEDED, port=busy, database_url=f"sqlite:///{database}"))
    assert f"127.0.0.1:{busy}" in line
    assert "ITB_PORT" in line
    assert not database.exists()


@pytest.mark.parametrize("name", FREE_PORTS)
def test_any_busy_port_of_the_demo_is_told(name: str, busy: int, tmp_path: Path) -> None:
    line = told_in_one_line(run("demo", **{**FREE_PORTS, name: busy}, demo_dir=tmp_path / "kept"))
    assert f"127.0.0.1:{busy}" in line
    assert f"ITB_{name.upper()}" in line
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("verb", ["migrate", "serve", "worker", "import"])
def test_an_unreachable_server_is_told_without_its_password(verb: str, closed: int) -> None:
    url = f"postgresql://itb:hush@127.0.0.1:{closed}/itb"
    seed = ROOT / "integrations" / "sandbox" / "demo.toml"
    line = told_in_one_line(run(verb, **NEEDED, port=0, database_url=url, seed=seed))
    assert str(closed) in line
    assert "hush" not in line


@pytest.mark.parametrize("verb", ["migrate", "serve"])
@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/itb.db", "sqlite:////proc/itb.db"], ids=["none", "closed"])
def test_an_impossible_file_is_told(verb: str, url: str) -> None:
    line = told_in_one_line(run(verb, **NEEDED, port=0, database_url=url))
    assert url.removeprefix("sqlite:///").removesuffix("/itb.db") in line


def test_a_missing_database_is_told(postgres_server: str) -> None:
    url = postgres_server.rpartition("/")[0] + "/no_such_database"
    assert "no_such_database" in told_in_one_line(run("migrate", **NEEDED, database_url=url))


@pytest.mark.parametrize("verb", ["serve", "worker", "import"])
def test_a_database_that_is_not_migrated_is_told(verb: str, empty_database_url: str) -> None:
    seed = ROOT / "integrations" / "sandbox" / "demo.toml"
    line = told_in_one_line(run(verb, **NEEDED, port=0, database_url=empty_database_url, seed=seed))
    assert "python -m api migrate" in line


def test_to_migrate_twice_is_fine(empty_database_url: str, server_role: str) -> None:
    server = empty_database_url if empty_database_url.startswith("sqlite") else as_role(empty_database_url, server_role)
    told = {"database_url": server, "database_owner_url": empty_database_url}
    for _ in range(2):
        ended = run("migrate", **NEEDED, **told, log_level="warning")
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_seed_that_cannot_be_read_is_told(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "clinics.toml").write_text("[tenant\n")
    for seed in ("none.toml", "clinics.toml"):
        assert seed in told_in_one_line(run("import", **NEEDED, database_url=sqlite_url, seed=tmp_path / seed))


def test_an_import_names_the_record_systems_that_are_silent(
    town: Town, closed: int, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = ROOT / "integrations" / "sandbox" / "demo.toml"
    monkeypatch.setenv("EHR_NO", town.norway.url)
    monkeypatch.setenv("EHR_SE", f"http://127.0.0.1:{closed}")
    line = told_in_one_line(run("import", **NEEDED, database_url=sqlite_url, seed=seed, log_level="error"))
    assert line.startswith("itb: not imported: malar: ClientConnectorError: Cannot connect to host 127.0.0.1")
    monkeypatch.setenv("EHR_SE", town.sweden.url)
    done = run("import", **NEEDED, database_url=sqlite_url, seed=seed, log_level="warning")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["keyboard", "supervisor"])
def test_a_server_on_a_free_port_says_which_and_stops_when_told(
    sqlite_url: str, tmp_path: Path, how: signal.Signals
) -> None:
    told = {**NEEDED, "port": 0, "database_url": sqlite_url, "log_level": "warning"}
    with running("serve", tmp_path / "stderr", "serving on ", **told) as server:
        url = server.find(r"^serving on (http://127\.0\.0\.1:[1-9]\d*)/graphql$")
        assert httpx2.get(f"{url}/health/live", timeout=30).status_code == 200
        code, stderr, seconds = server.stop(how)
    assert (code, stderr) == (0, "")
    assert seconds < 20


def test_a_worker_stops_when_told(sqlite_url: str, tmp_path: Path) -> None:
    told = {**NEEDED, "database_url": sqlite_url, "log_level": "warning"}
    with running("worker", tmp_path / "stderr", "looking into open questions", **told) as worker:
        assert worker.stop(signal.SIGTERM)[:2] == (0, "")


@pytest.mark.parametrize("after", [0.0, 0.3, 0.6])
def test_a_demo_can_be_stopped_while_it_starts(tmp_path: Path, after: float) -> None:
    """The driver may complain about a connection that was cut off, but the program does not come apart."""
    told = {**FREE_PORTS, "demo_dir": tmp_path / "kept"}
    with running("demo", tmp_path / "stderr", "", **told) as command:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "kept").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(after)
        code, stderr, _ = command.stop()
    assert code == 0
    assert "KeyboardInterrupt" not in stderr


async def test_the_demo_answers_stops_at_once_and_keeps_what_was_booked(tmp_path: Path) -> None:
    with demo(tmp_path / "demo") as first:
        await asyncio.to_thread(_first_query_and_login_work, first)
        booked, held = await _booked_and_held(first)
        code, stderr, seconds = first.command.stop()
        assert (code, stderr) == (0, "")
        assert seconds < 20
    with demo(tmp_path / "demo") as second:
        async with over_http(second.api) as client:
            journey = Journey(client, "sentrum-legesenter", token=await _token(second))
            assert [b["id"] for b in await journey.mine()] == [booked["id"]]
            assert held["slot"]["id"] not in [s["id"] for s in await journey.slots()]
            assert held["slot"]["id"] in [s["id"] for s in await journey.slots(hold=held["token"])]
            gone = await journey.cancel(booked)
            assert gone["booking"]["status"] == "CANCELLED", gone["errors"]
        assert second.command.stop(signal.SIGTERM)[:2] == (0, "")


def _first_query_and_login_work(demo: Demo) -> None:
    """As printed, by copy and paste."""
    said = demo.command.said
    query = said[said.index("curl") : said.index("\n\n", said.index("curl"))]
    answer = subprocess.run(["bash", "-c", query], capture_output=True, text=True, check=True, timeout=60)
    assert "Sentrum legesenter" in answer.stdout
    [link] = [word for word in shlex.split(said.replace("(", "").replace(")", "")) if "/login/bankid" in word]
    with httpx2.Client(follow_redirects=True, timeout=60, headers=BY_SCRIPT) as browser:
        assert "Kari Testesen" in browser.get(link).text
        landed = browser.get(f"{link}&login_hint=kari")
        assert (landed.status_code, str(landed.url)) == (200, f"{demo.api}/")
        viewer = browser.post(f"{demo.api}/graphql", json={"query": "{ viewer { patient { name } } }"})
        assert viewer.json()["data"]["viewer"]["patient"]["name"] == "Kari Testesen"


async def _token(demo: Demo) -> str:
    return str((await tokens_of(demo.issuer, "kari"))["access_token"])


async def _booked_and_held(demo: Demo) -> tuple[dict[str, Any], dict[str, Any]]:
    async with over_http(demo.api) as client:
        journey = Journey(client, "sentrum-legesenter", token=await _token(demo))
        booked = await journey.booked()
        somebody = Journey(client, "sentrum-legesenter")
        held = (await somebody.hold((await somebody.slots())[-1]["id"]))["hold"]
        return booked, held


async def _somebody_known(url: str, tenant_id: str) -> None:
    engine = open_engine(url)
    async with StartSqlWork(engine, Sealing(NEEDED["secret"]))(tenant_id) as work:
        await work.patients.recognise(tenant_id, make_identity(), an_id("somebody"))
        await work.commit()
    await engine.dispose()


def test_keys_are_rotated_and_wrapped_anew_by_command(town: Town, filled_url: str) -> None:
    """On PostgreSQL as the server's own role, under row-level security."""
    asyncio.run(_somebody_known(filled_url, "nordhelse"))
    told = {**NEEDED, "database_url": filled_url, "key_seconds": 0.1, "log_level": "warning"}
    rotated = run("seal", "rotate", **told)
    assert (rotated.returncode, rotated.stderr) == (0, "")
    assert "nordhelse: all is sealed by the current keys, 1 rows anew" in rotated.stdout and "retired" in rotated.stdout
    for count in (2, 0):
        wrapped = run("seal", "rewrap", "nordhelse", **told, master_keys=f"1:{KEY}")
        assert wrapped.stdout.splitlines() == [f"nordhelse: {count} keys wrapped anew, and all of them open"], (
            wrapped.stderr
        )
    assert "master key 1" in told_in_one_line(run("seal", "rotate", "nordhelse", **told))
    assert "nobody" in told_in_one_line(run("seal", "rotate", "nobody", **told))


def test_it_is_told_whose_rows_do_not_open(town: Town, sqlite_filled_url: str) -> None:
    asyncio.run(_somebody_known(sqlite_filled_url, "nordhelse"))
    with closing(sqlite3.connect(sqlite_filled_url.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE patient SET person_sealed = ?", (b"\x02\x00\x01" + bytes(40),))
        database.commit()
    told = {**NEEDED, "database_url": sqlite_filled_url, "key_seconds": 0.1, "log_level": "warning"}
    line = "itb: not all of it opens, and keeps its keys: nordhelse (1 rows of patient)"
    rotated = run("seal", "rotate", **told)
    assert (rotated.returncode, rotated.stderr) == (2, f"{line}\n")
    assert rotated.stdout.splitlines()[-1] == "the former keys of 1 tenants are retired"
    assert told_in_one_line(run("migrate", **told)) == line


def test_a_command_needs_to_be_told_how_to_seal() -> None:
    for order in ([], ["away"], ["rotate", "a", "b"]):
        assert "seal rotate|rewrap" in told_in_one_line(run("seal", *order))
