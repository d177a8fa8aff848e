"""Open sockets and event streams end with the key they were opened with: revoked, expired, or a token's own."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api.bootstrap import build_app
from api.settings import Settings
from api.settings_checks import LONGEST_KEY_SECONDS
from domain.api_key import KeyText
from domain.client import Scope
from domain.usecases.issue_token import LIFETIME
from integrations.store.tables_clients import API_KEY
from integrations.tokens.system_tokens import LEEWAY_SECONDS
from tests.agencies import TENANT, minted, revoked
from tests.api.searching import search_for
from tests.databases import raw
from tests.living import OTHER, Client, Town, over_http, running, sign_in
from tests.oidc.serving import MovableClock
from tests.planted import SCAN
from tests.system.watching import PATIENCE, SLOTS
from tests.transports.bounds import SHORT, ends_soon, goes_on
from tests.transports.small import served

SOON = {"recheck_seconds": SHORT, "api_key_seconds": SHORT}
ENDED = (4403, "The API key or system token is no longer valid. Use a new one.")
REFUSED = {
    "revoked": "The API key has been revoked.",
    "its key revoked": "The API key has been revoked.",
    "expired": "The API key has expired.",
    "mistyped": "The API key is not written as one: look for a typing mistake.",
    "another tenant's": "The key is another tenant's.",
}
TOKEN_PATH = f"/{TENANT}/1.0/R4/auth/system-token"


@asynccontextmanager
async def open_socket(
    url: str, payload: dict[str, str], *, headers: dict[str, str] | None = None
) -> AsyncIterator[ClientConnection]:
    address = url.replace("http", "ws", 1) + "/graphql"
    protocols: Any = ["graphql-transport-ws"]
    async with connect(address, subprotocols=protocols, max_size=2**24, additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        yield socket


async def next_of(socket: ClientConnection, kind: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        text = await socket.recv()
    SCAN.heard(text)
    message: dict[str, Any] = json.loads(text)
    assert message["type"] == kind, message
    return message


async def closing_of(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason."""
    async with asyncio.timeout(PATIENCE):
        try:
            while True:
                SCAN.heard(await socket.recv())
        except ConnectionClosed as closed:
            assert closed.rcvd
            SCAN.look("the reason of a closing", closed.rcvd.reason)
            return closed.rcvd.code, closed.rcvd.reason


async def watch(socket: ClientConnection, search: dict[str, Any]) -> None:
    await next_of(socket, "connection_ack")
    body = {"query": SLOTS, "variables": {"search": search}}
    await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": body}))
    assert "errors" not in (await next_of(socket, "next"))["payload"]


async def is_open(socket: ClientConnection) -> None:
    await socket.send(json.dumps({"type": "ping"}))
    async with asyncio.timeout(PATIENCE):
        while json.loads(await socket.recv())["type"] != "pong":
            continue


async def given_for(client: Client, key: KeyText) -> str:
    """A system token."""
    answer = await client.http.post(TOKEN_PATH, headers={"X-ApiKey": key.text})
    return str(answer.json()["access_token"])


async def expired(settings: Settings, key: KeyText) -> None:
    async with raw(settings.database_url) as connection:
        await connection.execute(
            update(API_KEY).where(API_KEY.c.key_id == key.key_id).values(expires_at=datetime.now(UTC))
        )


async def test_sockets_end_with_their_key(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    settings = town.settings(sqlite_filled_url, **SOON)
    lost, old, tokens = [await minted(settings) for _ in range(3)]
    with running(settings, tmp_path / "log") as server:
        async with over_http(server.url) as client:
            client.http.headers["X-Tenant"] = TENANT
            search = await search_for(client)
            token = await given_for(client, tokens)
        async with (
            open_socket(server.url, {"X-ApiKey": lost.text}) as by_key,
            open_socket(server.url, {"x-tenant": TENANT}, headers={"X-ApiKey": old.text}) as by_header,
            open_socket(server.url, {"Authorization": f"Bearer {token}"}) as by_token,
            open_socket(server.url, {"X-Tenant": TENANT}) as unnamed,
        ):
            for socket in (by_key, by_header, by_token, unnamed):
                await watch(socket, search)
            await revoked(settings, lost)
            assert await ends_soon(server.url, closing_of(by_key)) == ENDED
            await expired(settings, old)
            assert await ends_soon(server.url, closing_of(by_header)) == ENDED
            await revoked(settings, tokens)
            assert await ends_soon(server.url, closing_of(by_token)) == ENDED
            await is_open(unnamed)


@pytest.mark.parametrize("how", ["revoked", "its key revoked", "expired", "mistyped", "another tenant's"])
async def test_who_may_not_open_a_socket_is_told_why_in_english(
    town: Town, sqlite_filled_url: str, tmp_path: Path, how: str
) -> None:
    settings = town.settings(sqlite_filled_url, **SOON)
    key = await minted(settings, tenant_id=OTHER if how == "another tenant's" else TENANT)
    with running(settings, tmp_path / "log") as server:
        payload = {"X-ApiKey": f"{key.text}x" if how == "mistyped" else key.text, "X-Tenant": TENANT}
        if how == "its key revoked":
            async with over_http(server.url) as client:
                payload = {"Authorization": f"Bearer {await given_for(client, key)}"}
        if "revoked" in how:
            await revoked(settings, key)
        if how == "expired":
            await expired(settings, key)
        await asyncio.sleep(10 * SOON["api_key_seconds"])
        async with open_socket(server.url, {"Accept-Language": "nb", **payload}) as socket:
            assert await closing_of(socket) == (4403, REFUSED[how])


@pytest.mark.parametrize("slow", [{"recheck_seconds": 3600.0}, {"api_key_seconds": LONGEST_KEY_SECONDS}])
async def test_how_soon_is_what_both_settings_say(
    town: Town, sqlite_filled_url: str, tmp_path: Path, slow: dict[str, float]
) -> None:
    """The other side of the test above: nothing else closes the socket of a key that is revoked."""
    settings = town.settings(sqlite_filled_url, **{**SOON, **slow})
    key = await minted(settings)
    with running(settings, tmp_path / "log") as server:
        async with open_socket(server.url, {"X-ApiKey": key.text}) as socket:
            await next_of(socket, "connection_ack")
            await revoked(settings, key)
            await goes_on(server.url, closing_of(socket))


async def test_a_stream_of_events_ends_with_its_key(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    settings = town.settings(sqlite_filled_url, **SOON)
    key = await minted(settings)
    with running(settings, tmp_path / "log") as server:
        async with over_http(server.url) as client:
            client.http.headers.update({"X-ApiKey": key.text, "Accept-Language": "sv"})
            body = {"query": SLOTS, "variables": {"search": await search_for(client)}}
            asked = client.http.stream("POST", "/graphql", json=body, headers={"Accept": "text/event-stream"})
            async with asked as answer:
                told = await _until_it_ends(answer, settings, key, server.url)
    assert "slotChanges" in told[0]
    assert "UNAUTHENTICATED" in told[-2] and "event: complete" in told[-1]
    assert "API-nyckeln eller systemtoken gäller inte längre." in told[-2]


async def _until_it_ends(answer: httpx2.Response, settings: Settings, key: KeyText, url: str) -> list[str]:
    """Every event; the key is revoked after the first one."""
    parts = answer.aiter_text()
    seen = ""
    while "slotChanges" not in seen:
        seen += await anext(parts)
    await revoked(settings, key)
    seen += await ends_soon(url, _rest_of(parts))
    return [event for event in seen.split("\n\n") if event.strip().strip(":").strip()]


async def _rest_of(parts: AsyncIterator[str]) -> str:
    return "".join([part async for part in parts])


async def test_sockets_and_streams_end_when_their_token_has_run_out(
    town: Town, sqlite_filled_url: str, clock: MovableClock
) -> None:
    """By itself: the key that it was given for still stands, and so does a socket that was opened with it."""
    settings = town.settings(sqlite_filled_url, **SOON)
    key = await minted(settings)
    with served(await build_app(settings)) as (address, _, _):
        url = f"http://{address}"
        async with over_http(url) as client:
            client.http.headers["X-Tenant"] = TENANT
            search, token = await search_for(client), await given_for(client, key)
            bearer = {"Authorization": f"Bearer {token}"}
            body = {"query": SLOTS, "variables": {"search": search}}
            asked = client.http.stream("POST", "/graphql", json=body, headers={"Accept": "text/event-stream", **bearer})
            async with (
                open_socket(url, bearer) as by_bearer,
                open_socket(url, {"X-ApiKey": token}) as by_header,
                open_socket(url, {"X-ApiKey": key.text}) as by_key,
                asked as answer,
            ):
                for socket in (by_bearer, by_header, by_key):
                    await watch(socket, search)
                clock.ahead = LIFETIME - timedelta(minutes=5)
                await asyncio.sleep(10 * SOON["recheck_seconds"])
                for socket in (by_bearer, by_header, by_key):
                    await is_open(socket)
                clock.ahead = LIFETIME + timedelta(seconds=LEEWAY_SECONDS + 1)
                for socket in (by_bearer, by_header):
                    assert await ends_soon(url, closing_of(socket)) == ENDED
                async with asyncio.timeout(PATIENCE):
                    told = "".join([text async for text in answer.aiter_text()])
                await is_open(by_key)
    assert "slotChanges" in told and "UNAUTHENTICATED" in told and told.endswith("event: complete\ndata:\n\n")


async def test_what_a_key_may_not_watch_is_refused_and_the_socket_stays(
    town: Town, sqlite_filled_url: str, tmp_path: Path
) -> None:
    """One who may asks for the same at the same time: what is shared is shared among those with the same scopes."""
    settings = town.settings(sqlite_filled_url, **SOON)
    names, everything = await minted(settings, scopes=frozenset({Scope.FIND})), await minted(settings)
    with running(settings, tmp_path / "log") as server:
        async with over_http(server.url) as client:
            client.http.headers["X-ApiKey"] = everything.text
            search = await search_for(Client(client.http))
        async with (
            open_socket(server.url, {"X-ApiKey": everything.text}) as may,
            open_socket(server.url, {"X-ApiKey": names.text}) as may_not,
        ):
            await watch(may, search)
            await next_of(may_not, "connection_ack")
            body = {"query": SLOTS, "variables": {"search": search}}
            await may_not.send(json.dumps({"id": "1", "type": "subscribe", "payload": body}))
            answer = (await next_of(may_not, "next"))["payload"]
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
            assert answer["data"] is None
            await may_not.send(json.dumps({"type": "ping"}))
            await next_of(may_not, "pong")


HOURS = [f"{hour:02}:00:00" for hour in range(1, 13)]


async def watched(socket: ClientConnection, search: dict[str, Any], *hours: str) -> list[str]:
    """The code that each of so many searches is refused with; one that is shown is `ok`."""
    told = []
    for hour in hours:
        body = {"query": SLOTS, "variables": {"search": {**search, "notBefore": hour}}}
        await socket.send(json.dumps({"id": hour, "type": "subscribe", "payload": body}))
        async with asyncio.timeout(PATIENCE):
            while (message := json.loads(await socket.recv())).get("id") != hour:
                continue
        errors = message["payload"] if message["type"] == "error" else message["payload"].get("errors")
        told.append(errors[0]["extensions"]["code"] if errors else "ok")
    return told


async def test_a_server_watches_half_of_all_searches_and_each_of_its_patients_a_tenth(
    town: Town, sqlite_filled_url: str
) -> None:
    """Of those who come by themselves each browser has a tenth, and half all those at one address."""
    settings = town.settings(sqlite_filled_url, most_watches=20)  # a tenth is five, since there is a least
    one, other = await minted(settings), await minted(settings)
    kari, ola = [{"Authorization": f"Bearer {await sign_in(town, login)}"} for login in ("kari", "ola")]
    refused, patient = ["ok"] * 5 + ["RATE_LIMITED"], {"X-ApiKey": other.text}
    with served(await build_app(settings)) as (address, _, _):
        url = f"http://{address}"
        async with over_http(url) as client, AsyncExitStack() as sockets:
            client.http.headers["X-Tenant"] = TENANT
            search = await search_for(client)

            async def begun(payload: dict[str, str], agent: str = "a") -> ClientConnection:
                named = open_socket(url, payload, headers={"User-Agent": agent})
                socket = await sockets.enter_async_context(named)
                await next_of(socket, "connection_ack")
                return socket

            server = await begun({"X-ApiKey": one.text})
            assert await watched(server, search, *HOURS[:11]) == ["ok"] * 10 + ["RATE_LIMITED"]
            assert await watched(await begun(patient | kari), search, *HOURS[:6]) == refused
            assert await watched(await begun(patient | ola), search, *HOURS[6:12]) == refused
            assert await watched(await begun(patient), search, HOURS[0], HOURS[5]) == ["ok", "RATE_LIMITED"]
            for agent, hours in (("b", HOURS[:6]), ("c", HOURS[6:12])):
                assert await watched(await begun({"X-Tenant": TENANT}, agent), search, *hours) == refused
            assert await watched(await begun({"X-Tenant": TENANT}, "d"), search, HOURS[5]) == ["RATE_LIMITED"]
