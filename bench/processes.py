"""Processes of their own, so that what surrounds the API does not share its interpreter."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import httpx2

from api.settings import Settings
from tests.commands import environment
from tests.living import ROOT, stopping

SERVING = "serving on "


@dataclass(frozen=True, slots=True)
class Child:
    """A server, where it listens, and a client that speaks to it."""

    url: str
    http: httpx2.Client

    def fault(self, kind: str, **more: Any) -> None:
        """Order a fault of a record system."""
        assert self.http.post("/_sandbox/faults", json={"kind": kind, **more}).status_code == 204

    def calm(self) -> None:
        self.http.delete("/_sandbox/faults")


@contextmanager
def child(
    module: str, *arguments: object, cores: Sequence[int] = (), settings: Settings | None = None
) -> Iterator[Child]:
    """`python -m module` until the block ends; it says where it listens. Kept to those cores, if any are named."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    told = {f.name: getattr(settings, f.name) for f in fields(Settings)} if settings else {}
    env = environment(**{name: value for name, value in told.items() if value != ""})
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=env) as process, stopping(process):
        if cores:
            os.sched_setaffinity(process.pid, cores)
        assert process.stdout
        line = process.stdout.readline().decode()
        assert line.startswith(SERVING), f"{module} did not start"
        url = line.removeprefix(SERVING).strip()
        with httpx2.Client(base_url=url, timeout=60) as http:
            yield Child(url, http)


def say(url: str) -> None:
    """What `child` waits for."""
    sys.stdout.write(f"{SERVING}{url}\n")
    sys.stdout.flush()


def two_cores() -> tuple[Sequence[int], Sequence[int]]:
    """One for what is measured and one for the rest; none where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return ([cores[0]], cores[1:]) if len(cores) > 1 else ([], [])
