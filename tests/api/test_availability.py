"""Free times over both record systems: whole, narrowed, paged, and honest about what did not answer."""

import asyncio
import socket
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN
from integrations.store.tables_catalogue import CLINIC, ENDPOINT
from tests.api.searching import change, day, find, in_order, search_for, shown, told
from tests.living import Client, Town, in_process, over_http, serving
from tests.sandbox.conftest import launch
from tests.system.journey import Journey

NO = {"sentrum-legesenter", "grunerlokka-legesenter", "bryggen-legesenter", "fana-legesenter"}
SE = {"vasastans-vardcentral", "sodermalms-vardcentral", "solna-vardcentral", "nacka-vardcentral"}
OSLO = {"sentrum-legesenter", "grunerlokka-legesenter"}
DEADLINES = (0.5, 5.0)
"""Seconds. A machine so busy that the healthy record system misses the first gets the second."""


def starts(slots: list[dict[str, Any]]) -> list[datetime]:
    return [datetime.fromisoformat(slot["start"]) for slot in slots]


def wall(slot: dict[str, Any]) -> str:
    return str(slot["start"])[:16]


async def test_one_question_finds_times_in_both_record_systems(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url)) as (client, _):
        found = await find(client, await search_for(client))
    assert found["complete"]
    assert told(found) == dict.fromkeys(NO | SE, "OK")
    assert {slot["clinic"]["slug"] for slot in shown(found)} == NO | SE
    assert in_order(starts(shown(found)))
    assert found["nextAvailable"]["id"] == shown(found)[0]["id"]
    assert found["days"][0]["first"]["id"] == shown(found)[0]["id"]


async def test_at_one_instant_times_come_clinic_by_clinic_with_the_same_first_everywhere(
    town: Town, sqlite_filled_url: str
) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        found = await find(client, await search_for(client, "consultation", last=2, first=2))
    by_start: dict[str, list[str]] = {}
    for slot in shown(found):
        by_start.setdefault(slot["start"], []).append(slot["clinic"]["slug"])
    shared = [slugs for slugs in by_start.values() if len(set(slugs)) > 1 and len(slugs) > len(set(slugs))]
    assert shared
    for slugs in shared:
        runs = [slug for n, slug in enumerate(slugs) if n == 0 or slugs[n - 1] != slug]
        assert len(runs) == len(set(slugs)), slugs
    assert found["nextAvailable"]["id"] == found["days"][0]["first"]["id"] == shown(found)[0]["id"]


async def answer_with_trouble(
    town: Town, url: str, kind: str, silent: str, last: int = 2
) -> tuple[dict[str, Any], float, float]:
    """The answer while one record system is in trouble, the seconds that it took, and the deadline."""
    ehr, operation = (town.norway, "find") if silent == "norway" else (town.sweden, "slot-search")
    for deadline in DEADLINES:
        async with in_process(town.settings(url, find_deadline=deadline)) as (client, _):
            search = await search_for(client, first=1, last=last)
            await find(client, {**search, "to": search["from"]})  # connections are open by now
            town.fault(ehr, kind, operation=operation)
            began = monotonic()
            found = await find(client, search)
            took = monotonic() - began
        town.calm()
        healthy, gone = (SE, NO) if silent == "norway" else (NO, SE)
        in_time = all(told(found)[slug] == "OK" for slug in healthy)
        if in_time and (kind != "hang-between-pages" or gone & {slot["clinic"]["slug"] for slot in shown(found)}):
            return found, took, deadline
    raise AssertionError("what could be told in time never was")


@pytest.mark.parametrize("silent", ["norway", "sweden"])
@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        ("hang", "TIMEOUT", "TIMEOUT"),
        ("hang-in-body", "TIMEOUT", "TIMEOUT"),
        ("down", "OFFLINE", "OFFLINE"),
        ("throttled", "OFFLINE", "RATE_LIMITED"),
    ],
)
async def test_a_silent_record_system_is_told_and_delays_nobody(
    town: Town, sqlite_filled_url: str, kind: str, state: str, reason: str, silent: str
) -> None:
    found, took, deadline = await answer_with_trouble(town, sqlite_filled_url, kind, silent)
    gone, there = (NO, SE) if silent == "norway" else (SE, NO)
    assert told(found) == {**dict.fromkeys(gone, state), **dict.fromkeys(there, "OK")}
    assert not found["complete"]
    assert {slot["clinic"]["slug"] for slot in shown(found)} == there
    [trouble] = [source for source in found["sources"] if source["state"] != "OK"]
    assert (trouble["asOf"], trouble["reason"]) == (None, reason)
    assert took < 10 * deadline


@pytest.mark.parametrize("silent", ["norway", "sweden"])
async def test_what_came_before_the_silence_is_shown_beside_the_timeout(
    town: Town, sqlite_filled_url: str, silent: str
) -> None:
    found, took, deadline = await answer_with_trouble(town, sqlite_filled_url, "hang-between-pages", silent, last=25)
    gone = NO if silent == "norway" else SE
    assert {told(found)[slug] for slug in gone} == {"TIMEOUT"}
    assert not found["complete"]
    assert gone & {slot["clinic"]["slug"] for slot in shown(found)}
    [trouble] = [source for source in found["sources"] if source["state"] != "OK"]
    assert trouble["asOf"]
    assert took < 10 * deadline


async def test_a_closed_port_is_offline_and_the_others_are_shown(town: Town, filled_url: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        await change(filled_url, ENDPOINT, {"id": "malar"}, base_url=closed)
        async with in_process(town.settings(filled_url)) as (client, _):
            found = await find(client, await search_for(client))
    assert told(found) == {**dict.fromkeys(SE, "OFFLINE"), **dict.fromkeys(NO, "OK")}
    assert {slot["clinic"]["slug"] for slot in shown(found)} == NO
    assert not found["complete"]


@pytest.mark.parametrize("clinic", ["sentrum-legesenter", "vasastans-vardcentral"])
async def test_silence_never_passes_for_no_times_and_the_next_time_is_not_waited_for_thrice(
    town: Town, sqlite_filled_url: str, clinic: str
) -> None:
    deadline = DEADLINES[0]
    async with in_process(town.settings(sqlite_filled_url, find_deadline=deadline)) as (client, _):
        search = await search_for(client, "skin-check", clinic)
        for ehr in town.ehrs:
            town.fault(ehr, "hang")
        began = monotonic()
        found = await find(client, search)
        took = monotonic() - began
        asked = sum(sum(town.calls(ehr).values()) for ehr in town.ehrs)
    assert shown(found) == []
    assert not found["complete"]
    assert told(found) == {clinic: "TIMEOUT"}
    assert found["nextAvailable"] is None
    assert took < 10 * deadline
    assert asked <= (2 if clinic in NO else 1)  # its practitioners or its calendar once, and not again for later days


async def test_looking_on_for_the_next_time_ends_with_one_more_deadline(town: Town, sqlite_filled_url: str) -> None:
    """Counted in calls: each takes most of a deadline, so that a third look beyond the last day begins too late."""
    async with in_process(town.settings(sqlite_filled_url, find_deadline=0.5)) as (client, _):
        search = await search_for(client, "skin-check", "nacka-vardcentral", first=58, last=60)  # not published yet
        town.fault(town.sweden, "slow", operation="slot-search", seconds=0.4)
        found = await find(client, search)
        assert (shown(found), found["nextAvailable"]) == ([], None)
        assert town.calls(town.sweden)["slot-search"] <= 3


async def test_the_next_time_beyond_the_last_day_is_looked_for_where_somebody_answers(
    town: Town, sqlite_filled_url: str
) -> None:
    for deadline in DEADLINES:
        async with in_process(town.settings(sqlite_filled_url, find_deadline=deadline)) as (client, _):
            # nobody works on the first Sunday but at the two clinics that open at weekends
            sunday = next(n for n in range(2, 9) if date.fromisoformat(day(n)).weekday() == 6)
            search = await search_for(
                client, "skin-check", "fana-legesenter", "nacka-vardcentral", first=sunday, last=sunday
            )
            town.fault(town.norway, "hang", operation="find")
            found = await find(client, search)
        town.calm()
        if told(found)["nacka-vardcentral"] == "OK" and found["nextAvailable"]:
            break
    assert shown(found) == []
    assert told(found) == {"fana-legesenter": "TIMEOUT", "nacka-vardcentral": "OK"}
    assert found["nextAvailable"]["start"][:10] > search["to"]


async def test_the_next_time_is_the_first_in_range_or_beyond(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url)) as (client, _):
        sunday = next(n for n in range(2, 9) if date.fromisoformat(day(n)).weekday() == 6)
        closed = await find(
            client, await search_for(client, "skin-check", "fana-legesenter", first=sunday, last=sunday)
        )
        later = await find(
            client, await search_for(client, "skin-check", "fana-legesenter", first=sunday + 1, last=sunday + 21)
        )
    assert (shown(closed), closed["days"], closed["complete"]) == ([], [], True)
    assert closed["nextAvailable"] == later["nextAvailable"]
    assert later["nextAvailable"]["id"] == shown(later)[0]["id"]


async def test_days_count_every_free_time_on_the_clinics_own_date(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        search = await search_for(client, "skin-check", "sentrum-legesenter", "nacka-vardcentral", last=9)
        found = await find(client, search)
    assert not found["slots"]["pageInfo"]["hasNextPage"]
    per_day: dict[str, list[str]] = {}
    for slot in shown(found):
        per_day.setdefault(slot["start"][:10], []).append(slot["id"])
    assert [(d["date"], d["slotCount"], d["first"]["id"]) for d in found["days"]] == [
        (day, len(ids), ids[0]) for day, ids in sorted(per_day.items())
    ]
    assert search["from"] <= min(per_day) <= max(per_day) <= search["to"]


async def test_weekdays_and_hours_are_those_on_the_clinics_wall(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        search = await search_for(client, "skin-check", "sentrum-legesenter", "vasastans-vardcentral", last=12)
        everything = shown(await find(client, search))
        narrowed = {
            "weekdays": ["TUESDAY", "SATURDAY"],
            "notBefore": "09:30:00",
            "notAfter": "11:00:00",
        }
        found = shown(await find(client, {**search, **narrowed}))
    wanted = [
        slot["id"]
        for slot, start in zip(everything, starts(everything), strict=True)
        if start.weekday() in (1, 5) and time(9, 30) <= start.time() <= time(11)
    ]
    assert [slot["id"] for slot in found] == wanted
    assert {start.weekday() for start in starts(found)} == {1, 5}
    edges = {wall(slot)[11:] for slot in found}
    assert {"09:30", "11:00"} & edges


async def test_an_area_a_clinic_and_a_practitioner_narrow_the_question(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        areas = {area["name"]: area["id"] for area in (await client("{ areas { id name } }"))["areas"]}
        search = await search_for(client, areaIds=[areas["Oslo"]])
        found = await find(client, search)
        assert {slot["clinic"]["slug"] for slot in shown(found)} == OSLO == set(told(found))
        assert town.calls(town.sweden) == {}
        one = shown(found)[0]["practitioner"]
        own = shown(await find(client, {**search, "areaIds": [], "practitionerIds": [one["id"]]}))
        assert {slot["practitioner"]["id"] for slot in own} == {one["id"]}
        assert {s["id"] for s in own} == {s["id"] for s in shown(found) if s["practitioner"]["id"] == one["id"]}


@pytest.mark.parametrize("how", ["closed", "external"])
async def test_a_clinic_that_is_not_booked_here_is_not_asked(town: Town, filled_url: str, how: str) -> None:
    for slug in SE | {"sentrum-legesenter"}:
        await change(filled_url, CLINIC, {"slug": slug}, booking=how)
    async with in_process(town.settings(filled_url)) as (client, _):
        search = await search_for(client)
        town.calm()
        found = await find(client, search)
        assert set(told(found)) == {slot["clinic"]["slug"] for slot in shown(found)} == NO - {"sentrum-legesenter"}
        assert town.calls(town.sweden) == {}
        none = await find(client, await search_for(client, "skin-check", "nacka-vardcentral"))
    assert (shown(none), none["sources"], none["complete"]) == ([], [], True)


PAGE = """query($search: AvailabilitySearch!, $first: Int, $after: String) { availability(search: $search) {
    slots(first: $first, after: $after) { edges { cursor node { id start } } nodes { id }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }"""


async def pages(client: Client, search: dict[str, Any], size: int) -> list[dict[str, Any]]:
    found, after = [], None
    while True:
        data = await client(PAGE, search=search, first=size, after=after)
        found.append(data["availability"]["slots"])
        after = found[-1]["pageInfo"]["endCursor"]
        if not found[-1]["pageInfo"]["hasNextPage"]:
            return found


@pytest.mark.parametrize("size", [7, 50, 499])
async def test_every_page_together_is_every_time_once(town: Town, sqlite_filled_url: str, size: int) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        search = await search_for(client, last=2)
        whole = [slot["id"] for slot in shown(await find(client, search))]
        found = await pages(client, search, size)
    ids = [edge["node"]["id"] for page in found for edge in page["edges"]]
    assert ids == whole
    assert len(ids) == len(set(ids))
    assert all(len(page["edges"]) == size for page in found[:-1])
    assert [page["pageInfo"]["hasPreviousPage"] for page in found] == [n > 0 for n in range(len(found))]
    assert all(page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"] for page in found)


async def test_a_time_taken_between_two_pages_shifts_nothing(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        search = await search_for(client, last=2)
        first = (await client(PAGE, search=search, first=10))["availability"]["slots"]
        all_ids = [slot["id"] for slot in shown(await find(client, search))]
        held = await Journey(client, "sentrum-legesenter").hold(first["edges"][-1]["node"]["id"])
        assert held["hold"], held["errors"]
        after = first["pageInfo"]["endCursor"]
        rest = (await client(PAGE, search=search, first=499, after=after))["availability"]["slots"]
        still_free = {slot["id"] for slot in shown(await find(client, search))}
    assert [node["id"] for node in rest["nodes"]] == [id for id in all_ids[10:] if id in still_free]


async def test_any_practitioner_is_one_time_for_each_clinic_and_start(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url)) as (client, _):
        search = await search_for(client, "consultation", "sentrum-legesenter", "vasastans-vardcentral", last=3)
        everybody = shown(await find(client, search))
        anybody = shown(await find(client, {**search, "anyPractitioner": True}))
        places = [(slot["clinic"]["slug"], slot["start"]) for slot in anybody]
        assert len(places) == len(set(places)) < len(everybody)
        assert set(places) == {(slot["clinic"]["slug"], slot["start"]) for slot in everybody}
        assert {slot["id"] for slot in anybody} <= {slot["id"] for slot in everybody}
        # whoever is given a visit that day stands behind the others for the rest of it
        first = anybody[0]
        held = await Journey(client, first["clinic"]["slug"]).hold(first["id"], anyPractitioner=True)
        assert held["hold"], held["errors"]
        given = held["hold"]["slot"]["practitioner"]["id"]
        now = shown(await find(client, {**search, "anyPractitioner": True}))
    free = {(s["clinic"]["slug"], s["start"], s["practitioner"]["id"]) for s in everybody}
    others = {p for _, _, p in free} - {given}
    for slot in now:
        contested = any((slot["clinic"]["slug"], slot["start"], other) in free for other in others)
        if slot["clinic"] == first["clinic"] and wall(slot)[:10] == wall(first)[:10] and contested:
            assert slot["practitioner"]["id"] != given


async def test_ones_own_hold_is_shown_to_oneself_only(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url)) as (client, _):
        search = await search_for(client, "skin-check", "nacka-vardcentral")
        slot = shown(await find(client, search))[0]
        held = await Journey(client, "nacka-vardcentral").hold(slot["id"])
        own = held["hold"]["token"]
        assert slot["id"] not in [s["id"] for s in shown(await find(client, search))]
        assert slot["id"] in [s["id"] for s in shown(await find(client, search, hold=own))]
        again = await Journey(client, "nacka-vardcentral").hold(slot["id"])
        assert [error["code"] for error in again["errors"]] == ["SLOT_TAKEN"]


def changes_of_clocks(zone: ZoneInfo) -> list[date]:
    """The next two days on which that zone's clocks change."""
    day, found = datetime.now(UTC).date() + timedelta(days=3), []
    while len(found) < 2:
        at = [datetime.combine(d, time(), zone).utcoffset() for d in (day, day + timedelta(days=1))]
        found += [day] if at[0] != at[1] else []
        day += timedelta(days=1)
    return found


@pytest.mark.parametrize("nth", [0, 1])
async def test_times_are_on_the_clinics_wall_around_the_night_the_clocks_change(
    town: Town, sqlite_filled_url: str, nth: int
) -> None:
    """Both record systems live a few days before that Sunday; what they call free is what is shown, on their walls."""
    sunday = changes_of_clocks(NORWAY.zone)[nth]
    before = datetime.combine(sunday - timedelta(days=3), time(6), UTC)
    ehrs = [launch(world, now=lambda: before) for world in (NORWAY, SWEDEN)]
    try:
        for id, ehr in zip(("fjord", "malar"), ehrs, strict=True):
            await change(sqlite_filled_url, ENDPOINT, {"id": id}, base_url=ehr.url)
        async with in_process(town.settings(sqlite_filled_url)) as (client, _):
            search = await search_for(client, "skin-check", "sentrum-legesenter", "vasastans-vardcentral")
            days = {"from": (sunday - timedelta(days=1)).isoformat(), "to": (sunday + timedelta(days=1)).isoformat()}
            slots = shown(await find(client, {**search, **days}))
    finally:
        for ehr in ehrs:
            ehr.stop()
    assert {wall(slot)[:10] for slot in slots} == {(sunday + timedelta(days=n)).isoformat() for n in (-1, 0, 1)}
    for slot in slots:
        start, end = (datetime.fromisoformat(slot[name]) for name in ("start", "end"))
        on_wall = start.astimezone(ZoneInfo(slot["clinic"]["timeZone"]))
        assert on_wall.isoformat() == slot["start"]
        opens, closes = (time(10), time(15)) if start.weekday() >= 5 else (time(8), time(17))
        assert opens <= time.fromisoformat(wall(slot)[11:]) < end.time() <= closes
        assert end - start == timedelta(minutes=45)
    offsets = {wall(slot)[:10]: slot["start"][16:] for slot in slots}
    assert len(set(offsets.values())) == 2


async def test_the_servers_own_time_zone_changes_nothing(
    town: Town, sqlite_filled_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    for zone in ("UTC", "Pacific/Kiritimati", "America/Los_Angeles"):
        monkeypatch.setenv("TZ", zone)
        with serving(town.settings(sqlite_filled_url), tmp_path / "stderr") as url:
            async with over_http(url) as client:
                narrowed = {"notBefore": "08:30:00", "weekdays": ["MONDAY", "WEDNESDAY", "SATURDAY"]}
                found = await find(client, await search_for(client, first=3, last=9, **narrowed))
        answers.append((shown(found), found["days"], found["nextAvailable"], told(found)))
    assert answers[0][0]
    assert answers[0] == answers[1] == answers[2]


async def test_twenty_questions_at_once_get_one_answer(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        search = await search_for(client, "skin-check", "solna-vardcentral", "bryggen-legesenter")
        answers = await asyncio.gather(*(find(client, search) for _ in range(20)))
    assert all(found["complete"] for found in answers)
    assert len({tuple(slot["id"] for slot in shown(found)) for found in answers}) == 1
