"""What comes in over a WebSocket, read strictly (graphql-ws, PROTOCOL.md)."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from api.errors import BadInput
from api.operations import Operation

LONGEST_ID = 200
WITH_ID = ("subscribe", "complete")
KINDS = ("connection_init", "ping", "pong", *WITH_ID)


class Closed(Exception):
    """The socket has to be closed. Without a code nothing can be said any more."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason.encode()[:123].decode(errors="ignore")  # RFC 6455 §5.5: no more fits


class Malformed(Closed):
    def __init__(self, reason: str) -> None:
        super().__init__(4400, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMessage:
    """`id` is empty and `operation` missing where a message of that kind has none; `payload` is None if none came."""

    kind: str
    id: str = ""
    payload: dict[str, Any] | None = None
    operation: Operation = field(default_factory=lambda: Operation(query=""))


def read(text: str | None) -> ClientMessage:
    """`text` is None for a binary frame. Raises `Malformed`."""
    if text is None:
        raise Malformed("Only text messages are understood")
    sent = _decoded(text)
    kind = sent.get("type")
    if kind not in KINDS:
        raise Malformed("Unknown message type")
    id = sent.get("id") if kind in WITH_ID else ""
    if not isinstance(id, str) or len(id) > LONGEST_ID or (kind in WITH_ID and not id):
        raise Malformed(f"`id` must be a string of 1 to {LONGEST_ID} characters")
    if kind == "subscribe":
        return ClientMessage(kind=kind, id=id, operation=_operation(sent.get("payload")))
    if kind == "complete":
        return ClientMessage(kind=kind, id=id)
    payload = sent.get("payload")
    if "payload" in sent and not isinstance(payload, dict):
        raise Malformed("`payload` must be an object")
    return ClientMessage(kind=kind, payload=payload)


def _decoded(text: str) -> dict[str, Any]:
    try:
        sent = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Malformed("A message must be JSON") from None
    if not isinstance(sent, dict):
        raise Malformed("A message must be a JSON object")
    return sent


def _operation(payload: object) -> Operation:
    try:
        return Operation.parsed(payload)
    except BadInput as wrong:
        raise Malformed(wrong.message) from wrong
