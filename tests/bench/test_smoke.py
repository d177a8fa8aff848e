"""The benchmarks still run and still say what they are about. What they measure is nobody's business here."""

import subprocess
import sys

import pytest

from tests.commands import ROOT, environment

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
}


@pytest.mark.parametrize("module", LINES)
def test_a_benchmark_runs_and_tells_every_ratio(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", module, "--smoke"],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ran.returncode == 0, ran.stderr
    for line in LINES[module]:
        assert any(each.startswith(line) for each in ran.stdout.splitlines()), (line, ran.stdout)
