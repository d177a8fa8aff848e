"""An agency's pages read what is asked with its own key, and never use a visitor's session."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from websockets.exceptions import InvalidStatus

from api.app import House, create_app
from api.bootstrap import open_house
from api.cors import Cors, readable_by
from api.messages import message
from api.origins import Origins
from domain.patient import Identity
from domain.tenant import Tenant
from tests.living import OTHER, Town
from tests.planted import HOOKS
from tests.transports.small import served
from tests.transports.talking import begun, talking

OURS, THEIRS, OTHERS, EVIL = "https://ours.example", "https://a.example", "https://b.example", "https://evil.example"
KEYS = {"a": {THEIRS}, "b": {OTHERS}, "server": set[str]()}
WHO = "{ viewer { patient { id } } }"


async def of_keys(tenant_id: str) -> frozenset[str]:
    return frozenset((THEIRS, OTHERS) if tenant_id == "t" else (THEIRS,) if tenant_id == "nordhelse" else ())


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """A place where keys are known by their names, and one that is not is refused before anybody knows who asks."""
    tenant = Tenant(id="t", slug="t", name="T", origins=(OURS,))

    async def tenant_of(_: HTTPConnection) -> Tenant:
        return tenant

    async def answer(request: Request) -> Response:
        key = request.headers.get("x-apikey")
        if key and key not in KEYS:
            return PlainTextResponse("no such key", 401)
        readable_by(request.scope, tenant, KEYS[key] if key else None)
        return PlainTextResponse("yes")

    around = Middleware(Cors, origins=Origins(of_keys=of_keys), tenant_of=tenant_of)
    app = Starlette(routes=[Route("/graphql", answer, methods=["GET", "POST"])], middleware=[around])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://t", event_hooks=HOOKS) as http:
        yield http


async def marks(http: httpx2.AsyncClient, origin: str, key: str | None = None) -> tuple[str | None, str | None]:
    answer = await http.post("/graphql", headers={"Origin": origin, **({"X-ApiKey": key} if key else {})})
    told = answer.headers
    return told.get("access-control-allow-origin"), told.get("access-control-allow-credentials")


async def test_a_preflight_passes_for_the_pages_of_every_key_without_credentials(http: httpx2.AsyncClient) -> None:
    asked = {"Access-Control-Request-Method": "POST"}
    told = {}
    for origin in (OURS, THEIRS, OTHERS, EVIL):
        headers = (await http.options("/graphql", headers={"Origin": origin, **asked})).headers
        told[origin] = (headers.get("access-control-allow-origin"), headers.get("access-control-allow-credentials"))
    assert told == {OURS: (OURS, "true"), THEIRS: (THEIRS, None), OTHERS: (OTHERS, None), EVIL: (None, None)}


async def test_an_answer_is_read_by_the_pages_of_the_key_it_was_asked_with(http: httpx2.AsyncClient) -> None:
    assert await marks(http, THEIRS, "a") == (THEIRS, None)
    for origin, key in ((OTHERS, "a"), (THEIRS, "b"), (THEIRS, "server"), (EVIL, "a"), (OURS, "a")):
        assert await marks(http, origin, key) == (None, None), (origin, key)


async def test_without_a_key_an_answer_is_read_by_the_tenants_own_pages_alone(http: httpx2.AsyncClient) -> None:
    assert await marks(http, OURS) == (OURS, "true")
    assert await marks(http, THEIRS) == (None, None)


async def test_that_a_key_does_not_stand_is_read_where_it_may_have_come_from(http: httpx2.AsyncClient) -> None:
    assert await marks(http, THEIRS, "revoked") == (THEIRS, None)
    assert await marks(http, EVIL, "revoked") == (None, None)


@asynccontextmanager
async def session(house: House) -> AsyncIterator[dict[str, str]]:
    now = datetime.now(UTC)
    identity = Identity(
        issuer="https://login.example",
        subject="kari",
        name="Kari Testesen",
        birth_date=date(1990, 1, 1),
        national_id=None,
        phone=None,
        email=None,
        language=None,
        authenticated_at=now,
        expires_at=now + timedelta(hours=1),
    )
    tenant = await house.tenants.of(host="127.0.0.1", slug=None)
    secret, _ = await house.use.sign_in.open_session(tenant, identity, "r1")
    yield {"Cookie": f"sid={secret}"}


@pytest.fixture
def standing(town: Town, sqlite_filled_url: str) -> Iterator[House]:
    house = open_house(town.settings(sqlite_filled_url))
    yield replace(house, cross_site=replace(house.cross_site, origins=Origins(of_keys=of_keys)))


async def test_a_socket_of_an_agencys_page_is_nobodys_in_particular(standing: House) -> None:
    maker = open_house(standing.settings)
    async with session(maker) as cookie:
        with served(create_app(standing, [])) as (address, _, _):
            url = f"ws://{address}/graphql"
            async with begun(url, additional_headers=cookie) as talk:
                assert (await talk.data(WHO))["viewer"]
            async with begun(url, origin="http://localhost:3000", additional_headers=cookie) as talk:
                assert (await talk.data(WHO))["viewer"]
            async with begun(url, origin=THEIRS, additional_headers=cookie) as talk:
                assert (await talk.data(WHO))["viewer"] is None
    await maker.close()


async def test_a_socket_of_a_page_that_nobody_listed_is_not_opened(standing: House) -> None:
    with served(create_app(standing, [])) as (address, _, _):
        for origin in (EVIL, OTHERS, "null"):
            with pytest.raises(InvalidStatus) as refused:
                async with talking(f"ws://{address}/graphql", origin=origin):
                    pass
            assert refused.value.response.status_code == 403


async def test_a_socket_does_not_go_on_to_a_tenant_that_lists_it_not(standing: House) -> None:
    with served(create_app(standing, [])) as (address, _, _):
        for origin in (THEIRS, "http://localhost:3000"):
            async with talking(f"ws://{address}/graphql", origin=origin) as talk:
                await talk.say({"type": "connection_init", "payload": {"X-Tenant": OTHER, "Accept-Language": "sv"}})
                assert await talk.closed() == (4403, message("NOT_FROM_OUR_PAGES", ("en",)))
