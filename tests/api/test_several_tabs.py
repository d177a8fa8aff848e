"""One browser logs in in several tabs, whose requests cross on the way: none of them costs another its login."""

import asyncio

import httpx2
import pytest

from tests.api.test_login import HOME, LOGIN_URL, begin, house, name_of
from tests.living import Client, Town


async def start(client: Client, login: str) -> httpx2.Request:
    """A tab's request that begins a login, with the cookies that the browser has by now; not sent yet."""
    url = (await client(LOGIN_URL, to=HOME, hold=None))["tenant"]["identityProviders"][0]["loginUrl"]
    return client.http.build_request("GET", f"{url}&login_hint={login}")


async def comes_back(client: Client, began: httpx2.Response) -> httpx2.Request:
    """The request that such a tab sends when the provider lets it go; likewise."""
    async with httpx2.AsyncClient() as web:
        answer = await web.get(began.headers["location"])
    return client.http.build_request("GET", answer.headers["location"])


def under_way(client: Client) -> list[str]:
    return [cookie.name for cookie in client.http.cookies.jar if cookie.name.startswith("login")]


async def test_a_tab_begins_while_another_comes_back(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        returning = client.http.build_request("GET", (await begin(client, "kari")).headers["location"])
        other = await begin(client, "ola")
        for back in (returning, client.http.build_request("GET", other.headers["location"])):
            answer = await client.http.send(back)
            assert (answer.status_code, answer.headers["location"]) == (303, HOME)
        assert await name_of(client) == "Ola Prøvemann" and under_way(client) == []


async def test_two_tabs_begin_at_once(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        starts = [await start(client, login) for login in ("kari", "ola")]
        began = await asyncio.gather(*(client.http.send(each) for each in starts))
        for tab in began:
            answer = await client.http.send(await comes_back(client, tab))
            assert (answer.status_code, answer.headers["location"]) == (303, HOME)
        assert await name_of(client) == "Ola Prøvemann" and under_way(client) == []


async def test_two_tabs_come_back_at_once(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        began = [await client.http.send(await start(client, login)) for login in ("kari", "ola")]
        backs = [await comes_back(client, each) for each in began]
        answers = await asyncio.gather(*(client.http.send(each) for each in backs))
        assert [answer.headers["location"] for answer in answers] == [HOME] * 2
        assert await name_of(client) in ("Kari Testesen", "Ola Prøvemann") and under_way(client) == []


@pytest.mark.parametrize("wrong", [{}, {"error": "access_denied"}])
async def test_a_state_counts_once_also_where_its_login_failed(
    town: Town, sqlite_filled_url: str, wrong: dict[str, str]
) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        back = (await begin(client, "kari")).headers["location"]
        first = await client.http.get(httpx2.URL(back).copy_merge_params(wrong))
        assert first.headers["location"] == (f"{HOME}?login=failed" if wrong else HOME)
        client.http.cookies.pop("sid", None)
        await client.http.get(back)
        assert "sid" not in client.http.cookies and under_way(client) == []


async def test_of_many_tabs_the_newest_five_are_kept(town: Town, sqlite_filled_url: str) -> None:
    async with house(town, sqlite_filled_url) as (client, _):
        backs = [(await begin(client, "kari")).headers["location"] for _ in range(7)]
        assert len(under_way(client)) == 5
        for back in backs[:2]:
            await client.http.get(back)
            assert "sid" not in client.http.cookies
        for back in backs[2:]:
            assert (await client.http.get(back)).headers["location"] == HOME


async def test_an_attempts_cookie_counts_for_its_own_state_alone(town: Town, sqlite_filled_url: str) -> None:
    """Under the name of another state, what was signed for one would let its code in by that."""
    async with house(town, sqlite_filled_url) as (client, _):
        code = httpx2.URL((await begin(client, "ola")).headers["location"]).params["code"]
        [own] = client.http.cookies.jar
        client.http.cookies.clear()
        back = httpx2.URL((await begin(client, "kari")).headers["location"])
        [name] = under_way(client)
        client.http.cookies.clear()
        moved = {"Cookie": f"{name}={own.value}"}
        await client.http.get(back.copy_set_param("code", code), headers=moved)
        assert "sid" not in client.http.cookies
