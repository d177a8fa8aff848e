"""A subscriber of its own: a tiny server that keeps whatever it is sent."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox.conftest import Installation

PROFILE = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
PATIENCE = 30


@dataclass(frozen=True)
class Received:
    """One message as it came in."""

    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Receiver:
    """Where messages arrive; `answers` are the statuses of the next ones, 200 when there are none."""

    url: str = ""
    got: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        self.got.append(Received(await request.body(), dict(request.headers)))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    def wait_for(self, number: int) -> list[Received]:
        """Everything so far, as soon as it is at least so many."""
        until(lambda: len(self.got) >= number)
        return list(self.got)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; generously, because machines are slow at times."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "It never came to pass"
        time.sleep(0.01)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    app = Starlette(routes=[Route("/news", receiver.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/news"
    try:
        yield receiver
    finally:
        server.should_exit = True
        thread.join(5)


def subscription(receiver: Receiver | str, criteria: str, **more: Any) -> dict[str, Any]:
    endpoint = receiver if isinstance(receiver, str) else receiver.url
    channel = {"type": "rest-hook", "endpoint": endpoint, "payload": "application/fhir+json"} | more.pop("channel", {})
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "To look again",
        "criteria": criteria,
        "channel": {name: value for name, value in channel.items() if value is not None},
        **more,
    }


def topic(receiver: Receiver | str, about: str, **more: Any) -> dict[str, Any]:
    meta = {"profile": [f"{PROFILE}/backport-subscription"]}
    return subscription(receiver, f"https://sandbox.example/topics/{about}", meta=meta, **more)


def subscribed(ehr: Installation, body: dict[str, Any]) -> dict[str, Any]:
    """The Subscription as the server keeps it, active."""
    answer = ehr.http.post("/Subscription", json=body)
    assert answer.status_code == 201, answer.text
    kept: dict[str, Any] = answer.json()
    until(lambda: status_of(ehr, kept["id"]) == "active")
    return ehr.get(f"/Subscription/{kept['id']}")


def status_of(ehr: Installation, subscription_id: str) -> str:
    status: str = ehr.get(f"/Subscription/{subscription_id}")["status"]
    return status


def parameters_of(bundle: dict[str, Any]) -> dict[str, Any]:
    """The status Parameters of a topic notification: values by name, and its events as (number, focus)."""
    first = bundle["entry"][0]["resource"]
    assert first["resourceType"] == "Parameters"
    told: dict[str, Any] = {"events": []}
    for each in first["parameter"]:
        if each["name"] == "notification-event":
            parts = {part["name"]: part for part in each["part"]}
            assert parts["timestamp"]["valueInstant"].endswith("Z")
            focus = parts.get("focus", {}).get("valueReference", {}).get("reference")
            told["events"].append((parts["event-number"]["valueString"], focus))
        else:
            told[each["name"]] = next(value for name, value in each.items() if name.startswith("value"))
    return told
