"""One time, one booking, one winner: races over HTTP against two server processes on one database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integrations.sandbox.people import PEOPLE, Person, crowd
from tests.living import Client, Town, over_http, serving, sign_in
from tests.sandbox.conftest import Installation
from tests.system.journey import HELD, RELEASE, Journey, apart, at, codes, key
from tests.system.test_journey import appointments, decoded, shown

IHE = ("sentrum-legesenter", "kari")
R4 = ("vasastans-vardcentral", "astrid")
both_ehrs = pytest.mark.parametrize(("clinic", "login"), [IHE, R4], ids=["ihe", "r4"])

TAKES_TIME = {"ihe": ("book",), "r4": ("slot-write", "appointment-write")}
"""The calls that a record system is booked by."""


@asynccontextmanager
async def two_servers(town: Town, database_url: str, folder: Path, **changes: Any) -> AsyncIterator[list[Client]]:
    settings = town.settings(database_url, holds_per_address=10_000, **changes)
    async with AsyncExitStack() as stack:
        urls = [stack.enter_context(serving(settings, folder / f"server-{n}.log")) for n in (1, 2)]
        yield [await stack.enter_async_context(over_http(url)) for url in urls]


def ehr_of(town: Town, clinic: str) -> tuple[Installation, tuple[str, ...]]:
    return (town.norway, TAKES_TIME["ihe"]) if clinic == IHE[0] else (town.sweden, TAKES_TIME["r4"])


def writes(town: Town, clinic: str) -> list[int]:
    ehr, operations = ehr_of(town, clinic)
    counts = town.calls(ehr)
    return [counts.get(operation, 0) for operation in operations]


def person(login: str) -> Person:
    return next(each for each in PEOPLE if each.login == login)


def on_shared_days(slots: list[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    """One time a day with each of two practitioners, on days when both are there."""
    by_day: dict[str, dict[str, dict[str, Any]]] = {}
    for slot in slots:
        by_day.setdefault(slot["practitioner"]["id"], {}).setdefault(slot["start"][:10], slot)
    one, other = list(by_day.values())[:2]
    days = [day for day in one if day in other][:count]
    assert len(days) == count
    return [[each[day] for day in days] for each in (one, other)]


def on_each(clients: list[Client], journey: Journey) -> list[Journey]:
    """The same patient's journey over every server."""
    return [Journey(client, journey.clinic, token=journey.token) for client in clients]


@pytest.mark.parametrize("clinic", [IHE[0], R4[0]], ids=["ihe", "r4"])
async def test_one_of_fifty_patients_gets_the_slot_and_each_of_the_others_three_times_that_they_can_have(
    town: Town, filled_url: str, tmp_path: Path, clinic: str
) -> None:
    async with two_servers(town, filled_url, tmp_path) as clients:
        # many practitioners do this, so that several are free at the same time and each start must be told once
        patients = [(one, Journey(clients[n % 2], clinic, "consultation")) for n, one in enumerate(crowd(50))]
        wanted = (await patients[0][1].slots())[0]
        answers = await asyncio.gather(*(journey.hold(wanted["id"]) for _, journey in patients))

        won = [n for n, answer in enumerate(answers) if answer["hold"]]
        lost = [answer for answer in answers if not answer["hold"]]
        assert (len(won), {tuple(codes(answer)) for answer in lost}) == (1, {("SLOT_TAKEN",)})
        assert not any(writes(town, clinic))
        offered = {slot["id"]: slot for answer in lost for slot in answer["errors"][0]["alternatives"]}
        for answer in lost:
            starts = [slot["start"] for slot in answer["errors"][0]["alternatives"]]
            ids = {slot["id"] for slot in answer["errors"][0]["alternatives"]}
            assert len(set(starts)) == len(ids) == 3
            assert wanted["id"] not in ids

        for id in offered:
            held = await patients[1][1].hold(id)
            assert held["hold"], (offered[id], held["errors"])
            assert held["hold"]["slot"]["start"] == offered[id]["start"]
            await patients[1][1].client(RELEASE, input={"token": held["hold"]["token"]})
        winner, journey = patients[won[0]]
        journey.token = await sign_in(town, winner.login)
        booked = await journey.confirm(answers[won[0]]["hold"]["token"])
        assert booked["booking"]["status"] == "BOOKED", booked["errors"]
        assert booked["booking"]["start"] == wanted["start"]


@both_ehrs
async def test_a_hold_confirmed_ten_times_at_once_is_booked_once(
    town: Town, filled_url: str, tmp_path: Path, clinic: str, login: str
) -> None:
    ehr, operations = ehr_of(town, clinic)
    async with two_servers(town, filled_url, tmp_path) as clients:
        journey = Journey(clients[0], clinic, token=await sign_in(town, login))
        held = await journey.hold((await journey.slots())[0]["id"])
        hold = held["hold"]["token"]
        town.fault(ehr, "slow", operation=operations[0], seconds=0.5)
        given = [key()] * 5 + [key() for _ in range(5)]
        both = on_each(clients, journey)
        answers = await asyncio.gather(*(both[n % 2].confirm(hold, idempotencyKey=own) for n, own in enumerate(given)))

        assert {tuple(codes(answer)) for answer in answers} <= {(), ("IN_PROGRESS",)}
        bookings = {(b["id"], b["status"]) for answer in answers if (b := answer["booking"])}
        assert [status for _, status in bookings] == ["BOOKED"]
        again = [await both[n % 2].confirm(hold, idempotencyKey=own) for n, own in enumerate(given)]
        assert {(answer["booking"]["id"], "BOOKED") for answer in again} == bookings
        assert writes(town, clinic) == [1] * len(operations)
        [mine] = await journey.mine()
        assert [step["status"] for step in mine["history"]] == ["HELD", "CONFIRMING", "BOOKED"]
        found = appointments(ehr, person(login))
        assert shown(found[decoded(mine["id"])]) == ("booked", at(mine["start"]))


@both_ehrs
async def test_of_two_moves_at_once_one_wins_and_the_record_system_has_that_one(
    town: Town, filled_url: str, tmp_path: Path, clinic: str, login: str
) -> None:
    ehr, operations = ehr_of(town, clinic)
    async with two_servers(town, filled_url, tmp_path) as clients:
        journey = Journey(clients[0], clinic, token=await sign_in(town, login))
        first, *others = apart(await journey.slots(), 3)
        booked = await journey.booked(first["id"])
        visitor = Journey(clients[1], clinic)  # before signing in: a patient keeps one time at once
        holds = [await journey.hold(others[0]["id"], movingBookingId=booked["id"]), await visitor.hold(others[1]["id"])]
        assert all(held["hold"] for held in holds), [held["errors"] for held in holds]
        town.fault(ehr, "slow", operation=operations[0], seconds=0.5)
        both = on_each(clients, journey)
        answers = await asyncio.gather(
            *(one.reschedule(booked, held["hold"]["token"]) for one, held in zip(both, holds, strict=True))
        )

        [moved] = [answer["booking"] for answer in answers if answer["booking"]]
        [refused] = [codes(answer) for answer in answers if not answer["booking"]]
        assert refused in (["IN_PROGRESS"], ["STALE_VERSION"])
        assert (moved["id"], moved["status"]) == (booked["id"], "BOOKED")
        [mine] = await journey.mine()
        assert (mine["start"], mine["version"]) == (moved["start"], moved["version"])
        assert shown(appointments(ehr, person(login))[decoded(booked["id"])]) == ("booked", at(moved["start"]))
        [(hold, lost)] = [(h["hold"], s) for h, s in zip(holds, others, strict=True) if s["start"] != moved["start"]]
        assert lost["id"] in [slot["id"] for slot in await journey.slots(hold=hold["token"])]


@both_ehrs
async def test_a_booking_is_moved_or_cancelled_but_never_both_at_once(
    town: Town, filled_url: str, tmp_path: Path, clinic: str, login: str
) -> None:
    ehr, operations = ehr_of(town, clinic)
    async with two_servers(town, filled_url, tmp_path) as clients:
        journey = Journey(clients[0], clinic, token=await sign_in(town, login))
        now, later = apart(await journey.slots(), 2)
        booked = await journey.booked(now["id"])
        held = await journey.hold(later["id"], movingBookingId=booked["id"])
        town.fault(ehr, "slow", operation=operations[-1], seconds=0.5)
        both = on_each(clients, journey)
        answers = await asyncio.gather(both[0].cancel(booked), both[1].reschedule(booked, held["hold"]["token"]))

        [won] = [answer["booking"] for answer in answers if answer["booking"]]
        [refused] = [codes(answer) for answer in answers if not answer["booking"]]
        assert refused in (["IN_PROGRESS"], ["STALE_VERSION"])
        status, start = shown(appointments(ehr, person(login))[decoded(booked["id"])])
        if won["status"] == "CANCELLED":
            assert (status, start) == ("cancelled", at(now["start"]))
            assert await journey.mine() == []
        else:
            assert (status, start) == ("booked", at(later["start"]))
            assert [b["start"] for b in await journey.mine()] == [later["start"]]


async def test_who_loses_the_race_for_another_time_keeps_the_one_they_held(
    town: Town, filled_url: str, tmp_path: Path
) -> None:
    async with two_servers(town, filled_url, tmp_path) as clients:
        visitors = [Journey(clients[n % 2], IHE[0]) for n in range(10)]
        *own, wanted = apart(await visitors[0].slots(), 11)
        holds = [(await one.hold(slot["id"]))["hold"] for one, slot in zip(visitors, own, strict=True)]
        swaps = await asyncio.gather(
            *(one.hold(wanted["id"], holdToken=held["token"]) for one, held in zip(visitors, holds, strict=True))
        )

        assert len([swap for swap in swaps if swap["hold"]]) == 1
        free = [slot["id"] for slot in await visitors[0].slots()]
        assert wanted["id"] not in free
        for visitor, held, slot, swap in zip(visitors, holds, own, swaps, strict=True):
            still = await start_of(visitor, held)
            if swap["hold"]:
                assert still is None
                assert slot["id"] in free
            else:
                assert codes(swap) == ["SLOT_TAKEN"]
                assert still == slot["start"]
                assert slot["id"] not in free


async def start_of(visitor: Journey, hold: dict[str, Any]) -> str | None:
    """Of the time that a hold keeps; None once it keeps none."""
    found = (await visitor.client(HELD, visitor.token, token=hold["token"]))["hold"]
    return str(found["slot"]["start"]) if found else None


async def test_two_visitors_who_want_each_others_times_at_once_each_keep_one(
    town: Town, filled_url: str, tmp_path: Path
) -> None:
    async with two_servers(town, filled_url, tmp_path) as clients:
        visitors = [Journey(client, IHE[0]) for client in clients]
        own = apart(await visitors[0].slots(), 2)
        holds = [(await one.hold(slot["id"]))["hold"] for one, slot in zip(visitors, own, strict=True)]
        for _ in range(15):
            starts = [hold["slot"]["start"] for hold in holds]
            swaps = await asyncio.gather(
                *(
                    one.hold(mine["slot"]["id"], holdToken=hold["token"])
                    for one, mine, hold in zip(visitors, reversed(holds), holds, strict=True)
                )
            )
            assert {tuple(codes(swap)) for swap in swaps} <= {(), ("SLOT_TAKEN",)}
            for n, swap in enumerate(swaps):
                if swap["hold"]:
                    assert await start_of(visitors[n], holds[n]) is None
                    holds[n] = swap["hold"]
            kept = [await start_of(one, hold) for one, hold in zip(visitors, holds, strict=True)]
            assert sorted(map(str, kept)) == sorted(starts)


async def test_two_visits_of_two_practitioners_change_places_at_once_without_getting_stuck(
    town: Town, filled_url: str, tmp_path: Path
) -> None:
    """Each move touches both practitioners' days, the two in opposite order."""
    logins = ["ola", "ailu"]
    async with two_servers(town, filled_url, tmp_path) as clients:
        patients = [
            Journey(client, IHE[0], token=await sign_in(town, login))
            for client, login in zip(clients, logins, strict=True)
        ]
        pairs = on_shared_days(await patients[0].slots(), 8)
        for n in range(0, 8, 2):
            bookings = [await p.booked(own[n]["id"]) for p, own in zip(patients, pairs, strict=True)]
            holds = [
                await p.hold(other[n + 1]["id"], movingBookingId=b["id"])
                for p, other, b in zip(patients, reversed(pairs), bookings, strict=True)
            ]
            assert all(held["hold"] for held in holds), [held["errors"] for held in holds]
            moved = await asyncio.gather(
                *(p.reschedule(b, h["hold"]["token"]) for p, b, h in zip(patients, bookings, holds, strict=True))
            )
            assert [answer["booking"]["status"] for answer in moved if answer["booking"]] == ["BOOKED"] * 2, moved
