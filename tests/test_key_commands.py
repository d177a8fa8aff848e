"""`python -m api key`: an operator makes, replaces, revokes and lists keys, and is told in one line what is wrong."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from api.bootstrap import order_key
from api.bootstrap.house import KeyNotMade
from api.demo import welcome
from api.keys import read_order
from api.orders import OrderUnclear
from api.settings import Settings
from domain.api_key import KeyText
from tests.agencies import TENANT
from tests.commands import PATIENCE, ROOT, demo, environment, run
from tests.living import Town
from tests.test_commands import NEEDED, told_in_one_line


def key(url: str, *order: str, **more: object) -> subprocess.CompletedProcess[str]:
    return run("key", *order, **{**NEEDED, "database_url": url, "log_level": "warning", **more})


def lines(done: subprocess.CompletedProcess[str]) -> Sequence[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def shown(done: subprocess.CompletedProcess[str]) -> KeyText:
    return KeyText.parsed(lines(done)[0])


def test_a_key_is_made_replaced_revoked_and_listed(sqlite_filled_url: str) -> None:
    url, find = sqlite_filled_url, "system/$find.read"
    made = key(url, "mint", TENANT, "fysio", "--scope", find, "--origin", "https://Booking.example:443/", "--rate", "7")
    first = shown(made)
    assert first.kind == "live" and "not shown again" in made.stdout
    replaced = key(url, "rotate", first.key_id)
    second = shown(replaced)
    assert f"The old key {first.key_id} counts until " in replaced.stdout
    assert lines(key(url, "revoke", second.key_id))[0].startswith(f"The key {second.key_id} is revoked")
    head, *rows = [line.split("  ") for line in lines(key(url, "list", TENANT))]
    told = {row[0]: " ".join(filter(None, row[1:])).split() for row in rows}
    assert head[0] == "KEY ID" and told.keys() == {first.key_id, second.key_id}
    assert told[first.key_id][:4] == ["fysio", "live", f"…{first.last_four}", "expires"]
    assert told[second.key_id][:4] == ["fysio", "live", f"…{second.last_four}", "revoked"]
    assert all(row[-5:] == ["never", "0", "7/min", find, "https://booking.example"] for row in told.values())
    assert first.text not in str(told) and second.text not in str(told)


UNCLEAR = {
    (): "usage: python -m api key mint",
    ("forge",): "invalid choice",
    ("mint", TENANT): "agency",
    ("mint", TENANT, "Fysio AS"): "an agency is named by",
    ("mint", TENANT, "fysio", "--scope", "everything"): "no such scope; there are system/Organization.read, ",
    ("mint", TENANT, "fysio", "--rate", "0"): "a rate is",
    ("mint", TENANT, "fysio", "--origin", "booking.example"): "an origin is",
    ("mint", TENANT, "fysio", "--origin", "https://a.example/path"): "an origin is",
    ("mint", TENANT, "fysio", "--origin", "https://*.example"): "an origin is",
    ("mint", TENANT, "fysio", "--origin", "https://me@a.example"): "an origin is",
    ("mint", TENANT, "fysio", "--origin", "null"): "an origin is",
    ("mint", TENANT, "fysio", "--origin", "https://a.example:port"): "an origin is",
    ("mint", TENANT, "fysio", "--origin", "http://a.example"): "an origin is https",
    ("revoke", "itb_live_nobodys0_secret"): "a key's id is the eight letters and digits",
}


@pytest.mark.parametrize("order", UNCLEAR, ids=str)
def test_an_order_that_cannot_be_meant_is_told_without_being_repeated(order: Sequence[str]) -> None:
    with pytest.raises(OrderUnclear) as told:
        read_order(order)
    assert UNCLEAR[tuple(order)] in str(told.value)
    assert "nobodys0" not in str(told.value)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (("mint", "nowhere", "fysio"), "no tenant is called nowhere"),
        (("list", "nowhere"), "no tenant is called nowhere"),
        (("rotate", "nobodys0"), "no key that stands has the id nobodys0"),
        (("revoke", "nobodys0"), "no key that is not revoked yet has the id nobodys0"),
        (("mint", TENANT, "fysio", "--test"), "ITB_SYNTHETIC_PEOPLE"),
    ],
    ids=str,
)
async def test_what_cannot_be_done_is_told(town: Town, sqlite_filled_url: str, order: Sequence[str], told: str) -> None:
    settings = town.settings(sqlite_filled_url, synthetic_people=False)
    with pytest.raises(KeyNotMade, match=told):
        await order_key(settings, read_order(order))


def test_both_are_one_line_of_the_command(sqlite_filled_url: str) -> None:
    assert "usage: python -m api key" in told_in_one_line(run("key", **NEEDED))
    assert told_in_one_line(key(sqlite_filled_url, "list", "nowhere")) == "itb: no tenant is called nowhere"


async def test_a_test_key_is_made_where_synthetic_people_are(town: Town, sqlite_filled_url: str) -> None:
    made = await order_key(town.settings(sqlite_filled_url), read_order(("mint", TENANT, "fysio", "--test")))
    assert KeyText.parsed(made[0]).kind == "test"


@pytest.mark.parametrize("order", [("key", "mint", TENANT, "fysio"), ("schema",)])
def test_whoever_reads_only_the_first_line_hears_no_complaint(sqlite_filled_url: str, order: Sequence[str]) -> None:
    told = {**NEEDED, "database_url": sqlite_filled_url, "log_level": "warning"}
    first = subprocess.Popen(
        [sys.executable, "-m", "api", *order],
        env=environment(**told),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stdout and first.stderr
    first.stdout.close()
    assert (first.stderr.read(), first.wait(PATIENCE)) == ("", 141)
    first.stderr.close()


def test_a_key_is_made_beside_a_demo_by_what_that_prints(tmp_path: Path) -> None:
    with demo(tmp_path / "demo") as running:
        exports = running.command.find(r"^ +(export ITB_SECRET=.*)$")
        mint = f"{sys.executable} -m api key mint {TENANT} fysio"
        script = f"{exports}\n{mint} | head -1"
        made = subprocess.run(["bash", "-c", script], env=environment(), cwd=ROOT, capture_output=True, text=True)
        asked = {"json": {"query": "{ tenant { slug } }"}, "headers": {"X-ApiKey": made.stdout.strip()}}
        assert httpx2.post(f"{running.api}/graphql", **asked).json()["data"]["tenant"]["slug"] == TENANT, made.stderr


def test_a_demo_prints_no_password_of_somebodys_own() -> None:
    own = "postgresql://me:hunter2 secret@db:5432/itb"
    printed = welcome(Settings(secret="x" * 40, oidc_issuer="http://127.0.0.1:8003", database_url=own))
    assert "hunter2" not in printed and "x" * 40 not in printed
