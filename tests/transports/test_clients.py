"""Client libraries that frontends and agencies use, against a server that runs."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gql import Client as GqlSession
from gql import gql
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from tests.transports.small import OPEN, Running, running

CLIENTS = Path(__file__).parent / "clients"
COUNT = "subscription($to: Int!) { count(to: $to) }"
FOREVER = "subscription { forever }"


@pytest.fixture(scope="module")
def api() -> Iterator[Running]:
    with running() as served:
        yield served


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts and what they need. In CI there must be Node.js."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing = "there is no node with npm"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    folder = tmp_path_factory.mktemp("clients") / "clients"
    shutil.copytree(CLIENTS, folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


async def heard(folder: Path, client: str, api: Running, query: str, **more: Any) -> list[dict[str, Any]]:
    """What the script printed, a line each."""
    url = api.ws if client == "ws" else api.http
    script = await asyncio.create_subprocess_exec(
        *("node", f"{client}.mjs", url, json.dumps({"query": query, **more})),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NODE_ENV": "production"},
    )
    try:
        async with asyncio.timeout(120):
            told, wrong = await script.communicate()
    finally:
        if script.returncode is None:
            script.kill()
    assert script.returncode == 0, wrong.decode()
    return [json.loads(line) for line in told.splitlines()]


def of(told: list[dict[str, Any]], name: str) -> list[Any]:
    return [line[name] for line in told if name in line]


@pytest.mark.parametrize("client", ["ws", "sse", "urql"])
async def test_a_subscription_is_told_and_completed(node: Path, api: Running, client: str) -> None:
    told = await heard(node, client, api, COUNT, variables={"to": 3})
    data = [result["data"] for result in of(told, "next") if "data" in result]
    # urql says once more that nothing follows, with the last result
    assert data[:3] == [{"count": number} for number in range(3)] and data[3:] in ([], [{"count": 2}])
    assert of(told, "complete") == [True]
    assert not of(told, "error")


@pytest.mark.parametrize("client", ["ws", "sse", "urql"])
async def test_queries_and_mutations_are_answered(node: Path, api: Running, client: str) -> None:
    [answer] = of(await heard(node, client, api, "{ hello }"), "next")
    assert answer["data"] == {"hello": "hello, Ærlig 🙂"}
    [answer] = of(await heard(node, client, api, "mutation { add(number: 1) }"), "next") if client != "urql" else [None]
    assert answer is None or answer["data"] == {"add": 2}


@pytest.mark.parametrize("client", ["ws", "sse", "urql"])
async def test_who_leaves_closes_the_source(node: Path, api: Running, client: str) -> None:
    told = await heard(node, client, api, FOREVER, first=1)
    assert of(told, "next")[0]["data"] == {"forever": 1}
    await api.closes("forever")
    assert OPEN["forever"] == 0


def errors_in(told: list[dict[str, Any]]) -> list[Any]:
    results = [error for result in of(told, "next") for error in result.get("errors", [])]
    return results or of(told, "error")[0]


@pytest.mark.parametrize("client", ["ws", "sse", "urql"])
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { never }", "BAD_USER_INPUT"),
        ("subscription { fails }", "INTERNAL_SERVER_ERROR"),
    ],
)
async def test_errors_reach_the_application(node: Path, api: Running, client: str, query: str, code: str) -> None:
    told = await heard(node, client, api, query)
    assert errors_in(told)[0]["extensions"]["code"] == code


async def test_a_token_that_is_not_valid_is_told(node: Path, api: Running) -> None:
    headers = {"Authorization": "Bearer wrong"}
    told = await heard(node, "ws", api, COUNT, variables={"to": 1}, headers=headers)
    assert of(told, "error") == [{"code": 4403, "reason": "Forbidden"}]
    told = await heard(node, "sse", api, COUNT, variables={"to": 1}, headers=headers)
    assert of(told, "error")[0]["status"] == 401
    told = await heard(node, "urql", api, COUNT, variables={"to": 1}, headers=headers)
    assert errors_in(told)[0]["extensions"]["code"] == "UNAUTHENTICATED"


def speaking(api: Running, **payload: str) -> GqlSession:
    transport = WebsocketsTransport(
        url=api.ws, init_payload=payload, subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL]
    )
    return GqlSession(transport=transport)


async def test_the_gql_package_subscribes_and_asks(api: Running) -> None:
    async with speaking(api, Authorization="Bearer a") as session:
        assert (await session.execute(gql("{ who }")))["who"][0] == "Bearer a"
        query = gql(COUNT)
        query.variable_values = {"to": 3}
        assert [told["count"] async for told in session.subscribe(query)] == [0, 1, 2]
        with pytest.raises(TransportQueryError) as refused:
            await session.execute(gql("{ nothing }"))
        assert refused.value.errors and refused.value.errors[0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
        assert await session.execute(gql("{ hello }"))


async def test_the_gql_package_is_told_of_a_token_that_is_not_valid(api: Running) -> None:
    with pytest.raises(TransportError) as refused:
        async with speaking(api, Authorization="Bearer wrong"):
            pass
    assert "4403" in str(refused.value.__cause__)


def test_the_lock_file_names_no_registry() -> None:
    lock = (CLIENTS / "package-lock.json").read_text()
    assert '"resolved"' not in lock and "http" not in lock
