"""Installations of the sandbox over real HTTP, each on a port of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from integrations.sandbox.ehr import EhrServer, create_ehr
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN

TUESDAY = datetime(2026, 12, 1, 6, tzinfo=UTC)
NIN = "urn:oid:2.16.578.1.12.4.1.4.1"
PEOPLE = (
    {"system": NIN, "value": "13815512300", "name": "Kari Nordmann", "birthDate": "1955-01-13", "phone": "+4799900001"},
)


@dataclass
class Installation:
    """A running record system and a client that speaks to it."""

    server: EhrServer
    thread: threading.Thread
    url: str
    http: httpx2.Client

    def stop(self) -> float:
        """Stop as Ctrl-C would; how long it took."""
        began = time.monotonic()
        self.server.should_exit = True
        self.thread.join(5)
        self.http.close()
        return time.monotonic() - began

    def get(self, path: str, **options: Any) -> Any:
        """The body of a GET that must succeed."""
        answer = self.http.get(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()


def launch(world: Any, **options: Any) -> Installation:
    """Start an installation; the clock stands still unless told otherwise."""
    options.setdefault("now", lambda: TUESDAY)
    options.setdefault("people", PEOPLE)
    return serve(create_ehr(world, **options))


def serve(app: Starlette, *, port: int = 0) -> Installation:
    """Serve an application, on a free port unless told otherwise, in a thread of its own."""
    server = EhrServer(app, port=port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 5
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.005)
    url = f"http://127.0.0.1:{server.port}"
    return Installation(server, thread, url, httpx2.Client(base_url=url, timeout=5))


@pytest.fixture
def start() -> Iterator[Callable[..., Installation]]:
    """Start an installation that is stopped after the test."""
    running: list[Installation] = []

    def begin(world: Any, **options: Any) -> Installation:
        running.append(launch(world, **options))
        return running[-1]

    yield begin
    for each in running:
        if each.thread.is_alive():
            each.stop()


@pytest.fixture
def norway(start: Callable[..., Installation]) -> Installation:
    """The installation that speaks the IHE dialect."""
    return start(NORWAY)


@pytest.fixture
def sweden(start: Callable[..., Installation]) -> Installation:
    """The installation that speaks plain R4."""
    return start(SWEDEN)
