"""One change told to two thousand open screens, against what it takes at least: `python -m bench.fanout`.

Run by hand on a quiet machine; nothing fails on a clock. Three servers on one core take turns: the API, the same
without sharing executions, and a plain loop over the same server. The clients, the record system and this program are
on the others. `--smoke` takes a few seconds and tells nothing but that it works.
"""

import asyncio
import os
import resource
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.chain import TREATMENT, seed_of
from bench.crowd import Crowd
from bench.processes import Child, child, two_cores
from integrations.sandbox.identity import create_identity_provider
from integrations.store.migrate import upgrade
from tests.living import Town, fill, sign_in
from tests.oidc.serving import served
from tests.system.journey import HOLD, apart, key

WATCH = """subscription($search: AvailabilitySearch!) { slotChanges(search: $search) { cursor resync taken
    opened { id start end practitioner { id name } treatment { id title } } availability { complete } } }"""
TREATMENTS = "query($code: String!) { treatment(code: $code) { id } }"
SLOTS = """query($search: AvailabilitySearch!) { availability(search: $search) {
    slots(first: 500) { nodes { id start end practitioner { id } } } } }"""

PRACTITIONERS, DAYS, SIGNED_IN = 2, 5, 20
LANGUAGES = ("nb", "sv")
FLOOR, OURS, NAIVE = KINDS = ("plain", "shared", "each")
MOST_OF_FLOOR, LEAST_OF_NAIVE = 2.0, 8.0


@dataclass(frozen=True, kw_only=True)
class Size:
    sockets: int = 2000
    changes: int = 7


SMOKE = Size(sockets=20, changes=2)


@dataclass(frozen=True, kw_only=True)
class Told:
    """Milliseconds from when the server knew of a change to a client's receipt, and CPU time a socket."""

    p50: float
    p99: float
    last: float
    cpu: float


@dataclass(kw_only=True)
class Stage:
    servers: Mapping[str, Child]
    crowd: Crowd
    size: Size
    search: dict[str, Any]
    free: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def ask(self, kind: str, query: str, **variables: Any) -> dict[str, Any]:
        body = self.servers[kind].http.post("/graphql", json={"query": query, "variables": variables}).json()
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data

    def prepare(self, tokens: Sequence[str]) -> None:
        """Everybody subscribes and has seen the whole picture."""
        for kind in KINDS:
            if kind != FLOOR:
                slots = self.ask(kind, SLOTS, search=self.search)["availability"]["slots"]["nodes"]
                self.free[kind] = apart(slots, self.size.changes + 1)
            for n, said in enumerate(_greetings(self.search, tokens, self.size.sockets)):
                self.crowd.join(self.servers[kind].url, kind, said)
                if n % 20 == 0:
                    self.crowd.hear()
            self.crowd.listen(kind, self.size.sockets)

    def change(self, kind: str) -> Told:
        teller = threading.Thread(target=self._tell if kind == FLOOR else self._hold, args=(kind,))
        teller.start()
        arrivals = self.crowd.listen(kind, self.size.sockets)
        teller.join()
        after = self.servers[kind].http.get("/_bench").json()
        took = [(at - after["began"]) * 1000 for at in arrivals]
        percentiles = quantiles(took, n=100, method="inclusive")
        cpu = after["cpu"] * 1e6 / self.size.sockets
        return Told(p50=percentiles[49], p99=percentiles[98], last=max(took), cpu=cpu)

    def _tell(self, kind: str) -> None:
        self.servers[kind].http.post("/_bench", content=self.crowd.last[OURS])

    def _hold(self, kind: str) -> None:
        slot = self.free[kind].pop()
        given = {"idempotencyKey": key(), "slotId": slot["id"]}
        held = self.ask(kind, HOLD, input=given)["holdSlot"]
        assert held["hold"], held["errors"]


def _greetings(search: dict[str, Any], tokens: Sequence[str], count: int) -> Iterator[list[dict[str, Any]]]:
    """Half in each language, and half of each signed in."""
    payload = {"query": WATCH, "variables": {"search": search}}
    signed_in = cycle(tokens)
    for n in range(count):
        who = {"authorization": f"Bearer {next(signed_in)}"} if tokens and n % 4 < 2 else {}
        yield [
            {"type": "connection_init", "payload": {"accept-language": LANGUAGES[n % 2], **who}},
            {"id": "1", "type": "subscribe", "payload": payload},
        ]


def report(told: Mapping[str, Sequence[Told]], size: Size) -> None:
    names = {FLOOR: "a plain loop, the floor", OURS: "the API", NAIVE: "an execution for each watcher"}
    sys.stdout.write(f"{size.sockets} sockets, {size.changes} changes, medians: ms, and CPU microseconds a socket\n")
    sys.stdout.write(f"{'':<34}{'p50':>9}{'p99':>9}{'last':>9}{'CPU':>9}\n")
    for kind in KINDS:
        own = told[kind]
        figures = (median(getattr(each, name) for each in own) for name in ("p50", "p99", "last", "cpu"))
        sys.stdout.write(f"{names[kind]:<34}{''.join(f'{each:9.1f}' for each in figures)}\n")
    of_floor = median(ours.p99 / floor.p99 for ours, floor in zip(told[OURS], told[FLOOR], strict=True))
    of_naive = median(naive.p99 / ours.p99 for ours, naive in zip(told[OURS], told[NAIVE], strict=True))
    sys.stdout.write(f"p99 against the floor: {of_floor:.2f}, at most {MOST_OF_FLOOR:g}\n")
    sys.stdout.write(f"p99 of an execution for each against it: {of_naive:.1f}, at least {LEAST_OF_NAIVE:g}\n")


@contextmanager
def many_files(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def filled(town: Town, url: str, seed: Any) -> tuple[list[str], str]:
    await upgrade(url)
    await fill(town, url, seed)
    tokens = [await sign_in(town, f"crowd-{n}") for n in range(SIGNED_IN)]
    return tokens, url.removeprefix("sqlite:///")


def measured_rounds(servers: Mapping[str, Child], tokens: Sequence[str], size: Size) -> list[dict[str, Told]]:
    """The first change warms up, and does not count."""
    first = datetime.now(UTC).date() + timedelta(days=1)
    search = {"from": first.isoformat(), "to": (first + timedelta(days=DAYS - 1)).isoformat()}
    crowd = Crowd()
    stage = Stage(servers=servers, crowd=crowd, size=size, search=search)
    search["treatmentId"] = stage.ask(OURS, TREATMENTS, code=TREATMENT)["treatment"]["id"]
    try:
        stage.prepare(tokens)
        return [{kind: stage.change(kind) for kind in (OURS, FLOOR, NAIVE)} for _ in range(size.changes + 1)][1:]
    finally:
        crowd.leave()


def main(arguments: list[str]) -> None:
    size = SMOKE if "--smoke" in arguments else Size()
    measured, others = two_cores()
    if others:
        os.sched_setaffinity(0, others)
    with ExitStack() as stack:
        stack.enter_context(many_files(3 * size.sockets + 500))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        issuer = stack.enter_context(served(create_identity_provider()))
        ehr = stack.enter_context(child("bench.ehr", "ihe", PRACTITIONERS, cores=others))
        town = Town(ehr, ehr, issuer)  # type: ignore[arg-type]
        seed = seed_of(PRACTITIONERS, ihe=ehr.url)
        tokens, path = asyncio.run(filled(town, f"sqlite:///{folder / 'bench.db'}", seed))
        servers = {}
        for kind in KINDS:
            own = shutil.copyfile(path, folder / f"{kind}.db")
            settings = town.settings(f"sqlite:///{own}", watch_seconds=3600, recheck_seconds=3600, log_seconds=3600)
            servers[kind] = stack.enter_context(child("bench.telling", kind, cores=measured, settings=settings))
        rounds = measured_rounds(servers, tokens, size)
    report({kind: [each[kind] for each in rounds] for kind in KINDS}, size)


if __name__ == "__main__":
    main(sys.argv[1:])
