"""The trail of what is done with an agency's key: who acted, and through which client by which of its keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from api.bootstrap import open_house
from api.settings import Settings
from domain.api_key import KeyText
from domain.audit import Actor, ActorKind, AuditEntry
from domain.client import ClientKey, Scope
from domain.pages import PageRequest
from domain.ports import AuditFilter
from integrations.fhir.audit_event import audit_event
from tests.agencies import TENANT, minted
from tests.fhir.test_audit_event import check
from tests.living import Town, in_process, sign_in
from tests.system.at_the_desk import rings, somebody
from tests.system.journey import RELEASE, Journey, apart

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
