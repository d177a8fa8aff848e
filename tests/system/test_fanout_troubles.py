"""What many are shown when something fails on the way, when somebody leaves, and when somebody wants it all."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import time, timedelta
from typing import Any

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from api.app import House
from api.audience import Audience
from api.bootstrap import open_house
from api.connections import COME_BACK_SECONDS
from api.context import Context
from api.fanout import Fanout
from api.operations import Operation, Operations
from api.schema.availability import Availability
from api.schema.schema import schema
from domain import availability as domain
from domain.shares import Owner
from domain.tenant import Tenant
from domain.usecases.watch_slots import TooManyWatches, WatchSlots
from tests.api.searching import search_for
from tests.living import Town, in_process, until

WATCH = """subscription($search: AvailabilitySearch!, $after: String) {
  slotChanges(search: $search, after: $after) { cursor resync taken opened { id } availability { asOf complete } } }"""
HOURS = [f"{hour:02}:00:00" for hour in range(1, 9)]
PATIENCE = 60


@dataclass
class Stage:
    """Free times by our own hand: `hidden` of the first are missing, `minutes` is how late it is."""

    house: House
    search: dict[str, Any]
    fanout: Fanout
    hidden: int = 0
    minutes: int = 0
    failing: int = 0
    blocked: asyncio.Event | None = None
    lost: bool = False
    real: domain.Availability | None = None

    async def find(self, tenant: Tenant, search: domain.Search, *, wait_for_fresh: bool) -> domain.Availability:
        if self.blocked:
            await self.blocked.wait()
        if self.lost:
            raise OSError("no store")
        self.real = self.real or await self.house.use.find_slots(tenant, search, wait_for_fresh=wait_for_fresh)
        return replace(
            self.real, slots=self.real.slots[self.hidden :], as_of=self.real.as_of + timedelta(minutes=self.minutes)
        )

    @property
    def watches(self) -> WatchSlots:
        return self.house.use.watch_slots

    async def context(self, visitor: str = "somebody") -> Context:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")],
        }
        return replace(await self.house.context(Request(scope), Response(), "r1"), owner=owned(visitor))

    def operation(self, **more: Any) -> Operation:
        return Operation(query=WATCH, variables={"search": {**self.search, **more}})

    async def screen(self, visitor: str = "somebody", **more: Any) -> AsyncIterator[dict[str, Any]]:
        results = self.fanout(self.operation(**more), await self.context(visitor))
        assert results
        return aiter(decoded(results))

    async def changes(self, hidden: int, failing: int = 0) -> None:
        """The watch looks again and finds that; so many of the next executions fail."""
        [ready] = self.watches._watches.values()
        watch = await ready
        before = watch.looks
        self.hidden, self.failing, self.minutes = hidden, failing, self.minutes + 1
        self.house.use.news.lost()

        async def looked() -> bool:
            return watch.looks > before

        await until(looked)


def owned(name: str) -> Owner:
    """Each comes from a place of their own."""
    return Owner(name, of=name)


async def decoded(results: Any) -> AsyncIterator[dict[str, Any]]:
    try:
        async for result in results:
            yield orjson.loads(result.body)
    finally:
        await results.aclose()


async def seen(screen: AsyncIterator[Any]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        body = await anext(screen)
    assert not body.get("errors"), body
    return dict(body["data"]["slotChanges"])


async def nothing(screen: AsyncIterator[Any]) -> "asyncio.Task[Any]":
    """That nothing comes for a moment; what waits for it."""
    waits: asyncio.Task[Any] = asyncio.ensure_future(anext(screen))
    done, _ = await asyncio.wait([waits], timeout=0.3)
    assert not done
    return waits


@pytest.fixture
async def stage(town: Town, sqlite_filled_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(town, sqlite_filled_url, monkeypatch) as ready:
        yield ready


@asynccontextmanager
async def staged(town: Town, url: str, monkeypatch: pytest.MonkeyPatch, most: int = 50) -> AsyncIterator[Stage]:
    settings = town.settings(url, watch_seconds=3600)
    async with in_process(settings) as (client, _):
        search = await search_for(client, "skin-check", "vasastans-vardcentral")
    house = open_house(settings)
    stage = Stage(house, search, Fanout(schema))
    find: Any = stage.find
    watches = WatchSlots(find, house.catalogue, house.use.news, settings.timing(), most)
    stage.house = replace(house, use=replace(house.use, watch_slots=watches))
    told = Availability.of

    def of(found: domain.Availability, search: domain.Search) -> Availability:
        if stage.failing:
            stage.failing -= 1
            raise RuntimeError("no words for it")
        return told(found, search)

    monkeypatch.setattr(Availability, "of", of)
    try:
        yield stage
    finally:
        await watches.close()
        await house.close()


async def test_who_comes_after_a_look_is_told_of_that_look(stage: Stage) -> None:
    """Also when nothing was different, so that nobody else was told of it."""
    first = await seen(await stage.screen())
    early = await stage.screen()
    assert (await seen(early))["availability"]["asOf"] == first["availability"]["asOf"]
    await stage.changes(hidden=0)
    late = await seen(await stage.screen())
    assert late["availability"]["asOf"] > first["availability"]["asOf"]
    assert late["cursor"] == first["cursor"]


async def test_a_beginning_that_failed_is_not_shown_to_the_next(stage: Stage) -> None:
    watching = await stage.screen()
    await seen(watching)
    await stage.changes(hidden=0, failing=2)
    assert (await anext(await stage.screen()))["errors"]
    assert (await seen(await stage.screen()))["resync"]


async def test_a_step_whose_execution_fails_is_tried_once_more(stage: Stage) -> None:
    screen = await stage.screen()
    all_there_is = await seen(screen)
    await stage.changes(hidden=1, failing=1)
    step = await seen(screen)
    assert step["taken"] == [all_there_is["opened"][0]["id"]] and not step["resync"]


async def test_after_a_step_that_cannot_be_shown_comes_the_whole_picture(stage: Stage) -> None:
    screen = await stage.screen()
    all_there_is = await seen(screen)
    await stage.changes(hidden=1, failing=2)
    waits = await nothing(screen)
    await stage.changes(hidden=2)
    body = await asyncio.wait_for(waits, PATIENCE)
    step = body["data"]["slotChanges"]
    assert step["resync"] and step["opened"] == all_there_is["opened"][2:]
    await stage.changes(hidden=3)
    assert (await seen(screen))["taken"] == [all_there_is["opened"][2]["id"]]


async def test_who_began_with_an_error_is_shown_the_whole_picture_next(stage: Stage) -> None:
    watching = await stage.screen()
    all_there_is = await seen(watching)
    await stage.changes(hidden=0, failing=2)
    unlucky = await stage.screen()
    assert (await anext(unlucky))["errors"]
    await stage.changes(hidden=1)
    step = await seen(unlucky)
    assert step["resync"] and step["opened"] == all_there_is["opened"][1:]
    assert not (await seen(watching))["resync"]


async def test_who_watches_alone_is_shown_the_whole_picture_after_an_error(stage: Stage) -> None:
    results = Operations(schema).execute(stage.operation(), await stage.context())
    screen = aiter(decoded(results))
    all_there_is = await seen(screen)
    waits = await nothing(screen)
    await stage.changes(hidden=1, failing=1)
    assert (await asyncio.wait_for(waits, PATIENCE))["errors"]
    waits = await nothing(screen)
    await stage.changes(hidden=2)
    step = (await asyncio.wait_for(waits, PATIENCE))["data"]["slotChanges"]
    assert step["resync"] and step["opened"] == all_there_is["opened"][2:]


async def test_who_leaves_between_two_steps_leaves_nothing_waiting(stage: Stage) -> None:
    def waiting() -> int:
        gc.collect()
        return sum(isinstance(each, asyncio.Future) for each in gc.get_objects())

    stays = await stage.screen()
    await seen(stays)
    waits = await nothing(stays)
    before = waiting()
    for _ in range(40):
        leaves = await stage.screen()
        await seen(leaves)
        gone: asyncio.Task[Any] = asyncio.ensure_future(anext(leaves))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        del gone, leaves
    assert waiting() - before < 20
    waits.cancel()


async def test_an_audience_that_breaks_lets_go_of_its_watch_and_of_its_place(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = await stage.screen()
    await seen(screen)
    waits = await nothing(screen)

    async def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(Audience, "_shown", broken)
        await stage.changes(hidden=1)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waits, PATIENCE)
    [ready] = stage.watches._watches.values()
    watch = await ready

    async def let_go() -> bool:
        return watch.watchers == 0

    await until(let_go)
    assert (await seen(await stage.screen()))["resync"]


async def test_an_audience_that_ends_before_anybody_joined_is_followed_by_another(stage: Stage) -> None:
    context, operation = await stage.context(), stage.operation()
    audience = await stage.fanout._audience("key", operation, context)
    assert audience
    await stage.watches.close()

    async def over() -> bool:
        return audience.is_over

    await until(over)
    async with asyncio.timeout(PATIENCE):
        another = await stage.fanout._audience("key", operation, context)
    assert another and another is not audience and not another.is_over


async def test_an_audience_that_cannot_begin_is_not_found_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(Audience, "begin", broken)
        with pytest.raises(RuntimeError):
            await seen(await stage.screen())
    assert (await seen(await stage.screen()))["resync"]


Watching = Callable[[str, str], Awaitable[Any]]


@asynccontextmanager
async def watching_domain(stage: Stage) -> AsyncIterator[tuple[Watching, AsyncExitStack]]:
    """Opens a watch of the times from an hour on, for somebody."""
    context = await stage.context()
    heard: list[domain.Search] = []
    trial = Operations(schema).execute(stage.operation(), replace(context, watches=heard.append))
    await anext(trial)
    await trial.aclose()
    async with AsyncExitStack() as stack:

        async def opens(owner: str, hour: str) -> Any:
            search = replace(heard[0], not_before=time.fromisoformat(hour))
            return await stack.enter_async_context(stage.watches(context.tenant, search, owned(owner)))

        yield opens, stack


async def test_a_first_look_that_fails_after_everybody_left_takes_no_place(
    town: Town, sqlite_filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        staged(town, sqlite_filled_url, monkeypatch, most=2) as stage,
        watching_domain(stage) as (opens, _),
    ):
        stage.blocked, stage.lost, before = asyncio.Event(), True, stage.watches.count
        waits = asyncio.ensure_future(opens("a", HOURS[0]))
        await asyncio.sleep(0.05)
        waits.cancel()
        await asyncio.wait([waits])
        assert stage.watches.count == before + 1
        stage.blocked.set()

        async def gone() -> bool:
            return stage.watches.count == before

        await until(gone, 30)
        stage.lost = False
        assert await opens("a", HOURS[0])


async def test_a_watch_without_watchers_gives_way_where_there_is_no_room(
    town: Town, sqlite_filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(town, sqlite_filled_url, monkeypatch, most=1) as stage, watching_domain(stage) as (opens, stack):
        assert stage.watches.count == 1  # it lingers
        assert await opens("a", HOURS[0])
        with pytest.raises(TooManyWatches):
            await opens("b", HOURS[1])
        await stack.aclose()
        watch = await opens("b", HOURS[1])
        await asyncio.sleep(0.05)
        assert not watch.ended and stage.watches.count == 1


async def test_one_visitor_watches_no_more_than_a_share_of_all_searches(stage: Stage) -> None:
    async with watching_domain(stage) as (opens, stack):
        for hour in HOURS[:5]:
            await opens("greedy", hour)
        with pytest.raises(TooManyWatches):
            await opens("greedy", HOURS[5])
        assert await opens("greedy", HOURS[0]) and await opens("modest", HOURS[5])
        await stack.aclose()
        assert await opens("greedy", HOURS[5])


async def test_a_share_is_used_up_by_what_others_began_as_well(stage: Stage) -> None:
    screens = []
    for hour in HOURS[:5]:
        screens.append(await stage.screen("first", notBefore=hour))
        await seen(screens[-1])
        screens.append(await stage.screen("greedy", notBefore=hour))
        await seen(screens[-1])
    others = await stage.screen("second", notBefore=HOURS[5])
    await seen(others)
    for hour in HOURS[5:7]:
        refused = await anext(await stage.screen("greedy", notBefore=hour))
        told = refused["errors"][0]["extensions"]
        assert (told["code"], told["retryAfter"]) == ("RATE_LIMITED", COME_BACK_SECONDS)
    await screens[-1].aclose()  # type: ignore[attr-defined]
    assert (await seen(await stage.screen("greedy", notBefore=HOURS[5])))["resync"]
