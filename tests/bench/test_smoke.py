"""The benchmarks still run and still say what they are about. What they measure is nobody's business here."""

import subprocess
import sys

import pytest

from bench.availability import SMOKE, Bench
from tests.commands import ROOT, environment
from tests.living import Town
from tests.planted import PEOPLE, SCAN

LINES = {
    "bench.availability": (
        "nothing remembered: the IHE round over bare aiohttp",
        "nothing remembered: the answer",
        "remembered, in the process: p95",
        "remembered, Redis: ",
        "IHE 100 ms slow: the answer",
        "IHE 100 ms slow, remembered: p95",
        "IHE hangs: the first answer",
        "IHE hangs: the next one",
    ),
    "bench.fanout": (
        "a plain loop, the floor",
        "the API",
        "an execution for each watcher",
        "p99 against the floor: ",
        "p99 of an execution for each against it: ",
    ),
    "bench.hold": (
        "SQLite: a hold against a bare insert: ",
        "SQLite: 20 racers on one day: ",
        "SQLite: the record system's round over bare aiohttp",
        "SQLite: holdSlot without that round",
        "PostgreSQL: ",
    ),
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """What a benchmark and the processes that it starts have written is read, as everybody's is."""
    ran = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=180)
    SCAN.look("standard error", ran.stderr)
    SCAN.look("standard output", ran.stdout)
    return ran


def test_what_a_benchmark_writes_is_read() -> None:
    program = f"import logging; logging.warning('sent to {PEOPLE[0].name}')"
    run(sys.executable, "-c", program)
    [leak] = SCAN.taken()
    assert PEOPLE[0].name in leak


def test_a_busy_machine_does_not_end_a_measurement() -> None:
    """Only what measures a deadline sets one; all else waits for as long as any machine may take."""
    bench = Bench(town=Town(*[None] * 2, "http://127.0.0.1:9"), url="sqlite:///", size=SMOKE, search={})  # type: ignore[arg-type]
    assert bench.settings().find_deadline >= 60
    assert bench.settings(find_deadline=1.0).find_deadline == 1.0


@pytest.mark.parametrize("module", LINES)
def test_a_benchmark_runs_and_tells_every_ratio(module: str) -> None:
    ran = run(sys.executable, "-m", module, "--smoke")
    assert ran.returncode == 0, ran.stderr
    for line in LINES[module]:
        assert any(each.startswith(line) for each in ran.stdout.splitlines()), (line, ran.stdout)
