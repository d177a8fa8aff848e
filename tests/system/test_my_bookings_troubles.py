"""My bookings when record systems are silent, clinics change what patients see, and times collide."""

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest

from api.bootstrap import open_house
from tests.api.test_counts import statements
from tests.living import Town, sign_in
from tests.system.at_the_desk import LIST, held_by, number, rings, somebody
from tests.system.journey import Journey, codes
from tests.system.test_my_bookings import Desk, at, both_dialects, desk
from tests.system.watching import at_the_clinic


@pytest.mark.parametrize(("kind", "state"), [("hang", "TIMEOUT"), ("down", "OFFLINE")])
async def test_a_silent_record_system_hides_nothing_of_ours(
    town: Town, sqlite_filled_url: str, kind: str, state: str
) -> None:
    async with desk(town, sqlite_filled_url, look_up_deadline=0.5) as one:
        booked = await one.journey.booked()
        rings(town, town.sweden, one.caller, await a_time_in_sweden(one))
        town.fault(town.norway, kind, operation="search")
        began = monotonic()
        found = await one.page("ALL")
        assert monotonic() - began < 5
        assert booked["id"] in [each["id"] for each in found["nodes"]]
        assert len(found["nodes"]) == 2  # what Sweden says is shown as well
        told = {clinic["slug"]: source for source in found["sources"] for clinic in source["clinics"]}
        assert told[one.journey.clinic]["state"] == state
        assert told[one.journey.clinic]["reason"] == state
        assert told["sodermalms-vardcentral"]["state"] == "OK"
        [mine] = [each for each in found["nodes"] if each["id"] == booked["id"]]
        assert (mine["cancellation"]["allowed"], mine["cancellation"]["refusal"]) == (False, "EHR_OFFLINE")
        town.calm()
        [mine] = [each for each in (await one.page("ALL"))["nodes"] if each["id"] == booked["id"]]
        assert mine["cancellation"]["allowed"]


async def a_time_in_sweden(one: Desk) -> dict[str, Any]:
    ours = one.journey.clinic
    one.journey.clinic = "sodermalms-vardcentral"
    slot = (await one.journey.slots())[0]
    one.journey.clinic = ours
    return slot


async def test_while_its_record_system_is_silent_nobody_says_that_a_visit_is_not_there(
    town: Town, sqlite_filled_url: str
) -> None:
    async with desk(town, sqlite_filled_url, look_up_deadline=0.5) as one:
        shown = await one.rings()
        town.fault(town.norway, "hang", operation="search")
        assert codes(await one.journey.cancel(shown)) == ["UPSTREAM_UNAVAILABLE"]
        town.calm()
        assert (await one.journey.cancel(shown))["booking"]["status"] == "CANCELLED"


@both_dialects
@pytest.mark.parametrize("change", ["cancel", "move"])
async def test_what_staff_do_to_a_visit_that_was_taken_over_shows(
    town: Town, filled_url: str, dialect: str, change: str
) -> None:
    """It carries no number of ours yet: it is known by the id that the record system has for it."""
    async with desk(town, filled_url, dialect) as one:
        shown = await one.rings()
        times = await one.journey.slots(movingBookingId=shown["id"])
        assert (await one.journey.hold(times[-1]["id"], movingBookingId=shown["id"]))["hold"]
        [kept] = held_by(one.ehr, one.caller)
        assert not kept.get("identifier")
        own = next(t for t in times if t["practitioner"] == shown["practitioner"] | {"id": t["practitioner"]["id"]})
        to = {"start": own["start"]} if change == "move" else {}
        at_the_clinic(one.ehr, f"appointments/{kept['id']}/{change}", silent=True, **to)
        await take_in(town, filled_url, "fjord" if dialect == "ihe" else "malar")
        [mine] = await one.nodes("ALL")
        assert mine["id"] == shown["id"]
        if change == "cancel":
            assert (mine["status"], mine["history"][-1]["actor"]) == ("CANCELLED", "EHR")
        else:
            assert (at(mine), mine["history"][-1]["actor"]) == (datetime.fromisoformat(own["start"]), "EHR")


async def take_in(town: Town, url: str, endpoint_id: str) -> None:
    """What the worker does of itself every now and then."""
    house = open_house(town.settings(url))
    follow = house.use.follow_ehrs
    [endpoint] = [e for e in await house.catalogue.endpoints("nordhelse") if e.id == endpoint_id]
    told = await follow.ehrs.listening(endpoint).changes(datetime.now(UTC) - timedelta(minutes=10), 30)
    await follow.take_in(endpoint, told.changes, [])
    await house.close()


async def test_a_hold_on_the_visits_time_gives_way(town: Town, filled_url: str) -> None:
    """Somebody held the time here, and the clinic gave it away by phone meanwhile."""
    async with desk(town, filled_url) as one:
        slot = (await one.journey.slots())[0]
        token, one.journey.token = one.journey.token, None
        held = (await one.journey.hold(slot["id"]))["hold"]
        one.journey.token = token
        rings(town, one.ehr, one.caller, slot)
        [shown] = await one.nodes()
        assert (await one.journey.cancel(shown))["booking"]["status"] == "CANCELLED"
        query = "query($t: String!) { hold(token: $t) { expiresAt } }"
        assert (await one.client(query, t=held["token"]))["hold"] is None


async def test_where_a_booking_of_ours_has_the_time_the_visit_stays_the_clinics(town: Town, filled_url: str) -> None:
    """Staff cancelled that one and gave its time to somebody who rang; nobody here has heard of it yet."""
    async with desk(town, filled_url) as one:
        other = somebody()
        theirs = Journey(one.client, one.journey.clinic, token=await sign_in(town, other.login))
        slot = (await theirs.slots())[0]
        booked = await theirs.booked(slot["id"])
        [kept] = held_by(one.ehr, other)
        at_the_clinic(one.ehr, f"appointments/{kept['id']}/cancel", silent=True)
        rings(town, one.ehr, one.caller, slot)
        [shown] = await one.nodes()
        assert shown["start"] == booked["start"]
        refused = await one.journey.cancel(shown)
        assert [(e["refusal"], bool(e["clinicPhone"])) for e in refused["errors"]] == [("MANAGED_EXTERNALLY", True)]
        assert [each["status"] for each in held_by(one.ehr, one.caller)] == ["booked"]
        assert (await one.node(shown["id"], one.journey.token))["history"] == []


async def test_an_open_list_is_one_search_at_each_record_system_however_often_it_is_named(
    town: Town, sqlite_filled_url: str
) -> None:
    async with desk(town, sqlite_filled_url) as one:
        for nth in (0, 20, 40):
            await one.rings(nth)
        town.calm()
        assert len(await one.nodes()) == 3
        for ehr in town.ehrs:
            assert town.calls(ehr) == {"search": 1}
        town.calm()
        twice = LIST.replace("viewer {", "viewer { again: bookings(when: $when) { nodes { id } }", 1)
        await one.client(twice, one.journey.token, when="ALL")
        for ehr in town.ehrs:
            assert town.calls(ehr) == {"search": 1}


async def test_ten_visits_made_elsewhere_are_as_many_statements_as_one(town: Town, filled_url: str) -> None:
    counts = []
    async with desk(town, filled_url) as one:
        slots = (await one.journey.slots())[::5]
        await one.nodes()  # the first answer also tells the store who the patient is
        for more in (slots[:1], slots[1:10]):
            for slot in more:
                rings(town, one.ehr, one.caller, slot)
            with statements() as seen:
                found = await one.nodes()
            counts.append((len(found), len(seen)))
    (one_visit, few), (ten_visits, many) = counts
    assert (one_visit, ten_visits) == (1, 10)
    # the patient; endpoints, clinics, the page, what is known of them; three of the catalogue; five of what is shown
    assert few == many <= 14, counts


async def test_the_record_systems_own_limit_comes_with_the_visit(town: Town, sqlite_filled_url: str) -> None:
    async with desk(town, sqlite_filled_url) as one:
        shown = await one.rings()
        times = await one.journey.slots(movingBookingId=shown["id"])
        await one.journey.hold(times[-1]["id"], movingBookingId=shown["id"])
        house = open_house(town.settings(sqlite_filled_url))
        kept = (await house.reads.get("nordhelse", [number(shown)]))[number(shown)]
        await house.close()
        assert (kept.made_elsewhere, kept.no_change_within) == (True, timedelta(hours=24))
        assert kept.booked_at is not None and kept.booked_at <= kept.created_at + timedelta(seconds=1)


async def test_what_was_booked_with_a_lost_answer_is_shown_once(town: Town, sqlite_filled_url: str) -> None:
    """Our store does not know the record system's id for it yet, but the number is ours."""
    async with desk(town, sqlite_filled_url) as one:
        held = await one.journey.hold((await one.journey.slots())[0]["id"])
        town.fault(town.norway, "lost-answer", operation="book", times=1)
        unknown = (await one.journey.confirm(held["hold"]["token"]))["booking"]
        assert [each["status"] for each in held_by(one.ehr, one.caller)] == ["booked"]
        assert [(each["id"], each["status"]) for each in await one.nodes("ALL")] == [(unknown["id"], "UNKNOWN")]
