"""What keeping a time takes, against a bare insert, and as a whole through GraphQL: `python -m bench.hold`.

Run by hand on a quiet machine; nothing fails on a clock. The record system is a process of its own. PostgreSQL is
`ITB_BENCH_POSTGRES`, or 127.0.0.1:5432, whose user makes a database and a role for the run: what is measured is the
server's own role under row-level security. `--smoke` takes seconds and only shows that it works.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import aiohttp
import asyncpg
from sqlalchemy import insert, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.chain import TREATMENT, seed_of
from bench.floor import one_round, recorded
from bench.processes import child
from domain.booking import Booking
from domain.catalogue import Seed
from integrations.store.booking_rows import values_of
from integrations.store.engine import connected, open_engine
from integrations.store.migrate import upgrade
from integrations.store.roles import check_role, grant
from integrations.store.sealing import Sealing
from integrations.store.tables_bookings import BOOKING
from integrations.store.work import StartSqlWork
from tests.living import Town, fill, in_process
from tests.store.making import SECRET, at, make_booking, make_tenant
from tests.store.racing import Outcome, Racer, one, taking
from tests.system.journey import HOLD, key

POSTGRES = os.environ.get("ITB_BENCH_POSTGRES", "postgresql://postgres:postgres@127.0.0.1:5432/postgres")
LIMIT = 0.050
STARTS = 30
FREE = """query($search: AvailabilitySearch!) { availability(search: $search) {
    slots(first: 500) { nodes { id start end practitioner { id } } } } }"""
TREATMENTS = "query($code: String!) { treatment(code: $code) { id } }"


@dataclass(frozen=True, kw_only=True)
class Size:
    practitioners: int = 25
    holds: int = 300
    asked: int = 150
    racers: int = 200
    rounds: int = 5


SMOKE = Size(practitioners=4, holds=5, asked=5, racers=20, rounds=1)


def told(what: str, took: Sequence[float], note: str = "") -> None:
    p95 = quantiles(took, n=20, method="inclusive")[-1]
    sys.stdout.write(f"{what:<58}p50 {median(took) * 1000:7.2f} ms   p95 {p95 * 1000:7.2f} ms   {note}\n")


async def against_an_insert(engine: str, url: str, size: Size) -> None:
    """A hold's transaction and a bare insert in turns, each of a time that nobody else wants."""
    own = open_engine(url)
    try:
        async with taking(url) as take:
            pairs = [await _pair(take, own, n) for n in range(size.holds + 1)][1:]
    finally:
        await own.dispose()
    holds, inserts = zip(*pairs, strict=True)
    told(f"{engine}: a bare insert, committed", inserts)
    told(f"{engine}: a hold's transaction", holds)
    ratios = [hold / bare for hold, bare in pairs]
    sys.stdout.write(f"{engine}: a hold against a bare insert: {median(ratios):.2f}, median of {len(ratios)} pairs\n")


async def _pair(take: Any, own: AsyncEngine, n: int) -> tuple[float, float]:
    racer = Racer(name=f"hold {n}", wants=make_booking("", practitioner=f"of hold {n}").slot)
    began = perf_counter()
    outcome = await one(take, racer, look_first=False)
    between = perf_counter()
    await _bare(own, make_booking(f"bare {n}", practitioner=f"of bare {n}"))
    ended = perf_counter()
    assert outcome.hold, outcome
    return between - began, ended - between


async def _bare(own: AsyncEngine, booking: Booking) -> None:
    async with connected(own.execution_options(writes=True), booking.tenant_id) as connection:
        await connection.execute(insert(BOOKING).values(values_of(booking)))
        await connection.commit()


async def racers(engine: str, url: str, size: Size) -> None:
    """All at once on one practitioner's day, 45 minutes from every quarter."""
    worst, whole = [], []
    async with taking(url) as take:
        for number in range(size.rounds):
            began = perf_counter()
            lasted = await asyncio.gather(*(_races(take, number, n) for n in range(size.racers)))
            whole.append(perf_counter() - began)
            worst.append(max(took for took, _ in lasted))
            assert not [each.error for _, each in lasted if each.error]
    what = f"{engine}: {size.racers} racers on one day"
    sys.stdout.write(f"{what}: {median(whole) * 1000:.0f} ms in all, the last of them {median(worst) * 1000:.0f} ms\n")


async def _races(take: Any, number: int, n: int) -> tuple[float, Outcome]:
    begins = at(8) + timedelta(minutes=15 * (n % STARTS))
    slot = make_booking("", begins, 45, practitioner=f"raced for {number}").slot
    began = perf_counter()
    outcome = await one(take, Racer(name=f"racer {number}/{n}", wants=slot))
    return perf_counter() - began, outcome


async def whole(engine: str, url: str, town: Town, size: Size) -> None:
    """`holdSlot`, beside the record system's part in it: the same request over bare aiohttp."""
    await fill(town, url, seed_of(size.practitioners, ihe=town.norway.url))
    settings = town.settings(url, holds_per_address=100_000, holds_per_clinic=100_000)
    async with in_process(settings) as (client, _), aiohttp.ClientSession() as bare:
        first = datetime.now(UTC).date() + timedelta(days=1)
        treatment = (await client(TREATMENTS, code=TREATMENT))["treatment"]["id"]
        search = {"treatmentId": treatment, "from": str(first), "to": str(first + timedelta(days=6))}
        free = apart((await client(FREE, search=search))["availability"]["slots"]["nodes"])[: size.asked + 1]
        with recorded() as floor:
            await _hold(client, free[0]["id"])
        [requests] = floor.values()
        pairs = [(await one_round(bare, requests), await _hold(client, slot["id"])) for slot in free[1:]]
    rounds, holds = zip(*pairs, strict=True)
    told(f"{engine}: the record system's round over bare aiohttp", rounds)
    told(f"{engine}: holdSlot", holds, f"{len(holds)} holds")
    ours = [hold - own for own, hold in pairs]
    told(f"{engine}: holdSlot without that round", ours, f"p95 at most {LIMIT * 1000:.0f} ms")


async def _hold(client: Any, id: str) -> float:
    began = perf_counter()
    data = await client(HOLD, input={"idempotencyKey": key(), "slotId": id})
    took = perf_counter() - began
    assert data["holdSlot"]["hold"], data
    return took


def apart(slots: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of which none overlaps another of its practitioner."""
    until: dict[str, str] = {}
    chosen = []
    for slot in slots:
        if slot["start"] >= until.get(slot["practitioner"]["id"], ""):
            until[slot["practitioner"]["id"]] = slot["end"]
            chosen.append(slot)
    return chosen


@asynccontextmanager
async def postgres() -> AsyncIterator[tuple[str, str]]:
    """A database of this run's own, for its owner and for the server's role. Raises what `asyncpg` raises."""
    name, server = f"itb_bench_{os.getpid()}", await asyncpg.connect(POSTGRES, timeout=5)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        await server.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{name}'")
        stack.push_async_callback(server.execute, f'DROP ROLE "{name}"')
        await server.execute(f'CREATE DATABASE "{name}"')
        stack.push_async_callback(server.execute, f'DROP DATABASE "{name}" WITH (FORCE)')
        owner = make_url(POSTGRES).set(database=name)
        role = owner.set(username=name, password=name)
        yield owner.render_as_string(hide_password=False), role.render_as_string(hide_password=False)


async def measured(engine: str, owner: str, url: str, town: Town, size: Size) -> None:
    await upgrade(owner)
    await grant(owner, url)
    own = open_engine(url)
    await check_role(own)
    async with StartSqlWork(own, Sealing(SECRET))("nord") as work:
        await work.catalogue.put_seed(Seed(tenant=make_tenant("nord")))
        await work.commit()
    await own.dispose()
    await against_an_insert(engine, url, size)
    await racers(engine, url, size)
    await whole(engine, url, town, size)


async def run(town: Town, folder: Path, size: Size) -> None:
    file = f"sqlite:///{folder / 'bench.db'}"
    await measured("SQLite", file, file, town, size)
    there = False
    with suppress(OSError, TimeoutError, asyncpg.PostgresError):
        await (await asyncpg.connect(POSTGRES, timeout=5)).close()
        there = True
    if not there:
        sys.stdout.write("PostgreSQL: not measured, no server\n")
        return
    async with postgres() as (owner, url):
        await measured("PostgreSQL", owner, url, town, size)


def main(arguments: list[str]) -> None:
    size = SMOKE if "--smoke" in arguments else Size()
    with tempfile.TemporaryDirectory() as folder, child("bench.ehr", "ihe", size.practitioners) as ehr:
        asyncio.run(run(Town(ehr, ehr, "http://127.0.0.1:9"), Path(folder), size))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(sys.argv[1:])
