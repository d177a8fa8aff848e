"""Free times on open screens: first the whole picture, then what opened and what was taken, wherever it was done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from integrations.store.tables_catalogue import ENDPOINT
from tests.api.searching import change, find, search_for, shown
from tests.living import Client, Server, Town, over_http, running, sign_in, until
from tests.redises import OwnRedis
from tests.system.journey import Journey
from tests.system.watching import SLOTS, at_the_clinic, role_of, watching

CLINICS = {"ihe": "sentrum-legesenter", "r4": "vasastans-vardcentral"}
NEVER = 36_000.0
"""Seconds: what is set to it cannot be the reason why something shows."""

QUIET = {
    "worker": True,
    "check_interval": 0.2,
    "fresh_seconds": 600.0,
    "stale_seconds": 3600.0,
    "poll_seconds": NEVER,
    "slowest_poll_seconds": NEVER,
    "watch_seconds": NEVER,
    "log_seconds": NEVER,
}


@pytest.fixture(params=["ihe", "r4"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


RELEASE = "mutation($token: String!) { releaseHold(input: {token: $token}) { errors { code } } }"


@asynccontextmanager
async def open_server(town: Town, url: str, folder: Path, **more: Any) -> AsyncIterator[tuple[Server, Client]]:
    with running(town.settings(url, **{**QUIET, **more}), folder / f"log-{uuid4()}") as server:
        async with over_http(server.url) as client:
            yield server, client


async def hooked_up(ehr: Any, count: int, server: Server) -> None:
    """The record system has been asked to send its news here, and it may."""

    async def look() -> bool | None:
        entries = ehr.get("/Subscription", params={"status": "active", "_count": 1000}).get("entry", ())
        here = [e for e in entries if e["resource"]["channel"]["endpoint"].startswith(server.url)]
        return len(here) >= count or None

    await until(look)


def is_gone(slot_id: str) -> Any:
    return lambda screen: slot_id not in screen.times


def is_shown(slot_id: str) -> Any:
    return lambda screen: slot_id in screen.times


async def test_a_screen_shows_what_the_search_finds_and_follows_it(
    town: Town, filled_url: str, tmp_path: Path, dialect: str
) -> None:
    async with open_server(town, filled_url, tmp_path) as (server, client):
        journey = Journey(client, CLINICS[dialect])
        search = await journey.search()
        async with watching(server.url, SLOTS, search=search) as screen:
            first = await screen.next()
            found = await find(client, search)
            assert first["resync"] and screen.times == {slot["id"] for slot in shown(found)} != set()
            assert first["availability"]["complete"]
            held = await journey.hold(shown(found)[0]["id"])
            event = await screen.until(is_gone(shown(found)[0]["id"]))
            assert not event["resync"] and not event["opened"]
            assert sum(d["slotCount"] for d in event["availability"]["days"]) == len(screen.times)
            await client(RELEASE, token=held["hold"]["token"])
            await screen.until(is_shown(shown(found)[0]["id"]))
            assert screen.times == {slot["id"] for slot in shown(await find(client, search))}


async def test_a_time_booked_by_clinic_staff_leaves_the_screen_at_once_by_hook(
    town: Town, sqlite_filled_url: str, tmp_path: Path, dialect: str
) -> None:
    """Nothing else could have told: nobody asks for changes, and what is remembered would do for ten minutes."""
    ehr = town.norway if dialect == "ihe" else town.sweden
    async with open_server(town, sqlite_filled_url, tmp_path) as (server, client):
        await hooked_up(ehr, 1 if dialect == "ihe" else 2, server)
        search = await search_for(client, "skin-check", CLINICS[dialect])
        async with watching(server.url, SLOTS, search=search) as screen:
            slot = (await screen.next())["opened"][-1]
            role = role_of(town, ehr, slot["practitioner"]["name"])
            visit = at_the_clinic(ehr, "phone-bookings", role=role, start=slot["start"], minutes=45)
            await screen.until(is_gone(slot["id"]))
            at_the_clinic(ehr, f"appointments/{visit['id']}/cancel")
            await screen.until(is_shown(slot["id"]))


async def test_a_time_booked_by_clinic_staff_leaves_the_screen_when_it_is_asked_for_changes(
    town: Town, sqlite_filled_url: str, tmp_path: Path, dialect: str
) -> None:
    ehr = town.norway if dialect == "ihe" else town.sweden
    await change(sqlite_filled_url, ENDPOINT, {}, news="poll")
    often = {"poll_seconds": 0.3, "slowest_poll_seconds": 0.3}
    async with open_server(town, sqlite_filled_url, tmp_path, **often) as (server, client):
        search = await search_for(client, "skin-check", CLINICS[dialect])
        async with watching(server.url, SLOTS, search=search) as screen:
            slot = (await screen.next())["opened"][-1]
            role = role_of(town, ehr, slot["practitioner"]["name"])
            at_the_clinic(ehr, "phone-bookings", role=role, start=slot["start"], minutes=45, silent=True)
            await screen.until(is_gone(slot["id"]))


async def test_a_closed_day_leaves_the_screen_though_nobody_tells_of_it(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    """An IHE system has nothing that changes when staff close a time: only looking again shows it."""
    often = {"watch_seconds": 0.3, "fresh_seconds": 0.1}
    async with open_server(town, sqlite_filled_url, tmp_path, **often) as (server, client):
        search = await search_for(client, "skin-check", CLINICS["ihe"])
        async with watching(server.url, SLOTS, search=search) as screen:
            slot = (await screen.next())["opened"][-1]
            role = role_of(town, town.norway, slot["practitioner"]["name"])
            closed = at_the_clinic(town.norway, "closures", role=role, start=slot["start"], minutes=45)
            await screen.until(is_gone(slot["id"]))
            assert town.norway.http.delete(f"/_sandbox/closures/{closed['id']}").status_code == 204
            await screen.until(is_shown(slot["id"]))


async def test_a_hold_that_runs_out_shows_its_time_again(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    async with open_server(town, sqlite_filled_url, tmp_path, hold_seconds=2, hold_cap_seconds=2) as (server, client):
        journey = Journey(client, CLINICS["r4"])
        async with watching(server.url, SLOTS, search=await journey.search()) as screen:
            slot = (await screen.next())["opened"][0]["id"]
            await journey.hold(slot)
            await screen.until(is_gone(slot))
            await screen.until(is_shown(slot))


async def test_two_processes_on_one_redis_both_push(
    town: Town, filled_url: str, tmp_path: Path, redis_url: str, prefix: str
) -> None:
    """What one does the other shows, and what one is told by a record system, too. Neither looks into the log."""
    more = {"redis_url": redis_url, "redis_prefix": prefix}
    async with (
        open_server(town, filled_url, tmp_path, **more) as (one, here),
        open_server(town, filled_url, tmp_path, worker=False, **more) as (other, _),
    ):
        await hooked_up(town.sweden, 2, one)
        journey = Journey(here, CLINICS["r4"])
        search = await journey.search()
        async with watching(one.url, SLOTS, search=search) as near, watching(other.url, SLOTS, search=search) as far:
            first, _ = await asyncio.gather(near.next(), far.next())
            assert near.times == far.times
            await journey.hold(first["opened"][0]["id"])
            await asyncio.gather(*(each.until(is_gone(first["opened"][0]["id"])) for each in (near, far)))
            slot = first["opened"][-1]
            role = role_of(town, town.sweden, slot["practitioner"]["name"])
            at_the_clinic(town.sweden, "phone-bookings", role=role, start=slot["start"], minutes=45)
            await asyncio.gather(*(each.until(is_gone(slot["id"])) for each in (near, far)))
            assert near.times == far.times


async def test_two_processes_without_redis_push_by_the_log(town: Town, filled_url: str, tmp_path: Path) -> None:
    async with (
        open_server(town, filled_url, tmp_path, log_seconds=0.2) as (_, here),
        open_server(town, filled_url, tmp_path, log_seconds=0.2) as (other, _),
    ):
        journey = Journey(here, CLINICS["r4"])
        async with watching(other.url, SLOTS, search=await journey.search()) as screen:
            slot = (await screen.next())["opened"][0]["id"]
            await journey.hold(slot)
            await screen.until(is_gone(slot))


async def test_a_redis_that_dies_and_comes_back_loses_no_change_on_screen(
    town: Town, sqlite_filled_url: str, tmp_path: Path, own_redis: OwnRedis
) -> None:
    """Changes are made while there is no Redis, and nobody looks into the log: coming back is reason enough to look."""
    more = {"redis_url": own_redis.url}
    async with (
        open_server(town, sqlite_filled_url, tmp_path, **more) as (_, here),
        open_server(town, sqlite_filled_url, tmp_path, **more) as (other, there),
    ):
        journey = Journey(here, CLINICS["r4"])
        search = await journey.search()
        async with watching(other.url, SLOTS, search=search) as screen:
            first = await screen.next()
            own_redis.kill()
            for slot in (first["opened"][0], first["opened"][-1]):
                held = await journey.hold(slot["id"])
                assert held["hold"], held["errors"]
            await screen.nothing(1)
            own_redis.start()
            await screen.until(is_gone(first["opened"][0]["id"]))
            assert first["opened"][-1]["id"] not in screen.times
            assert screen.times == {slot["id"] for slot in shown(await find(there, search))}


async def test_who_comes_back_is_told_exactly_what_was_missed(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    async with open_server(town, sqlite_filled_url, tmp_path) as (server, client):
        journey = Journey(client, CLINICS["r4"])
        search = await journey.search()
        async with watching(server.url, SLOTS, search=search) as gone:
            first = await gone.next()
        one, two = first["opened"][0]["id"], first["opened"][-1]["id"]
        held = await journey.hold(one)
        async with watching(server.url, SLOTS, search=search) as stays:  # so that steps are taken one by one
            await stays.next()
            await journey.hold(two)
            await stays.until(is_gone(two))
            await client(RELEASE, token=held["hold"]["token"])
            await stays.until(is_shown(one))
            async with watching(server.url, SLOTS, search=search, after=gone.cursor) as back:
                back.times = set(gone.times)
                missed = await back.next()
            assert not missed["resync"] and back.times == stays.times
            assert two in missed["taken"] and one not in missed["taken"]
            async with watching(server.url, SLOTS, search=search, after=stays.cursor) as same:
                same.times = set(stays.times)
                nothing = await same.next()
            assert (nothing["resync"], nothing["opened"], nothing["taken"]) == (False, [], [])


async def test_a_cursor_that_says_nothing_here_begins_anew_and_a_made_up_one_is_refused(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    async with open_server(town, sqlite_filled_url, tmp_path) as (server, client):
        search = await search_for(client, "skin-check", CLINICS["r4"])
        other = await search_for(client, "consultation", CLINICS["ihe"])
        async with watching(server.url, SLOTS, search=other) as elsewhere:
            await elsewhere.next()
        async with watching(server.url, SLOTS, search=search, after=elsewhere.cursor) as screen:
            assert (await screen.next())["resync"]
        async with watching(server.url, SLOTS, search=search, after="AAAA") as screen:
            refused = await screen.message()
    [error] = refused["payload"]["errors"] if refused["type"] == "next" else refused["payload"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_query_goes_on_as_a_screen_without_a_gap(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    query = """query($search: AvailabilitySearch!) { availability(search: $search) {
        cursor slots(first: 500) { nodes { id } } } }"""
    async with open_server(town, sqlite_filled_url, tmp_path) as (server, client):
        search = await search_for(client, "skin-check", CLINICS["r4"])
        found = (await client(query, search=search))["availability"]
        async with watching(server.url, SLOTS, search=search, after=found["cursor"]) as screen:
            event = await screen.next()
            assert (event["resync"], event["opened"], event["taken"]) == (False, [], [])
            screen.times = {slot["id"] for slot in found["slots"]["nodes"]}
            slot = found["slots"]["nodes"][0]["id"]
            await Journey(client, CLINICS["r4"]).hold(slot)
            await screen.until(is_gone(slot))


async def test_a_system_that_falls_silent_is_unknown_and_not_taken(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    forgetful = {"fresh_seconds": 0.0, "stale_seconds": 0.0, "watch_seconds": 0.3, "silence_seconds": 0.0}
    async with open_server(town, sqlite_filled_url, tmp_path, **forgetful) as (server, client):
        search = await search_for(client, "skin-check", *CLINICS.values())
        async with watching(server.url, SLOTS, search=search) as screen:
            whole = len((await screen.next())["opened"])
            town.fault(town.sweden, "down", operation="slot-search")
            event = await screen.until(lambda s: not s.events[-1]["availability"]["complete"])
            assert event["resync"] and not event["taken"] and 0 < len(event["opened"]) < whole
            town.calm()
            event = await screen.until(lambda s: bool(s.events[-1]["availability"]["complete"]))
            assert len(screen.times) == whole and not event["taken"]


async def test_a_move_is_watched_by_its_own_patient_alone(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    async with open_server(town, sqlite_filled_url, tmp_path) as (server, client):
        token = await sign_in(town, "astrid")
        journey = Journey(client, CLINICS["r4"], token=token)
        booked = await journey.booked()
        search = await journey.search(movingBookingId=booked["id"])
        async with watching(server.url, SLOTS, token, search=search) as own:
            assert (await own.next())["opened"]
        for who in (None, await sign_in(town, "kari")):
            async with watching(server.url, SLOTS, who, search=search) as other:
                refused = await other.message()
            assert "BAD_USER_INPUT" in str(refused["payload"])
        await journey.cancel(booked)
