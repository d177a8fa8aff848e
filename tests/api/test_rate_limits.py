"""So many operations a minute and no more: by address, by viewer and by key; and logins more strictly."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from starlette.requests import HTTPConnection

from api.app import create_app
from api.bootstrap import open_house
from api.errors import RateLimited
from api.limits import Limits
from domain.client import SYSTEM_SCOPES, ClientKind
from domain.client import Client as Agency
from integrations.memory.limiter import MemoryLimiter
from integrations.redis.limiter import STRICT_SHARE, RedisLimiter
from integrations.redis.resting import Resting, open_redis
from tests.api.test_login import HOME
from tests.living import OTHER, Client, Town, in_process, over_http, serving, sign_in
from tests.oidc.serving import query_of
from tests.redises import calls_of_redis, listener, silence
from tests.transports.small import served
from tests.transports.talking import begun, talking

TENANT = "{ tenant { slug } }"
KARI = uuid4()
EVENTS = {"Accept": "text/event-stream"}


@asynccontextmanager
async def limited(town: Town, url: str, **limits: Any) -> AsyncIterator[Client]:
    async with in_process(town.settings(url, **{"trusted_proxies": "127.0.0.1", **limits})) as (client, _):
        yield client


async def ask(client: Client, address: str = "10.0.0.1", **headers: str) -> httpx2.Response:
    told = {"X-Forwarded-For": address} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.http.post("/graphql", json={"query": TENANT}, headers=told)


async def statuses(client: Client, times: int, address: str = "10.0.0.1", **headers: str) -> list[int]:
    return [(await ask(client, address, **headers)).status_code for _ in range(times)]


def refused(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 429, answer.text
    [error] = answer.json()["errors"]
    extensions: dict[str, Any] = error["extensions"]
    assert (extensions["code"], "data" in answer.json()) == ("RATE_LIMITED", False)
    assert 1 <= extensions["retryAfter"] == int(answer.headers["retry-after"]) <= 65
    return dict(error)


async def test_one_address_asks_so_much_in_a_minute_and_another_is_not_in_its_way(
    town: Town, sqlite_filled_url: str
) -> None:
    async with limited(town, sqlite_filled_url, operations_per_address=3) as client:
        assert await statuses(client, 5) == [200] * 3 + [429] * 2
        assert await statuses(client, 1, "10.0.0.2") == [200]
        assert await statuses(client, 1, X_Tenant=OTHER) == [200]
        told = refused(await ask(client, Accept_Language="sv"))
        assert told["message"] == "För många försök. Vänta lite och försök igen."


async def test_all_the_addresses_of_one_network_are_one(town: Town, sqlite_filled_url: str) -> None:
    """Whoever has an IPv6 network has more addresses than there are seconds."""
    async with limited(town, sqlite_filled_url, operations_per_address=3) as client:
        told = [await statuses(client, 1, f"2001:db8:1:2:{n:x}::{n}") for n in range(5)]
        assert told == [[200]] * 3 + [[429]] * 2
        assert await statuses(client, 1, "2001:db8:1:3::1") == [200]
        assert await statuses(client, 4, "::ffff:10.0.0.9") == [200] * 3 + [429]
        assert await statuses(client, 1, "10.0.0.9") == [429]


async def test_nobody_chooses_an_address_to_be_counted_by(town: Town, sqlite_filled_url: str) -> None:
    """What is left of what the outermost listed proxy has added, the caller has written."""
    async with limited(
        town, sqlite_filled_url, operations_per_address=3, trusted_proxies="127.0.0.1,10.9.9.9"
    ) as client:
        told = [await statuses(client, 1, f"10.1.1.{n}, 10.0.0.1, 10.9.9.9") for n in range(4)]
        assert told == [[200]] * 3 + [[429]]
        lines = [("X-Forwarded-For", "10.1.1.9"), ("X-Forwarded-For", "10.0.0.1")]
        assert (await client.http.post("/graphql", json={"query": TENANT}, headers=lines)).status_code == 429


async def test_a_port_that_a_proxy_appends_makes_no_new_address(town: Town, sqlite_filled_url: str) -> None:
    """Every connection has a port of its own."""
    async with limited(town, sqlite_filled_url, operations_per_address=3) as client:
        for form in ("203.0.113.7:{}", "[2001:db8:1:2::1]:{}"):
            told = [await statuses(client, 1, form.format(4711 + n)) for n in range(4)]
            assert told == [[200]] * 3 + [[429]]
        assert await statuses(client, 1, "203.0.113.7") == [429]
        assert await statuses(client, 1, "[2001:db8:1:2::9]") == [429]
        for other in ("203.0.113.8:4711", "[2001:db8:1:3::1]:4711"):
            assert await statuses(client, 1, other) == [200]


async def test_what_is_no_address_is_the_proxys_own(town: Town, sqlite_filled_url: str) -> None:
    """Whoever could choose it would have as many as there are words."""
    async with limited(town, sqlite_filled_url, operations_per_address=3) as client:
        told = [await statuses(client, 1, each) for each in ("unknown", "_hidden", "10.0.0.1, ", "1.2.3.4.5")]
        assert told == [[200]] * 3 + [[429]]
        assert await statuses(client, 1, "10.0.0.1") == [200]


@pytest.mark.parametrize(
    ("listed", "proxy"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5", "::ffff:10.0.0.5"),  # as it arrives where one listens on `::`
        ("::ffff:10.0.0.5", "10.0.0.5"),
        ("2001:DB8:0:0::5", "2001:db8::5"),
        ("2001:db8::5", "2001:0db8:0::0:5"),
    ],
)
async def test_a_listed_proxy_is_known_however_its_address_is_written(town: Town, listed: str, proxy: str) -> None:
    """As the peer, and in between."""
    limits = Limits(MemoryLimiter(), town.settings("sqlite:///x", trusted_proxies=f"10.9.9.9,{listed}"))
    client = {"x-forwarded-for": "192.0.2.1"}
    assert limits.address(connection(proxy, **client)) == "192.0.2.1"
    assert limits.address(connection("10.9.9.9", **{"x-forwarded-for": f"192.0.2.1, {proxy}"})) == "192.0.2.1"
    assert limits.address(connection("10.0.0.6", **client)) == "10.0.0.6"
    assert limits.address(connection("2001:db8::6", **client)) == "2001:db8::"


async def test_no_proxy_is_believed_that_is_not_listed(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    with serving(town.settings(sqlite_filled_url, operations_per_address=3), tmp_path / "stderr") as url:
        async with over_http(url) as client:
            assert [await statuses(client, 1, f"10.1.1.{n}") for n in range(4)] == [[200]] * 3 + [[429]]


async def test_a_stream_is_refused_as_any_other_operation(town: Town, sqlite_filled_url: str) -> None:
    async with limited(town, sqlite_filled_url, operations_per_address=1) as client:
        assert await statuses(client, 1, **EVENTS) == [200]
        refused(await ask(client, **EVENTS))


async def test_tokens_that_do_not_count_are_counted(town: Town, sqlite_filled_url: str) -> None:
    async with limited(town, sqlite_filled_url, operations_per_address=3) as client:
        assert await statuses(client, 5, Authorization="Bearer guessed") == [401] * 3 + [429] * 2


async def test_a_viewer_is_counted_wherever_they_are(town: Town, sqlite_filled_url: str) -> None:
    kari, ola = [{"Authorization": f"Bearer {await sign_in(town, login)}"} for login in ("kari", "ola")]
    async with limited(town, sqlite_filled_url, operations_per_viewer=3) as client:
        told = [await statuses(client, 1, f"10.0.0.{n}", **kari) for n in range(5)]
        assert told == [[200]] * 3 + [[429]] * 2
        again = {"Authorization": f"Bearer {await sign_in(town, 'kari')}"}
        assert await statuses(client, 1, **again) == [429]  # the same person by another token
        assert await statuses(client, 1, **ola) == [200]
        told = [await statuses(client, 1, f"10.0.0.{n}", Cookie="sid=s1") for n in range(5)]
        assert told == [[200]] * 3 + [[429]] * 2
        assert await statuses(client, 9) == [200] * 9  # nobody in particular


async def test_a_socket_hears_it_for_the_operation_alone(town: Town, sqlite_filled_url: str) -> None:
    house = open_house(town.settings(sqlite_filled_url, operations_per_address=3))
    with served(create_app(house, [])) as (address, _, _):
        url = f"ws://{address}/graphql"
        async with begun(url) as talk:  # to open one is an operation, too
            assert [await talk.data(TENANT) for _ in range(2)]
            await talk.ask("3", TENANT)
            told = await talk.hear()
            assert (told["id"], told["type"]) == ("3", "error")
            [error] = told["payload"]
            assert error["extensions"]["code"] == "RATE_LIMITED" and error["extensions"]["retryAfter"] >= 1
            assert await talk.lives()
        async with talking(url) as talk:
            await talk.say({"type": "connection_init"})
            assert (await talk.closed())[0] == 1013  # come back later


def connection(address: str = "10.0.0.1", **headers: str) -> HTTPConnection:
    told = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": told, "client": (address, 1)})


def key(id: str, rate: int | None, **more: Any) -> Agency:
    known: dict[str, Any] = {"id": "fysio", "kind": ClientKind.AGENCY, "scopes": SYSTEM_SCOPES}
    return Agency(**known, key_id=id, rate_per_minute=rate, **more)


async def allowed(limits: Limits, times: int, at: HTTPConnection | None = None, **who: Any) -> int:
    done = 0
    for _ in range(times):
        try:
            await limits.operation(at or connection(), "t", **who)
        except RateLimited:
            continue
        done += 1
    return done


async def test_a_key_has_its_own_rate_and_is_not_counted_by_its_servers_address(town: Town) -> None:
    limits = Limits(MemoryLimiter(), town.settings("sqlite:///x", operations_per_address=5, operations_per_viewer=3))
    assert await allowed(limits, 20, client=key("a", 10)) == 10
    assert await allowed(limits, 20, client=key("b", 12)) == 12
    assert await allowed(limits, 9) == 5
    assert await allowed(limits, 9, client=key("c", None)) == 0  # nothing agreed on: by address
    assert await allowed(limits, 9, client=key("d", 10), viewer="kari") == 3
    assert await allowed(limits, 9, client=key("d", 10), viewer="ola") == 3


async def test_one_machine_does_not_use_up_a_key_that_is_read_from_a_page(town: Town) -> None:
    limits = Limits(MemoryLimiter(), town.settings("sqlite:///x", operations_per_address=5))
    page = {"origin": "https://booking.example"}
    assert await allowed(limits, 9, connection(**page), client=key("a", 8)) == 5
    assert await allowed(limits, 9, connection("10.0.0.2", **page), client=key("a", 8)) == 3


async def held(limits: Limits, times: int, server: Agency | None, patient: UUID | None = None) -> int:
    """By another patient each time, unless it is always the same."""
    told = [await limits.may_hold("t", "10.0.0.1", server, patient or uuid4(), None) for _ in range(times)]
    return told.count(True)


async def test_a_servers_patients_hold_as_many_in_ten_minutes_as_it_asks_for_in_one(town: Town) -> None:
    """And as many as any address in any case."""
    limits = Limits(MemoryLimiter(), town.settings("sqlite:///x", holds_per_address=5, holds_per_visitor=2))
    assert await held(limits, 4, key("a", 7), KARI) == 2
    assert await held(limits, 9, key("a", 7)) == 5
    assert await held(limits, 9, key("b", 1)) == 5
    assert await held(limits, 9, key("c", None)) == 5
    assert await held(limits, 9, None) == 5  # of the address nothing was taken


async def test_costs_can_be_told_for_what_costs_more(town: Town) -> None:
    limits = Limits(MemoryLimiter(), town.settings("sqlite:///x", operations_per_address=10))
    assert await allowed(limits, 9, cost=4) == 2
    assert await allowed(limits, 9) == 2


async def start(client: Client, address: str = "10.0.0.1", query: str = f"returnTo={HOME}") -> httpx2.Response:
    return await client.http.get(f"/login/bankid-no?{query}", headers={"X-Forwarded-For": address})


async def fail(client: Client, state: str, address: str = "10.0.0.1") -> int:
    back = f"/login/callback/bankid-no?state={state}&error=access_denied"
    return (await client.http.get(back, headers={"X-Forwarded-For": address})).status_code


async def test_only_so_many_logins_begin_at_one_address(town: Town, sqlite_filled_url: str) -> None:
    async with limited(town, sqlite_filled_url, logins_per_address=3) as client:
        told = [(await start(client)).status_code for _ in range(5)]
        assert told == [302] * 3 + [429] * 2
        answer = await start(client)
        assert answer.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
        assert 1 <= int(answer.headers["retry-after"]) <= 650
        assert (await start(client, "10.0.0.2")).status_code == 302
        assert await statuses(client, 1) == [200]


async def test_where_many_logins_fail_none_begins_or_ends(town: Town, sqlite_filled_url: str) -> None:
    async with limited(town, sqlite_filled_url, failed_logins_per_address=3) as client:
        states = [query_of(await start(client))["state"] for _ in range(5)]
        assert [await fail(client, state) for state in states] == [303] * 3 + [429] * 2
        assert (await start(client)).status_code == 429
        assert (await start(client, "10.0.0.2")).status_code == 302


async def test_a_page_elsewhere_uses_up_nobodys_tries(town: Town, sqlite_filled_url: str) -> None:
    """It may send a browser to the callback as often as it likes, with a state that was never begun there."""
    async with limited(town, sqlite_filled_url, failed_logins_per_address=3) as client:
        assert [await fail(client, "made-up") for _ in range(5)] == [303] * 5
        assert (await start(client)).status_code == 302


async def test_who_names_no_tenant_is_counted_too(town: Town, sqlite_filled_url: str) -> None:
    async with limited(town, sqlite_filled_url, operations_per_address=3) as client:
        told = [await statuses(client, 1, X_Tenant=f"nobody-{n}") for n in range(5)]
        assert told == [[400]] * 3 + [[429]] * 2
        said = refused(await ask(client, X_Tenant="nobody", Accept_Language="en"))["message"]
        assert said.startswith("Too many attempts.")


async def test_where_many_untrue_logout_tokens_come_from_none_is_looked_at(town: Town, sqlite_filled_url: str) -> None:
    async def told(address: str, body: dict[str, str]) -> httpx2.Response:
        to, by = "/logout/backchannel/nordhelse", {"X-Forwarded-For": address}
        return await client.http.post(to, data=body, headers=by)

    async with limited(town, sqlite_filled_url, failed_logins_per_address=3) as client:
        bodies = [{"logout_token": "rubbish"}, {}, {"logout_token": "a.b.c"}, {"logout_token": "x"}]
        answers = [await told("10.0.0.1", body) for body in bodies]
        assert [each.status_code for each in answers] == [400] * 3 + [429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 650
        assert (await told("10.0.0.2", bodies[0])).status_code == 400
        assert (await start(client)).status_code == 302  # logins that fail are counted apart


async def test_to_sign_out_by_a_link_is_an_operation_like_others(town: Town, sqlite_filled_url: str) -> None:
    async def leave(address: str) -> int:
        by = {"X-Forwarded-For": address}
        return (await client.http.get("/logout", params={"returnTo": HOME}, headers=by)).status_code

    async with limited(town, sqlite_filled_url, operations_per_address=3) as client:
        assert [await leave("10.0.0.1") for _ in range(3)] == [303, 303, 303]
        assert [await leave("10.0.0.1"), *await statuses(client, 1)] == [429, 429]
        assert await leave("10.0.0.2") == 303


async def test_without_redis_answering_a_process_lets_a_part_of_the_logins_begin(
    town: Town, sqlite_filled_url: str
) -> None:
    async with (
        listener(silence) as (silent, _),
        limited(
            town, sqlite_filled_url, redis_url=silent, logins_per_address=4 * STRICT_SHARE, operations_per_address=9
        ) as client,
    ):
        told = [(await start(client)).status_code for _ in range(4 * STRICT_SHARE)]
        assert told.count(302) == 4
        assert (await statuses(client, 12)).count(200) == 9  # what is not strict has its whole limit


@pytest.mark.parametrize("setting", ["holds_per_visitor", "holds_per_address"])
async def test_without_redis_answering_a_process_gives_out_a_part_of_the_holds(town: Town, setting: str) -> None:
    async with listener(silence) as (silent, _):
        redis = open_redis(silent)
        limiter = RedisLimiter(Resting(redis), MemoryLimiter())
        limits = Limits(limiter, town.settings("sqlite:///x", **{setting: 3 * STRICT_SHARE}))
        told = [await limits.may_hold("t", "10.0.0.1", None, KARI, None) for _ in range(3 * STRICT_SHARE)]
        assert told.count(True) == 3
        await redis.aclose()


async def test_notifications_are_limited_by_address(town: Town, sqlite_filled_url: str) -> None:
    async with limited(town, sqlite_filled_url, operations_per_address=2) as client:
        told = [await client.http.post("/webhooks/ehr/nordhelse/no", json={}) for _ in range(3)]
        assert [answer.status_code for answer in told] == [401, 401, 429]
        assert told[2].json()["code"] == "RATE_LIMITED" and int(told[2].headers["retry-after"]) >= 1


async def test_what_is_counted_in_redis_names_nobody(
    town: Town, sqlite_filled_url: str, redis_url: str, prefix: str
) -> None:
    address, secret = "203.0.113.77", uuid4().hex
    async with limited(town, sqlite_filled_url, redis_url=redis_url, redis_prefix=prefix) as client:
        await ask(client, address, Cookie=f"sid={secret}")
        state = query_of(await start(client, address))["state"]
        await fail(client, state, address)
    redis = open_redis(redis_url)
    names = [name.decode() async for name in redis.scan_iter(f"{prefix}quota:*")]
    kinds = {name.removeprefix(f"{prefix}quota:").partition(":")[0] for name in names}
    assert kinds == {"viewer", "address", "login", "failed"}
    for name in names:
        assert address not in name and secret not in name
        assert await redis.type(name) == b"hash" and await redis.ttl(name) > 0
        assert {int(part) > 0 and int(count) == 1 for part, count in (await redis.hgetall(name)).items()} == {True}
    for name in names:
        await redis.delete(name)
    await redis.aclose()


@pytest.mark.parametrize("redis", [False, True])
async def test_an_operation_asks_redis_once(
    town: Town, sqlite_filled_url: str, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch, redis: bool
) -> None:
    """Whatever is counted by: viewer, key and address together."""
    asked = calls_of_redis(monkeypatch)
    settings = {"redis_url": redis_url, "redis_prefix": prefix} if redis else {}
    async with limited(town, sqlite_filled_url, **settings) as client:
        await ask(client, Cookie="sid=s")
    assert len(asked) == int(redis)
