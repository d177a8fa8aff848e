"""The trail of what is done with an agency's key: who acted, and through which client by which of its keys."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from api.bootstrap import open_house
from api.settings import Settings
from domain.api_key import KeyText
from domain.audit import Actor, ActorKind, AuditEntry
from domain.client import ClientKey, Scope
from domain.pages import PageRequest
from domain.ports import AuditFilter
from integrations.fhir.audit_event import audit_event
from tests.agencies import TENANT, minted
from tests.api.test_counts import statements
from tests.databases import raw
from tests.fhir.test_audit_event import check
from tests.living import Client, Town, in_process, over_http, running, sign_in
from tests.system.at_the_desk import rings, somebody
from tests.system.journey import RELEASE, Journey, apart, codes
from tests.system.test_agencies_watching import next_of, open_socket
from tests.system.watching import BOOKINGS

EVERYTHING = """query($ids: [ID!]!) { again: viewer { patient { name } } nodes(ids: $ids) { id }
    viewer { patient { name } consents { given } }
    viewer { bookings { nodes { id } } all: bookings(when: ALL) { nodes { id } } } }"""
ONE = "query($id: ID!) { node(id: $id) { id ... on Booking { title } } }"
WHO = "{ viewer { patient { name } } }"

LOOKER = Actor(kind=ActorKind.STAFF, id="m-1")


async def trail(settings: Settings) -> list[AuditEntry]:
    """Oldest first, without what keeping keys and reading the trail left."""
    house = open_house(settings)
    page = await house.use.read_audit(TENANT, LOOKER, AuditFilter(), PageRequest(size=500))
    await house.close()
    return [each for each in page.items if not each.action.startswith(("api_key.", "audit."))]


@asynccontextmanager
async def agency(town: Town, url: str, login: str) -> AsyncIterator[tuple[Journey, KeyText, Settings]]:
    """A patient's journey through an agency with every scope."""
    settings = town.settings(url, api_key_seconds=0.0)
    key = await minted(settings, scopes=frozenset(Scope))
    async with in_process(settings) as (client, _):
        client.http.headers["X-ApiKey"] = key.text
        yield Journey(client, "grunerlokka-legesenter", token=await sign_in(town, login)), key, settings


async def goes_all_the_way(journey: Journey) -> None:
    """Holds before the login, books, moves and cancels; and lets go of one more time."""
    stranger = replace(journey, token=None)
    first, second, third = apart(await journey.slots(), 3)
    held = (await stranger.hold(first["id"]))["hold"]["token"]
    booked = (await journey.confirm(held))["booking"]
    held = (await journey.hold(second["id"], movingBookingId=booked["id"]))["hold"]["token"]
    moved = (await journey.reschedule(booked, held))["booking"]
    assert (await journey.cancel(moved))["booking"]["status"] == "CANCELLED"
    held = (await journey.hold(third["id"]))["hold"]["token"]
    assert (await journey.client(RELEASE, journey.token, input={"token": held}))["releaseHold"] == {"errors": []}


async def test_whatever_is_done_with_a_key_names_the_patient_the_agency_and_the_key(
    town: Town, filled_url: str
) -> None:
    async with agency(town, filled_url, somebody().login) as (journey, key, settings):
        await goes_all_the_way(journey)
        lines = await trail(settings)
    assert {each.actor.through for each in lines} == {ClientKey(client_id="agency:fysio", key_id=key.key_id)}
    by = {kind: {each.action for each in lines if each.actor.kind is kind} for kind in ActorKind}
    assert by[ActorKind.AGENCY] == {"booking.hold"}
    assert {"booking.hold", "booking.confirm", "booking.booked", "booking.cancelled"} <= by[ActorKind.PATIENT]
    assert {"booking.reschedule", "booking.release", "patient.registered"} <= by[ActorKind.PATIENT]
    assert len({each.actor.id for each in lines if each.actor.kind is ActorKind.PATIENT}) == 1
    assert key.text not in str(lines) and not any({"client", "client_key"} & set(each.details) for each in lines)


async def test_a_visit_that_an_agency_has_taken_in_names_its_key(town: Town, filled_url: str) -> None:
    caller = somebody()
    async with agency(town, filled_url, caller.login) as (journey, key, settings):
        rings(town, town.norway, caller, (await journey.slots())[0])
        visits = "{ viewer { bookings { nodes { id version } } } }"
        [visit] = (await journey.client(visits, journey.token))["viewer"]["bookings"]["nodes"]
        assert (await journey.cancel(visit))["booking"]["status"] == "CANCELLED"
        [line] = [each for each in await trail(settings) if each.action == "booking.adopted"]
    assert line.actor.kind is ActorKind.EHR and line.actor.request_id
    assert line.actor.through == ClientKey(client_id="agency:fysio", key_id=key.key_id)


async def test_what_our_own_frontends_do_goes_through_no_client(town: Town, filled_url: str) -> None:
    settings = town.settings(filled_url)
    async with in_process(settings) as (client, _):
        await goes_all_the_way(Journey(client, "grunerlokka-legesenter", token=await sign_in(town, somebody().login)))
    lines = await trail(settings)
    assert {each.actor.through for each in lines} == {None}
    assert {each.actor.kind for each in lines} == {ActorKind.PATIENT}
    assert all(len(audit_event(each)["agent"]) == 1 for each in lines)


async def test_an_audit_event_tells_the_agency_beside_the_patient(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url, somebody().login) as (journey, key, settings):
        await goes_all_the_way(journey)
        lines = await trail(settings)
    for line in lines:
        event = audit_event(line)
        check(event)
        agents = event["agent"]
        agency_ = {"system": "urn:itb:agency", "value": "agency:fysio"}
        assert (agents[-1]["who"]["identifier"], agents[-1]["altId"]) == (agency_, key.key_id)
        if line.actor.kind is ActorKind.PATIENT:
            assert [agent["requestor"] for agent in agents] == [True, False]
            assert agents[0]["who"]["identifier"]["system"] == "urn:itb:patient" and "altId" not in agents[0]
        else:
            assert [agent["requestor"] for agent in agents] == [True]


def readings(lines: list[AuditEntry]) -> list[tuple[str, dict[str, str]]]:
    return [(each.action, dict(each.details)) for each in lines if each.action.endswith(".read")]


async def calendar_file(journey: Journey, booking: dict[str, Any]) -> Any:
    return await journey.client.http.get(booking["calendarUrl"], headers={"Authorization": f"Bearer {journey.token}"})


async def nobody_notes(url: str) -> None:
    async with raw(url) as connection:
        await connection.execute(text("ALTER TABLE audit RENAME TO elsewhere"))


async def test_what_an_agency_reads_is_one_line_for_each_kind_however_it_is_asked(town: Town, filled_url: str) -> None:
    async with agency(town, filled_url, somebody().login) as (journey, key, settings):
        first, second = [await journey.booked(slot["id"]) for slot in apart(await journey.slots(), 2)]
        assert readings(await trail(settings)) == []  # who books is told of that booking, which has its line
        with statements() as seen:
            await journey.client(EVERYTHING, journey.token, ids=[first["id"], second["id"]])
        assert len([each for each in seen if each.startswith("INSERT INTO audit")]) == 2
        await journey.client(ONE, journey.token, id=first["id"])
        assert (await calendar_file(journey, first)).status_code == 200
        stale = await journey.cancel({**first, "version": first["version"] + 1})
        assert codes(stale) == ["STALE_VERSION"] and stale["errors"][0]["current"]["id"] == first["id"]
        lines = await trail(settings)
    one = ("booking.read", {"count": "1"})
    told = readings(lines)  # what was noted together is of one moment
    assert sorted(told[:2]) == [("booking.read", {"count": "2"}), ("patient.read", {})] and told[2:] == [one] * 3
    patient = next(each for each in lines if each.action == "patient.registered").target_id
    for line in lines[-5:]:
        assert (line.actor.id, line.target, line.target_id) == (str(patient), "patient", patient)
        assert line.actor.through == ClientKey(client_id="agency:fysio", key_id=key.key_id)
        event = audit_event(line)
        check(event)
        assert event["action"] == "R" and len(event["agent"]) == 2


async def test_what_tells_an_agency_nothing_leaves_no_line(town: Town, sqlite_filled_url: str) -> None:
    async with agency(town, sqlite_filled_url, somebody().login) as (journey, _, settings):
        booked = await journey.booked()
        other = replace(journey, token=await sign_in(town, somebody().login))
        assert await other.client(ONE, other.token, id=booked["id"]) == {"node": None}
        assert (await calendar_file(other, booked)).status_code == 404
        assert await journey.client(WHO) == {"viewer": None}
        assert readings(await trail(settings)) == []


async def test_a_patient_reads_their_own_by_our_frontends_without_a_line_or_a_statement_more(
    town: Town, filled_url: str
) -> None:
    settings = town.settings(filled_url)
    async with in_process(settings) as (client, _):
        journey = Journey(client, "grunerlokka-legesenter", token=await sign_in(town, somebody().login))
        booked = await journey.booked()
        with statements() as seen:
            await client(EVERYTHING, journey.token, ids=[booked["id"]])
            assert (await calendar_file(journey, booked)).status_code == 200
    assert [each for each in seen if not each.startswith(("SELECT", "WITH"))] == []
    assert readings(await trail(settings)) == []


async def test_what_cannot_be_noted_is_not_told_to_an_agency(town: Town, filled_url: str) -> None:
    async with agency(town, filled_url, somebody().login) as (journey, _, _settings):
        booked = await journey.booked()
        await nobody_notes(filled_url)
        for query, asked in ((WHO, {}), (EVERYTHING, {"ids": [booked["id"]]}), (ONE, {"id": booked["id"]})):
            answer = await journey.client.raw(query, journey.token, **asked)
            assert answer["data"] is None
            assert [each["extensions"]["code"] for each in answer["errors"]] == ["INTERNAL_SERVER_ERROR"]
            assert "audit" not in str(answer)
        untold = await calendar_file(journey, booked)
        assert (untold.status_code, untold.text) == (500, "Noe gikk galt.\n")
        del journey.client.http.headers["X-ApiKey"]
        assert (await journey.client(WHO, journey.token))["viewer"]["patient"]["name"]


async def test_a_subscription_of_an_agency_is_one_line_and_tells_nothing_without_it(
    town: Town, filled_url: str, tmp_path: Path
) -> None:
    settings = town.settings(filled_url, api_key_seconds=0.0)
    key, token = await minted(settings, scopes=frozenset(Scope)), await sign_in(town, somebody().login)
    asked = json.dumps({"id": "1", "type": "subscribe", "payload": {"query": BOOKINGS}})
    payload = {"X-ApiKey": key.text, "Authorization": f"Bearer {token}"}
    with running(settings, tmp_path / "log") as server:
        async with over_http(server.url) as client, open_socket(server.url, payload) as socket:
            await next_of(socket, "connection_ack")
            await socket.send(asked)
            first = (await next_of(socket, "next"))["payload"]["data"]["bookingChanges"]
            assert first["resync"]
            await Journey(Client(client.http), "grunerlokka-legesenter", token=token).booked()
            assert (await next_of(socket, "next"))["payload"]["data"]["bookingChanges"]["booking"]
            assert readings(await trail(settings)) == [("booking.read", {"how": "subscription"})]
        await nobody_notes(filled_url)
        async with open_socket(server.url, payload) as socket:
            await next_of(socket, "connection_ack")
            await socket.send(asked)
            told = (await next_of(socket, "next"))["payload"]
            assert told["data"] is None
            assert [each["extensions"]["code"] for each in told["errors"]] == ["INTERNAL_SERVER_ERROR"]
            await next_of(socket, "complete")
