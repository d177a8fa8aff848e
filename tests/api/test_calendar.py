"""A booking as a file for the patient's own calendar: for that patient only, and the newest version wins."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from icalendar import Calendar, Event

from api.signing import from_text
from tests.living import OTHER, Client, Town, in_process, sign_in
from tests.system.journey import Journey


async def fetched(client: Client, booking: dict[str, Any], token: str | None, **headers: str) -> httpx2.Response:
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    return await client.http.get(booking["calendarUrl"], headers={**bearer, **headers})


def event_in(answer: httpx2.Response) -> Event:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/calendar")
    [event] = Calendar.from_ical(answer.content).walk("VEVENT")
    return event


def moments(event: Event) -> tuple[datetime, datetime]:
    return event["DTSTART"].dt, event["DTEND"].dt


def settings(town: Town, url: str) -> Any:
    return town.settings(url, public_url="http://127.0.0.1")


@pytest.mark.parametrize(
    ("clinic", "login"), [("grunerlokka-legesenter", "kari"), ("sodermalms-vardcentral", "astrid")], ids=["ihe", "r4"]
)
async def test_each_change_of_a_booking_is_a_later_version_of_one_event(
    town: Town, filled_url: str, clinic: str, login: str
) -> None:
    token = await sign_in(town, login)
    async with in_process(settings(town, filled_url)) as (client, _):
        journey = Journey(client, clinic, token=token)
        booking = await journey.booked()
        answer = await fetched(client, booking, token)
        event = event_in(answer)
        assert moments(event) == tuple(datetime.fromisoformat(booking[name]) for name in ("start", "end"))
        assert (event["SEQUENCE"], str(event["STATUS"])) == (booking["version"], "CONFIRMED")
        assert str(event["SUMMARY"]) == booking["title"]
        assert f'filename="{booking["reference"]}.ics"' in answer.headers["content-disposition"]
        assert answer.headers["cache-control"] == "no-store"

        slot = (await journey.slots(movingBookingId=booking["id"]))[-1]
        held = await journey.hold(slot["id"], movingBookingId=booking["id"])
        moved = (await journey.reschedule(booking, held["hold"]["token"]))["booking"]
        later = event_in(await fetched(client, moved, token))
        assert later["UID"] == event["UID"]
        assert moments(later)[0] == datetime.fromisoformat(slot["start"]) != moments(event)[0]
        assert later["SEQUENCE"] == moved["version"] > booking["version"]

        cancelled = (await journey.cancel(moved))["booking"]
        last = event_in(await fetched(client, cancelled, token))
        assert (last["UID"], str(last["STATUS"])) == (event["UID"], "CANCELLED")
        assert last["SEQUENCE"] == cancelled["version"] > moved["version"]


async def test_an_event_is_told_in_the_readers_language_and_says_where(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        journey = Journey(client, "fana-legesenter", token=token)
        booking = await journey.booked()
        event = event_in(await fetched(client, booking, token, **{"Accept-Language": "en"}))
        assert str(event["SUMMARY"]) == "Skin check"
        assert "Fana legesenter" in str(event["LOCATION"])
        assert "Nesttun" in str(event["LOCATION"])
        await journey.cancel(booking)


async def test_nobody_else_finds_the_file(town: Town, filled_url: str) -> None:
    token, at_other = await sign_in(town, "ola"), await sign_in(town, "ola", OTHER)
    async with in_process(settings(town, filled_url)) as (client, _):
        journey = Journey(client, "bryggen-legesenter", token=token)
        booking = await journey.booked()
        assert (await fetched(client, booking, token)).status_code == 200
        bare = booking["calendarUrl"].partition("?")[0]
        refused = [
            await fetched(client, booking, await sign_in(town, "kari")),
            await fetched(client, booking, at_other, **{"X-Tenant": OTHER}),
            await fetched(client, {"calendarUrl": bare}, at_other, Host="annan.example"),
            await fetched(client, {"calendarUrl": f"/bookings/{uuid4()}.ics"}, token),
            await fetched(client, {"calendarUrl": "/bookings/x.ics"}, token),
        ]
        assert [answer.status_code for answer in refused] == [404] * 5
        assert {answer.text for answer in refused[:4]} == {"Vi finner ikke det du leter etter. Det kan være fjernet.\n"}
        assert (await fetched(client, booking, "no-token")).status_code == 401
        assert (await fetched(client, booking, token, **{"X-Tenant": "nobody"})).status_code == 400
        await journey.cancel(booking)


async def test_whoever_is_signed_in_no_more_is_told_so_and_shown_the_way(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        journey = Journey(client, "bryggen-legesenter", token=token)
        booking = await journey.booked()
        await client("mutation { signOut(input: {everywhere: true}) { errors { code } } }", token)
        for who in (token, None):
            for url in (booking["calendarUrl"], f"/exports/{uuid4()}.json"):
                answer = await fetched(client, {"calendarUrl": url}, who)
                assert (answer.status_code, answer.headers["cache-control"]) == (401, "no-store")
                words, *ways = answer.text.splitlines()
                assert words == "UNAUTHENTICATED: Du må logge inn."
                assert any(": http://127.0.0.1/login/bankid-no?" in way for way in ways)


async def test_a_hold_is_no_visit_yet(town: Town, sqlite_filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        journey = Journey(client, "bryggen-legesenter", token=token)
        booking = await journey.booked()
        held = await journey.hold((await journey.slots())[-1]["id"])
        assert held["hold"], held["errors"]
        hold_id = UUID(bytes=from_text(held["hold"]["token"])[:16])
        assert (await fetched(client, {"calendarUrl": f"/bookings/{hold_id}.ics"}, token)).status_code == 404
        kept = await journey.hold(held["hold"]["slot"]["id"], holdToken=held["hold"]["token"])
        assert kept["hold"]["token"] == held["hold"]["token"]  # and is this patient's by now
        assert (await fetched(client, {"calendarUrl": f"/bookings/{hold_id}.ics"}, token)).status_code == 404
        assert [b["id"] for b in await journey.mine("ALL")] == [booking["id"]]
        await journey.cancel(booking)


async def test_a_link_finds_its_tenant_without_a_header(town: Town, sqlite_filled_url: str) -> None:
    """The app named its tenant in a header, which no link can carry."""
    token = await sign_in(town, "ola", OTHER)
    async with in_process(settings(town, sqlite_filled_url)) as (client, _):
        client.http.headers["X-Tenant"] = OTHER
        booking = await Journey(client, "bryggen-legesenter", token=token).booked()
        del client.http.headers["X-Tenant"]
        assert (await fetched(client, booking, token)).status_code == 200
        bare = booking["calendarUrl"].partition("?")[0]
        assert (await fetched(client, {"calendarUrl": bare}, token)).status_code == 401  # of another tenant
