"""Record systems are listened to by one process at a time, and nothing that was wished for meanwhile is lost."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from domain.catalogue import Seed
from domain.endpoint import Dialect, Endpoint
from domain.ports import EVERY_TENANT, Feed
from integrations.store.catalogue import SqlCatalogue
from integrations.store.feeds import SqlFeedReads
from integrations.store.tables import TENANT
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.making import NOW, TENANTS, make_tenant

PLACE = ("nord", "fjord")
LATER = NOW + timedelta(seconds=60)


def an_endpoint(tenant_id: str) -> Endpoint:
    return Endpoint(tenant_id=tenant_id, id="fjord", dialect=Dialect.IHE, base_url="https://ehr.example")


async def two_endpoints(start: StartSqlWork) -> None:
    for tenant_id in TENANTS:
        async with start(tenant_id) as work:
            seed = Seed(tenant=make_tenant(tenant_id), endpoints=[an_endpoint(tenant_id)])
            await work.catalogue.put_seed(seed)
            await work.commit()


@pytest.fixture
async def feeds(start: StartSqlWork) -> StartSqlWork:
    await two_endpoints(start)
    async with start(PLACE[0]) as work:
        await work.feeds.ensure([PLACE], NOW, 15.0)
        await work.commit()
    return start


async def test_whether_any_is_due_counts_who_has_none_yet_and_nobody_who_is_switched_off(feeds, engine):
    """Else a new record system would never be asked, and one that is gone be asked for ever."""
    reads = SqlFeedReads(engine)
    assert await reads.any_due(NOW)
    await claim(feeds, "one")
    assert await reads.any_due(NOW)  # syd's endpoint has no feed
    async with raw(engine) as connection:
        await connection.execute(update(TENANT).where(TENANT.c.tenant_id == "syd").values(active=False))
    assert not await reads.any_due(NOW)
    assert await reads.any_due(LATER)
    async with feeds("nord") as work:
        await work.catalogue.put_seed(Seed(tenant=make_tenant("nord"), endpoints=[]))
        await work.commit()
    assert not await reads.any_due(LATER)


async def claim(start: StartSqlWork, owner: str, now=NOW, **more) -> list[Feed]:
    async with start(EVERY_TENANT) as work:
        claimed = await work.feeds.claim(owner, now, now + timedelta(seconds=60), 10, **more)
        await work.commit()
    return list(claimed)


async def finish(start: StartSqlWork, owner: str, feed: Feed, now=NOW) -> bool:
    async with start(feed.tenant_id) as work:
        done = await work.feeds.finish(owner, feed, now)
        await work.commit()
    return done


async def test_one_of_many_gets_a_feed(feeds):
    claimed = await asyncio.gather(*(claim(feeds, f"process {n}") for n in range(8)))
    assert [len(each) for each in claimed if each] == [1]


async def test_many_feeds_are_made_by_one_statement(start, statements):
    await two_endpoints(start)
    async with start(EVERY_TENANT) as work:
        with statements() as seen:
            await work.feeds.ensure([(tenant_id, "fjord") for tenant_id in TENANTS], NOW, 15.0)
        await work.feeds.ensure([], NOW, 15.0)
        await work.commit()
    assert len([each for each in seen if "INSERT" in each]) == 1
    assert {each.tenant_id for each in await claim(start, "one")} == set(TENANTS)


async def test_every_served_tenants_endpoints_are_one_statement(feeds, engine, statements):
    catalogue = SqlCatalogue(engine)
    with statements() as seen:
        found = await catalogue.endpoints_of_all()
    assert {each.tenant_id for each in found} == set(TENANTS)
    assert len([each for each in seen if "SELECT" in each]) == 1
    async with raw(engine) as connection:
        await connection.execute(update(TENANT).where(TENANT.c.tenant_id == "syd").values(active=False))
    assert {each.tenant_id for each in await catalogue.endpoints_of_all()} == set(TENANTS) - {"syd"}


async def test_a_feed_that_exists_is_left_as_it_is(feeds):
    [feed] = await claim(feeds, "one")
    assert await finish(feeds, "one", replace(feed, due_at=LATER, interval=30.0, seen=("Slot/1/2",)))
    async with feeds(EVERY_TENANT) as work:
        await work.feeds.ensure([PLACE, ("syd", "fjord")], NOW, 15.0)
        await work.commit()
    [again] = await claim(feeds, "one", LATER, only=PLACE)
    assert (again.interval, again.seen) == (30.0, ("Slot/1/2",))


async def test_what_is_not_due_is_not_claimed(feeds):
    [feed] = await claim(feeds, "one")
    await finish(feeds, "one", replace(feed, due_at=LATER))
    assert await claim(feeds, "one", LATER - timedelta(seconds=1)) == []
    assert len(await claim(feeds, "one", LATER)) == 1


async def test_a_lease_that_ran_out_is_somebody_elses(feeds):
    [feed] = await claim(feeds, "dead")
    assert await claim(feeds, "alive", NOW + timedelta(seconds=59)) == []
    [taken] = await claim(feeds, "alive", NOW + timedelta(seconds=60))
    assert not await finish(feeds, "dead", replace(feed, seen=("late",)))
    assert await finish(feeds, "alive", replace(taken, seen=("in time",), due_at=NOW))
    [last] = await claim(feeds, "alive", LATER)
    assert last.seen == ("in time",)


async def test_a_wish_made_while_it_is_asked_is_not_lost(feeds):
    [feed] = await claim(feeds, "one")
    async with feeds("nord") as work:
        await work.feeds.request(*PLACE, NOW)
        await work.commit()
    await finish(feeds, "one", replace(feed, due_at=LATER))
    assert len(await claim(feeds, "one", NOW)) == 1


async def test_a_feed_of_another_endpoint_is_left_alone(feeds):
    assert await claim(feeds, "one", only=("nord", "malar")) == []
    assert await claim(feeds, "one", only=("syd", "fjord")) == []
    assert len(await claim(feeds, "one", only=PLACE)) == 1


async def test_the_same_body_is_news_once_at_each_endpoint(feeds):
    async with feeds("nord") as work:
        assert await work.feeds.notified(*PLACE, "digest", NOW)
        assert not await work.feeds.notified(*PLACE, "digest", NOW)
        await work.commit()
    async with feeds("syd") as work:
        assert await work.feeds.notified("syd", "fjord", "digest", NOW)
        await work.commit()


async def test_numbers_of_events_never_go_back(feeds):
    async with feeds("nord") as work:
        assert await work.feeds.advance(*PLACE, "sub", 5) is None
        assert await work.feeds.advance(*PLACE, "sub", 4) == 5
        assert await work.feeds.advance(*PLACE, "sub", 6) == 5
        assert await work.feeds.advance(*PLACE, "other", 1) is None
        assert await work.feeds.advance(*PLACE, "sub", 7) == 6
        await work.commit()


async def test_what_was_heard_meanwhile_is_not_written_over(feeds):
    [feed] = await claim(feeds, "one")
    async with feeds("nord") as work:
        await work.feeds.advance(*PLACE, "sub", 9)
        await work.commit()
    await finish(feeds, "one", replace(feed, due_at=NOW, hooks={"Slot": "sub"}))
    [again] = await claim(feeds, "one")
    assert (again.heard, again.hooks) == ({"sub": 9}, {"Slot": "sub"})
