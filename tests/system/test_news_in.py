"""What happens inside record systems comes in: bookings are brought in line, and nobody else's word is taken for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from integrations.store.tables_catalogue import ENDPOINT
from tests.api.searching import change
from tests.living import Server, Town, over_http, running, sign_in, until
from tests.sandbox.conftest import Installation
from tests.system.journey import Journey
from tests.system.test_news_out import QUIET, hooked_up
from tests.system.watching import BOOKINGS, SLOTS, appointment_of, at_the_clinic, role_of, watching

CLINICS = {"ihe": "sentrum-legesenter", "r4": "vasastans-vardcentral"}
PEOPLE = {"ihe": "kari", "r4": "astrid"}
ENDPOINTS = {"ihe": "fjord", "r4": "malar"}
HOW = ["hook", "poll"]


@pytest.fixture(params=["ihe", "r4"])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ehr_of(town: Town, dialect: str) -> Installation:
    return town.norway if dialect == "ihe" else town.sweden


@asynccontextmanager
async def listening(
    town: Town, url: str, folder: Path, dialect: str, how: str = "hook"
) -> AsyncIterator[tuple[Server, Journey]]:
    """A server that hears of changes in this way alone, and a patient."""
    more: dict[str, Any] = {}
    if how == "poll":
        await change(url, ENDPOINT, {}, news="poll")
        more = {"poll_seconds": 0.3, "slowest_poll_seconds": 0.3}
    with running(town.settings(url, **{**QUIET, **more}), folder / f"log-{uuid4()}") as server:
        async with over_http(server.url) as client:
            if how == "hook":
                await hooked_up(ehr_of(town, dialect), 1 if dialect == "ihe" else 2, server)
            yield server, Journey(client, CLINICS[dialect], token=await sign_in(town, PEOPLE[dialect]))


async def now_at(journey: Journey, booking: dict[str, Any]) -> dict[str, Any]:
    query = """query($id: ID!) { node(id: $id) { ... on Booking { id status version start end
        practitioner { name } history { status actor start } } } }"""
    found: dict[str, Any] = (await journey.client(query, journey.token, id=booking["id"]))["node"]
    return found


async def becomes(journey: Journey, booking: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await now_at(journey, booking)
        return found if all(found[name] == value for name, value in wanted.items()) else None

    return await until(look)


@pytest.mark.parametrize("how", HOW)
async def test_a_visit_cancelled_at_the_clinic_is_cancelled_here(
    town: Town, filled_url: str, tmp_path: Path, dialect: str, how: str
) -> None:
    ehr = ehr_of(town, dialect)
    async with listening(town, filled_url, tmp_path, dialect, how) as (_, journey):
        booked = await journey.booked()
        at_the_clinic(ehr, f"appointments/{appointment_of(ehr, booked['id'])['id']}/cancel", silent=how == "poll")
        found = await becomes(journey, booked, status="CANCELLED")
        assert (found["history"][-1]["status"], found["history"][-1]["actor"]) == ("CANCELLED", "EHR")
        assert booked["id"] not in [each["id"] for each in await journey.mine()]
        assert booked["start"] in [slot["start"] for slot in await journey.slots()]


@pytest.mark.parametrize("how", HOW)
async def test_a_visit_moved_at_the_clinic_has_its_new_time_here_and_can_still_be_changed(
    town: Town, sqlite_filled_url: str, tmp_path: Path, dialect: str, how: str
) -> None:
    ehr = ehr_of(town, dialect)
    async with listening(town, sqlite_filled_url, tmp_path, dialect, how) as (_, journey):
        slots = await journey.slots()
        booked = await journey.booked(slots[0]["id"])
        to = next(s for s in reversed(slots) if s["practitioner"] == slots[0]["practitioner"])
        appointment = appointment_of(ehr, booked["id"])["id"]
        at_the_clinic(ehr, f"appointments/{appointment}/move", start=to["start"], silent=how == "poll")
        found = await becomes(journey, booked, start=to["start"], status="BOOKED")
        assert found["version"] > booked["version"] and found["end"] == to["end"]
        assert found["history"][-1] == {"status": "BOOKED", "actor": "EHR", "start": to["start"]}
        offered = [slot["start"] for slot in await journey.slots() if slot["practitioner"] == to["practitioner"]]
        assert booked["start"] in offered and to["start"] not in offered
        cancelled = await journey.cancel(found)
        assert cancelled["booking"]["status"] == "CANCELLED", cancelled["errors"]
        assert appointment_of(ehr, booked["id"])["status"] == "cancelled"


async def test_a_visit_given_to_a_colleague_is_with_the_colleague_here(
    town: Town, sqlite_filled_url: str, tmp_path: Path, dialect: str
) -> None:
    ehr = ehr_of(town, dialect)
    async with listening(town, sqlite_filled_url, tmp_path, dialect) as (_, journey):
        slots = await journey.slots()
        own = slots[0]["practitioner"]["name"]
        to = next(s for s in reversed(slots) if s["practitioner"]["name"] != own)
        booked = await journey.booked(slots[0]["id"])
        role = role_of(town, ehr, to["practitioner"]["name"])
        appointment = appointment_of(ehr, booked["id"])["id"]
        at_the_clinic(ehr, f"appointments/{appointment}/move", start=to["start"], role=role)
        await becomes(journey, booked, start=to["start"], practitioner={"name": to["practitioner"]["name"]})


async def test_visits_that_change_places_at_the_clinic_change_places_here(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    """Each finds its new time occupied by the other: together they make room."""
    async with listening(town, sqlite_filled_url, tmp_path, "r4") as (_, journey):
        slots = await journey.slots()
        same = [s for s in slots if s["practitioner"] == slots[0]["practitioner"]]
        one, two, three = same[0], same[len(same) // 2], same[-1]
        first, second = await journey.booked(one["id"]), await journey.booked(two["id"])
        ids = [appointment_of(town.sweden, each["id"])["id"] for each in (first, second)]
        at_the_clinic(town.sweden, f"appointments/{ids[0]}/move", start=three["start"], silent=True)
        at_the_clinic(town.sweden, f"appointments/{ids[1]}/move", start=one["start"], silent=True)
        at_the_clinic(town.sweden, f"appointments/{ids[0]}/move", start=two["start"])
        await becomes(journey, first, start=two["start"])
        await becomes(journey, second, start=one["start"])


async def test_a_hold_gives_way_to_a_visit_that_the_clinic_moved_there(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    async with listening(town, sqlite_filled_url, tmp_path, "r4") as (_, journey):
        slots = await journey.slots()
        booked = await journey.booked(slots[0]["id"])
        to = next(s for s in reversed(slots) if s["practitioner"] == slots[0]["practitioner"])
        other = Journey(journey.client, journey.clinic, token=await sign_in(town, "erik"))
        await other.search()
        held = await other.hold(to["id"])
        appointment = appointment_of(town.sweden, booked["id"])["id"]
        at_the_clinic(town.sweden, f"appointments/{appointment}/move", start=to["start"])
        await becomes(journey, booked, start=to["start"])
        refused = await other.confirm(held["hold"]["token"])
        assert refused["booking"] is None and refused["errors"]


@pytest.mark.parametrize(("outcome", "status"), [("fulfilled", "FULFILLED"), ("noshow", "NO_SHOW")])
async def test_whether_the_patient_came_is_known_here(
    town: Town, sqlite_filled_url: str, tmp_path: Path, dialect: str, outcome: str, status: str
) -> None:
    ehr = ehr_of(town, dialect)
    async with listening(town, sqlite_filled_url, tmp_path, dialect) as (_, journey):
        booked = await journey.booked()
        at_the_clinic(ehr, f"appointments/{appointment_of(ehr, booked['id'])['id']}/outcome", status=outcome)
        await becomes(journey, booked, status=status)


async def test_a_patients_screen_shows_what_the_clinic_does_and_nobody_elses_does(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    async with listening(town, sqlite_filled_url, tmp_path, "r4") as (server, journey):
        first = await journey.booked()
        other = await sign_in(town, "erik")
        async with watching(server.url, BOOKINGS, journey.token) as own, watching(server.url, BOOKINGS, other) as els:
            assert (await own.next())["resync"] and (await own.next())["booking"]["id"] == first["id"]
            assert (await els.next())["resync"]
            second = await journey.booked((await journey.slots())[-1]["id"])
            event = await own.until(lambda s: s.events[-1]["booking"]["status"] == "BOOKED" and _is(s, second))
            assert not event["resync"]
            at_the_clinic(town.sweden, f"appointments/{appointment_of(town.sweden, first['id'])['id']}/cancel")
            event = await own.until(lambda s: _is(s, first) and s.events[-1]["booking"]["status"] == "CANCELLED")
            assert event["booking"]["history"][-1] == {"status": "CANCELLED", "actor": "EHR"}
            cursor = own.cursor
            await els.nothing(0.5)
        await journey.cancel(second)
        async with watching(server.url, BOOKINGS, journey.token, after=cursor) as back:
            event = await back.until(lambda s: s.events[-1]["booking"]["status"] == "CANCELLED")
            assert {e["booking"]["id"] for e in back.events} == {second["id"]}
            assert not any(e["resync"] for e in back.events)
        for token, code in ((other, "BAD_USER_INPUT"), (None, "UNAUTHENTICATED")):
            async with watching(server.url, BOOKINGS, token, after=cursor) as stranger:
                assert code in str((await stranger.message())["payload"])


def _is(screen: Any, booking: dict[str, Any]) -> bool:
    return bool(screen.events[-1]["booking"] and screen.events[-1]["booking"]["id"] == booking["id"])


async def test_one_process_at_a_time_asks_a_record_system(town: Town, filled_url: str, tmp_path: Path) -> None:
    """Three processes, each as eager as can be: the system is asked as often as by one."""
    await change(filled_url, ENDPOINT, {}, news="poll")
    settings = town.settings(filled_url, **{**QUIET, "poll_seconds": 2.0, "slowest_poll_seconds": 2.0})
    with running(settings, tmp_path / "1"), running(settings, tmp_path / "2"), running(settings, tmp_path / "3"):
        await asyncio.sleep(1)
        town.calm()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(9)
        rounds = (asyncio.get_running_loop().time() - began) / (2.0 * 0.9) + 2
        asked = town.calls(town.norway).get("search", 0)
    assert 1 <= asked / 2 <= rounds  # both tenants ask for themselves


async def test_missed_events_are_a_reason_to_look_at_everything(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    """A time was booked and the event that said so was lost: the next one's number shows it."""
    async with listening(town, sqlite_filled_url, tmp_path, "ihe") as (server, journey):
        search = await journey.search()
        async with watching(server.url, SLOTS, search=search) as screen:
            opened = (await screen.next())["opened"]
            slot = opened[-1]
            told = next(each for each in reversed(opened) if each["practitioner"] != slot["practitioner"])
            role, other = (role_of(town, town.norway, each["practitioner"]["name"]) for each in (slot, told))
            at_the_clinic(town.norway, "phone-bookings", role=role, start=slot["start"], minutes=45, silent=True)
            subscriptions = town.norway.get("/Subscription", params={"status": "active", "_count": 1000})["entry"]
            for each in (e["resource"] for e in subscriptions):
                if each["channel"]["endpoint"].startswith(server.url):
                    at_the_clinic(town.norway, f"subscriptions/{each['id']}/skip", events=1)
            at_the_clinic(town.norway, "phone-bookings", role=other, start=told["start"], minutes=45)
            await screen.until(lambda s: slot["id"] not in s.times)
