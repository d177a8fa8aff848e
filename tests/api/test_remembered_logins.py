"""Who has signed out everywhere is not signed in by what the identity provider remembers: it is to ask them again."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest

from tests.api.test_login import HOME, held_slot, house, log_in, name_of
from tests.api.test_logout import SIGN_OUT
from tests.api.test_step_up import Remembering, remembering
from tests.living import OTHER, Client, Town
from tests.oidc.serving import MovableClock, query_of, tokens_of

__all__ = ["remembering"]

Provided = tuple[Remembering, str]


@pytest.fixture
async def client(town: Town, filled_url: str, clock: MovableClock, remembering: Provided) -> AsyncIterator[Client]:
    async with house(town, filled_url, oidc_issuer=remembering[1]) as (client, _):
        yield client


async def sign_out_everywhere(client: Client, clock: MovableClock, provider: Provided, ago: int) -> None:
    """So many seconds ago, by an app. From then on the provider remembers a login long enough before it."""
    memory, issuer = provider
    memory.ago, clock.ahead = ago + 50, timedelta(seconds=-ago)
    token = str((await tokens_of(issuer, "kari"))["access_token"])
    assert (await client(SIGN_OUT, token, everywhere=True))["signOut"] == {"errors": []}
    clock.ahead = timedelta()


async def at_the_provider(answer: httpx2.Response) -> str:
    """Where it sends back to somebody whom it was sent again, and who says there who they are."""
    async with httpx2.AsyncClient() as web:
        back = await web.get(f"{answer.headers['location']}&login_hint=kari")
    return str(back.headers["location"])


@pytest.mark.parametrize(("ago", "least"), [(30, 30), (3600, 60)])
async def test_the_provider_is_asked_for_a_login_after_it(
    client: Client, clock: MovableClock, remembering: Provided, ago: int, least: int
) -> None:
    await sign_out_everywhere(client, clock, remembering, ago)
    again = await log_in(client, to=f"{HOME}?step=2")
    assert again.status_code == 302 and again.headers["location"].startswith(f"{remembering[1]}/authorize?")
    assert least <= int(query_of(again)["max_age"]) <= 60
    assert "sid" not in client.http.cookies and await name_of(client) is None
    remembering[0].ago = 0
    answer = await client.http.get(await at_the_provider(again))
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?step=2")
    assert await name_of(client) == "Kari Testesen"


async def test_where_clocks_differ_it_is_still_asked_for_a_new_one(
    client: Client, clock: MovableClock, remembering: Provided
) -> None:
    """Another process may have noted a sign-out that is still to come by ours."""
    await sign_out_everywhere(client, clock, remembering, -600)
    remembering[0].ago = 0
    assert query_of(await log_in(client))["max_age"] == "1"


async def test_it_is_asked_once(client: Client, clock: MovableClock, remembering: Provided) -> None:
    """One that goes on telling the same login, which is young enough by the clock alone, would be asked for ever."""
    await sign_out_everywhere(client, clock, remembering, 60)
    back = await at_the_provider(await log_in(client))
    for address in (back, back):
        answer = await client.http.get(address)
        assert (answer.status_code, "sid" in client.http.cookies) == (303, False)
        assert answer.headers["location"].endswith("?login=failed")
    assert not client.http.cookies


async def test_the_held_time_is_not_lost_over_it(client: Client, clock: MovableClock, remembering: Provided) -> None:
    await sign_out_everywhere(client, clock, remembering, 30)
    token, _ = await held_slot(client)
    first = await log_in(client, hold=token)
    remembering[0].ago = 0
    await client.http.get(await at_the_provider(first))
    held = "query($token: String!) { hold(token: $token) { expiresAt } }"
    assert (await client(held, token=token))["hold"]
    client.http.cookies.clear()
    assert (await client(held, token=token))["hold"] is None  # it is the patient's by now


async def test_until_then_the_browser_keeps_the_session_that_it_has(
    client: Client, clock: MovableClock, remembering: Provided
) -> None:
    """At another tenant of the same host, whose cookie the login would write over."""
    await sign_out_everywhere(client, clock, remembering, 30)
    client.http.headers["X-Tenant"] = OTHER
    await log_in(client)
    client.http.headers["X-Tenant"] = "nordhelse"
    assert (await log_in(client)).status_code == 302
    client.http.headers["X-Tenant"] = OTHER
    assert await name_of(client) == "Kari Testesen"
