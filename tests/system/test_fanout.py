"""Many screens, one execution: everybody is sent what their class is to see, and nobody leaves anything behind."""

import asyncio
import gc
import json
import random
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import httpx2

from api.bootstrap import build_app
from api.serving import Server, listen, port_of, server
from api.settings import Settings
from tests.api.searching import search_for
from tests.api.test_counts import statements
from tests.living import Client, Town, over_http, sign_in, until
from tests.planted import HOOKS
from tests.system.journey import Journey
from tests.system.test_news_out import QUIET, RELEASE, is_gone
from tests.system.watching import SLOTS, Screen, watching

CLINIC = "vasastans-vardcentral"
MANY = 500


class Served:
    """The application in a thread of this process, where its tasks can be counted."""

    def __init__(self, settings: Settings) -> None:
        self._listener = listen("127.0.0.1", 0)
        self._settings = settings
        self.url = f"http://127.0.0.1:{port_of(self._listener)}"
        self.running: Server | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.running = server(await build_app(self._settings), "error", patience=5)
        await self.running.serve(sockets=[self._listener])

    async def left(self) -> Counter[str]:
        """Tasks and async generators that are alive in the server, by name."""
        assert self.loop

        def count() -> Counter[str]:
            gc.collect()
            tasks = Counter(f"task {t.get_coro().__qualname__}" for t in asyncio.all_tasks() if not t.done())  # type: ignore[union-attr]
            generators = [g for g in gc.get_objects() if isinstance(g, AsyncGenerator) and hasattr(g, "ag_frame")]
            alive = Counter(f"generator {g.__qualname__}" for g in generators if g.ag_frame is not None)  # type: ignore[attr-defined]
            return tasks + alive

        async def counted() -> Counter[str]:
            return count()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(counted(), self.loop))

    @property
    def connections(self) -> int:
        assert self.running
        return len(self.running.server_state.connections)


@contextmanager
def served(settings: Settings) -> Iterator[Served]:
    one = Served(settings)
    one.thread.start()
    try:
        yield one
    finally:
        if one.running:
            one.running.stop()
        one.thread.join(30)


@asynccontextmanager
async def serving(town: Town, url: str, **more: Any) -> AsyncIterator[tuple[Served, Client]]:
    settings = town.settings(url, **{**QUIET, "worker": False, **more})
    with served(settings) as one:

        async def is_up() -> bool | None:
            return bool(one.running and one.running.started) or None

        await until(is_up)
        async with over_http(one.url) as client:
            yield one, client


async def test_watchers_of_two_languages_are_sent_their_own(town: Town, sqlite_filled_url: str) -> None:
    """Signed in or not, in Norwegian or in English: the words are one's own, the times everybody's."""
    tokens = [None, await sign_in(town, "astrid"), await sign_in(town, "kari")]
    async with serving(town, sqlite_filled_url) as (one, client), AsyncExitStack() as stack:
        search = await search_for(client, "skin-check", CLINIC)
        titles = await client('{ treatment(code: "skin-check") { title } }')
        assert titles
        screens: list[tuple[str, Screen]] = []
        for n in range(24):
            language = "nb" if n % 2 else "en"
            opened = watching(one.url, SLOTS, tokens[n % 3], languages=language, search=search)
            screens.append((language, await stack.enter_async_context(opened)))
        firsts = await asyncio.gather(*(screen.next() for _, screen in screens))
        languages = [language for language, _ in screens]
        seen = {(language, title_in(first)) for language, first in zip(languages, firsts, strict=True)}
        assert len(seen) == len({title for _, title in seen}) == 2
        held = await Journey(client, CLINIC).hold(firsts[0]["opened"][0]["id"])
        await asyncio.gather(*(s.until(is_gone(firsts[0]["opened"][0]["id"])) for _, s in screens))
        await client(RELEASE, token=held["hold"]["token"])
        events = await asyncio.gather(*(s.until(lambda s: bool(s.events[-1]["opened"])) for _, s in screens))
        assert {(language, title_in(event)) for language, event in zip(languages, events, strict=True)} == seen


def title_in(event: dict[str, Any]) -> str:
    """All of an event's times are of one treatment, in the watcher's language."""
    [title] = {slot["treatment"]["title"] for slot in event["opened"]}
    return str(title)


async def test_a_change_is_executed_as_often_for_two_watchers_as_for_forty(town: Town, sqlite_filled_url: str) -> None:
    counts = []
    async with serving(town, sqlite_filled_url) as (one, client):
        search = await search_for(client, "skin-check", CLINIC)
        for watchers in (2, 40):
            async with AsyncExitStack() as stack:
                screens = [
                    await stack.enter_async_context(watching(one.url, SLOTS, search=search)) for _ in range(watchers)
                ]
                firsts = await asyncio.gather(*(screen.next() for screen in screens))
                slot = firsts[0]["opened"][0]["id"]
                journey = Journey(client, CLINIC)
                await journey.search()
                with statements() as seen:
                    await journey.hold(slot)
                    await asyncio.gather(*(screen.until(is_gone(slot)) for screen in screens))
                counts.append(len(seen))
    assert counts[0] == counts[1]


async def test_five_hundred_abandoned_subscriptions_leave_nothing_behind(town: Town, sqlite_filled_url: str) -> None:
    """Closed by the book, cut off, left in mid-handshake or before the first event: no task, generator, connection."""
    async with serving(town, sqlite_filled_url, linger_seconds=0.0, watch_seconds=0.3) as (one, client):
        search = await search_for(client, "skin-check", CLINIC)
        async with watching(one.url, SLOTS, search=search) as screen:
            await screen.next()
        await quiet(one)
        before = await one.left()
        chance = random.Random(7)
        for begun in range(0, MANY, 50):
            await asyncio.gather(*(abandon(one.url, search, chance.randrange(5), n) for n in range(begun, begun + 50)))

        async def all_gone() -> bool | None:
            now = await one.left()
            return (not now - before and one.connections <= 1) or None

        try:
            await until(all_gone)
        except TimeoutError:
            raise AssertionError((await one.left()) - before) from None


async def quiet(one: Served) -> None:
    """The warm-up's own watch has ended."""

    async def look() -> bool | None:
        return not any("_observe" in name for name in await one.left()) or None

    await until(look)


async def abandon(url: str, search: dict[str, Any], how: int, number: int) -> None:
    """One way to vanish; every tenth watches something of its own, most the same as the others."""
    own = {**search, "notBefore": f"{8 + number // 100:02}:{number % 60:02}:00"} if number % 10 == 0 else search
    host, port = url.removeprefix("http://").split(":")
    if how == 0:  # before anything was said
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /graphql HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
        await writer.drain()
        writer.transport.abort()
        return
    if how == 1:  # as events, cut off after the first bytes
        async with httpx2.AsyncClient(base_url=url, timeout=60, event_hooks=HOOKS) as http:
            body = {"query": SLOTS, "variables": {"search": own}}
            async with http.stream("POST", "/graphql", json=body, headers={"Accept": "text/event-stream"}) as answer:
                async for _ in answer.aiter_raw():
                    break
        return
    async with watching(url, SLOTS, search=own) as screen:
        if how == 2:  # cut off in the middle of it all
            screen.socket.transport.abort()  # type: ignore[attr-defined]
            return
        await screen.next()
        if how == 3:
            await screen.socket.send(json.dumps({"id": "1", "type": "complete"}))
        # otherwise it closes by the book


async def test_events_come_over_plain_http_too(town: Town, sqlite_filled_url: str) -> None:
    async with serving(town, sqlite_filled_url) as (_, client):
        journey = Journey(client, CLINIC)
        search = await journey.search()
        body = {"query": SLOTS, "variables": {"search": search}}
        async with client.http.stream("POST", "/graphql", json=body, headers={"Accept": "text/event-stream"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            first = await event_in(lines)
            slot = first["opened"][0]["id"]
            await journey.hold(slot)
            assert slot in (await event_in(lines))["taken"]


async def event_in(lines: AsyncIterator[str]) -> dict[str, Any]:
    async with asyncio.timeout(120):
        async for line in lines:
            if line.startswith("data: "):
                [event] = json.loads(line.removeprefix("data: "))["data"].values()
                return dict(event)
    raise AssertionError("the stream ended")


async def test_more_searches_than_a_process_may_watch_are_refused_with_a_reason(
    town: Town, sqlite_filled_url: str
) -> None:
    async with serving(town, sqlite_filled_url, most_watches=1) as (one, client):
        search = await search_for(client, "skin-check", CLINIC)
        async with watching(one.url, SLOTS, search=search) as screen:
            assert (await screen.next())["resync"]
            async with watching(one.url, SLOTS, search={**search, "notBefore": "10:00:00"}) as other:
                assert "RATE_LIMITED" in str((await other.message())["payload"])
            async with watching(one.url, SLOTS, search=search) as same:
                assert (await same.next())["resync"]


async def test_a_server_that_stops_closes_its_sockets(town: Town, sqlite_filled_url: str) -> None:
    async with serving(town, sqlite_filled_url) as (one, client):
        search = await search_for(client, "skin-check", CLINIC)
        async with watching(one.url, SLOTS, search=search) as screen:
            await screen.next()
            assert one.running
            one.running.stop()
            async with asyncio.timeout(60):
                await screen.socket.wait_closed()
            assert screen.socket.close_code == 1012
