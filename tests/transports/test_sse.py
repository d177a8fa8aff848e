"""Subscriptions, and all else for who reads nothing else, as server-sent events."""

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import pytest

from api import serving
from api.sse import StreamRules
from tests.living import BY_SCRIPT
from tests.planted import HOOKS
from tests.transports.small import OPEN, SECRET, Running, running
from tests.transports.test_websocket_ends import Session, held_up, results_of

EVENTS = "text/event-stream"
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)
FOREVER = "subscription { forever }"
COUNT = "subscription { count(to: 2) }"
COMPLETE = "event: complete\ndata:\n\n"


@pytest.fixture(scope="module")
def api() -> Iterator[Running]:
    with running() as served:
        yield served


async def post(api: Running, query: str, accept: str | None = EVENTS, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=60, event_hooks=HOOKS) as http:
        if accept is None:
            http.headers.pop("accept")
        else:
            headers["Accept"] = accept
        return await http.post(api.http, json={"query": query}, headers=headers)


async def get(api: Running, query: str, accept: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=60, event_hooks=HOOKS) as http:
        return await http.get(api.http, params={"query": query}, headers={"Accept": accept, **BY_SCRIPT})


def events(answer: httpx2.Response) -> list[Any]:
    """The data of each `next`; the stream is checked to be one, and complete."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(EVENTS)
    assert "\r" not in answer.text
    parts = answer.text.split("\n\n")
    assert parts[0] == ":"
    assert parts[-2:] == ["event: complete\ndata:", ""]
    told = [part.split("\n") for part in parts[1:-2] if part != ":"]
    assert all(name == "event: next" for name, _ in told)
    return [json.loads(line.removeprefix("data: ")) for _, line in told]


@asynccontextmanager
async def streaming(api: Running, query: str) -> AsyncIterator[AsyncIterator[str]]:
    async with (
        httpx2.AsyncClient(timeout=60, event_hooks=HOOKS) as http,
        http.stream("POST", api.http, json={"query": query}, headers={"Accept": EVENTS}) as answer,
    ):
        assert answer.status_code == 200
        yield answer.aiter_text()


def code_of(answer: httpx2.Response) -> str:
    assert answer.headers["content-type"] == "application/json"
    [error] = answer.json()["errors"]
    assert error["extensions"]["requestId"] == answer.headers["x-request-id"]
    return str(error["extensions"]["code"])


async def test_a_subscription_is_told_event_by_event(api: Running) -> None:
    answer = await post(api, COUNT)
    assert answer.text == (
        ':\n\nevent: next\ndata: {"data":{"count":0}}\n\nevent: next\ndata: {"data":{"count":1}}\n\n' + COMPLETE
    )
    headers = answer.headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert headers["x-request-id"] == api.door.made[-1]
    assert headers["content-language"] == "en"
    assert "content-length" not in headers


@pytest.mark.parametrize("accept", [EVENTS, "text/event-stream, multipart/mixed", URQL, "*/*, TEXT/Event-Stream;q=0.1"])
async def test_who_reads_events_may_subscribe(api: Running, accept: str) -> None:
    assert events(await post(api, COUNT, accept)) == [{"data": {"count": 0}}, {"data": {"count": 1}}]


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/event-stream;q=0, */*", "text/*"])
async def test_who_reads_no_events_is_refused_a_subscription(api: Running, accept: str | None) -> None:
    answer = await post(api, FOREVER, accept)
    assert answer.status_code == 405
    assert code_of(answer) == "BAD_USER_INPUT"
    assert answer.headers["allow"] == "GET, POST"
    assert OPEN["forever"] == 0


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", URQL, "application/*", "application/json;q=0.5"])
@pytest.mark.parametrize("query", ["{ hello }", "mutation { add(number: 1) }", "{ hello", "{ nothing }"])
async def test_queries_and_mutations_are_json_where_json_is_read(api: Running, accept: str | None, query: str) -> None:
    answer = await post(api, query, accept)
    assert answer.headers["content-type"] == "application/json"
    assert ("errors" in answer.json()) == (query in ("{ hello", "{ nothing }"))


@pytest.mark.parametrize(
    "accept", [EVENTS, "text/event-stream, multipart/mixed", "application/json;q=0, text/event-stream"]
)
async def test_queries_and_mutations_are_events_where_nothing_else_is_read(api: Running, accept: str) -> None:
    assert events(await post(api, "{ hello }", accept)) == [{"data": {"hello": "hello, Ærlig 🙂"}}]
    assert events(await post(api, "mutation { add(number: 1) }", accept)) == [{"data": {"add": 2}}]


REFUSED = {
    "{ hello": "GRAPHQL_PARSE_FAILED",
    "{ nothing }": "GRAPHQL_VALIDATION_FAILED",
    "subscription { nothing }": "GRAPHQL_VALIDATION_FAILED",
    "subscription($to: Int!) { count(to: $to) }": "BAD_USER_INPUT",
    "subscription { never }": "BAD_USER_INPUT",
    "": "BAD_USER_INPUT",
}


@pytest.mark.parametrize(("query", "code"), REFUSED.items())
async def test_what_is_refused_before_execution_is_told_as_an_event(api: Running, query: str, code: str) -> None:
    answer = await post(api, query)
    [told] = events(answer)
    assert "data" not in told
    assert [error["extensions"]["code"] for error in told["errors"]] == [code]
    assert told["errors"][0]["extensions"]["requestId"] == answer.headers["x-request-id"]


async def test_an_error_on_the_way_is_masked_and_completes(api: Running) -> None:
    answer = await post(api, "subscription { fails }")
    first, second = events(answer)
    assert first == {"data": {"fails": 1}}
    assert second["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert SECRET not in answer.text


@pytest.mark.parametrize("body", [b"{", b"1", b"[]", b'{"query": 1}'])
async def test_a_body_that_is_no_request_is_refused_in_json(api: Running, body: bytes) -> None:
    async with httpx2.AsyncClient(timeout=60, event_hooks=HOOKS) as http:
        headers = {"Accept": EVENTS, "Content-Type": "application/json"}
        answer = await http.post(api.http, content=body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (400, "BAD_USER_INPUT")


async def test_a_token_that_is_not_valid_is_refused_in_json(api: Running) -> None:
    answer = await post(api, COUNT, Authorization="Bearer wrong")
    assert (answer.status_code, code_of(answer)) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_form_of_a_foreign_page_starts_nothing(api: Running, content_type: str) -> None:
    answer = await post(api, FOREVER, **{"Content-Type": content_type})
    assert answer.status_code == 400


@pytest.mark.parametrize("accept", [EVENTS, "application/json", URQL])
@pytest.mark.parametrize(("query", "status"), [(FOREVER, 405), ("mutation { add(number: 1) }", 400)])
async def test_a_link_starts_and_changes_nothing(api: Running, query: str, status: int, accept: str) -> None:
    answer = await get(api, query, accept)
    assert (answer.status_code, code_of(answer)) == (status, "BAD_USER_INPUT")
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


async def test_queries_may_be_got_as_events(api: Running) -> None:
    assert events(await get(api, "{ hello }", EVENTS)) == [{"data": {"hello": "hello, Ærlig 🙂"}}]


async def test_silence_is_filled_with_comments() -> None:
    with running(events=StreamRules(heartbeat=0.02)) as api:
        async with streaming(api, FOREVER) as chunks:
            heard = ""
            while heard.count(":\n\n") < 4:
                heard += await anext(chunks)
        assert heard.replace(":\n\n", "") == 'event: next\ndata: {"data":{"forever":1}}\n\n'
        await api.closes("forever")


async def test_who_leaves_closes_the_source_and_leaves_nothing(api: Running) -> None:
    before = await api.at_rest()
    for query in (FOREVER, "query { forever }"):
        for _ in range(20):
            async with streaming(api, query):
                await api.opens("forever" if query == FOREVER else "query")
    await api.comes_back_to(before)


async def test_many_who_leave_at_once_leave_nothing(api: Running) -> None:
    async def leave() -> None:
        async with streaming(api, FOREVER) as chunks:
            await anext(chunks)

    await leave()
    await api.closes("forever")
    before = await api.at_rest()
    await asyncio.gather(*(leave() for _ in range(60)))
    await api.comes_back_to(before)


@contextmanager
def deaf(api: Running) -> Iterator[None]:
    """Somebody who asks for a flood and takes nothing."""
    body = json.dumps({"query": "subscription { flood }"}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nAccept: {EVENTS}\r\nContent-Type: application/json\r\n"
    with sockets.create_connection(("127.0.0.1", api.port)) as asking:
        asking.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield


async def test_who_reads_nothing_holds_up_the_source_and_is_left_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "UNREAD_SECONDS", 600)
    with running(events=StreamRules(send_timeout=1)) as api:
        before = OPEN["flooded"]
        with deaf(api):
            await held_up(api)
            assert OPEN["flooded"] - before < 200
            await api.closes("flood")


async def test_a_connection_nobody_reads_from_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "UNREAD_SECONDS", 1)
    with running(events=StreamRules(send_timeout=1)) as api:
        before = await api.at_rest()
        with deaf(api):
            await held_up(api)
            await api.comes_back_to(before)


async def test_a_stream_ends_with_the_session_and_says_so() -> None:
    session = Session()
    rules = StreamRules(heartbeat=0.02, recheck=0.04, still=session.still)
    with running(events=rules) as api:
        async with streaming(api, FOREVER) as chunks:
            await session.is_looked_at()
            session.ended = True
            heard = "".join([chunk async for chunk in chunks])
        told = [part for part in heard.split("\n\n") if part.startswith("event: next")][-1]
        assert "UNAUTHENTICATED" in told
        assert heard.endswith(COMPLETE)
        await api.closes("forever")


async def test_who_is_not_known_at_the_beginning_of_a_stream_is_told_so() -> None:
    session = Session()
    session.failure = OSError("no store")
    with running(events=StreamRules(heartbeat=0.02, recheck=0.04, still=session.still)) as api:
        async with streaming(api, FOREVER) as chunks:
            heard = "".join([chunk async for chunk in chunks])
        assert "UPSTREAM_UNAVAILABLE" in heard and heard.endswith(COMPLETE)


async def test_a_server_that_stops_ends_streams_without_completing_them() -> None:
    with running() as api:
        async with streaming(api, FOREVER) as chunks:
            await api.opens("forever")
            api.loop.call_soon_threadsafe(api.endpoint.stop)
            heard = "".join([chunk async for chunk in chunks])
        assert "complete" not in heard
        await api.closes("forever")


async def test_shared_results_are_sent_as_they_are_and_closed() -> None:
    with running(shared=results_of(b'{"data":1}')) as api:
        first, second, failed = events(await post(api, FOREVER))
        assert first == second == {"data": 1}
        assert failed["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        await api.closes("shared")
