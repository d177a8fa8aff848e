"""The product's own schema and sign-in over a WebSocket."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from api.app import create_app
from api.bootstrap import open_house
from tests.api.test_bad_input import CODES
from tests.living import OTHER, Town, running, sign_in
from tests.transports.small import served
from tests.transports.talking import begun, talking

VIEWER = "{ viewer { patient { id } } tenant { slug } }"


@pytest.fixture
def url(town: Town, sqlite_filled_url: str) -> Iterator[str]:
    house = open_house(town.settings(sqlite_filled_url))
    with served(create_app(house, [])) as (address, _, _):
        yield f"ws://{address}/graphql"


async def test_the_catalogue_is_read(url: str) -> None:
    async with begun(url) as talk:
        told = await talk.data("{ clinics(first: 2) { nodes { id name treatments(first: 1) { nodes { title } } } } }")
        assert len(told["clinics"]["nodes"]) == 2
        assert await talk.data(VIEWER) == {"viewer": None, "tenant": {"slug": "nordhelse"}}


async def test_a_patient_signs_in_by_the_beginning(url: str, town: Town) -> None:
    token = await sign_in(town, "kari", OTHER)
    async with talking(url) as talk:
        await talk.begin(Authorization=f"Bearer {token}", **{"X-Tenant": OTHER})
        told = await talk.data(VIEWER)
        assert told["viewer"]["patient"]["id"]
        assert told["tenant"]["slug"] == OTHER


@pytest.mark.parametrize(
    ("payload", "code"),
    [({"Authorization": "Bearer x"}, 4403), ({"Authorization": "Basic x"}, 4403), ({"X-Tenant": "nobody"}, 4400)],
)
async def test_who_cannot_be_recognised_is_closed(url: str, payload: dict[str, str], code: int) -> None:
    async with talking(url) as talk:
        await talk.say({"type": "connection_init", "payload": payload})
        assert (await talk.closed())[0] == code


async def test_every_error_is_coded(url: str) -> None:
    async with begun(url) as talk:
        for query in (
            "{",
            "{ nothing }",
            '{ node(id: "x") { id } }',
            "query A { tenant { id } } query B { tenant { id } }",
        ):
            await talk.ask("1", query)
            told = await talk.hear()
            errors = told["payload"] if told["type"] == "error" else told["payload"]["errors"]
            assert {error["extensions"]["code"] for error in errors} <= CODES
            if told["type"] == "next":
                assert (await talk.hear())["type"] == "complete"


@pytest.mark.parametrize("level", ["info", "debug"])
async def test_the_log_has_the_servers_start_and_end_and_no_connection(
    town: Town, sqlite_filled_url: str, tmp_path: Path, level: str
) -> None:
    with running(town.settings(sqlite_filled_url, log_level=level), tmp_path / "stderr") as server:
        address = f"{server.url.replace('http', 'ws')}/graphql?called=Kari"
        async with begun(address) as talk:
            assert (await talk.data("{ tenant { slug } }"))["tenant"]
        with pytest.raises(InvalidStatus, match="403"):
            async with talking(address, origin="https://evil.example"):
                pass
    lines = [line for line in (tmp_path / "stderr").read_text().splitlines() if " uvicorn.error " in line]
    told = " ".join(lines)
    assert "Started server process" in told and "Application startup complete" in told
    assert "Finished server process" in told
    for each in ("WebSocket", "connection", "Kari", "connection_init", "slug"):
        assert each not in told
