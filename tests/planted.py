"""Reads everything that the suite's processes log, and fails the test in which somebody could be recognised.

The people of the sandbox are planted: their numbers, names, phones and addresses go in wherever a test books, signs in
or rings. Each record is looked at as the product's own formatter writes it; so is what child processes have written to
standard error, and every error and `/metrics` that a client of `tests.living` is answered.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

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
    """`leaks` are lines with somebody in them, since they were last asked for."""

    def __init__(self, known: re.Pattern[str] = KNOWN, *, scrub: bool = True) -> None:
        super().__init__(logging.NOTSET)
        self.setFormatter(LogFormatter("text", scrub=scrub))
        self.known = known
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.look(f"log of {record.name}", self.format(record))

    def look(self, where: str, text: str) -> None:
        if self.known.search(text):
            self.leaks.append(f"{where}: {text}")

    def file(self, path: Path) -> None:
        self.look(path.name, path.read_text(errors="replace"))

    async def answer(self, response: httpx2.Response) -> None:
        """For the event hooks of a client. Streams are left alone, and so is data that was asked for."""
        kind = response.headers.get("content-type", "")
        metrics = response.request.url.path.endswith("/metrics")
        if not (response.is_error or metrics or "json" in kind) or "event-stream" in kind:
            return
        await response.aread()
        if response.is_error or metrics:
            self.look(f"{response.status_code} of {response.request.url.path}", response.text)
        elif isinstance(body := response.json(), dict) and body.get("errors"):
            self.look("errors", str(body["errors"]))

    def taken(self) -> list[str]:
        leaks, self.leaks = self.leaks, []
        return leaks


SCAN = Scan()


@pytest.fixture(scope="session", autouse=True)
def everything_is_read() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.addHandler(SCAN)
    root.setLevel(min(before, logging.INFO))
    quieten()
    yield
    root.removeHandler(SCAN)
    root.setLevel(before)


@pytest.fixture(autouse=True)
def nobody_is_named(everything_is_read: None) -> Iterator[None]:
    yield
    leaks = SCAN.taken()
    assert not leaks, f"somebody can be recognised in {len(leaks)} lines, the first: {leaks[0][:500]}"
