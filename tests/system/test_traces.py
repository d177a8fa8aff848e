"""What a booking leaves behind in the store: history, audit trail and outbox, and nobody's number in the clear."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from integrations.sandbox.people import PEOPLE
from integrations.store.engine import open_engine
from tests.databases import raw
from tests.living import Town, in_process, sign_in
from tests.system.journey import Journey
from tests.system.test_import import dump

KARI = next(person for person in PEOPLE if person.login == "kari")


async def rows(engine: AsyncEngine, query: str) -> list[Any]:
    async with raw(engine) as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


async def test_every_step_is_audited_and_told_once(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url)) as (client, _):
        journey = Journey(client, "sentrum-legesenter", token=await sign_in(town, "kari"))
        booking = await journey.booked()
        await journey.cancel(booking)
    engine = open_engine(filled_url)
    told = await rows(engine, "SELECT kind, version FROM outbox ORDER BY version")
    assert told == [("booking.booked", 3), ("booking.cancelled", 5)]
    trail = await rows(engine, "SELECT action, actor_kind FROM audit WHERE target = 'booking' ORDER BY at")
    assert trail == [
        *(("booking.hold", "PATIENT"), ("booking.confirm", "PATIENT"), ("booking.booked", "PATIENT")),
        *(("booking.cancel", "PATIENT"), ("booking.cancelled", "PATIENT")),
    ]
    assert all(request_id for (request_id,) in await rows(engine, "SELECT request_id FROM audit"))
    await engine.dispose()


async def test_nobody_can_be_recognised_in_any_table(town: Town, filled_url: str) -> None:
    """Neither by number, name, phone and address nor by what they wrote, from the login to the cancellation."""
    written = "Allergisk mot hunder"
    async with in_process(town.settings(filled_url)) as (client, _):
        journey = Journey(client, "sentrum-legesenter", token=await sign_in(town, "kari"))
        held = await journey.hold((await journey.slots())[0]["id"])
        booked = (await journey.confirm(held["hold"]["token"], comment=written))["booking"]
        assert booked["smsConfirmationTo"] == "••• 001"
        shown = await client(
            "query ($id: ID!) { node(id: $id) { ... on Booking { comment } } }", journey.token, id=booked["id"]
        )
        assert shown["node"]["comment"] == written
        gone = (await journey.cancel(booked, reason="Kari har det bra"))["booking"]
        assert gone["status"] == "CANCELLED"
    engine = open_engine(filled_url)
    everything = await dump(engine)
    await engine.dispose()
    assert everything["patient"] and everything["booking"] and everything["tenant_key"]
    known = (KARI.number, KARI.name, KARI.family_name, KARI.email, KARI.phone_at_clinic, KARI.phone_at_login)
    for secret in (*known, KARI.birth_date.isoformat(), "datetime.date(1986", written, "har det bra"):
        found = {name for name, rows in everything.items() for row in rows if str(secret) in row}
        assert not found, (secret, found)


async def test_an_unknown_or_refused_step_leaves_no_event(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = Journey(client, "sentrum-legesenter", token=await sign_in(town, "kari"))
        held = await journey.hold((await journey.slots())[0]["id"])
        refused = await journey.confirm(held["hold"]["token"], acceptedTermsVersion="0")
        assert [e["code"] for e in refused["errors"]] == ["TERMS_NOT_ACCEPTED"]
    engine = open_engine(sqlite_filled_url)
    assert await rows(engine, "SELECT kind FROM outbox") == []
    assert await rows(engine, "SELECT action FROM audit WHERE target = 'booking'") == [("booking.hold",)]
    await engine.dispose()
