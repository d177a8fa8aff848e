"""What goes wrong where nobody has foreseen it: told in one shape, and logged without the words of the failure."""

import logging
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import text
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from api.last_resort import LastResort
from domain.api_key import KeyKind, KeyText
from tests.api.test_login import HOME
from tests.databases import raw
from tests.living import Town, in_process
from tests.planted import as_written

TYPED = "typed by a patient"


async def lose(database: str, table: str) -> None:
    async with raw(database) as connection:
        await connection.execute(text(f"ALTER TABLE {table} RENAME TO lost"))
        await connection.commit()


WITH_A_SESSION = {"Cookie": "sid=nordhelse.whatever"}
JSON_DOORS: dict[str, tuple[str, dict[str, str]]] = {
    "a key": ("api_key", {"url": "/graphql?query={tenant{slug}}"}),
    "a login": ("session", {"url": f"/login/bankid-no?returnTo={HOME}"}),
    "a logout": ("session", {"url": f"/logout?returnTo={HOME}"}),
}


@pytest.mark.parametrize("door", JSON_DOORS)
async def test_a_database_that_has_broken_is_a_coded_answer(
    town: Town, sqlite_filled_url: str, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    table, asked = JSON_DOORS[door]
    headers = {**WITH_A_SESSION, "X-ApiKey": KeyText.new(KeyKind.TEST).text, "Accept-Language": "sv"}
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        await lose(sqlite_filled_url, table)
        answer = await client.http.get(asked["url"], headers=headers)
    [told] = answer.json()["errors"]
    assert (answer.status_code, told["message"]) == (500, "Något gick fel.")
    assert told["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": answer.headers["X-Request-Id"]}
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Content-Type-Options"] == "nosniff"
    line = as_written([each for each in caplog.records if each.levelno >= logging.ERROR])
    assert f"request {told['extensions']['requestId']} failed" in line and "OperationalError" in line
    assert "no such table" not in line


@pytest.mark.parametrize("link", ["/bookings/{}.ics", "/exports/{}.json"])
async def test_who_followed_a_link_is_told_in_plain_words(town: Town, sqlite_filled_url: str, link: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        await lose(sqlite_filled_url, "session")
        answer = await client.http.get(link.format(uuid4()), headers=WITH_A_SESSION)
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
    assert answer.text == "Noe gikk galt.\n" and answer.headers["X-Request-Id"]


async def asked_of(app: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(LastResort(app)), base_url="http://itb") as http:
        return await http.get("/")


async def test_an_answer_that_has_begun_is_broken_off(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(TYPED)

    async def send(message: Any) -> None:
        sent.append(message)

    await LastResort(begins)({"type": "http"}, Any, send)  # type: ignore[arg-type]
    assert [each["type"] for each in sent] == ["http.response.start"]
    log = as_written(caplog.records)
    assert "ValueError" in log and TYPED not in log


async def test_nobody_is_told_of_a_client_that_left(caplog: pytest.LogCaptureFixture) -> None:
    async def left(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    with pytest.raises(AssertionError):  # httpx2's: there is no answer
        await asked_of(left)
    assert caplog.records == []


async def test_what_goes_well_goes_by(caplog: pytest.LogCaptureFixture) -> None:
    assert (await asked_of(PlainTextResponse("well"))).text == "well"
    assert caplog.records == []


async def closed_after(*messages: Any) -> list[Any]:
    """What a server hears of a WebSocket that fails once it has sent these."""
    sent: list[Any] = []

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        for each in messages:
            await send(each)
        raise ValueError(TYPED)

    async def send(message: Any) -> None:
        if sent and sent[-1]["type"] == "websocket.close":
            raise RuntimeError("closed already")
        sent.append(message)

    await LastResort(fails)({"type": "websocket"}, Any, send)  # type: ignore[arg-type]
    return sent


async def test_a_websocket_that_fails_is_closed_whether_it_is_open_or_not(caplog: pytest.LogCaptureFixture) -> None:
    accepted, closed = {"type": "websocket.accept"}, {"type": "websocket.close", "code": 1011, "reason": ""}
    assert await closed_after() == [closed]
    assert await closed_after(accepted) == [accepted, closed]
    assert await closed_after(closed) == [closed]
    log = as_written(caplog.records)
    assert log.count("builtins.ValueError") == 3 and TYPED not in log
