"""Notifications are believed when they prove who sent them, once, and only as a reason to look."""

import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import select

from api.signing import Signer
from integrations.store.engine import open_engine
from integrations.store.tables_news import CHANGE, FEED, NOTIFICATION
from tests.databases import raw
from tests.living import SECRET, Client, Town, in_process

NEVER = 36_000.0
WITHOUT = {"poll_seconds": NEVER, "slowest_poll_seconds": NEVER}


@asynccontextmanager
async def client_of(town: Town, url: str) -> AsyncIterator[Client]:
    async with in_process(town.settings(url, **WITHOUT)) as (client, _):
        yield client


def secret_of(endpoint: str, tenant: str = "nordhelse") -> str:
    return Signer(SECRET.encode()).seal(f"hook:{tenant}", endpoint.encode())


def signed(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, sha256).hexdigest()


def a_slot(**more: Any) -> bytes:
    resource = {
        "resourceType": "Slot",
        "id": f"slot-{uuid4()}",
        "meta": {"versionId": "2", "lastUpdated": datetime.now(UTC).isoformat()},
        "schedule": {"reference": "Schedule/sk11"},
        "status": "busy",
        "start": "2027-01-04T09:00:00Z",
        "end": "2027-01-04T09:45:00Z",
    }
    return json.dumps({**resource, **more}).encode()


def a_notice(number: int, events: int = 1, subscription: str = "Subscription/s1", kind: str = "history") -> bytes:
    event = {"name": "notification-event", "part": [{"name": "event-number", "valueString": str(number)}]}
    status = [
        {"name": "subscription", "valueReference": {"reference": subscription}},
        {"name": "events-since-subscription-start", "valueString": str(number)},
        *([event] * events),
    ]
    entries = [{"resource": {"resourceType": "Parameters", "parameter": status}}]
    return json.dumps({"resourceType": "Bundle", "id": str(uuid4()), "type": kind, "entry": entries}).encode()


async def send(client: Client, endpoint: str, body: bytes, **headers: str) -> httpx2.Response:
    given = {"authorization": f"Bearer {secret_of(endpoint)}", "x-signature": signed(body, secret_of(endpoint))}
    return await client.http.post(
        f"/webhooks/ehr/nordhelse/{endpoint}",
        content=body,
        headers={k: v for k, v in {**given, **headers}.items() if v},
    )


UNSIGNED: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "unsigned": ("fjord", a_notice(1), {"x-signature": ""}),
    "signed with another secret": ("fjord", a_notice(1), {"x-signature": signed(a_notice(1), "x")}),
    "signed for another body": ("fjord", a_notice(1), {"x-signature": signed(b"", secret_of("fjord"))}),
    "without the secret": ("malar", a_slot(), {"authorization": ""}),
    "another endpoint's secret": ("malar", a_slot(), {"authorization": f"Bearer {secret_of('fjord')}"}),
    "another tenant's secret": ("malar", a_slot(), {"authorization": f"Bearer {secret_of('malar', 'annan')}"}),
    "no such endpoint": ("nowhere", a_slot(), {}),
}
UNREADABLE = {
    "no JSON": b"{",
    "nothing at all": b"",
    "no UTF-8": b'{"resourceType": "\xff"}',
    "no resource": b"[1, 2]",
    "some other resource": json.dumps({"resourceType": "Patient", "id": "p"}).encode(),
    "a Bundle of something else": a_notice(1, kind="searchset"),
    "a Bundle without status": b'{"resourceType":"Bundle","type":"history","entry":[]}',
    "a number that is none": a_notice(1).replace(b'"1"', b'"one"'),
    "a number too large": a_notice(10**30),
    "no subscription": a_notice(1, subscription="x"),
}
OLD = {"versionId": "1", "lastUpdated": "2020-01-01T00:00:00Z"}
REFUSED = {
    **{name: (*given, 401, "UNSIGNED") for name, given in UNSIGNED.items()},
    **{name: ("malar", body, {}, 400, "UNREADABLE") for name, body in UNREADABLE.items()},
    "too old": ("malar", a_slot(meta=OLD), {}, 409, "REPLAYED"),
    "too large": ("malar", a_slot(comment="x" * 1_100_000), {}, 413, "TOO_LARGE"),
}


@pytest.mark.parametrize(("endpoint", "body", "headers", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_nobody_need_believe_is_refused_with_a_reason_and_changes_nothing(
    town: Town, sqlite_filled_url: str, endpoint: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    async with client_of(town, sqlite_filled_url) as client:
        before = await everything(sqlite_filled_url)
        town.calm()
        answer = await send(client, endpoint, body, **headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["message"]
        assert await everything(sqlite_filled_url) == before
        assert town.calls(town.sweden) == town.calls(town.norway) == {}


async def everything(url: str) -> list[Any]:
    """All rows of the tables that news are written to."""
    engine = open_engine(url)
    async with raw(engine) as connection:
        rows = [list((await connection.execute(select(t))).all()) for t in (CHANGE, FEED, NOTIFICATION)]
    await engine.dispose()
    return rows


@pytest.mark.parametrize(("endpoint", "body"), [("malar", a_slot()), ("fjord", a_notice(7))])
async def test_the_same_notification_is_taken_once(
    town: Town, sqlite_filled_url: str, endpoint: str, body: bytes
) -> None:
    async with client_of(town, sqlite_filled_url) as client:
        first = await send(client, endpoint, body)
        asked = dict(town.calls(town.sweden)), dict(town.calls(town.norway))
        again = await send(client, endpoint, body)
        assert (first.status_code, again.status_code) == (202, 409)
        assert again.json()["code"] == "REPLAYED"
        assert asked == (dict(town.calls(town.sweden)), dict(town.calls(town.norway)))


async def test_an_event_with_a_number_that_was_heard_is_no_news(town: Town, sqlite_filled_url: str) -> None:
    async with client_of(town, sqlite_filled_url) as client:
        answers = [await send(client, "fjord", a_notice(number)) for number in (7, 8, 8, 6, 9)]
        assert [answer.status_code for answer in answers] == [202, 202, 409, 409, 202]


async def test_only_posts_are_taken(town: Town, sqlite_filled_url: str) -> None:
    async with client_of(town, sqlite_filled_url) as client:
        assert (await client.http.get("/webhooks/ehr/nordhelse/malar")).status_code == 405
