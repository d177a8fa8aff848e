"""Five record systems behind one question: one that hangs delays nobody, is left alone, and comes back by one call."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from domain.endpoint import Endpoint
from integrations.sandbox.world_se import SWEDEN
from tests.api.searching import search_for
from tests.living import Client, Town, fill, in_process, seeds, until
from tests.sandbox.conftest import Installation, launch

DEADLINE = 1.0
FIND = """query($search: AvailabilitySearch!) { availability(search: $search) { complete
    sources { state reason retryAfter asOf clinics { slug } } slots(first: 500) { nodes { clinic { slug } } } } }"""
SOURCE = "query($slug: String!) { clinic(slug: $slug) { source { state reason retryAfter asOf } } }"
NAMES = [f"system-{n}" for n in range(1, 6)]
HANGING = NAMES[2]


@pytest.fixture(scope="module")
def systems() -> Iterator[dict[str, Installation]]:
    running = {name: launch(SWEDEN, now=None) for name in NAMES}
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture
async def five(town: Town, systems: dict[str, Installation], sqlite_url: str) -> str:
    """A database with five systems' catalogues; every clinic is named after its system."""
    for each in systems.values():
        each.http.delete("/_sandbox/faults")
    seed = seeds(town)[0]
    endpoints = [replace(_like(seed.endpoints), id=name, base_url=each.url) for name, each in systems.items()]
    clinics = {(name, c.id): {"slug": f"{name}-{c.id.lower()}"} for name in NAMES for c in SWEDEN.clinics}
    await fill(town, sqlite_url, replace(seed, endpoints=endpoints, clinics=clinics, prices={}))
    return sqlite_url


def _like(endpoints: Any) -> Endpoint:
    found: Endpoint = next(each for each in endpoints if each.id == "malar")
    return found


@asynccontextmanager
async def asking(town: Town, url: str, **more: Any) -> AsyncIterator[tuple[Client, dict[str, Any]]]:
    async with in_process(town.settings(url, find_deadline=DEADLINE, look_up_deadline=DEADLINE, **more)) as (client, _):
        yield client, await search_for(client, "skin-check", last=2)


def states(found: dict[str, Any]) -> dict[str, str]:
    """By system."""
    return {c["slug"].rpartition("-hs-")[0]: s["state"] for s in found["sources"] for c in s["clinics"]}


def of(found: dict[str, Any], system: str) -> dict[str, Any]:
    source: dict[str, Any] = next(s for s in found["sources"] if s["clinics"][0]["slug"].startswith(system))
    return source


async def asked(client: Client, search: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client(FIND, search=search))["availability"]
    return found


async def test_one_that_hangs_among_five_delays_the_others_no_further_than_the_deadline(
    town: Town, systems: dict[str, Installation], five: str
) -> None:
    async with asking(town, five) as (client, search):
        everybody = await asked(client, search)
        assert states(everybody) == dict.fromkeys(NAMES, "OK")
        systems[HANGING].http.post("/_sandbox/faults", json={"kind": "hang"})
        began = monotonic()
        found = await asked(client, search)
        took = monotonic() - began
    assert states(found) == {**dict.fromkeys(NAMES, "OK"), HANGING: "TIMEOUT"}
    assert not found["complete"]
    shown = {slot["clinic"]["slug"].rpartition("-hs-")[0] for slot in found["slots"]["nodes"]}
    assert shown == set(NAMES) - {HANGING}
    assert took < 10 * DEADLINE


async def test_a_system_that_keeps_failing_is_left_alone_and_one_call_brings_it_back(
    town: Town, systems: dict[str, Installation], five: str
) -> None:
    hanging = systems[HANGING]
    async with asking(town, five) as (client, search):
        hanging.http.post("/_sandbox/faults", json={"kind": "down"})

        async def opened() -> dict[str, Any] | None:
            found = await asked(client, search)
            return found if of(found, HANGING)["reason"] == "CIRCUIT_OPEN" else None

        await until(opened)
        hanging.http.delete("/_sandbox/calls")
        answers = await asyncio.gather(*(asked(client, search) for _ in range(20)))
        assert {states(found)[HANGING] for found in answers} == {"OFFLINE"}
        assert all(of(found, HANGING)["retryAfter"] for found in answers)
        assert hanging.get("/_sandbox/calls")["counts"] == {}  # nobody waits for it, nobody asks it
        source = (await client(SOURCE, slug=f"{HANGING}-{SWEDEN.clinics[0].id.lower()}"))["clinic"]["source"]
        assert (source["state"], source["reason"]) == ("OFFLINE", "CIRCUIT_OPEN")

        hanging.http.delete("/_sandbox/faults")
        hanging.http.post("/_sandbox/faults", json={"kind": "slow", "seconds": 0.3})

        async def at_once() -> list[dict[str, Any]] | None:
            found = await asyncio.gather(*(asked(client, search) for _ in range(20)))
            return found if hanging.get("/_sandbox/calls")["counts"] else None

        found = await until(at_once)
        assert hanging.get("/_sandbox/calls")["counts"] == {"slot-search": 1}
        assert {states(each)[HANGING] for each in found} <= {"OK", "OFFLINE"}
        assert states(await asked(client, search))[HANGING] == "OK"
