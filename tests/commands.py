"""`python -m api` as its users run it: a process of its own, with nothing but what the test tells it."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.planted import SCAN

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds for whatever a busy machine makes slow."""


def environment(**told: object) -> dict[str, str]:
    """This process's, with only those settings that are told: `port=0` becomes ITB_PORT=0."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ITB_")}
    return kept | {f"ITB_{name.upper()}": str(value) for name, value in told.items()}


def run(*arguments: str, **told: object) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    ended = subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        env=environment(**told),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    SCAN.look("standard error", ended.stderr)
    return ended


@dataclass
class Command:
    """One that stays until it is stopped; what it said so far is in `said`."""

    process: subprocess.Popen[str]
    said: str
    stderr: Path

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str, float]:
        """Exit code, everything on standard error, and how many seconds it took."""
        began = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(PATIENCE)
        return code, self.stderr.read_text(), time.monotonic() - began

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.said, re.MULTILINE)
        assert found, self.said
        return found[1]


@contextmanager
def running(verb: str, stderr: Path, until: str, **told: object) -> Iterator[Command]:
    """Started, and waited for until it prints a line with `until` in it; killed if it is still there in the end."""
    with stderr.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", verb],
            env=environment(**told),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    assert process.stdout
    try:
        said = ""
        while until not in said:
            line = process.stdout.readline()
            assert line, f"{verb} ended: {stderr.read_text()}"
            said += line
        watchdog.cancel()
        yield Command(process, said, stderr)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
        SCAN.file(stderr)


@dataclass
class Demo:
    """A running `demo` and its addresses, as it prints them."""

    command: Command
    api: str
    norway: str
    sweden: str
    issuer: str


FREE_PORTS = {"port": 0, "demo_ehr_no_port": 0, "demo_ehr_se_port": 0, "demo_oidc_port": 0}


@contextmanager
def demo(folder: Path, **told: object) -> Iterator[Demo]:
    """Everything at once, kept in `folder`; on free ports unless told otherwise."""
    folder.mkdir(exist_ok=True)
    settings = {**FREE_PORTS, "demo_dir": folder / "kept", **told}
    with running("demo", folder / "stderr", "Stop with Ctrl-C", **settings) as command:
        yield Demo(
            command,
            api=command.find(r"^ +API +(http://\S+)/graphql$"),
            norway=command.find(r"^ +EHR, Norway +(http://\S+)"),
            sweden=command.find(r"^ +EHR, Sweden +(http://\S+)"),
            issuer=command.find(r"^ +Identity provider +(http://\S+)$"),
        )
