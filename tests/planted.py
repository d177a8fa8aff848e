"""Reads everything that the suite's processes log, and fails the test in which somebody could be recognised.

The people of the sandbox are planted: their numbers, names, phones and addresses go in wherever a test books, signs in
or rings. Each record is looked at as the product's own formatter writes it; so is what child processes have written to
standard error, every error and `/metrics` that is answered, and every error that comes as an event or over a WebSocket.

Children of our own code look at their records by themselves: forked ones have the scan from their parent, spawned ones
begin with `read_in_child`. What they find they write into a file at once, for they may be killed at any moment.
"""

import json
import logging
import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.logs import LogFormatter, quieten
from integrations.sandbox.people import PEOPLE, crowd


def _planted() -> Iterator[str]:
    for person in (*PEOPLE, *crowd(60)):
        yield from (person.name, person.email)
        yield from filter(None, (person.number, person.phone_at_clinic, person.phone_at_login))
        if person.number and person.country == "SE":
            yield from (f"{person.number[2:8]}-{person.number[8:]}", f"{person.number[:8]}-{person.number[8:]}")


def pattern_of(values: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(each) for each in sorted(set(values), key=len, reverse=True)))


KNOWN = pattern_of(_planted())


class Scan(logging.Handler):
    """`leaks` are lines with somebody in them, since they were last asked for; those of children stand in `told`."""

    def __init__(self, known: re.Pattern[str] = KNOWN, *, scrub: bool = True) -> None:
        super().__init__(logging.NOTSET)
        self.setFormatter(LogFormatter("text", scrub=scrub))
        self.known = known
        self.leaks: list[str] = []
        self.told: Path | None = None
        self._reader = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        self.look(f"log of {record.name}", self.format(record))

    def look(self, where: str, text: str) -> None:
        if not self.known.search(text):
            return
        if self.told is None or os.getpid() == self._reader:
            self.leaks.append(f"{where}: {text}")
            return
        with self.told.open("a") as file:
            file.write(f"{json.dumps(f'{where} in a child: {text}')}\n")

    def file(self, path: Path) -> None:
        self.look(path.name, path.read_text(errors="replace"))

    async def answer(self, response: httpx2.Response) -> None:
        """For the event hooks of a client. Data that was asked for is left alone; events are looked at as they come."""
        kind = response.headers.get("content-type", "")
        metrics = response.request.url.path.endswith("/metrics")
        if "event-stream" in kind:
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = Events(response.stream, self)
        if not (response.is_error or metrics or "json" in kind) or "event-stream" in kind:
            return
        await response.aread()
        if response.is_error or metrics:
            self.look(f"{response.status_code} of {response.request.url.path}", response.text)
        elif isinstance(body := response.json(), dict) and body.get("errors"):
            self.look("errors", str(body["errors"]))

    def heard(self, text: str | bytes) -> None:
        """A message over a WebSocket, or the data of an event."""
        try:
            message = json.loads(text)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        payload = message.get("payload", message)
        errors = payload if message.get("type") == "error" else isinstance(payload, dict) and payload.get("errors")
        if errors:
            self.look("errors that came", str(errors))

    def taken(self) -> list[str]:
        leaks, self.leaks = self.leaks, []
        if self.told and self.told.exists():
            leaks += map(json.loads, self.told.read_text().splitlines())
            self.told.unlink()
        return leaks


class Events(httpx2.AsyncByteStream):
    """A stream of events, every line looked at on its way to whoever reads it."""

    def __init__(self, inner: httpx2.AsyncByteStream, scan: Scan) -> None:
        self._inner = inner
        self._scan = scan

    async def __aiter__(self) -> AsyncIterator[bytes]:
        begun = b""
        async for chunk in self._inner:
            *lines, begun = (begun + chunk).split(b"\n")
            for line in lines:
                self._scan.heard(line.removeprefix(b"data:"))
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def as_written(records: Iterable[logging.LogRecord]) -> str:
    """What the product's log would have of them; pytest's own form of them quotes exceptions."""
    return "\n".join(LogFormatter("text").format(each) for each in records)


SCAN = Scan()

HOOKS: dict[str, list[Any]] = {"response": [SCAN.answer]}
"""For every client that speaks to the product: what it answers is looked through for people that it should not name."""


def _listen() -> None:
    root = logging.getLogger()
    root.addHandler(SCAN)
    root.setLevel(min(root.level, logging.INFO))
    quieten()


def read_in_child(told: Path | None) -> None:
    """For a process that was spawned, and so has begun with nothing. `told` is its parent's `SCAN.told`."""
    SCAN.told, SCAN._reader = told, 0
    _listen()


@pytest.fixture(scope="session", autouse=True)
def everything_is_read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    root = logging.getLogger()
    before, SCAN.told = root.level, tmp_path_factory.mktemp("told") / "by-children"
    _listen()
    yield
    root.removeHandler(SCAN)
    root.setLevel(before)
    nobody_was_found("after the last test")


@pytest.fixture(autouse=True)
def nobody_is_named(everything_is_read: None) -> Iterator[None]:
    yield
    nobody_was_found("since the last test")


def nobody_was_found(when: str) -> None:
    leaks = SCAN.taken()
    assert not leaks, f"somebody can be recognised in {len(leaks)} lines {when}, the first: {leaks[0][:500]}"
