"""A visitor keeps one time at once, nobody keeps too many, and everybody gets a fair one."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from integrations.sandbox.people import crowd
from tests.living import Client, Town, in_process, sign_in
from tests.system.journey import Journey, apart, codes, key
from tests.system.test_races import start_of, two_servers

OSLO = "sentrum-legesenter"


async def live(journey: Journey, holds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that still keep their time."""
    tokens = {hold["token"]: hold for hold in holds}
    return [hold for hold in tokens.values() if await start_of(journey, hold)]


async def kari(town: Town, client: Client) -> Journey:
    return Journey(client, OSLO, token=await sign_in(town, "kari"))


async def test_a_patient_who_chooses_another_time_has_that_one_without_showing_a_token(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        patient = await kari(town, client)
        first, second, third = apart(await patient.slots(), 3)
        booked = await patient.booked(third["id"])
        old = (await patient.hold(first["id"]))["hold"]
        new = (await patient.hold(second["id"]))["hold"]
        assert await live(patient, [old, new]) == [new]
        assert first["id"] in [slot["id"] for slot in await Journey(client, OSLO).slots()]

        move = (await patient.hold(first["id"], movingBookingId=booked["id"]))["hold"]
        assert await live(patient, [new, move]) == [move], "a hold that is to move a visit is the one as well"
        again = (await patient.hold(first["id"], movingBookingId=booked["id"]))["hold"]
        assert again["token"] == move["token"], "their own time is kept longer, not taken anew"
        own = (await patient.hold(first["id"]))["hold"]
        assert await live(patient, [own, move]) == [own], "to book a time is another wish than to move there"
        assert (await patient.confirm(own["token"]))["booking"]["status"] == "BOOKED"


async def test_visitors_without_a_name_are_told_apart_by_the_token_they_show(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        visitor = Journey(client, OSLO)
        one, two, three = apart(await visitor.slots(), 3)
        first, second = [(await visitor.hold(slot["id"]))["hold"] for slot in (one, two)]
        assert len(await live(visitor, [first, second])) == 2
        third = (await visitor.hold(three["id"], holdToken=first["token"]))["hold"]
        assert await live(visitor, [first, second, third]) == [second, third]


async def test_who_signs_in_with_a_hold_has_that_one_and_no_other(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        patient, visitor = await kari(town, client), Journey(client, OSLO)
        one, two, three = apart(await patient.slots(), 3)
        own = (await patient.hold(one["id"]))["hold"]
        shown = (await visitor.hold(two["id"]))["hold"]
        kept = (await patient.hold(two["id"], holdToken=shown["token"]))["hold"]
        assert kept["token"] == shown["token"]
        assert await live(patient, [own, kept]) == [kept]
        shown = (await visitor.hold(one["id"]))["hold"]
        last = (await patient.hold(three["id"], holdToken=shown["token"]))["hold"]
        assert await live(patient, [kept, shown, last]) == [last], "both their own and the one they showed"


async def test_a_patient_who_holds_two_times_at_once_keeps_exactly_one(
    town: Town, filled_url: str, tmp_path: Path
) -> None:
    async with two_servers(town, filled_url, tmp_path, holds_per_visitor=10_000) as clients:
        token = await sign_in(town, "kari")
        tabs = [Journey(client, OSLO, token=token) for client in clients]
        times = apart(await tabs[0].slots(), 8)
        for n in range(10):
            wanted = [times[(n + m) % 8] for m in range(4)]
            answers = await asyncio.gather(*(tabs[m % 2].hold(slot["id"]) for m, slot in enumerate(wanted)))
            assert {tuple(codes(answer)) for answer in answers} == {()}
            kept = await live(tabs[0], [answer["hold"] for answer in answers])
            assert len(kept) == 1


async def test_a_patient_who_holds_and_confirms_at_once_never_gets_stuck(
    town: Town, filled_url: str, tmp_path: Path
) -> None:
    async with two_servers(town, filled_url, tmp_path, holds_per_visitor=10_000) as clients:
        token = await sign_in(town, "ola")
        tabs = [Journey(client, OSLO, token=token) for client in clients]
        times = apart(await tabs[0].slots(), 9)
        for n in range(4):
            held = (await tabs[0].hold(times[n]["id"]))["hold"]
            confirmed, another = await asyncio.gather(tabs[0].confirm(held["token"]), tabs[1].hold(times[8 - n]["id"]))
            assert codes(another) == []
            assert codes(confirmed) in ([], ["HOLD_NOT_FOUND"])


@pytest.mark.parametrize("racers", [30])
async def test_of_many_who_leave_the_practitioner_open_as_many_get_the_time_as_there_are_practitioners(
    town: Town, filled_url: str, tmp_path: Path, racers: int
) -> None:
    async with two_servers(town, filled_url, tmp_path) as clients:
        visitors = [Journey(clients[n % 2], OSLO, "consultation") for n in range(racers)]
        slots = await visitors[0].slots()
        start, most = Counter(slot["start"] for slot in slots).most_common(1)[0]
        free = {slot["practitioner"]["id"]: slot["id"] for slot in slots if slot["start"] == start}
        assert len(free) == most > 1
        wanted = next(iter(free.values()))
        answers = await asyncio.gather(*(each.hold(wanted, anyPractitioner=True) for each in visitors))
        given = [answer["hold"]["slot"] for answer in answers if answer["hold"]]
        assert Counter(slot["practitioner"]["id"] for slot in given) == Counter(list(free))
        assert {slot["start"] for slot in given} == {start}
        assert {tuple(codes(answer)) for answer in answers if not answer["hold"]} == {("SLOT_TAKEN",)}


async def test_a_visitor_may_ask_for_so_many_times_only(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url, holds_per_visitor=2)) as (client, _):
        patient, visitor = await kari(town, client), Journey(client, OSLO)
        one, two, three, four = apart(await patient.slots(), 4)
        for slot in (one, two):
            same = key()
            held = await patient.hold(slot["id"], idempotencyKey=same)
            assert await patient.hold(slot["id"], idempotencyKey=same) | {"hold": None} == held | {"hold": None}
        assert codes(await patient.hold(three["id"])) == ["HOLD_LIMIT"]
        own = (await visitor.hold(three["id"]))["hold"]["token"]
        refused = [codes(await visitor.hold(two["id"], holdToken=own)) for _ in range(3)]
        assert refused == [["SLOT_TAKEN"], ["SLOT_TAKEN"], ["HOLD_LIMIT"]]
        assert codes(await visitor.hold(four["id"])) == [], "nobody in particular is counted by address"


async def test_strangers_may_keep_so_many_times_of_one_clinic_only(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url, holds_per_clinic=2)) as (client, _):
        visitor, patient = Journey(client, OSLO), await kari(town, client)
        one, two, three, four = apart(await visitor.slots(), 4)
        first, second = [(await visitor.hold(slot["id"]))["hold"]["token"] for slot in (one, two)]
        assert codes(await visitor.hold(three["id"])) == ["HOLD_LIMIT"]
        assert codes(await visitor.hold(three["id"], holdToken=first)) == [], "a swap is no more than before"
        assert codes(await patient.hold(four["id"])) == [], "who has signed in is known"
        elsewhere = Journey(client, "vasastans-vardcentral")
        assert codes(await elsewhere.hold((await elsewhere.slots())[0]["id"])) == []
        assert codes(await visitor.hold(one["id"])) == ["HOLD_LIMIT"]
        await patient.hold(two["id"], holdToken=second)
        assert codes(await visitor.hold(one["id"])) == [], "nor does a hold count that was signed in with"


async def test_an_address_may_make_so_many_holds_only(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url, holds_per_address=2)) as (client, _):
        visitors = [
            Journey(client, OSLO),
            Journey(client, OSLO),
            Journey(client, OSLO, token=await sign_in(town, crowd(1)[0].login)),
        ]
        answers = [
            await one.hold(slot["id"]) for one, slot in zip(visitors, apart(await visitors[0].slots(), 3), strict=True)
        ]
        assert [codes(answer) for answer in answers] == [[], [], ["HOLD_LIMIT"]]


async def test_the_whole_input_counts_for_a_key(town: Town, sqlite_filled_url: str) -> None:
    """An answer to what was not asked is no answer: also where the visit would be the same."""
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        patient, same = await kari(town, client), key()
        first, second = apart(await patient.slots(), 2)
        hold = (await patient.hold(first["id"]))["hold"]["token"]
        booked = (await patient.confirm(hold, idempotencyKey=same))["booking"]
        for other in ({"acceptDoubleBooking": True}, {"comment": "Nøtteallergi"}, {"smsConfirmation": False}):
            refused = await patient.confirm(hold, idempotencyKey=same, **other)
            assert codes(refused) == ["IDEMPOTENCY_KEY_REUSED"]
        absent = await patient.confirm(hold, idempotencyKey=same, comment=None, acceptDoubleBooking=False)
        assert absent["booking"]["id"] == booked["id"]

        to = (await patient.hold(second["id"], movingBookingId=booked["id"]))["hold"]["token"]
        moved = (await patient.reschedule(booked, to, idempotencyKey=same))["booking"]
        refused = await patient.reschedule(booked, to, idempotencyKey=same, acceptDoubleBooking=True)
        assert codes(refused) == ["IDEMPOTENCY_KEY_REUSED"]
        assert (await patient.reschedule(booked, to, idempotencyKey=same))["booking"]["start"] == moved["start"]


async def test_two_patients_keys_never_meet(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        one, other = await kari(town, client), Journey(client, OSLO, token=await sign_in(town, "ola"))
        first, second = apart(await one.slots(), 2)
        for patient, slot in ((one, first), (other, second)):
            held = await patient.hold(slot["id"], idempotencyKey="1")
            confirmed = await patient.confirm(held["hold"]["token"], idempotencyKey="1")
            assert confirmed["booking"]["start"] == slot["start"]


async def test_whoever_held_a_time_before_the_login_learns_nothing_of_the_visit_by_repeating_it(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        visitor, patient, same = Journey(client, OSLO), await kari(town, client), key()
        first, second = apart(await visitor.slots(), 2)
        token = (await visitor.hold(first["id"], idempotencyKey=same))["hold"]["token"]
        assert (await visitor.hold(first["id"], idempotencyKey=same))["hold"]["token"] == token
        await patient.hold(first["id"], holdToken=token)
        assert codes(await visitor.hold(first["id"], idempotencyKey=same)) == ["HOLD_NOT_FOUND"], "it is the patient's"
        booked = (await patient.confirm(token))["booking"]
        assert codes(await visitor.hold(first["id"], idempotencyKey=same)) == ["HOLD_NOT_FOUND"]
        to = (await patient.hold(second["id"], movingBookingId=booked["id"]))["hold"]["token"]
        assert (await patient.reschedule(booked, to))["booking"]["start"] == second["start"]
        assert codes(await visitor.hold(first["id"], idempotencyKey=same)) == ["HOLD_NOT_FOUND"]


async def test_nor_is_a_booked_time_told_as_held_to_the_patient(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        patient, same = await kari(town, client), key()
        slot = (await patient.slots())[0]
        await patient.confirm((await patient.hold(slot["id"], idempotencyKey=same))["hold"]["token"])
        assert codes(await patient.hold(slot["id"], idempotencyKey=same)) == ["HOLD_NOT_FOUND"]
