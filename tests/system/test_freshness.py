"""What record systems told a moment ago: shared, said to be old when it is, and never what a booking rests on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from tests.api.searching import find, search_for, shown, told
from tests.living import Client, Town, in_process, over_http, running, sign_in, until
from tests.redises import listener
from tests.system.journey import Journey, codes

CLINIC = "vasastans-vardcentral"
REMEMBERS = {"fresh_seconds": 600.0, "stale_seconds": 3600.0}
AGES = {"fresh_seconds": 0.0, "stale_seconds": 3600.0}
"""Whatever was told is old at once, and may still be shown."""


def searches(town: Town) -> int:
    return town.calls(town.norway).get("find", 0) + town.calls(town.sweden).get("slot-search", 0)


@asynccontextmanager
async def remembering(town: Town, url: str, **more: Any) -> AsyncIterator[Client]:
    async with in_process(town.settings(url, **{**REMEMBERS, **more})) as (client, _):
        yield client


@pytest.fixture(params=["memory", "redis"])
def kept(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Where it is kept; the promises are the same."""
    if request.param == "memory":
        return {}
    return {"redis_url": request.getfixturevalue("redis_url"), "redis_prefix": request.getfixturevalue("prefix")}


async def test_an_equal_question_is_answered_without_asking_again(
    town: Town, sqlite_filled_url: str, kept: dict[str, Any]
) -> None:
    async with remembering(town, sqlite_filled_url, **kept) as client:
        search = await search_for(client)
        first = await find(client, search)
        asked = searches(town)
        again = await find(client, search)
        assert searches(town) == asked
    assert [slot["id"] for slot in shown(again)] == [slot["id"] for slot in shown(first)] != []
    assert set(told(again).values()) == {"OK"}
    assert [s["asOf"] for s in again["sources"]] == [s["asOf"] for s in first["sources"]]


async def test_a_part_of_what_was_asked_is_known_and_more_is_asked_for_alone(
    town: Town, sqlite_filled_url: str
) -> None:
    """One day more is one search for that day; fewer days, one clinic or a Monday are no question at all."""
    async with remembering(town, sqlite_filled_url) as client:
        whole = await search_for(client, "skin-check", CLINIC, first=2, last=9)
        everything = await find(client, whole)
        asked = searches(town)
        part = await find(client, {**whole, "from": whole["to"], "notBefore": "10:00:00"})
        assert searches(town) == asked
        expected = [s for s in shown(everything) if s["start"][:10] == whole["to"] and s["start"][11:16] >= "10:00"]
        assert [s["id"] for s in shown(part)] == [s["id"] for s in expected]
        await find(client, await search_for(client, "skin-check", CLINIC, first=2, last=10))
        assert searches(town) == asked + 1


async def test_a_thousand_equal_questions_at_once_are_one_question(town: Town, sqlite_filled_url: str) -> None:
    query = """query($search: AvailabilitySearch!) { availability(search: $search) {
        complete slots(first: 1) { nodes { id } } } }"""
    async with remembering(town, sqlite_filled_url) as client:
        search = await search_for(client, "skin-check", CLINIC, last=2)
        town.fault(town.sweden, "slow", operation="slot-search", seconds=3)
        answers = await asyncio.gather(*(client(query, search=search) for _ in range(1000)))
        assert searches(town) == 1
    assert {answer["availability"]["complete"] for answer in answers} == {True}
    assert len({str(answer) for answer in answers}) == 1


async def test_who_leaves_takes_the_answer_from_nobody_else(town: Town, sqlite_filled_url: str) -> None:
    async with remembering(town, sqlite_filled_url) as client:
        search = await search_for(client, "skin-check", CLINIC)
        town.fault(town.sweden, "slow", operation="slot-search", seconds=2)
        first = asyncio.create_task(find(client, search))

        async def is_asked() -> bool | None:
            return searches(town) == 1 or None

        await until(is_asked)
        second = asyncio.create_task(find(client, search))
        await asyncio.sleep(0.2)
        first.cancel()
        assert shown(await second)
        assert searches(town) == 1


async def test_old_times_are_shown_as_stale_at_once_and_asked_for_behind_the_answer(
    town: Town, sqlite_filled_url: str, kept: dict[str, Any]
) -> None:
    async with remembering(town, sqlite_filled_url, **AGES, **kept) as client:
        search = await search_for(client, "skin-check", CLINIC)
        first = await find(client, search)
        town.fault(town.sweden, "hang", operation="slot-search")
        stale = await find(client, search)  # which would wait for its deadline, were it to wait
        assert told(stale) == {CLINIC: "STALE"}
        assert stale["complete"]
        assert stale["sources"][0]["asOf"] == first["sources"][0]["asOf"]
        assert [s["id"] for s in shown(stale)] == [s["id"] for s in shown(first)]
        town.calm()

        async def renewed() -> bool | None:
            as_of = (await find(client, search))["sources"][0]["asOf"]
            return datetime.fromisoformat(as_of) > datetime.fromisoformat(first["sources"][0]["asOf"]) or None

        assert await until(renewed)


async def test_times_that_are_too_old_are_not_shown_at_all(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url, fresh_seconds=0.0, stale_seconds=0.1)) as (client, _):
        search = await search_for(client, "skin-check", CLINIC)
        assert shown(await find(client, search))
        await asyncio.sleep(1)
        town.fault(town.sweden, "down", operation="slot-search")
        gone = await find(client, search)
    assert (told(gone), shown(gone), gone["complete"]) == ({CLINIC: "OFFLINE"}, [], False)


async def test_a_system_that_fell_silent_is_shown_as_it_was_with_the_reason(town: Town, sqlite_filled_url: str) -> None:
    settings = {**AGES, "silence_seconds": 600.0}
    async with remembering(town, sqlite_filled_url, **settings) as client:
        search = await search_for(client, "skin-check", CLINIC)
        first = await find(client, search)
        town.fault(town.sweden, "down", operation="slot-search")

        async def silent() -> dict[str, Any] | None:
            found = await find(client, search)
            return found if found["sources"][0]["reason"] else None

        found = await until(silent)
    assert (told(found), found["sources"][0]["reason"]) == ({CLINIC: "STALE"}, "OFFLINE")
    assert [s["id"] for s in shown(found)] == [s["id"] for s in shown(first)]


async def test_a_system_that_has_just_not_answered_is_not_asked_by_everybody_again(
    town: Town, sqlite_filled_url: str
) -> None:
    async with remembering(town, sqlite_filled_url, silence_seconds=600.0) as client:
        search = await search_for(client, "skin-check", CLINIC)
        town.fault(town.sweden, "throttled", operation="slot-search")
        await find(client, search)
        asked = searches(town)
        town.calm()
        again = await find(client, search)
        assert searches(town) == 0
    assert asked == 1
    assert (told(again), again["sources"][0]["reason"]) == ({CLINIC: "OFFLINE"}, "RATE_LIMITED")


async def test_nothing_free_is_remembered_as_well(town: Town, sqlite_filled_url: str) -> None:
    async with remembering(town, sqlite_filled_url) as client:
        search = await search_for(client, "skin-check", CLINIC, first=100, last=101)  # not published yet
        query = "query($search: AvailabilitySearch!) { availability(search: $search) { slots { nodes { id } } } }"
        for _ in range(3):
            assert (await client(query, search=search))["availability"]["slots"]["nodes"] == []
        assert searches(town) == 1


async def test_our_own_holds_and_bookings_are_seen_at_once(
    town: Town, sqlite_filled_url: str, kept: dict[str, Any]
) -> None:
    async with remembering(town, sqlite_filled_url, **kept) as client:
        journey = Journey(client, CLINIC, token=await sign_in(town, "astrid"))
        slot = (await journey.slots())[0]

        async def is_offered() -> bool:
            return slot["id"] in [each["id"] for each in await journey.slots()]

        held = await journey.hold(slot["id"])
        asked = searches(town)
        assert not await is_offered()
        assert searches(town) > asked  # what was kept of that practitioner is not believed any more
        booked = (await journey.confirm(held["hold"]["token"]))["booking"]
        asked = searches(town)
        assert not await is_offered()
        assert searches(town) > asked
        cancelled = (await journey.cancel(booked))["booking"]
        assert cancelled["status"] == "CANCELLED"
        assert await is_offered()


async def test_a_visit_that_moves_frees_its_old_time_at_once(town: Town, sqlite_filled_url: str) -> None:
    async with remembering(town, sqlite_filled_url) as client:
        journey = Journey(client, CLINIC, token=await sign_in(town, "astrid"))
        before = await journey.slots()
        booked = await journey.booked(before[0]["id"])
        later = next(s for s in await journey.slots(movingBookingId=booked["id"]) if s["start"] > booked["end"])
        hold = await journey.hold(later["id"], movingBookingId=booked["id"])
        moved = (await journey.reschedule(booked, hold["hold"]["token"]))["booking"]
        assert moved["start"] == later["start"]
        offered = [each["id"] for each in await journey.slots()]
        assert before[0]["id"] in offered and later["id"] not in offered
        await journey.cancel(moved)


async def test_a_hold_asks_the_record_system_whatever_is_remembered(town: Town, sqlite_filled_url: str) -> None:
    async with remembering(town, sqlite_filled_url) as client:
        journey = Journey(client, CLINIC)
        slot = (await journey.slots())[-1]
        name = slot["practitioner"]["name"]
        role = next(r for r in town.sweden.server._sandbox.calendar.world.roles if r.name == name)
        asked = {"role": role.id, "start": slot["start"], "minutes": 45, "silent": True}
        assert town.sweden.http.post("/_sandbox/phone-bookings", json=asked).status_code == 201
        assert slot["id"] in [each["id"] for each in await journey.slots()]  # nobody has told us
        refused = await journey.hold(slot["id"])
    assert codes(refused) == ["SLOT_TAKEN"]


async def test_processes_share_what_redis_remembers_and_forget_together(
    town: Town, filled_url: str, redis_url: str, prefix: str, tmp_path: Any
) -> None:
    settings = town.settings(filled_url, redis_url=redis_url, redis_prefix=prefix, **REMEMBERS)
    with running(settings, tmp_path / "one") as one, running(settings, tmp_path / "other") as other:
        async with over_http(one.url) as here, over_http(other.url) as there:
            search = await search_for(here, "skin-check", CLINIC)
            slot = shown(await find(here, search))[0]
            asked = searches(town)
            assert slot["id"] in [each["id"] for each in shown(await find(there, search))]
            assert searches(town) == asked
            journey = Journey(here, CLINIC, token=await sign_in(town, "astrid"))
            booked = await journey.booked(slot["id"])
            assert slot["id"] not in [each["id"] for each in shown(await find(there, search))]
            await journey.cancel(booked)
            assert slot["id"] in [each["id"] for each in shown(await find(there, search))]


async def test_processes_without_redis_hear_of_each_other_by_the_log(
    town: Town, filled_url: str, tmp_path: Any
) -> None:
    settings = town.settings(filled_url, log_seconds=0.1, **REMEMBERS)
    with running(settings, tmp_path / "one") as one, running(settings, tmp_path / "other") as other:
        async with over_http(one.url) as here, over_http(other.url) as there:
            search = await search_for(here, "skin-check", CLINIC)
            await find(there, search)
            journey = Journey(here, CLINIC, token=await sign_in(town, "astrid"))
            booked = await journey.booked(shown(await find(here, search))[0]["id"])
            before = searches(town)

            async def asked_again() -> bool | None:
                await find(there, search)
                return searches(town) > before or None

            assert await until(asked_again)
            await journey.cancel(booked)


async def test_a_redis_that_hangs_keeps_nobody_from_times(town: Town, sqlite_filled_url: str) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listener(silent) as (url, _), remembering(town, sqlite_filled_url, redis_url=url) as client:
        search = await search_for(client, "skin-check", CLINIC)
        first = await find(client, search)
        asked = searches(town)
        assert shown(await find(client, search)) == shown(first) != []
        assert searches(town) == asked  # this process remembers by itself meanwhile
