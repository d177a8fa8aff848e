"""What a booking can be moved to, and what a repeated hold is told."""

from uuid import uuid4

from sqlalchemy import text

from integrations.store.engine import open_engine
from tests.databases import raw
from tests.living import Town, in_process, sign_in
from tests.system.journey import FIND, Journey, key

OSLO = "sentrum-legesenter"


async def test_a_move_stays_within_its_treatment(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        token = await sign_in(town, "kari")
        visit = Journey(client, OSLO, "consultation", token)
        other = Journey(client, OSLO, "skin-check", token)
        booking = await visit.booked()
        slot = (await other.slots())[-1]
        refused = await other.hold(slot["id"], movingBookingId=booking["id"])
        assert [e["code"] for e in refused["errors"]] == ["CHANGE_NOT_ALLOWED"]
        held = await other.hold(slot["id"])
        refused = await visit.reschedule(booking, held["hold"]["token"])
        assert [e["code"] for e in refused["errors"]] == ["CHANGE_NOT_ALLOWED"]
        search = await other.search(movingBookingId=booking["id"])
        answer = await client.raw(FIND, token, search=search)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert [b["start"] for b in await visit.mine()] == [booking["start"]]


async def test_no_time_is_offered_for_a_booking_that_cannot_be_moved(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = Journey(client, OSLO, "consultation", await sign_in(town, "kari"))
        booking = await journey.booked()
        assert await journey.slots(movingBookingId=booking["id"])
        assert (await journey.cancel(booking))["booking"]["status"] == "CANCELLED"
        answer = await client.raw(FIND, journey.token, search=await journey.search(movingBookingId=booking["id"]))
        assert answer["data"]["availability"] is None
        assert "NOT_ALLOWED" in answer["errors"][0]["message"]


async def test_every_time_offered_for_a_move_can_be_held_for_it(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = Journey(client, OSLO, "skin-check", await sign_in(town, "kari"))
        booking = await journey.booked()
        offered = await journey.slots(movingBookingId=booking["id"], days=4)
        for slot in offered[:6]:
            held = await journey.hold(slot["id"], movingBookingId=booking["id"])
            assert held["hold"], (slot["start"], held["errors"])


async def test_a_key_belongs_to_one_swap(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = Journey(client, OSLO)
        slots = await journey.slots()
        first, second = slots[0], slots[-1]
        own = (await journey.hold(first["id"]))["hold"]["token"]
        used = key()
        swapped = await journey.hold(second["id"], holdToken=own, idempotencyKey=used)
        again = await journey.hold(second["id"], holdToken=own, idempotencyKey=used)
        assert again["hold"]["token"] == swapped["hold"]["token"]
        other = await journey.hold(second["id"], idempotencyKey=used)
        assert [e["code"] for e in other["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]


async def test_a_hold_that_was_let_go_is_not_given_again(town: Town, sqlite_filled_url: str) -> None:
    release = "mutation($token: String!) { releaseHold(input: {token: $token}) { errors { code } } }"
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey, used = Journey(client, OSLO), key()
        slot = (await journey.slots())[0]
        held = await journey.hold(slot["id"], idempotencyKey=used)
        assert (await client(release, token=held["hold"]["token"]))["releaseHold"]["errors"] == []
        again = await journey.hold(slot["id"], idempotencyKey=used)
        assert [e["code"] for e in again["errors"]] == ["HOLD_NOT_FOUND"]


async def test_a_short_key_is_not_shared_between_visitors(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey, short = Journey(client, OSLO), "1"
        slot = (await journey.slots())[0]
        client.http.headers["User-Agent"] = f"one/{uuid4()}"
        first = await journey.hold(slot["id"], idempotencyKey=short)
        same = await journey.hold(slot["id"], idempotencyKey=short)
        assert same["hold"]["token"] == first["hold"]["token"]
        client.http.headers["User-Agent"] = f"another/{uuid4()}"
        other = await journey.hold(slot["id"], idempotencyKey=short)
        assert [e["code"] for e in other["errors"]] == ["SLOT_TAKEN"]


async def test_what_is_booked_at_a_system_switched_off_can_still_be_cancelled(
    town: Town, sqlite_filled_url: str
) -> None:
    switch_off = text("UPDATE endpoint SET active = false WHERE tenant_id = 'nordhelse' AND id = 'fjord'")
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        journey = Journey(client, OSLO, "consultation", await sign_in(town, "kari"))
        booking = await journey.booked()
        engine = open_engine(sqlite_filled_url)
        async with raw(engine) as connection:
            await connection.execute(switch_off)
        await engine.dispose()
        assert await journey.slots() == []
        assert await Journey(client, "vasastans-vardcentral", "consultation").slots()
        assert (await journey.cancel(booking))["booking"]["status"] == "CANCELLED"
