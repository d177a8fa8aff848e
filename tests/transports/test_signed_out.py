"""Whoever is signed out or erased loses what they have open: a WebSocket closes with 4403, a stream of events ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
import pytest

from api.app import House, create_app
from api.bootstrap import open_house
from api.conversation import SIGNED_IN_NO_MORE
from domain.audit import Actor, ActorKind
from domain.national_id import national_id
from domain.patient import Identity, LogoutToken, ProviderLogin
from domain.tenant import Tenant
from integrations.sandbox.people import PEOPLE
from tests.api.test_own_data import ERASE
from tests.living import BY_SCRIPT, Town, over_http, sign_in
from tests.oidc.serving import MovableClock
from tests.planted import HOOKS
from tests.transports.bounds import SHORT, ends_soon, goes_on
from tests.transports.small import served
from tests.transports.talking import Talk, talking

WHO = "{ viewer { patient { id } } }"
NEWS = "subscription { bookingChanges { resync } }"
KARI = next(person for person in PEOPLE if person.login == "kari")
LOGIN = ProviderLogin(provider="bankid-no", issuer="https://idp.example", subject="kari", sid="session-1")


class Place:
    """A running house, looked at again a few times a second, and one patient's browser session there."""

    def __init__(self, house: House, tenant: Tenant, address: str, secret: str, actor: Actor) -> None:
        self.house, self.tenant, self.address = house, tenant, address
        self.secret, self.actor = secret, actor
        self.cookie = {"Cookie": f"sid={secret}"}
        self.url = f"http://{address}"

    async def end(self, how: str, signed_in: dict[str, str] | None = None) -> None:
        use = self.house.use
        if how == "erased":
            async with over_http(self.url) as client:
                client.http.headers.update(signed_in or self.cookie)
                assert (await client(ERASE, input={"idempotencyKey": how}))["eraseMyData"]["erased"]
        elif how == "signed out":
            await use.sign_out(self.tenant, self.secret, "r1")
        elif how == "signed out everywhere":
            await use.sign_out_everywhere(self.tenant, self.actor, UUID(self.actor.id))
        else:
            subject, sid = (LOGIN.subject, None) if how == "provider, by subject" else (None, LOGIN.sid)
            until = datetime.now(UTC) + timedelta(minutes=2)
            token = LogoutToken(issuer=LOGIN.issuer, jti=how, sid=sid, subject=subject, expires_at=until)
            assert await use.hear_logout(self.tenant, token)


@asynccontextmanager
async def place(town: Town, url: str, clock: MovableClock, recheck: float = SHORT) -> AsyncIterator[Place]:
    house = open_house(town.settings(url, recheck_seconds=recheck))
    tenant = await house.tenants.of(host="127.0.0.1", slug=None)
    today = clock.now().date()
    identity = Identity(
        issuer=LOGIN.issuer,
        subject=LOGIN.subject,
        name=KARI.name,
        birth_date=KARI.birth_date,
        national_id=national_id("NO", str(KARI.number), today=today, synthetic_allowed=True),
        phone=None,
        email=None,
        language=None,
        authenticated_at=clock.now(),
        expires_at=clock.now() + timedelta(hours=1),
    )
    secret, viewer = await house.use.sign_in.open_session(tenant, identity, "r1", login=LOGIN)
    actor = Actor(kind=ActorKind.PATIENT, id=str(viewer.patient.id))
    with served(create_app(house, [])) as (address, _, _):
        yield Place(house, tenant, address, secret, actor)


async def rest_of(parts: AsyncIterator[str]) -> str:
    return "".join([part async for part in parts])


async def is_there(talk: Talk) -> None:
    await talk.begin()
    assert (await talk.data(WHO))["viewer"]


HOW = ["signed out", "signed out everywhere", "provider, by subject", "provider, by session", "erased"]


@pytest.mark.parametrize("how", HOW)
async def test_a_socket_of_a_session_that_was_ended_is_closed(
    town: Town, sqlite_filled_url: str, clock: MovableClock, how: str
) -> None:
    async with (
        place(town, sqlite_filled_url, clock) as here,
        talking(f"ws://{here.address}/graphql", additional_headers=here.cookie) as talk,
    ):
        await is_there(talk)
        await here.end(how)
        assert await ends_soon(here.url, talk.closed()) == (4403, SIGNED_IN_NO_MORE)


async def test_how_soon_is_what_the_setting_says(town: Town, sqlite_filled_url: str, clock: MovableClock) -> None:
    """The other side of the tests above: it is the look that closes, and it comes when it is due."""
    async with (
        place(town, sqlite_filled_url, clock, recheck=3600) as here,
        talking(f"ws://{here.address}/graphql", additional_headers=here.cookie) as talk,
    ):
        await is_there(talk)
        await here.end("signed out")
        await goes_on(here.url, talk.closed())
        assert await talk.lives()


@pytest.mark.parametrize("how", ["signed out everywhere", "erased", "expired"])
async def test_a_socket_of_an_apps_token_is_closed(
    town: Town, sqlite_filled_url: str, clock: MovableClock, how: str
) -> None:
    async with place(town, sqlite_filled_url, clock) as here:
        bearer = {"Authorization": f"Bearer {await sign_in(town, 'kari')}"}
        async with talking(f"ws://{here.address}/graphql", additional_headers=bearer) as talk:
            await is_there(talk)
            clock.ahead = timedelta(hours=2) if how == "expired" else timedelta(seconds=2)
            if how != "expired":
                await here.end(how, bearer)
            assert await ends_soon(here.url, talk.closed()) == (4403, SIGNED_IN_NO_MORE)


async def test_a_stream_of_events_ends_within_the_bound(
    town: Town, sqlite_filled_url: str, clock: MovableClock
) -> None:
    """Also where it is looked at more often than it says that it is alive."""
    async with place(town, sqlite_filled_url, clock) as here, httpx2.AsyncClient(timeout=60, event_hooks=HOOKS) as http:
        events = {"Accept": "text/event-stream", **here.cookie, **BY_SCRIPT}
        url, asked = f"http://{here.address}/graphql", {"query": NEWS}
        async with http.stream("POST", url, json=asked, headers=events) as answer:
            parts = answer.aiter_text()
            while "resync" not in await anext(parts):
                continue
            await goes_on(here.url, asyncio.sleep(3600))  # until it has been looked at: who was not there may stay
            await here.end("signed out")
            heard = await ends_soon(here.url, rest_of(parts))
        assert "UNAUTHENTICATED" in heard and heard.endswith("event: complete\ndata:\n\n")
