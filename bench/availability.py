"""One question about fifty practitioners and three weeks, against what it may take: `python -m bench.availability`.

Run by hand on a quiet machine; nothing fails on a clock. The record systems are processes of their own; the API is in
this one, asked through ASGI. `--smoke` takes a few seconds and tells nothing but that it works.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bench.chain import TREATMENT, seed_of
from bench.floor import Floor, one_round, recorded
from bench.processes import Child, child
from integrations.store.migrate import upgrade
from tests.living import Client, Town, fill, in_process

QUESTION = """query($search: AvailabilitySearch!) { availability(search: $search) {
    complete sources { state } days { date slotCount } nextAvailable { id }
    slots(first: 100) { nodes { id start end practitioner { id name } } } } }"""

REDIS = os.environ.get("ITB_BENCH_REDIS", "redis://127.0.0.1:6379/0")
REMEMBERING = {"fresh_seconds": 600.0, "stale_seconds": 3600.0, "silence_seconds": 30.0}
OVER, EXTRA, WARM, DEADLINE, SLOW = 1.10, 0.150, 0.100, 1.0, 0.1
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Size:
    practitioners: int = 25
    days: int = 22
    cold: int = 15
    warm: int = 50


SMOKE = Size(practitioners=3, days=3, cold=2, warm=3)


@dataclass(frozen=True, kw_only=True)
class Bench:
    town: Town
    url: str
    size: Size
    search: dict[str, Any]

    @property
    def ehrs(self) -> tuple[Child, Child]:
        return self.town.norway, self.town.sweden  # type: ignore[return-value]

    def settings(self, **more: Any) -> Any:
        """Only a step about deadlines ends by one: all others measure, however busy the machine."""
        return self.town.settings(self.url, **({"find_deadline": PATIENCE} | more))

    async def ask(self, client: Client) -> tuple[float, dict[str, Any]]:
        began = perf_counter()
        data = await client(QUESTION, search=self.search)
        return perf_counter() - began, data["availability"]


def told(what: str, took: float, limit: float | None = None, note: str = "") -> None:
    against = f"{took / limit:7.2f} of {limit * 1000:6.0f} ms" if limit else " " * 20
    sys.stdout.write(f"{what:<56}{took * 1000:8.1f} ms {against}  {note}\n")


async def cold(bench: Bench, what: str) -> None:
    """Nothing is remembered, so every question goes to both record systems; each beside its own floor."""
    async with in_process(bench.settings()) as (client, _), aiohttp.ClientSession(connector=_no_limit()) as bare:
        with recorded() as floor:
            _, found = await bench.ask(client)
        count = sum(day["slotCount"] for day in found["days"])
        assert found["complete"] and count
        rounds = [await _beside(bench, client, bare, floor) for _ in range(bench.size.cold)]
    names = ("IHE", "R4")
    for name, own in zip(names, zip(*(floors for floors, _ in rounds), strict=True), strict=False):
        told(f"{what}: the {name} round over bare aiohttp", median(own))
    told(f"{what}: both rounds at once over bare aiohttp", median(both for (*_, both), _ in rounds))
    ours = median(took for _, took in rounds)
    limit = median(OVER * max(ihe, r4) + EXTRA for (ihe, r4, _), _ in rounds)
    told(f"{what}: the answer", ours, limit, f"{count} times, median of {len(rounds)}")


async def _beside(
    bench: Bench, client: Client, bare: aiohttp.ClientSession, floor: Floor
) -> tuple[tuple[float, float, float], float]:
    ihe, r4 = (floor[each.url] for each in bench.ehrs)
    floors = (await one_round(bare, ihe), await one_round(bare, r4), await one_round(bare, ihe + r4))
    return floors, (await bench.ask(client))[0]


def _no_limit() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0)


async def warm(bench: Bench, what: str, **more: Any) -> None:
    async with in_process(bench.settings(**REMEMBERING, **more)) as (client, _):
        await bench.ask(client)
        took = [(await bench.ask(client))[0] for _ in range(bench.size.warm)]
    told(f"{what}: p50 of {len(took)}", median(took), WARM)
    told(f"{what}: p95", quantiles(took, n=20, method="inclusive")[-1], WARM)


async def warm_on_redis(bench: Bench) -> None:
    prefix, redis = f"itb-bench-{os.getpid()}:", Redis.from_url(REDIS)
    try:
        await redis.ping()
        await warm(bench, "remembered, Redis", redis_url=REDIS, redis_prefix=prefix)
        if gone := [key async for key in redis.scan_iter(f"{prefix}*")]:
            await redis.delete(*gone)
    except (OSError, RedisError) as missing:
        sys.stdout.write(f"remembered, Redis: not measured, {type(missing).__name__}\n")
    finally:
        await redis.aclose()


async def slow(bench: Bench) -> None:
    bench.ehrs[0].fault("slow", seconds=SLOW)
    await cold(bench, "IHE 100 ms slow")
    await warm(bench, "IHE 100 ms slow, remembered")
    bench.ehrs[0].calm()


async def hanging(bench: Bench) -> None:
    async with in_process(bench.settings(find_deadline=DEADLINE, **REMEMBERING)) as (client, _):
        bench.ehrs[0].fault("hang")
        took, found = await bench.ask(client)
        again, _ = await bench.ask(client)
        bench.ehrs[0].calm()
    states = " ".join(source["state"] for source in found["sources"])
    told("IHE hangs: the first answer", took, DEADLINE, states)
    told("IHE hangs: the next one", again, WARM)


STEPS: tuple[Callable[[Bench], Awaitable[None]], ...] = (
    lambda bench: cold(bench, "nothing remembered"),
    lambda bench: warm(bench, "remembered, in the process"),
    warm_on_redis,
    slow,
    hanging,
)


async def run(town: Town, url: str, size: Size) -> None:
    await upgrade(url)
    await fill(town, url, seed_of(size.practitioners, ihe=town.norway.url, r4=town.sweden.url))
    async with in_process(town.settings(url)) as (client, _):
        treatment = (await client("query($code: String!) { treatment(code: $code) { id } }", code=TREATMENT))[
            "treatment"
        ]
    first = datetime.now(UTC).date() + timedelta(days=1)
    last = first + timedelta(days=size.days - 1)
    search = {"treatmentId": treatment["id"], "from": first.isoformat(), "to": last.isoformat()}
    for step in STEPS:
        await step(Bench(town=town, url=url, size=size, search=search))


def main(arguments: list[str]) -> None:
    size = SMOKE if "--smoke" in arguments else Size()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ihe, r4 = (stack.enter_context(child("bench.ehr", each, size.practitioners)) for each in ("ihe", "r4"))
        town = Town(ihe, r4, "http://127.0.0.1:9")  # type: ignore[arg-type]
        asyncio.run(run(town, f"sqlite:///{Path(folder) / 'bench.db'}", size))


if __name__ == "__main__":
    main(sys.argv[1:])
