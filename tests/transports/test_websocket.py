"""The protocol `graphql-transport-ws`, rule by rule, over real sockets."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.conversation import SocketRules
from tests.transports.small import OPEN, SECRET, Running, held, running
from tests.transports.talking import begun, subscribe, talking

INIT = {"type": "connection_init"}
FOREVER = "subscription { forever }"


@pytest.fixture(scope="module")
def api() -> Iterator[Running]:
    with running(origins=["https://shop.example"]) as served:
        yield served


async def test_a_subscription_is_acknowledged_told_and_completed(api: Running) -> None:
    async with talking(api.ws) as talk:
        assert talk.socket.subprotocol == "graphql-transport-ws"
        await talk.begin()
        await talk.ask('ab"ø', "subscription($to: Int!) { count(to: $to) }", variables={"to": 2})
        heard = [await talk.hear() for _ in range(3)]
        told = {"id": 'ab"ø', "type": "next"}
        assert heard[:2] == [{**told, "payload": {"data": {"count": number}}} for number in (0, 1)]
        assert heard[2] == {"id": 'ab"ø', "type": "complete"}


async def test_queries_and_mutations_have_one_result(api: Running) -> None:
    async with begun(api.ws) as talk:
        assert await talk.data("{ hello }") == {"hello": "hello, Ærlig 🙂"}
        assert await talk.data("mutation { add(number: 1) }") == {"add": 2}
        query = "query A { hello } mutation B { add(number: 2) }"
        assert await talk.data(query, operationName="B", variables=None, extensions={}) == {"add": 3}


async def test_operations_run_side_by_side(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", FOREVER)
        assert (await talk.hear())["id"] == "1"
        assert await talk.data("{ hello }", "2")


@pytest.mark.parametrize("protocols", [None, ["graphql-ws"]])
async def test_without_the_subprotocol_4406(api: Running, protocols: Any) -> None:
    async with talking(api.ws, protocols=protocols) as talk:
        assert await talk.closed() == (4406, "Subprotocol not acceptable")


async def test_who_says_nothing_is_closed_4408() -> None:
    with running(SocketRules(init_timeout=0.2)) as api:
        async with talking(api.ws) as talk:
            await talk.say({"type": "ping"})  # is no beginning
            assert await talk.closed() == (4408, "Connection initialisation timeout")


async def test_who_has_begun_may_be_silent() -> None:
    with running(SocketRules(init_timeout=1)) as api:
        while True:
            async with talking(api.ws) as talk:
                try:
                    await talk.begin()
                except ConnectionClosed:  # this machine is slow
                    continue
                await asyncio.sleep(1.5)
                assert await talk.lives()
                return


async def test_a_second_beginning_4429(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.say(INIT)
        assert await talk.closed() == (4429, "Too many initialisation requests")


async def test_asking_before_the_beginning_4401(api: Running) -> None:
    async with talking(api.ws) as talk:
        await talk.ask("1", "{ hello }")
        assert await talk.closed() == (4401, "Unauthorized")


async def test_an_id_in_use_4409(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", FOREVER)
        await talk.ask("1", "{ hello }")
        assert await talk.closed() == (4409, "Subscriber for 1 already exists")


MALFORMED: dict[str, Any] = {
    "no JSON": "{",
    "nothing": "",
    "JSON that is too deep": "[" * 100_000,
    "a lone surrogate": '{"type": "ping", "payload": {"x": "\\ud800"}}',
    "a binary frame": json.dumps({"type": "ping"}).encode(),
    "a number": "1",
    "null": "null",
    "a list": [INIT],
    "an empty object": {},
    "no type": {"id": "1"},
    "a type that is no text": {"type": 1},
    "a type that is a list": {"type": ["ping"]},
    "an unknown type": {"type": "start", "id": "1", "payload": {"query": "{ hello }"}},
    "a type of the server's": {"type": "connection_ack"},
    "a next": {"type": "next", "id": "1", "payload": {}},
    "a ping with a list": {"type": "ping", "payload": []},
    "a pong with a text": {"type": "pong", "payload": "x"},
    "a null payload": {"type": "ping", "payload": None},
    "complete without an id": {"type": "complete"},
    "complete with a number": {"type": "complete", "id": 1},
    "no id": {"type": "subscribe", "payload": {"query": "{ hello }"}},
    "a number for an id": {"type": "subscribe", "id": 1, "payload": {"query": "{ hello }"}},
    "an empty id": subscribe("", "{ hello }"),
    "a huge id": subscribe("x" * 10_000, "{ hello }"),
    "no payload": {"type": "subscribe", "id": "1"},
    "a payload that is a list": {"type": "subscribe", "id": "1", "payload": []},
    "no query": {"type": "subscribe", "id": "1", "payload": {}},
    "a query that is none": {"type": "subscribe", "id": "1", "payload": {"query": 1}},
    "a null query": {"type": "subscribe", "id": "1", "payload": {"query": None}},
    "variables that are a list": subscribe("1", "{ hello }", variables=[]),
    "variables that are a text": subscribe("1", "{ hello }", variables="{}"),
    "extensions that are a list": subscribe("1", "{ hello }", extensions=[]),
    "extensions that are a number": subscribe("1", "{ hello }", extensions=0),
    "a name that is a number": subscribe("1", "{ hello }", operationName=1),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_message_4400(api: Running, message: Any) -> None:
    async with begun(api.ws) as talk:
        await talk.say(message)
        code, reason = await talk.closed()
        assert code == 4400
        assert 0 < len(reason.encode()) <= 123


@pytest.mark.parametrize("payload", [None, [], "x", 1])
async def test_a_malformed_beginning_4400(api: Running, payload: Any) -> None:
    async with talking(api.ws) as talk:
        await talk.say({"type": "connection_init", "payload": payload})
        assert (await talk.closed())[0] == 4400


REFUSED = {
    "{ hello": "GRAPHQL_PARSE_FAILED",
    "{ nothing }": "GRAPHQL_VALIDATION_FAILED",
    "subscription { nothing }": "GRAPHQL_VALIDATION_FAILED",
    "subscription { count(to: nothing) }": "GRAPHQL_VALIDATION_FAILED",
    "subscription($to: Int!) { count(to: $to) }": "BAD_USER_INPUT",
    "subscription { never }": "BAD_USER_INPUT",
    "": "BAD_USER_INPUT",
    "fragment F on Query { hello }": "BAD_USER_INPUT",
}


@pytest.mark.parametrize(("query", "code"), REFUSED.items())
async def test_a_bad_document_is_an_error_for_its_id_alone(api: Running, query: str, code: str) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("other", FOREVER)
        assert (await talk.hear())["id"] == "other"
        await talk.ask("1", query)
        told = await talk.hear()
        assert (told["id"], told["type"]) == ("1", "error")
        assert told["payload"][0]["extensions"]["code"] == code
        assert told["payload"][0]["extensions"]["requestId"]
        assert await talk.data("{ hello }", "1")  # the id is free, and nothing completed it


async def test_a_name_that_is_not_there_is_an_error(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", "query A { hello }", operationName="B")
        assert (await talk.hear())["type"] == "error"


@pytest.mark.parametrize("query", ["subscription { fails }", "{ fails }"])
async def test_an_error_on_the_way_is_masked_and_completes(api: Running, query: str) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", query)
        heard = [await talk.hear()]
        while heard[-1]["type"] != "complete":
            heard.append(await talk.hear())
        [error] = heard[-2]["payload"]["errors"]
        assert error["message"] == "Something went wrong."
        assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
        assert error["extensions"]["requestId"] in api.door.made
        assert SECRET not in json.dumps(heard)


async def test_ping_is_answered_with_its_payload_and_pong_not_at_all(api: Running) -> None:
    async with talking(api.ws) as talk:  # also before the beginning
        await talk.say({"type": "pong"}, {"type": "pong", "payload": {}}, {"type": "ping"})
        assert await talk.hear() == {"type": "pong"}
        await talk.say({"type": "ping", "payload": {"at": [1, "ø"]}})
        assert await talk.hear() == {"type": "pong", "payload": {"at": [1, "ø"]}}


async def test_complete_stops_the_operation_and_frees_the_id_at_once(api: Running) -> None:
    async with begun(api.ws) as talk:
        with held():
            await talk.ask("1", "subscription { slowToClose }")
            assert (await talk.hear())["type"] == "next"
            await talk.say({"type": "complete", "id": "1"}, {"type": "complete", "id": "unknown"})
            assert await talk.data("{ hello }", "1")
            assert OPEN["slow"] == 1  # the id did not wait for the source to be closed
        await api.closes("slow")
        assert await talk.lives()


async def test_an_operation_that_was_completed_says_nothing_more(api: Running) -> None:
    async with begun(api.ws) as talk:
        for _ in range(30):
            await talk.ask("1", "subscription { count(to: 1000) }")
            await talk.hear()
            await talk.say({"type": "complete", "id": "1"}, {"type": "ping"})
            while (await talk.hear())["type"] != "pong":
                continue
            await talk.say({"type": "ping"})
            assert (await talk.hear())["type"] == "pong"


async def test_a_source_that_fails_when_it_is_stopped_says_nothing_more(api: Running) -> None:
    async with begun(api.ws) as talk:
        await talk.ask("1", "subscription { stubborn }")
        assert (await talk.hear())["type"] == "next"
        with held():
            await talk.say({"type": "complete", "id": "1"})
            await talk.ask("1", FOREVER)
            assert (await talk.hear())["payload"] == {"data": {"forever": 1}}
        await asyncio.sleep(0.1)
        assert await talk.data("{ hello }", "2")
        await talk.say({"type": "complete", "id": "1"}, {"type": "ping"})
        assert (await talk.hear())["type"] == "pong"


async def test_so_many_operations_and_no_more() -> None:
    with running(SocketRules(most_operations=2)) as api:
        async with begun(api.ws) as talk:
            for id in ("1", "2", "3"):
                await talk.ask(id, FOREVER)
            heard = {message["id"]: message for message in [await talk.hear() for _ in range(3)]}
            assert [heard[id]["type"] for id in ("1", "2", "3")] == ["next", "next", "error"]
            assert heard["3"]["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
            assert heard["3"]["payload"][0]["message"].startswith("Too many attempts")
            await talk.say({"type": "complete", "id": "1"})
            assert await talk.data("{ hello }", "3")


async def test_operations_that_are_slow_to_stop_do_not_heap_up() -> None:
    with running(SocketRules(most_operations=2)) as api:
        async with begun(api.ws) as talk:
            heard = []
            with held():
                for _ in range(20):
                    await talk.ask("1", "subscription { slowToClose }")
                    heard.append((await talk.hear())["type"])
                    await talk.say({"type": "complete", "id": "1"})
                assert heard.count("next") == OPEN["slow"] == 4
            await api.closes("slow")
            assert await talk.data("{ hello }", "1")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example", "x"])
async def test_a_page_of_another_origin_is_refused(api: Running, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with talking(api.ws, origin=origin):
            pass
    assert refused.value.response.status_code == 403


async def test_the_same_host_and_listed_origins_are_welcome(api: Running) -> None:
    for origin in (None, f"http://{api.address}", "https://shop.example", "https://SHOP.example:443"):
        async with begun(api.ws, origin=origin) as talk:
            assert await talk.lives()


async def test_each_operation_has_a_context_of_its_own(api: Running) -> None:
    async with begun(api.ws) as talk:
        ids = {(await talk.data("{ who }"))["who"][-1] for _ in range(3)}
    assert len(ids) == 3


async def test_the_beginning_carries_what_browsers_cannot_send(api: Running) -> None:
    headers = {"Accept-Language": "nb", "X-Tenant": "a", "Cookie": "sid=s1", "Authorization": "Bearer a"}
    async with talking(api.ws, additional_headers=headers) as talk:
        await talk.begin()
        assert (await talk.data("{ who }"))["who"][:4] == ["Bearer a", "nb", "a", "s1"]
    async with talking(api.ws, additional_headers=headers) as talk:
        await talk.begin(authorization="Bearer b", **{"accept-Language": "sv", "X-Tenant": "b", "Cookie": "sid=s2"})
        assert (await talk.data("{ who }"))["who"][:4] == ["Bearer b", "sv", "b", "s1"]


BEGINNINGS: dict[str, tuple[dict[str, Any], int]] = {
    "a token that is not valid": ({"Authorization": "Bearer wrong"}, 4403),
    "a tenant nobody knows": ({"X-Tenant": "nobody"}, 4400),
    "a provider that is down": ({"Authorization": "Bearer down"}, 1013),
    "a bug": ({"Authorization": "Bearer bug"}, 1013),
    "a number for a token": ({"Authorization": 1}, 4400),
    "two headers in one": ({"X-Tenant": "a\r\nCookie: sid=s2"}, 4400),
    "a header no header can be": ({"X-Tenant": "ø"}, 4400),
}


@pytest.mark.parametrize(("payload", "code"), BEGINNINGS.values(), ids=BEGINNINGS)
async def test_a_beginning_that_is_refused(api: Running, payload: dict[str, Any], code: int) -> None:
    async with talking(api.ws) as talk:
        await talk.say({"type": "connection_init", "payload": payload})
        told = await talk.closed()
        assert told[0] == code
        assert SECRET not in told[1]
        if code == 4403:
            assert told[1] == "Forbidden"


async def test_messages_are_no_longer_than_256_kib(api: Running) -> None:
    async with begun(api.ws) as talk:
        assert await talk.data("{ hello } #" + "x" * 250_000)
        await talk.ask("1", "{ hello } #" + "x" * 270_000)
        assert (await talk.closed())[0] == 1009
