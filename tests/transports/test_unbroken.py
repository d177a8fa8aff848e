"""A mutation that has begun goes on to its end, over every transport and however its connection ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest

from api.conversation import SocketRules
from api.sse import StreamRules
from tests.living import until
from tests.transports.small import HELD, OPEN, Running, held, running
from tests.transports.talking import begun
from tests.transports.test_connections import has_room, is_full, room
from tests.transports.test_websocket_ends import Session, reset

ADD = "mutation { addAtLast(number: 1) }"
EVENTS, JSON = "text/event-stream", "application/json"
TOLD = 'event: next\ndata: {"data":{"addAtLast":2}}\n\nevent: complete\ndata:\n\n'

Leave = Callable[[Running], Awaitable[None]]


async def politely(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", ADD)
        await api.opens("mutation")
        await talk.socket.close()


async def cut_off(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", ADD)
        await api.opens("mutation")
        reset(talk)


async def wanting_it_no_more(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", ADD)
        await api.opens("mutation")
        await talk.say({"id": "1", "type": "complete"})
        assert await talk.data("{ hello }", "1")  # the id is free, and nothing comes of what it was before


@asynccontextmanager
async def posted(api: Running, accept: str) -> AsyncIterator["asyncio.Task[httpx2.Response]"]:
    async with httpx2.AsyncClient(timeout=60) as http:
        asked = asyncio.create_task(http.post(api.http, json={"query": ADD}, headers={"Accept": accept}))
        await api.opens("mutation")
        yield asked
        asked.cancel()
        await asyncio.wait([asked])


async def as_events(api: Running) -> None:
    async with posted(api, EVENTS):
        pass


async def as_json(api: Running) -> None:
    async with posted(api, JSON):
        pass


WAYS: list[Leave] = [politely, cut_off, wanting_it_no_more, as_events, as_json]


async def nobody_is_there(api: Running) -> None:
    async def look() -> bool:
        return (await api.counts())["connections"] == 0

    await until(look, 60)


async def is_added(times: int) -> None:
    async def look() -> bool:
        return OPEN["added"] == times and OPEN["mutation"] == 0

    await until(look, 60)


@pytest.mark.parametrize("leave", WAYS)
async def test_who_leaves_does_not_cut_it(leave: Leave) -> None:
    with running() as api:
        before, added = await api.at_rest(), OPEN["added"]
        with held():
            await leave(api)
            await nobody_is_there(api)
            assert OPEN["mutation"] == 1
        await is_added(added + 1)
        await api.comes_back_to(before)


async def test_the_end_of_the_session_does_not_cut_it() -> None:
    session, added = Session(), OPEN["added"]
    with running(SocketRules(recheck=0.02, still=session.still)) as api:
        with held():
            async with begun(api.ws) as talk:
                await talk.ask("1", ADD)
                await api.opens("mutation")
                session.ended = True
                assert (await talk.closed())[0] == 4403
            await nobody_is_there(api)
            assert OPEN["mutation"] == 1
        await is_added(added + 1)


@asynccontextmanager
async def streamed(api: Running) -> AsyncIterator[AsyncIterator[str]]:
    async with (
        httpx2.AsyncClient(timeout=60) as http,
        http.stream("POST", api.http, json={"query": ADD}, headers={"Accept": EVENTS}) as answer,
    ):
        await api.opens("mutation")
        yield answer.aiter_text()


async def test_a_stream_tells_what_became_of_it_though_the_session_has_ended() -> None:
    """As over JSON: who is told to sign in would think that nothing was done."""
    session = Session()
    with running(events=StreamRules(heartbeat=0.02, recheck=0.02, still=session.still)) as api, held():
        async with streamed(api) as parts:
            session.ended = True
            heard = ""
            while heard.count(":\n\n") < 10:
                heard += await anext(parts)
            HELD.clear()
            heard += "".join([part async for part in parts])
    assert heard.endswith(TOLD) and "errors" not in heard


async def test_nor_is_who_is_over_already_told_anything_else() -> None:
    """A token counts for a moment longer than it says; over JSON nobody looks again."""
    session = Session()
    session.ended = True
    with running(events=StreamRules(heartbeat=0.02, recheck=0.02, still=session.still)) as api, held():
        async with streamed(api) as parts:
            HELD.clear()
            heard = "".join([part async for part in parts])
    assert heard.endswith(TOLD) and "errors" not in heard


@pytest.mark.parametrize("leave", [politely, cut_off, as_events])
async def test_its_place_is_taken_until_it_is_over(leave: Leave) -> None:
    """Else who asks and leaves, again and again, would have any number going on at once."""
    with running(connections=room(1)) as api:
        with held():
            await leave(api)
            await nobody_is_there(api)
            assert await is_full(api.ws)
        await has_room(api.ws)


async def test_those_that_nobody_wants_any_more_count_on_their_socket() -> None:
    with running(SocketRules(most_operations=2)) as api, held():
        async with begun(api.ws) as talk:
            for number in range(4):
                await talk.ask(str(number), ADD)
                await talk.say({"id": str(number), "type": "complete"})
            assert await talk.lives()
            await api.opens("mutation", 4)
            await talk.ask("4", ADD)
            told = await talk.hear()
            assert told["payload"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_a_server_that_stops_waits_for_it() -> None:
    """And tells it to whoever is still there; sockets are closed at once, and their clients look after it elsewhere."""
    added = OPEN["added"]
    with running(patience=60) as api, held():
        async with begun(api.ws) as talk, streamed(api) as parts, posted(api, JSON) as answer:
            await talk.ask("1", ADD)
            await api.opens("mutation", 3)
            api.server.stop()
            assert (await talk.closed())[0] == 1012
            assert OPEN["mutation"] == 3
            HELD.clear()
            assert "".join([part async for part in parts]).endswith(TOLD)
            assert (await answer).json() == {"data": {"addAtLast": 2}}
            await is_added(added + 3)


async def test_a_server_that_has_waited_long_enough_leaves_nothing() -> None:
    added = OPEN["added"]
    with running(patience=1) as api, held():
        async with begun(api.ws) as talk, streamed(api), posted(api, JSON):
            await talk.ask("1", ADD)
            await api.opens("mutation", 3)
            api.server.stop()
            await api.closes("mutation")
    assert OPEN["added"] == added
