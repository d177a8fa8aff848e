"""How much one operation asks of the database and of record systems: as little for twenty clinics as for two."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from math import ceil
from uuid import UUID, uuid4

import pytest

from api.signing import from_text
from domain.booking import Booking, BookingStatus, BookingStep
from domain.catalogue import OfferFilter
from domain.offered import slot_of
from domain.rules import RuleValues, rules_of
from domain.slot import FoundTime
from integrations.store.catalogue import SqlCatalogue
from integrations.store.engine import open_engine
from integrations.store.scoping import SAY_TENANT
from integrations.store.sealing import Sealing
from integrations.store.tables_catalogue import ENDPOINT
from integrations.store.work import StartSqlWork
from tests.api.searching import change, find, search_for, shown
from tests.databases import statements_sent
from tests.living import SECRET, Town, in_process, sign_in
from tests.store.making import make_import, make_seed
from tests.system.at_the_desk import somebody
from tests.system.journey import MINE, Journey

T = "stor"
HOST = "stor.example"
Q1 = """{ clinics(first: 20) { nodes { id name treatments(first: 10) { nodes { id title } }
    practitioners(first: 3) { nodes { id name title } } } } }"""
Q1B = """{ offers(first: 200) { nodes { id treatment { id title } practitioner { id name title }
    clinic { id name } } } }"""
COUNTED = """{ clinics(first: 20) { totalCount nodes { treatments(first: 10) { totalCount nodes { id } }
    practitioners(first: 3) { totalCount nodes { id clinic { name } } } offers(first: 5) { totalCount nodes {
    id treatment { id } practitioner { id } clinic { area { name } } } } } } }"""
QUESTIONS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


def statements() -> AbstractContextManager[list[str]]:
    """Every statement of this process meanwhile, but for the tenant's own row, which is remembered for seconds.

    Nor the log of changes: it is read on by the process, whoever asks for what.
    """

    def counts(line: str) -> bool:
        own = "FROM tenant " in line or "FROM change" in line or "pg_current_snapshot" in line or line == SAY_TENANT
        return line.upper().startswith(QUESTIONS) and not own

    return statements_sent(counts)


async def put_catalogue(database_url: str, clinics: int) -> None:
    engine = open_engine(database_url)
    async with StartSqlWork(engine, Sealing(SECRET))(T) as work:
        await work.catalogue.put_seed(make_seed(T))
        await work.catalogue.merge(T, make_import(T, clinics, treatments=10, practitioners=3))
        await work.commit()
    await engine.dispose()


@pytest.mark.parametrize(("query", "most"), [(Q1, 3), (Q1B, 4), (COUNTED, 12)], ids=["q1", "q1b", "counted"])
async def test_the_catalogue_is_one_statement_for_each_type_and_place(
    town: Town, database_url: str, query: str, most: int
) -> None:
    counts = []
    for clinics in (2, 20):
        await put_catalogue(database_url, clinics)
        async with in_process(town.settings(database_url), HOST) as (client, _):
            with statements() as seen:
                data = await client(query)
        [answer] = data.values()
        assert len(answer["nodes"]) == (min(clinics * 30, 200) if "offers" in data else clinics)
        assert len(seen) <= most, "\n".join(seen)
        counts.append(len(seen))
    assert counts[0] == counts[1]
    assert town.calls(town.norway) == town.calls(town.sweden) == {}


async def test_the_whole_page_is_answered_not_just_counted(town: Town, sqlite_url: str) -> None:
    await put_catalogue(sqlite_url, 20)
    async with in_process(town.settings(sqlite_url), HOST) as (client, _):
        clinics = (await client(Q1))["clinics"]["nodes"]
    assert [len(clinic["treatments"]["nodes"]) for clinic in clinics] == [10] * 20
    assert [len(clinic["practitioners"]["nodes"]) for clinic in clinics] == [3] * 20
    assert len({p["id"] for clinic in clinics for p in clinic["practitioners"]["nodes"]}) == 60


async def practitioners_of(town: Town, url: str, treatment: str) -> dict[str, int]:
    """How many do it, by endpoint."""
    engine = open_engine(url)
    found = await SqlCatalogue(engine).offerings("nordhelse", OfferFilter())
    await engine.dispose()
    by_endpoint: dict[str, int] = {}
    for offering in found:
        if offering.treatment.code == treatment:
            by_endpoint[offering.offer.endpoint_id] = by_endpoint.get(offering.offer.endpoint_id, 0) + 1
    return by_endpoint


async def test_twenty_practitioners_are_one_call_each_or_one_search(town: Town, sqlite_filled_url: str) -> None:
    who = await practitioners_of(town, sqlite_filled_url, "consultation")
    assert sum(who.values()) >= 20
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        search = await search_for(client, "consultation", last=2)
        found = await find(client, search)
        assert found["complete"]
        assert town.calls(town.norway) == {"find": who["fjord"]}
        assert town.calls(town.sweden) == {"slot-search": 1}


async def test_a_long_search_is_no_more_calls_than_its_pages(town: Town, sqlite_filled_url: str) -> None:
    await change(sqlite_filled_url, ENDPOINT, {}, page_size=50)
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        found = await find(client, await search_for(client, "psychology", last=20))
        by_clinic = [slot["clinic"]["timeZone"] for slot in shown(found)]
        oslo, stockholm = (by_clinic.count(f"Europe/{city}") for city in ("Oslo", "Stockholm"))
        assert not found["slots"]["pageInfo"]["hasNextPage"]
        assert min(oslo, stockholm) > 50
        assert town.calls(town.norway)["find"] <= ceil(oslo / 50) + 1
        assert town.calls(town.sweden)["slot-search"] <= ceil(stockholm / 50) + 1


@pytest.mark.parametrize("most", [3, 8])
async def test_never_more_calls_at_once_than_the_endpoint_bears(town: Town, sqlite_filled_url: str, most: int) -> None:
    await change(sqlite_filled_url, ENDPOINT, {"id": "fjord"}, max_concurrency=most)
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        search = await search_for(client, "consultation", last=2)
        town.fault(town.norway, "slow", operation="find", seconds=0.3)
        found = await find(client, search)
        assert found["complete"]
        calls = town.norway.get("/_sandbox/calls")
        assert calls["counts"]["find"] > most
        assert calls["max_concurrent"]["find"] == most


async def test_finding_times_is_the_same_statements_for_one_practitioner_and_for_twenty(
    town: Town, filled_url: str
) -> None:
    counts = []
    async with in_process(town.settings(filled_url)) as (client, _):
        for clinics in (["grunerlokka-legesenter"], []):
            for more in ({}, {"anyPractitioner": True}):
                search = await search_for(client, "consultation", *clinics, last=3, **more)
                with statements() as seen:
                    found = await find(client, search)
                assert found["complete"]
                counts.append(len(seen))
    one, one_any, all_, all_any = counts
    # the treatment and the clinics asked for, the offers, the endpoints, what is kept; then what is shown of each slot
    assert all_ <= one <= 8
    assert all_any <= one_any == one + 1


async def put_bookings(url: str, patient_id: UUID, count: int) -> None:
    """At as many different offers, one a day."""
    engine = open_engine(url)
    offers = await SqlCatalogue(engine).offerings("nordhelse", OfferFilter())
    now = datetime.now(UTC).replace(microsecond=0)
    async with StartSqlWork(engine, Sealing(SECRET))("nordhelse") as work:
        for n in range(count):
            offering, start = offers[n * len(offers) // count], now + timedelta(days=count + n)
            time = FoundTime(
                practitioner_ehr_id=offering.practitioner.ehr_id,
                service_code=offering.treatment.code,
                reference=f"time {n}",
                start=start,
                end=start + offering.offer.duration,
            )
            booking = Booking(
                tenant_id="nordhelse",
                id=uuid4(),
                reference=f"R{count}-{n}",
                slot=slot_of(offering, time),
                status=BookingStatus.BOOKED,
                created_at=now,
                expires_at=now,
                booked_at=now,
                rules=rules_of(RuleValues(), RuleValues()),
                patient_id=patient_id,
            )
            assert await work.bookings.hold(booking, now)
            step = BookingStep(at=now, version=1, status=booking.status, actor="PATIENT", start=start)
            await work.bookings.add_step(booking, step)
        await work.commit()
    await engine.dispose()


async def test_my_bookings_are_the_same_statements_for_one_and_for_twenty(town: Town, filled_url: str) -> None:
    counts = []
    town.calm()  # the catalogue may just have been read
    async with in_process(town.settings(filled_url)) as (client, _):
        for count in (1, 20):
            journey = Journey(client, "sentrum-legesenter", token=await sign_in(town, somebody().login))
            me = (await client("{ viewer { patient { id } } }", journey.token))["viewer"]["patient"]["id"]
            await put_bookings(filled_url, UUID(from_text(me).decode().partition(":")[2]), count)
            with statements() as seen:
                mine = await journey.mine()
            assert len(mine) == count
            assert all(b["clinic"] and b["title"] and b["price"] and b["history"] for b in mine)
            counts.append(len(seen))
    assert counts[0] == counts[1]
    assert town.calls(town.norway) == town.calls(town.sweden) == {"search": 2}


async def test_the_viewer_is_looked_up_once_however_often_asked(town: Town, filled_url: str) -> None:
    token = await sign_in(town, "kari")
    async with in_process(town.settings(filled_url)) as (client, _):
        counts = []
        for query in (MINE, MINE.replace("{ viewer", "{ a: viewer { id } b: viewer { id } viewer", 1)):
            await client(query, token, when="ALL")
            with statements() as seen:
                await client(query, token, when="ALL")
            counts.append(len(seen))
    assert counts[0] == counts[1]
