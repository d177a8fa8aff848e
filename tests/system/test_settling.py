"""No answer is not a no: what a record system was asked and did not answer is found out, whatever happens to us."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integrations.sandbox.ehr import create_ehr
from integrations.sandbox.people import PEOPLE, Person, as_ehr_patients
from integrations.sandbox.world_no import NORWAY
from tests.living import Client, Server, Town, fill, in_process, over_http, running, seeds, sign_in, until
from tests.sandbox.conftest import Installation, serve
from tests.system.journey import Journey, at, codes, key
from tests.system.test_journey import appointments, decoded, movable, shown


@dataclass(frozen=True)
class Place:
    """A clinic, one of its patients, and how its record system is written to: once to book, to move and to cancel."""

    clinic: str
    login: str
    write: str

    @property
    def person(self) -> Person:
        return next(each for each in PEOPLE if each.login == self.login)

    def ehr(self, town: Town) -> Installation:
        return town.norway if self.write == "book" else town.sweden


IHE = Place("sentrum-legesenter", "kari", "book")
R4 = Place("vasastans-vardcentral", "astrid", "appointment-write")
both_ehrs = pytest.mark.parametrize("place", [IHE, R4], ids=["ihe", "r4"])

HASTE = {"book_deadline": 3.0}
"""For calls that hang: the fault is ordered once, so that no other call is ever this short of time."""


@asynccontextmanager
async def server(
    town: Town, database_url: str, log: Path, *, worker: bool = True, **changes: Any
) -> AsyncIterator[tuple[Server, Client]]:
    settings = town.settings(database_url, worker=worker, **changes)
    with running(settings, log / "server.log") as process:
        async with over_http(process.url) as client:
            yield process, client


async def settles(journey: Journey, booking: dict[str, Any], status: str, when: str = "UPCOMING") -> dict[str, Any]:
    """What the patient sees at last, by doing nothing but looking."""

    async def look() -> dict[str, Any] | None:
        shown = [b for b in await journey.mine(when) if b["id"] == booking["id"] and b["status"] == status]
        return shown[0] if shown else None

    return await until(look)


async def is_free(journey: Journey, slot: dict[str, Any]) -> bool:
    """Both ways of asking must agree: what is offered can be held, and what is not cannot."""
    stranger = Journey(journey.client, journey.clinic)
    offered = slot["id"] in [each["id"] for each in await stranger.slots()]
    held = await stranger.hold(slot["id"])
    assert offered == bool(held["hold"])
    if held["hold"]:
        return True
    assert [error["code"] for error in held["errors"]] == ["SLOT_TAKEN"]
    return False


def in_ehr(town: Town, place: Place, booking: dict[str, Any]) -> tuple[str, datetime] | None:
    found = appointments(place.ehr(town), place.person).get(decoded(booking["id"]))
    return shown(found) if found else None


async def soon_believed(town: Town, database_url: str) -> None:
    """Record systems that are known to be quick: what is not there after a second will not come."""
    quick = [
        replace(seed, endpoints=[replace(each, longest_delay=timedelta(seconds=1)) for each in seed.endpoints])
        for seed in seeds(town)
    ]
    await fill(town, database_url, *quick)


@both_ehrs
async def test_a_lost_answer_is_found_out_by_itself(town: Town, filled_url: str, tmp_path: Path, place: Place) -> None:
    async with server(town, filled_url, tmp_path) as (_, client):
        journey = Journey(client, place.clinic, token=await sign_in(town, place.login))
        slot = (await journey.slots())[0]
        hold = (await journey.hold(slot["id"]))["hold"]["token"]
        town.fault(place.ehr(town), "lost-answer", operation=place.write, times=1)
        same = key()
        unsure = (await journey.confirm(hold, idempotencyKey=same))["booking"]
        assert (unsure["status"], unsure["start"]) == ("UNKNOWN", slot["start"])
        assert not await is_free(journey, slot)

        booked = await settles(journey, unsure, "BOOKED")
        assert in_ehr(town, place, booked) == ("booked", at(slot["start"]))
        assert not await is_free(journey, slot)
        assert (await journey.confirm(hold, idempotencyKey=same))["booking"]["id"] == booked["id"]
        assert town.calls(place.ehr(town))[place.write] == 1
        assert [step["status"] for step in booked["history"]] == ["HELD", "CONFIRMING", "UNKNOWN", "BOOKED"]
        assert [step["actor"] for step in booked["history"]][-1] == "SYSTEM"


async def test_a_killed_server_forgets_no_lost_answer(town: Town, filled_url: str, tmp_path: Path) -> None:
    async with server(town, filled_url, tmp_path, worker=False) as (process, client):
        journey = Journey(client, IHE.clinic, token=await sign_in(town, IHE.login))
        slot = (await journey.slots())[0]
        hold = (await journey.hold(slot["id"]))["hold"]["token"]
        town.fault(town.norway, "lost-answer", operation="book", times=1)
        unsure = (await journey.confirm(hold))["booking"]
        assert unsure["status"] == "UNKNOWN"
        process.kill()

    async with server(town, filled_url, tmp_path) as (_, client):
        journey = Journey(client, IHE.clinic, token=journey.token)
        booked = await settles(journey, unsure, "BOOKED")
        assert (booked["reference"], booked["start"]) == (unsure["reference"], slot["start"])
        assert town.calls(town.norway)["book"] == 1
        assert not await is_free(journey, slot)


@both_ehrs
async def test_a_lost_answer_to_a_move_is_found_out_in_place(
    town: Town, sqlite_filled_url: str, tmp_path: Path, place: Place
) -> None:
    async with server(town, sqlite_filled_url, tmp_path) as (_, client):
        journey = Journey(client, place.clinic, token=await sign_in(town, place.login))
        slot = movable(await journey.slots())
        booked = await journey.booked(slot["id"])
        later = at(slot["start"]) + timedelta(minutes=15)
        times = await journey.slots(movingBookingId=booked["id"], practitionerIds=[slot["practitioner"]["id"]])
        [wanted] = [each for each in times if at(each["start"]) == later]
        hold = (await journey.hold(wanted["id"], movingBookingId=booked["id"]))["hold"]["token"]
        town.fault(place.ehr(town), "lost-answer", operation=place.write, times=1)
        unsure = await journey.reschedule(booked, hold)
        assert unsure["errors"] == []

        async def moved() -> dict[str, Any] | None:
            [mine] = await journey.mine()
            return mine if mine["status"] == "BOOKED" and at(mine["start"]) == later else None

        mine = await until(moved)
        assert (mine["id"], mine["reference"]) == (booked["id"], booked["reference"])
        assert in_ehr(town, place, mine) == ("booked", later)
        assert not await is_free(journey, wanted)
        assert [b["id"] for b in await journey.mine("ALL")] == [booked["id"]]


@both_ehrs
async def test_a_lost_answer_to_a_cancellation_is_found_out(
    town: Town, sqlite_filled_url: str, tmp_path: Path, place: Place
) -> None:
    async with server(town, sqlite_filled_url, tmp_path) as (_, client):
        journey = Journey(client, place.clinic, token=await sign_in(town, place.login))
        slot = (await journey.slots())[0]
        booked = await journey.booked(slot["id"])
        town.fault(place.ehr(town), "lost-answer", operation=place.write, times=1)
        unsure = await journey.cancel(booked)
        assert unsure["errors"] == []

        gone = await settles(journey, booked, "CANCELLED", when="PREVIOUS")
        assert in_ehr(town, place, gone) == ("cancelled", at(slot["start"]))
        assert await is_free(journey, slot)


@pytest.mark.parametrize("kind", ["hang-in-body", "hang"], ids=["after-the-deed", "before-the-deed"])
async def test_a_server_killed_while_it_waits_for_the_answer_leaves_nothing_open(
    town: Town, filled_url: str, tmp_path: Path, kind: str
) -> None:
    """Between the intent and the answer: the next server finds out, and asks for nothing twice."""
    await soon_believed(town, filled_url)
    async with server(town, filled_url, tmp_path, **HASTE) as (process, client):
        journey = Journey(client, IHE.clinic, token=await sign_in(town, IHE.login))
        slot = (await journey.slots())[0]
        hold = (await journey.hold(slot["id"]))["hold"]["token"]
        before = len(appointments(town.norway, IHE.person))
        town.fault(town.norway, kind, operation="book", times=1)
        asked = asyncio.create_task(journey.confirm(hold))

        async def reached() -> bool:
            is_done = kind == "hang" or len(appointments(town.norway, IHE.person)) > before
            return is_done and town.calls(town.norway).get("book") == 1

        await until(reached)
        process.kill()
        await asyncio.gather(asked, return_exceptions=True)

    async with server(town, filled_url, tmp_path, **HASTE) as (_, client):
        journey = Journey(client, IHE.clinic, token=journey.token)
        [waiting] = await journey.mine()
        assert waiting["status"] in ("CONFIRMING", "UNKNOWN")
        assert not await is_free(journey, slot)
        if kind == "hang-in-body":
            booked = await settles(journey, waiting, "BOOKED")
            assert in_ehr(town, IHE, booked) == ("booked", at(slot["start"]))
        else:
            await settles(journey, waiting, "FAILED", when="PREVIOUS")
            assert in_ehr(town, IHE, waiting) is None
            assert await is_free(journey, slot)
        assert town.calls(town.norway)["book"] == 1


@both_ehrs
async def test_nothing_found_is_believed_after_the_settling_time_and_the_time_is_free_again(
    town: Town, filled_url: str, tmp_path: Path, place: Place
) -> None:
    await soon_believed(town, filled_url)
    async with server(town, filled_url, tmp_path, **HASTE) as (_, client):
        journey = Journey(client, place.clinic, token=await sign_in(town, place.login))
        slot = (await journey.slots())[0]
        hold = (await journey.hold(slot["id"]))["hold"]["token"]
        town.fault(place.ehr(town), "hang", operation=place.write, times=1)
        unsure = (await journey.confirm(hold))["booking"]
        assert unsure["status"] == "UNKNOWN"
        failed = await settles(journey, unsure, "FAILED", when="PREVIOUS")
        assert in_ehr(town, place, failed) is None
        assert await is_free(journey, slot)
        assert await journey.mine() == []
        asked, verdict = at(failed["history"][1]["at"]), at(failed["history"][-1]["at"])
        assert verdict - asked >= timedelta(seconds=HASTE["book_deadline"] + 1)


async def test_a_time_that_nobody_answers_for_is_kept_however_free_the_record_system_calls_it(
    town: Town, filled_url: str, tmp_path: Path
) -> None:
    """The settling time is the two minutes of a server that nobody knows to be quicker, so nothing settles here."""
    async with server(town, filled_url, tmp_path, **HASTE) as (_, client):
        journey = Journey(client, IHE.clinic, token=await sign_in(town, IHE.login))
        slot = (await journey.slots())[0]
        hold = (await journey.hold(slot["id"]))["hold"]["token"]
        town.fault(town.norway, "hang", operation="book", times=1)
        unsure = (await journey.confirm(hold))["booking"]
        assert unsure["status"] == "UNKNOWN"

        async def looked_again() -> bool:
            return town.calls(town.norway).get("search", 0) >= 5

        await until(looked_again)
        assert in_ehr(town, IHE, unsure) is None
        assert not await is_free(journey, slot)
        assert [b["status"] for b in await journey.mine()] == ["UNKNOWN"]
        again = await journey.confirm(hold)
        assert (again["booking"]["id"], again["booking"]["status"]) == (unsure["id"], "UNKNOWN")
        assert town.calls(town.norway)["book"] == 1


@asynccontextmanager
async def private_norway(town: Town, database_url: str) -> AsyncIterator[Installation]:
    """A record system that a test may switch off without anybody else noticing."""
    alone = serve(create_ehr(NORWAY, people=as_ehr_patients("NO")))
    await fill(town, database_url, *seeds(replace(town, norway=alone)))
    yield alone
    if alone.thread.is_alive():
        alone.stop()


@contextmanager
def switched_on_again(down: Installation, port: int) -> Iterator[Installation]:
    back = serve(down.server.config.app, port=port)
    yield back
    back.stop()


async def test_a_record_system_that_is_down_costs_nobody_their_held_time(town: Town, filled_url: str) -> None:
    async with private_norway(town, filled_url) as norway, in_process(town.settings(filled_url)) as (client, _):
        journey = Journey(client, IHE.clinic, token=await sign_in(town, IHE.login))
        slot = (await journey.slots())[0]
        hold = (await journey.hold(slot["id"]))["hold"]["token"]
        port = norway.server.port
        norway.stop()
        same = key()
        for _ in range(2):
            assert codes(await journey.confirm(hold, idempotencyKey=same)) == ["UPSTREAM_UNAVAILABLE"]
            assert await journey.mine() == []
        asked = "query($token: String!) { hold(token: $token) { slot { start } } }"
        assert (await client(asked, journey.token, token=hold))["hold"]["slot"]["start"] == slot["start"]

        with switched_on_again(norway, port) as back:
            booked = (await journey.confirm(hold, idempotencyKey=same))["booking"]
            assert (booked["status"], booked["start"]) == ("BOOKED", slot["start"])
            assert shown(appointments(back, IHE.person)[decoded(booked["id"])]) == ("booked", at(slot["start"]))


async def test_a_change_that_could_not_be_sent_is_made_by_asking_again_once_the_record_system_is_back(
    town: Town, sqlite_filled_url: str
) -> None:
    async with (
        private_norway(town, sqlite_filled_url) as norway,
        in_process(town.settings(sqlite_filled_url)) as (client, _),
    ):
        journey, same = Journey(client, IHE.clinic, token=await sign_in(town, IHE.login)), key()
        now, *_, later = await journey.slots()
        booked = await journey.booked(now["id"])
        to = (await journey.hold(later["id"], movingBookingId=booked["id"]))["hold"]["token"]
        port = norway.server.port
        norway.stop()
        assert codes(await journey.reschedule(booked, to, idempotencyKey=same)) == ["UPSTREAM_UNAVAILABLE"]
        [mine] = await journey.mine()
        assert (mine["status"], mine["start"]) == ("BOOKED", now["start"])
        with switched_on_again(norway, port) as back:
            moved = (await journey.reschedule(booked, to, idempotencyKey=same))["booking"]
            assert (moved["status"], moved["start"]) == ("BOOKED", later["start"])

            back.stop()
            assert codes(await journey.cancel(moved, idempotencyKey=same)) == ["UPSTREAM_UNAVAILABLE"]
            assert [b["status"] for b in await journey.mine()] == ["BOOKED"]
        with switched_on_again(norway, port) as back:
            assert (await journey.cancel(moved, idempotencyKey=same))["booking"]["status"] == "CANCELLED"
            assert shown(appointments(back, IHE.person)[decoded(booked["id"])]) == ("cancelled", at(later["start"]))
