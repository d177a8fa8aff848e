"""The journey with a stock GraphQL client, which checks every document against the schema that the server tells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from gql import Client as GqlSession
from gql import GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError

from api.signing import from_text
from tests.living import Client, Town, serving, sign_in
from tests.system.journey import Journey

BOOKING_SYSTEM = "https://itb.example/identifiers/booking"
CLINICS = pytest.mark.parametrize(
    ("clinic", "login"), [("sentrum-legesenter", "kari"), ("vasastans-vardcentral", "astrid")], ids=["ihe", "r4"]
)


class GqlClient:
    """Speaks to a server by the `gql` package; anonymous, or with one patient's token."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def __call__(self, query: str, token: str | None = None, /, **variables: Any) -> dict[str, Any]:
        assert token is None, "the token is the connection's"
        data: dict[str, Any] = await self._session.execute(GraphQLRequest(query, variable_values=variables))
        return data


@asynccontextmanager
async def connected(url: str, token: str | None = None) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = AIOHTTPTransport(f"{url}/graphql", headers=headers, timeout=60)
    async with GqlSession(transport=transport, fetch_schema_from_transport=True, execute_timeout=60) as session:
        yield cast(Client, GqlClient(session))


def in_the_ehr(town: Town, clinic: str, booking: dict[str, Any]) -> tuple[str, datetime]:
    """The record system's own word on a booking: status and start."""
    ehr = town.norway if clinic == "sentrum-legesenter" else town.sweden
    id = UUID(from_text(booking["id"]).decode().partition(":")[2])
    bundle = ehr.get("/Appointment", params={"identifier": f"{BOOKING_SYSTEM}|{id}"})
    [appointment] = [entry["resource"] for entry in bundle["entry"]]
    return appointment["status"], datetime.fromisoformat(appointment["start"])


@CLINICS
async def test_a_stock_client_books_moves_and_cancels(
    town: Town, filled_url: str, tmp_path: Path, clinic: str, login: str
) -> None:
    with serving(town.settings(filled_url), tmp_path / "stderr") as url:
        async with connected(url) as anonymous:
            visitor = Journey(anonymous, clinic, "consultation")
            slot = (await visitor.slots())[0]
            held = await visitor.hold(slot["id"])
            assert held["errors"] == []
        async with connected(url, await sign_in(town, login)) as signed_in:
            journey = Journey(signed_in, clinic, "consultation")
            booked = (await journey.confirm(held["hold"]["token"]))["booking"]
            start = datetime.fromisoformat(slot["start"])
            assert booked["status"] == "BOOKED"
            assert in_the_ehr(town, clinic, booked) == ("booked", start)
            assert [b["id"] for b in await journey.mine()] == [booked["id"]]

            times = await journey.slots(movingBookingId=booked["id"])
            wanted = next(t for t in times if datetime.fromisoformat(t["start"]) > start + timedelta(hours=24))
            held = await journey.hold(wanted["id"], movingBookingId=booked["id"])
            moved = (await journey.reschedule(booked, held["hold"]["token"]))["booking"]
            assert (moved["id"], moved["status"]) == (booked["id"], "BOOKED")
            assert in_the_ehr(town, clinic, moved) == ("booked", datetime.fromisoformat(wanted["start"]))

            cancelled = (await journey.cancel(moved))["booking"]
            assert cancelled["status"] == "CANCELLED"
            assert in_the_ehr(town, clinic, moved)[0] == "cancelled"
            assert await journey.mine() == []
    assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_a_stock_client_gets_our_error_codes(town: Town, sqlite_filled_url: str, tmp_path: Path) -> None:
    with serving(town.settings(sqlite_filled_url), tmp_path / "stderr") as url:
        async with connected(url) as client:
            with pytest.raises(TransportQueryError) as refused:
                await client('{ node(id: "nonsense") { id } }')
    [error] = refused.value.errors or []
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["requestId"]
