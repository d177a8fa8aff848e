"""README.md does what it says: its blocks are run as pasted, top to bottom, in one bash session against a demo."""

import json
import re
import subprocess
import tomllib
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.settings import PREFIX, Settings
from integrations.store.seed import read_seed
from tests.commands import ROOT, Demo, demo, environment

README = (ROOT / "README.md").read_text()
MARK = "-- next block --"
CHOICE = "CLINIC="


def blocks(language: str, section: str = "") -> list[str]:
    """The fenced blocks of a language, in a section or everywhere."""
    text = README.split(f"\n## {section}\n")[1].split("\n## ")[0] if section else README
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def journey() -> list[str]:
    """The first clinic's blocks, then the second's: its choice, and all the steps again."""
    found = blocks("bash", "Book a visit")
    norway, sweden = (n for n, block in enumerate(found) if block.startswith(CHOICE))
    assert sweden == len(found) - 1
    return [*found, *found[norway + 1 : sweden]]


def pasted(demo: Demo, *snippets: str) -> list[str]:
    """What each block prints. Anything on standard error is a failure."""
    script = "".join(f"{snippet}\necho '{MARK}'\n" for snippet in snippets)
    addresses = {"ITB": demo.api, "OIDC": demo.issuer, "EHRS": f"{demo.norway} {demo.sweden}"}
    ended = subprocess.run(
        ["bash", "--norc"], input=script, env=environment() | addresses, capture_output=True, text=True, timeout=240
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    printed = ended.stdout.split(f"{MARK}\n")[:-1]
    assert len(printed) == len(snippets)
    return printed


def read(printed: str) -> tuple[Any, list[str]]:
    """The JSON document that a block prints first, and the words of the line after it."""
    document, end = json.JSONDecoder().raw_decode(printed)
    return document, printed[end:].split()


def test_a_stranger_books_moves_and_cancels_at_both_clinics(tmp_path: Path) -> None:
    with demo(tmp_path / "demo") as running:
        [question] = blocks("bash", "Ask something")
        [answer] = pasted(running, question.replace("http://127.0.0.1:8000", running.api))
        assert "Doctor's visit" in answer
        printed = pasted(running, *journey())
        rounds = [n + 1 for n, block in enumerate(journey()) if block.startswith(CHOICE)]
        for start, ehr, name, offset in zip(
            rounds, (running.norway, running.sweden), ("Kari", "Astrid"), ("+01:00", "Z"), strict=True
        ):
            check_round(printed[start : start + 7], ehr, name)
            assert printed[start + 4].rstrip().endswith(offset) or offset == "+01:00"


def test_a_stranger_watches_free_times(tmp_path: Path) -> None:
    with demo(tmp_path / "demo") as running:
        [watch] = blocks("bash", "Watch it live")
        upto_finding = journey()[: next(n for n, block in enumerate(journey()) if block.startswith("SLOT="))]
        *_, printed = pasted(running, "WATCHED_FOR=5", *upto_finding, watch)
    assert "event: next" in printed, printed
    event, data = printed[printed.index("event: next") :].splitlines()[:2]
    told = json.loads(data.removeprefix("data: "))["data"]["slotChanges"]
    assert event == "event: next" and told["resync"] and told["opened"] and told["availability"]["complete"]


def check_round(printed: list[str], ehr: str, name: str) -> None:
    found, held, patient, confirmed, seen, moved, gone = printed
    availability, _ = read(found)
    assert availability["complete"] is True
    assert held.strip() == availability["slots"]["nodes"][0]["start"]
    assert read(patient)[0]["name"].startswith(name)

    booking = accepted(confirmed)
    assert (booking["status"], booking["start"]) == ("BOOKED", held.strip())
    mine, line = read(seen)
    assert [(each["status"], each["start"]) for each in mine] == [("BOOKED", held.strip())]
    assert line[:2] == [ehr, "booked"]
    assert same_time(line[2], held.strip())

    later = accepted(moved)
    assert (later["id"], later["status"]) == (booking["id"], "BOOKED")
    assert later["start"] > booking["start"]
    assert read(moved)[1][:2] == [ehr, "booked"]
    assert same_time(read(moved)[1][2], later["start"])

    assert accepted(gone)["status"] == "CANCELLED"
    assert read(gone)[1][:2] == [ehr, "cancelled"]


def accepted(printed: str) -> dict[str, Any]:
    payload, _ = read(printed)
    assert payload["errors"] == []
    booking: dict[str, Any] = payload["booking"]
    return booking


def same_time(one: str, other: str) -> bool:
    return datetime.fromisoformat(one) == datetime.fromisoformat(other)


def test_the_commands_and_settings_that_it_names_exist() -> None:
    known = {PREFIX + f.name.upper() for f in fields(Settings)}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", README)) <= known
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", README)) | set(re.findall(r"^\$ make (\w+)", README, re.MULTILINE)) <= targets
    assert set(re.findall(r"-m api (\w+)", README)) <= {
        "demo",
        "serve",
        "worker",
        "migrate",
        "import",
        "schema",
        "jobs",
    }


def test_its_endpoint_can_be_imported(tmp_path: Path) -> None:
    [entry] = blocks("toml")
    assert tomllib.loads(entry)
    demo_seed = (ROOT / "integrations" / "sandbox" / "demo.toml").read_text()
    seed = tmp_path / "our-clinics.toml"
    seed.write_text(demo_seed[: demo_seed.index("[[endpoints]]")] + entry)
    [endpoint] = read_seed(seed).endpoints
    assert (endpoint.id, endpoint.base_url) == ("our-ehr", "https://ehr.example.org/fhir")
    assert f'export {endpoint.authorization_variable}="' in README


@pytest.mark.parametrize("promise", ["back office", "campaigns", "text messages"])
def test_what_is_not_there_yet_is_said(promise: str) -> None:
    assert promise in README.split("\n## What is not there yet\n")[1].split("\n## ")[0]
