"""My bookings, whole: what was booked by phone is seen, moved and cancelled like what was booked here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from icalendar import Calendar

from integrations.store.tables_catalogue import CLINIC
from tests.api.searching import change
from tests.living import OTHER, Client, Town, in_process, sign_in
from tests.sandbox.conftest import Installation
from tests.system.at_the_desk import LIST, NODE, Caller, held_by, rings, somebody
from tests.system.journey import FIND, Journey, codes

CLINICS = {"ihe": "grunerlokka-legesenter", "r4": "sodermalms-vardcentral"}
both_dialects = pytest.mark.parametrize("dialect", CLINICS)


@dataclass
class Desk:
    """One patient with one clinic, over the API and over the phone."""

    town: Town
    ehr: Installation
    caller: Caller
    journey: Journey

    @property
    def client(self) -> Client:
        return self.journey.client

    async def page(self, when: str = "UPCOMING", token: str | None = None, **asked: Any) -> dict[str, Any]:
        data = await self.client(LIST, token or self.journey.token, when=when, **asked)
        found: dict[str, Any] = data["viewer"]["bookings"]
        return found

    async def nodes(self, when: str = "UPCOMING") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.page(when, first=50))["nodes"]
        return found

    async def goes_to_the_other_front(self) -> None:
        self.client.http.headers["X-Tenant"] = OTHER
        self.journey.token = await sign_in(self.town, self.caller.login, OTHER)

    async def comes_back(self) -> None:
        del self.client.http.headers["X-Tenant"]
        self.journey.token = await sign_in(self.town, self.caller.login)

    async def node(self, id: str, token: str | None) -> Any:
        return (await self.client(NODE, token, id=id))["node"]

    async def rings(self, nth: int = 0, **more: Any) -> dict[str, Any]:
        """The visit that was booked for them by phone, as My bookings has it."""
        kept = rings(self.town, self.ehr, self.caller, (await self.journey.slots())[nth], **more)
        [shown] = [b for b in await self.nodes() if datetime.fromisoformat(kept["start"]) == at(b)]
        self.journey.treatment = shown["treatment"]["code"]  # several last as long; the clinic chose one
        return shown


def at(booking: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(booking["start"])


@asynccontextmanager
async def desk(town: Town, url: str, dialect: str = "ihe", **settings: Any) -> AsyncIterator[Desk]:
    caller, ehr = somebody(), town.norway if dialect == "ihe" else town.sweden
    async with in_process(town.settings(url, public_url="http://127.0.0.1", **settings)) as (client, _):
        token = await sign_in(town, caller.login)
        yield Desk(town, ehr, caller, Journey(client, CLINICS[dialect], token=token))


@both_dialects
async def test_what_was_booked_by_phone_is_among_my_bookings(town: Town, filled_url: str, dialect: str) -> None:
    async with desk(town, filled_url, dialect) as one:
        slot = (await one.journey.slots())[0]
        kept = rings(town, one.ehr, one.caller, slot)
        found = await one.page()
        [shown] = found["nodes"]
        assert (shown["reference"], shown["status"], shown["version"]) == (None, "BOOKED", 1)
        assert (at(shown), shown["clinic"]["slug"]) == (datetime.fromisoformat(slot["start"]), one.journey.clinic)
        assert shown["start"][-6:] == slot["start"][-6:]
        assert shown["practitioner"]["name"] == slot["practitioner"]["name"]
        assert shown["treatment"]["code"] == kept["serviceType"][0]["coding"][0]["code"]
        assert shown["title"] and shown["price"]
        assert shown["cancellation"]["allowed"] and shown["rescheduling"]["allowed"]
        assert datetime.fromisoformat(shown["createdAt"]) == datetime.fromisoformat(kept["created"]).replace(
            microsecond=0
        )
        assert (shown["history"], shown["comment"]) == ([], None)
        assert [source["state"] for source in found["sources"]] == ["OK", "OK"]
        assert await one.nodes("PREVIOUS") == []
        assert await one.nodes("ALL") == [shown]


@both_dialects
async def test_it_is_fetched_again_by_its_id_and_goes_into_a_calendar(
    town: Town, filled_url: str, dialect: str
) -> None:
    async with desk(town, filled_url, dialect) as one:
        shown = await one.rings()
        assert await one.node(shown["id"], one.journey.token) == shown
        headers = {"Authorization": f"Bearer {one.journey.token}"}
        answer = await one.client.http.get(shown["calendarUrl"], headers=headers)
        [event] = Calendar.from_ical(answer.content).walk("VEVENT")
        assert (event["DTSTART"].dt, str(event["SUMMARY"])) == (at(shown), shown["title"])
        assert 'filename="visit.ics"' in answer.headers["content-disposition"]


@both_dialects
async def test_it_is_cancelled_like_any_other(town: Town, filled_url: str, dialect: str) -> None:
    async with desk(town, filled_url, dialect) as one:
        shown = await one.rings()
        cancelled = (await one.journey.cancel(shown))["booking"]
        assert (cancelled["id"], cancelled["status"], cancelled["reference"]) == (shown["id"], "CANCELLED", None)
        assert [each["status"] for each in held_by(one.ehr, one.caller)] == ["cancelled"]
        assert [(step["status"], step["actor"]) for step in cancelled["history"]] == [
            ("BOOKED", "EHR"),
            ("CANCELLING", "PATIENT"),
            ("CANCELLED", "PATIENT"),
        ]
        assert await one.nodes() == []
        assert [each["id"] for each in await one.nodes("PREVIOUS")] == [shown["id"]]


@both_dialects
async def test_it_is_moved_like_any_other_and_gets_our_number(town: Town, filled_url: str, dialect: str) -> None:
    async with desk(town, filled_url, dialect) as one:
        shown = await one.rings()
        to = (await one.journey.slots(movingBookingId=shown["id"]))[-1]
        held = await one.journey.hold(to["id"], movingBookingId=shown["id"])
        moved = (await one.journey.reschedule(shown, held["hold"]["token"]))["booking"]
        assert (moved["id"], moved["start"], moved["status"]) == (shown["id"], to["start"], "BOOKED")
        [kept] = held_by(one.ehr, one.caller)
        assert datetime.fromisoformat(kept["start"]) == datetime.fromisoformat(to["start"])
        numbers = [each["value"] for each in kept["identifier"] if "itb.example" in each["system"]]
        assert len(numbers) == 1 and one.journey.token
        assert [(each["id"], each["version"]) for each in await one.nodes("ALL")] == [(shown["id"], moved["version"])]
        assert (await one.journey.cancel(moved))["booking"]["status"] == "CANCELLED"


async def test_a_search_for_another_time_takes_nothing_over(town: Town, sqlite_filled_url: str) -> None:
    async with desk(town, sqlite_filled_url) as one:
        shown = await one.rings()
        assert await one.journey.slots(movingBookingId=shown["id"])
        assert (await one.node(shown["id"], one.journey.token))["history"] == []


async def test_nobody_else_sees_or_touches_it(town: Town, filled_url: str) -> None:
    async with desk(town, filled_url) as one:
        shown = await one.rings()
        stranger = await sign_in(town, somebody().login)
        others = Journey(one.client, one.journey.clinic, token=stranger)
        assert (await one.page("ALL", stranger))["nodes"] == []
        assert await one.node(shown["id"], stranger) is None
        assert await one.node(shown["id"], None) is None
        assert codes(await others.cancel(shown)) == ["NOT_FOUND"]
        slot = (await one.journey.slots())[-1]
        assert codes(await others.hold(slot["id"], movingBookingId=shown["id"])) == ["NOT_FOUND"]
        refused = await one.client.raw(FIND, stranger, search=await others.search(movingBookingId=shown["id"]))
        assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        for token, status in ((stranger, 404), (None, 401)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            assert (await one.client.http.get(shown["calendarUrl"], headers=headers)).status_code == status
        assert await one.node(shown["id"], one.journey.token) == shown


async def test_each_tenant_has_its_own_id_for_it(town: Town, sqlite_filled_url: str) -> None:
    """The same person is known to both, and so is the record system."""
    async with desk(town, sqlite_filled_url) as one:
        shown = await one.rings()
        await one.goes_to_the_other_front()
        [theirs] = await one.nodes()
        assert (at(theirs), theirs["reference"]) == (at(shown), None)
        assert theirs["id"] != shown["id"]
        assert await one.node(shown["id"], one.journey.token) is None
        assert codes(await one.journey.cancel(shown)) == ["NOT_FOUND"]


@both_dialects
async def test_what_was_booked_here_is_shown_once(town: Town, filled_url: str, dialect: str) -> None:
    async with desk(town, filled_url, dialect) as one:
        booked = await one.journey.booked()
        rung = await one.rings(-1)
        assert [each["id"] for each in await one.nodes()] == [booked["id"], rung["id"]]
        assert [each["reference"] for each in await one.nodes("ALL")] == [None, booked["reference"]]
        await one.journey.cancel(booked)


async def test_a_booking_whose_number_the_record_system_dropped_is_known_by_its_id(
    town: Town, sqlite_filled_url: str
) -> None:
    async with desk(town, sqlite_filled_url, "r4") as one:
        booked = await one.journey.booked()
        [kept] = held_by(one.ehr, one.caller)
        bare = {name: value for name, value in kept.items() if name != "identifier"}
        assert one.ehr.http.put(f"/Appointment/{kept['id']}", json=bare).status_code == 200
        assert [each["id"] for each in await one.nodes("ALL")] == [booked["id"]]


async def test_what_another_front_booked_is_shown_and_can_be_cancelled(town: Town, sqlite_filled_url: str) -> None:
    """It carries a number that is none of this tenant's."""
    async with desk(town, sqlite_filled_url) as one:
        await one.goes_to_the_other_front()
        await one.journey.booked()
        await one.comes_back()
        [shown] = await one.nodes()
        assert shown["reference"] is None
        assert (await one.journey.cancel(shown))["booking"]["status"] == "CANCELLED"
        assert [each["status"] for each in held_by(one.ehr, one.caller)] == ["cancelled"]


async def test_what_the_clinic_does_not_let_patients_book_is_changed_at_the_clinic(
    town: Town, sqlite_filled_url: str
) -> None:
    async with desk(town, sqlite_filled_url) as one:
        shown = await one.rings()
        slot = (await one.journey.slots())[-1]
        await change(sqlite_filled_url, CLINIC, {"slug": one.journey.clinic}, booking="closed")
        [closed] = await one.nodes()
        phone = one.journey.known["clinic"]["phone"]
        for right in (closed["cancellation"], closed["rescheduling"]):
            assert (right["allowed"], right["refusal"]) == (False, "MANAGED_EXTERNALLY")
            assert phone in right["message"]
        refused = await one.journey.cancel(shown)
        assert [(e["refusal"], e["clinicPhone"]) for e in refused["errors"]] == [("MANAGED_EXTERNALLY", phone)]
        await change(sqlite_filled_url, CLINIC, {"slug": one.journey.clinic}, booking="online")
        await change(sqlite_filled_url, CLINIC, {"slug": one.journey.clinic}, active=False)
        [gone] = await one.nodes()
        assert gone["cancellation"]["refusal"] == "MANAGED_EXTERNALLY"
        assert (gone["clinic"], gone["title"] != "") == (None, True)
        await change(sqlite_filled_url, CLINIC, {"slug": one.journey.clinic}, active=True)
        assert (await one.node(shown["id"], one.journey.token))["history"] == []  # nothing was taken over
        assert slot


async def test_who_has_no_national_number_has_what_was_booked_here(town: Town, sqlite_filled_url: str) -> None:
    async with desk(town, sqlite_filled_url) as one:
        found = await one.page(token=await sign_in(town, "turist"))
        assert (found["nodes"], found["sources"]) == ([], [])
        assert town.calls(town.norway) == town.calls(town.sweden) == {}


async def test_pages_lead_through_all_of_them_forward_and_back(town: Town, filled_url: str) -> None:
    async with desk(town, filled_url) as one:
        slots = (await one.journey.slots())[::9]
        for n, slot in enumerate(slots[:7]):
            if n % 3 == 1:
                await one.journey.booked(slot["id"])
            else:
                rings(town, one.ehr, one.caller, slot)
        for when in ("UPCOMING", "ALL"):
            whole = [each["id"] for each in await one.nodes(when)]
            assert len(whole) == len(set(whole)) == 7
            for size in (1, 2, 3, 7):
                assert await walked(one, when, size) == whole
                assert await walked(one, when, size, backward=True) == whole
        assert (await one.page("ALL", first=0))["nodes"] == []


async def walked(one: Desk, when: str, size: int, *, backward: bool = False) -> list[str]:
    """What all pages of that size hold, in list order."""
    found: list[str] = []
    cursor, more = None, True
    while more:
        page = {"last": size, "before": cursor} if backward else {"first": size, "after": cursor}
        answer = await one.page(when, **page)
        ids = [each["id"] for each in answer["nodes"]]
        info = answer["pageInfo"]
        assert len(ids) <= size
        assert info["hasPreviousPage" if not backward else "hasNextPage"] == (cursor is not None)
        found = [*ids, *found] if backward else [*found, *ids]
        cursor = info["startCursor" if backward else "endCursor"]
        more = info["hasPreviousPage" if backward else "hasNextPage"]
    return found


async def test_holding_another_time_takes_it_over_once_however_often_asked(town: Town, filled_url: str) -> None:
    async with desk(town, filled_url) as one:
        shown = await one.rings()
        times = (await one.journey.slots(movingBookingId=shown["id"]))[-5:]
        asked = [one.journey.hold(time["id"], movingBookingId=shown["id"]) for time in times]
        answers = await asyncio.gather(*asked)
        assert any(answer["hold"] for answer in answers)
        assert all(answer["hold"] or codes(answer) == ["SLOT_TAKEN"] for answer in answers)
        [mine] = await one.nodes("ALL")
        assert (mine["id"], mine["version"]) == (shown["id"], 1)
        assert [(step["status"], step["actor"]) for step in mine["history"]] == [("BOOKED", "EHR")]
