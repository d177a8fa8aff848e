"""What a booking leaves behind in the store: history, audit trail and outbox, and nobody's number in the clear."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from integrations.sandbox.people import PEOPLE
from integrations.store.engine import open_engine
from tests.living import Town, in_process, sign_in
from tests.system.journey import Journey
from tests.system.test_import import dump

KARI = next(person for person in PEOPLE if person.login == "kari")


async def rows(engine: AsyncEngine, query: str) -> list[Any]:
    async with engine.connect() as connection:
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


async def test_no_national_number_is_stored_in_the_clear(town: Town, filled_url: str) -> None:
    async with in_process(town.settings(filled_url)) as (client, _):
        journey = Journey(client, "sentrum-legesenter", token=await sign_in(town, "kari"))
        await journey.booked()
    engine = open_engine(filled_url)
    everything = await dump(engine)
    await engine.dispose()
    assert everything["patient"], "somebody has booked"
    assert not [name for name, found in everything.items() for row in found if str(KARI.number) in row]


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
