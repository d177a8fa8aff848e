"""While the database is gone: pages of other origins read that something went wrong, and no log has its words."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import text
from websockets.exceptions import InvalidStatus

from api import tenants
from api.app import create_app
from api.bootstrap import open_house
from tests.api.test_cross_site import AT_ALL, EVIL, LISTED, marks
from tests.api.test_tenants import later
from tests.databases import raw
from tests.living import BY_SCRIPT, Client, Town, in_process
from tests.planted import HOOKS, as_written
from tests.proxy import FaultProxy
from tests.transports.small import served
from tests.transports.talking import begun, talking

CLINICS = {"query": "{ clinics { nodes { slug } } }"}
TABLES = ("tenant_host", "clinic", "api_key", "session")


async def lose(database: str, *tables: str) -> None:
    async with raw(database) as connection:
        for table in tables or TABLES:
            await connection.execute(text(f"ALTER TABLE {table} RENAME TO lost_{table}"))
        await connection.commit()


@contextmanager
def a_server(town: Town, url: str) -> Iterator[str]:
    """Its address. What uvicorn has to say is logged, as by `serve`."""
    house = open_house(town.settings(url, origins=AT_ALL))
    with served(create_app(house, [])) as (address, _, _):
        logging.getLogger("uvicorn.error").setLevel(logging.INFO)
        yield address


@pytest.fixture(autouse=True)
def looks_for_tenants_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(tenants, "AGAIN_SECONDS", 0.0)


@pytest.fixture
def address(town: Town, sqlite_filled_url: str) -> Iterator[str]:
    with a_server(town, sqlite_filled_url) as address:
        yield address


async def ask(address: str, method: str, origin: str) -> httpx2.Response:
    asked = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else BY_SCRIPT
    body: dict[str, Any] = {"json": CLINICS} if method == "POST" else {}
    async with httpx2.AsyncClient(base_url=f"http://{address}", event_hooks=HOOKS, timeout=60) as http:
        return await http.request(method, "/graphql", headers={"Origin": origin, **asked}, **body)


def log_without_words(caplog: pytest.LogCaptureFixture) -> None:
    log = as_written(caplog.records)
    assert "OperationalError" in log and "no such table" not in log and "ASGI" not in log


def is_coded(answer: httpx2.Response, status: int) -> bool:
    [error] = answer.json()["errors"]
    return answer.status_code == status and error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"


async def test_a_listed_page_reads_that_something_went_wrong(
    address: str, sqlite_filled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask(address, "POST", LISTED)).json()["data"]["clinics"]
    await lose(sqlite_filled_url)
    for origin in (LISTED, AT_ALL):
        answer, preflight = await ask(address, "POST", origin), await ask(address, "OPTIONS", origin)
        assert is_coded(answer, 200) and preflight.status_code == 204
        assert {marks(answer.headers), marks(preflight.headers)} == {(origin, "true")}
    log_without_words(caplog)


async def test_where_no_tenant_was_ever_known_pages_of_every_tenant_do(
    address: str, sqlite_filled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await lose(sqlite_filled_url)
    for origin, told in ((AT_ALL, (AT_ALL, "true")), (LISTED, (None, None))):
        answer, preflight = await ask(address, "POST", origin), await ask(address, "OPTIONS", origin)
        assert is_coded(answer, 500) and preflight.status_code == 204
        assert [marks(answer.headers), marks(preflight.headers)] == [told, told]
    log_without_words(caplog)


async def test_whose_keys_cannot_be_looked_up_gets_a_coded_answer_all_the_same(
    address: str, sqlite_filled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await lose(sqlite_filled_url, "api_key")
    for path in ("/graphql", "/login/nobody"):
        async with httpx2.AsyncClient(base_url=f"http://{address}", event_hooks=HOOKS) as http:
            answer = await http.get(path, headers={"Origin": EVIL})
        assert answer.status_code in (403, 404) and marks(answer.headers) == (None, None)
    preflight = await ask(address, "OPTIONS", EVIL)
    assert (preflight.status_code, marks(preflight.headers)) == (204, (None, None))
    log_without_words(caplog)


async def test_a_websocket_is_opened_for_pages_that_are_known_and_refused_to_others(
    address: str, sqlite_filled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"ws://{address}/graphql"
    async with begun(url, origin=LISTED):
        pass
    await lose(sqlite_filled_url)
    for origin in (LISTED, AT_ALL):
        async with begun(url, origin=origin) as talk:
            assert await talk.lives()
    with pytest.raises(InvalidStatus) as refused:
        async with talking(url, origin=EVIL):
            pass
    assert refused.value.response.status_code == 403
    log_without_words(caplog)


async def test_nor_does_a_database_that_nobody_reaches_end_any_of_it(
    town: Town, postgres_filled_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused connections are errors of another kind than what a database complains of."""
    port = urlsplit(postgres_filled_url).port or 5432
    async with FaultProxy(port) as proxy:
        with a_server(town, postgres_filled_url.replace(f":{port}/", f":{proxy.port}/")) as address:
            assert (await ask(address, "POST", LISTED)).json()["data"]["clinics"]
            await proxy.switch("refuse")
            answer, preflight = await ask(address, "POST", LISTED), await ask(address, "OPTIONS", EVIL)
            assert is_coded(answer, 200) and marks(answer.headers) == (LISTED, "true")
            assert (preflight.status_code, marks(preflight.headers)) == (204, (None, None))
            with pytest.raises(InvalidStatus, match="403"):
                async with talking(f"ws://{address}/graphql", origin=EVIL):
                    pass
    assert "ASGI" not in as_written(caplog.records)


async def test_tenants_are_told_as_they_were_for_a_while_and_the_log_says_so_once(
    town: Town, sqlite_filled_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def at(seconds: float) -> None:
        monkeypatch.setattr("api.tenants.monotonic", later(seconds))

    async def status(client: Client) -> int:
        return (await client.http.post("/graphql", json={"query": "{ tenant { slug } }"})).status_code

    def lines() -> int:
        return len([each for each in caplog.records if each.name == "api.tenants"])

    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        assert await status(client) == 200
        await lose(sqlite_filled_url, "tenant_host")
        for seconds in (20, 60, tenants.LASTS_SECONDS - 60):
            at(seconds)
            assert await status(client) == 200 and lines() == 1
        at(tenants.LASTS_SECONDS + 60)
        assert await status(client) == 500 and lines() == 1
        async with raw(sqlite_filled_url) as connection:
            await connection.execute(text("ALTER TABLE lost_tenant_host RENAME TO tenant_host"))
            await connection.commit()
        at(tenants.LASTS_SECONDS + 120)
        assert await status(client) == 200
        await lose(sqlite_filled_url, "tenant_host")
        at(tenants.LASTS_SECONDS + 180)
        assert await status(client) == 200 and lines() == 2
