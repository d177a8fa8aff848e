"""Whose pages use a visitor's session, and read our answers: our own and listed ones, by scripts that say so."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.api.test_login import HOME, VIEWER, log_in
from tests.api.test_login import house as started
from tests.living import BY_SCRIPT, OTHER, Client, Town, in_process, sign_in
from tests.system.journey import RELEASE, Journey

LISTED, AT_ALL, EVIL = "http://localhost:3000", "https://all.example", "https://evil.example"
EVENTS = "text/event-stream"


@pytest.fixture
async def client(town: Town, sqlite_filled_url: str) -> AsyncIterator[Client]:
    """Signed in by a cookie, whose requests bring nothing by themselves that scripts add."""
    async with started(town, sqlite_filled_url, origins=AT_ALL) as (client, _):
        await log_in(client)
        del client.http.headers["GraphQL-Require-Preflight"]
        yield client


async def ask(client: Client, query: str = VIEWER, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.http.post("/graphql", json={"query": query}, headers=named)


def refused(answer: httpx2.Response) -> str:
    """The reason why."""
    assert answer.status_code == 403, answer.text
    [error] = answer.json()["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN" and error["extensions"]["requestId"]
    return str(error["extensions"]["reason"])


def name_in(answer: httpx2.Response) -> str | None:
    viewer = answer.json()["data"]["viewer"]
    return viewer and str(viewer["patient"]["name"])


@pytest.mark.parametrize("header", ["GraphQL-Require-Preflight", "Apollo-Require-Preflight", "X-Apollo-Operation-Name"])
async def test_a_cookie_counts_with_a_header_that_only_scripts_add(client: Client, header: str) -> None:
    assert name_in(await ask(client, **{header: "1"})) == "Kari Testesen"
    assert refused(await ask(client, **{header: ""})) == "NO_PREFLIGHT_HEADER"


@pytest.mark.parametrize("accept", ["application/json", EVENTS, "application/graphql-response+json"])
async def test_a_cookie_without_it_is_refused_and_not_taken_for_nobody(client: Client, accept: str) -> None:
    assert refused(await ask(client, Accept=accept)) == "NO_PREFLIGHT_HEADER"
    answer = await ask(client, Accept_Language="sv")
    assert answer.json()["errors"][0]["message"].startswith("Begäran kom inte från våra egna sidor.")


@pytest.mark.parametrize("origin", ["http://127.0.0.1", LISTED, AT_ALL, "HTTP://LocalHost:3000"])
async def test_our_own_pages_and_listed_ones_use_the_session(client: Client, origin: str) -> None:
    assert name_in(await ask(client, **BY_SCRIPT, Origin=origin, Sec_Fetch_Site="same-site")) == "Kari Testesen"


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "", "http://localhost:3000.evil.example", "https://127.0.0.1", "http://127.0.0.1:81"]
)
async def test_pages_elsewhere_do_not_use_the_session(client: Client, origin: str) -> None:
    assert refused(await ask(client, **BY_SCRIPT, Origin=origin)) == "FOREIGN_ORIGIN"


WAYS = [(method, accept) for method in ("POST", "GET") for accept in ("application/json", EVENTS)]


@pytest.mark.parametrize(("method", "accept"), WAYS)
async def test_each_way_of_asking_is_held_to_all_of_it(client: Client, method: str, accept: str) -> None:
    sent: dict[str, Any] = {"params" if method == "GET" else "json": {"query": VIEWER}}

    async def asked(**headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.http.request(method, "/graphql", headers={"Accept": accept, **named}, **sent)

    assert "Kari Testesen" in (await asked(**BY_SCRIPT)).text
    assert refused(await asked()) == "NO_PREFLIGHT_HEADER"
    assert refused(await asked(**BY_SCRIPT, Origin=EVIL)) == "FOREIGN_ORIGIN"
    assert refused(await asked(**BY_SCRIPT, Sec_Fetch_Site="cross-site")) == "CROSS_SITE"


async def test_an_empty_authorization_is_none_and_the_cookie_is_looked_at(client: Client) -> None:
    for header in ("", " "):
        assert refused(await ask(client, Authorization=header)) == "NO_PREFLIGHT_HEADER"


async def test_what_the_browser_calls_cross_site_is_refused(client: Client) -> None:
    assert refused(await ask(client, **BY_SCRIPT, Sec_Fetch_Site="cross-site")) == "CROSS_SITE"
    assert refused(await ask(client, **BY_SCRIPT, Sec_Fetch_Site="cross-site", Origin=LISTED)) == "CROSS_SITE"


async def test_the_lists_of_one_tenant_are_not_anothers(client: Client) -> None:
    headers = {**BY_SCRIPT, "X-Tenant": OTHER, "Host": "127.0.0.1"}
    assert name_in(await ask(client, **headers, Origin=AT_ALL)) is None  # the session is another tenant's
    assert refused(await ask(client, **headers, Origin=LISTED)) == "FOREIGN_ORIGIN"


async def test_nothing_is_done_of_a_mutation_that_is_refused(client: Client) -> None:
    client.http.headers.update(BY_SCRIPT)
    journey = Journey(client, "bryggen-legesenter")
    token = (await journey.hold((await journey.slots())[0]["id"]))["hold"]["token"]
    release = {"query": RELEASE, "variables": {"input": {"token": token}}}
    assert refused(await client.http.post("/graphql", json=release, headers={"Origin": EVIL})) == "FOREIGN_ORIGIN"
    assert (await client("query($t: String!) { hold(token: $t) { expiresAt } }", t=token))["hold"]


async def test_who_brings_a_bearer_or_nothing_needs_no_header(client: Client, town: Town) -> None:
    bearer = f"Bearer {await sign_in(town, 'ola')}"
    elsewhere = {"Origin": EVIL, "Sec_Fetch_Site": "cross-site"}
    assert name_in(await ask(client, **elsewhere, Authorization=bearer)) == "Ola Prøvemann"
    client.http.cookies.clear()
    assert name_in(await ask(client, **elsewhere)) is None


async def test_no_get_is_answered_without_the_header_whoever_sends_it(client: Client, town: Town) -> None:
    params, bearer = {"query": VIEWER}, {"Authorization": f"Bearer {await sign_in(town, 'kari')}"}
    for headers in ({}, bearer, {"Accept": EVENTS}):
        assert refused(await client.http.get("/graphql", params=params, headers=headers)) == "NO_PREFLIGHT_HEADER"
    assert name_in(await client.http.get("/graphql", params=params, headers=BY_SCRIPT)) == "Kari Testesen"
    client.http.cookies.clear()
    assert refused(await client.http.get("/graphql", params=params)) == "NO_PREFLIGHT_HEADER"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "text/plain;application/json",
        "application/jsonp",
    ],
)
async def test_only_json_is_read(client: Client, kind: str) -> None:
    """The bodies that a form can send; and one that says it is none."""
    client.http.cookies.clear()
    body = b'{"query": "{ viewer { patient { name } } }"}'
    answer = await client.http.post("/graphql", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")


async def test_a_link_to_ones_own_visit_is_followed_from_anywhere(client: Client) -> None:
    client.http.headers.update(BY_SCRIPT)
    journey = Journey(client, "bryggen-legesenter")
    held = await journey.hold((await journey.slots())[0]["id"])
    booking = (await journey.confirm(held["hold"]["token"]))["booking"]
    asked = await client("query($id: ID!) { node(id: $id) { ... on Booking { calendarUrl } } }", id=booking["id"])
    del client.http.headers["GraphQL-Require-Preflight"]
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = await client.http.get(asked["node"]["calendarUrl"], headers=headers)
    assert answer.status_code == 200 and answer.text.startswith("BEGIN:VCALENDAR")
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers
    client.http.headers.update(BY_SCRIPT)
    await journey.cancel(booking)


async def preflight(client: Client, origin: str, path: str = "/graphql", **headers: str) -> Any:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-apikey"}
    answer = await client.http.options(path, headers={"Origin": origin, **asked, **headers})
    assert answer.status_code == 204 and answer.headers["vary"] == "Origin"
    return answer.headers


def marks(headers: Any) -> tuple[str | None, str | None]:
    return headers.get("access-control-allow-origin"), headers.get("access-control-allow-credentials")


async def test_a_listed_page_is_let_through_with_credentials_and_reads_the_answer(client: Client) -> None:
    for origin in (LISTED, AT_ALL):
        told = await preflight(client, origin)
        assert marks(told) == (origin, "true")
        assert {"authorization", "content-type", "graphql-require-preflight", "x-apikey", "x-tenant"} <= set(
            told["access-control-allow-headers"].split(", ")
        )
        assert told["access-control-allow-methods"] == "GET, POST" and int(told["access-control-max-age"]) > 0
        answer = await ask(client, **BY_SCRIPT, Origin=origin)
        assert marks(answer.headers) == (origin, "true")
        assert "Origin" in answer.headers["vary"] and "Cookie" in answer.headers["vary"]
        exposed = answer.headers["access-control-expose-headers"]
        assert all(name in exposed for name in ("Retry-After", "X-Request-Id", "Content-Language"))


@pytest.mark.parametrize("origin", [EVIL, "null", "*", "http://localhost:3001", "http://localhost:3000/x"])
async def test_an_unlisted_page_gets_no_header(client: Client, origin: str) -> None:
    client.http.cookies.clear()
    told = [await preflight(client, origin), (await ask(client, Origin=origin)).headers]
    told.append((await client.http.get("/login/nobody", headers={"Origin": origin})).headers)
    for headers in told:
        assert not [name for name in headers if name.startswith("access-control")]
        assert "Origin" in headers["vary"]


async def test_errors_and_streams_are_read_by_the_pages_that_may(client: Client) -> None:
    client.http.cookies.clear()
    answers = [
        await ask(client, "{", Origin=LISTED),
        await ask(client, Origin=LISTED, Authorization="Bearer wrong"),
        await ask(client, Origin=LISTED, Accept=EVENTS),
        await client.http.get("/graphql", headers={"Origin": LISTED}),
        await client.http.get(f"/login/nobody?returnTo={HOME}", headers={"Origin": LISTED}),
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 200, 403, 404]
    assert {marks(answer.headers) for answer in answers} == {(LISTED, "true")}


async def test_the_tenant_is_told_by_host_query_or_path(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url)) as (client, _):
        assert marks(await preflight(client, LISTED, Host="annan.example")) == (None, None)
        assert marks(await preflight(client, LISTED, f"/graphql?tenant={OTHER}")) == (None, None)
        assert marks(await preflight(client, LISTED, "/graphql?tenant=nordhelse", Host="x"))[0] == LISTED
        assert marks(await preflight(client, LISTED, "/graphql?tenant=nordhelse", Host="annan.example")) == (None, None)
        assert marks(await preflight(client, LISTED, "/nordhelse/1.0/R4/auth/system-token", Host="x"))[0] == LISTED
        assert marks(await preflight(client, LISTED, f"/{OTHER}/1.0/R4/auth/system-token")) == (None, None)
        assert marks(await preflight(client, LISTED, "/nobody/1.0/R4/auth/system-token")) == (None, None)


async def test_no_other_path_is_for_pages(client: Client) -> None:
    for path in ("/metrics", "/health/ready", "/"):
        answer = await client.http.get(path, headers={"Origin": LISTED})
        assert answer.status_code == 200 and marks(answer.headers) == (None, None)


async def test_every_answer_tells_browsers_to_guess_frame_and_refer_nothing(client: Client) -> None:
    for answer in (
        await ask(client, **BY_SCRIPT),
        await ask(client, **BY_SCRIPT, Accept=EVENTS),
        await client.http.get("/login/callback/bankid-no?state=x"),
        await client.http.get(f"/login/bankid-no?returnTo={HOME}"),
        await client.http.get("/nothing"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in answer.headers  # over plain http it means nothing


async def test_over_https_browsers_are_told_to_stay_there(town: Town, sqlite_filled_url: str) -> None:
    async with in_process(town.settings(sqlite_filled_url, public_url="https://127.0.0.1")) as (client, _):
        answer = await ask(client)
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
