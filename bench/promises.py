"""How long what was promised takes, as ratios to what it was promised in: `python -m bench.promises`.

Run by hand on a quiet machine; no test fails on a clock.
"""

import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from integrations.sandbox.identity import create_identity_provider
from integrations.sandbox.people import as_ehr_patients
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.migrate import upgrade
from tests.living import Client, Town, fill, in_process, sign_in
from tests.oidc.serving import served
from tests.sandbox.conftest import launch
from tests.system.journey import FIND, Journey

ROUNDS = 20
DEADLINE = 1.0
INTERVAL = 0.5


def told(what: str, took: float, promised: float) -> None:
    sys.stdout.write(f"{what:<58}{took * 1000:9.1f} ms   {took / promised:6.3f} of {promised:g} s\n")


async def timed(client: Client, search: dict[str, Any], rounds: int) -> float:
    async def one() -> float:
        began = perf_counter()
        await client(FIND, search=search, hold=None)
        return perf_counter() - began

    await one()
    return median([await one() for _ in range(rounds)])


async def availability(town: Town, url: str) -> None:
    async with in_process(town.settings(url, find_deadline=DEADLINE)) as (client, _):
        journey = Journey(client, "sentrum-legesenter", "consultation")
        search = {k: v for k, v in (await journey.search(days=13)).items() if k != "clinicIds"}
        told("two weeks at 8 clinics in two EHRs, median", await timed(client, search, ROUNDS), DEADLINE)
        town.fault(town.sweden, "hang")
        told("the same with one EHR hanging", await timed(client, search, 3), DEADLINE)
        town.calm()


async def settling(town: Town, url: str) -> None:
    settings = town.settings(url, worker=True, check_interval=INTERVAL)
    async with in_process(settings) as (client, _):
        journey = Journey(client, "sentrum-legesenter", token=await sign_in(town, "kari"))
        held = await journey.hold((await journey.slots())[0]["id"])
        town.fault(town.norway, "lost-answer", operation="book", times=1)
        booking = (await journey.confirm(held["hold"]["token"]))["booking"]
        began = perf_counter()
        while booking["status"] == "UNKNOWN":
            await asyncio.sleep(0.02)
            [booking] = await journey.mine()
        told(f"a lost answer found out ({booking['status']})", perf_counter() - began, 2 * INTERVAL)


def main() -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        norway = launch(NORWAY, now=None, people=as_ehr_patients("NO"))
        sweden = launch(SWEDEN, now=None, people=as_ehr_patients("SE"))
        stack.callback(norway.stop)
        stack.callback(sweden.stop)
        town = Town(norway, sweden, stack.enter_context(served(create_identity_provider())))
        url = f"sqlite:///{Path(folder) / 'bench.db'}"
        asyncio.run(upgrade(url))
        asyncio.run(fill(town, url))
        asyncio.run(availability(town, url))
        asyncio.run(settling(town, url))


if __name__ == "__main__":
    main()
