"""Faults on request: what real installations do wrong, at the moment a caller asks for it.

A fault comes from the admin path, for so many calls of an operation, or from a header for one call. Three of them look
the same to whoever calls, a connection that breaks: `lost-request` was never carried out, `lost-answer` was, and `late`
will be.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from integrations.sandbox.calendar import Calendar

KINDS = frozenset(
    {
        "slow",
        "down",
        "throttled",
        "hang",
        "hang-in-body",
        "hang-between-pages",
        "taken",
        "lost-request",
        "lost-answer",
        "late",
        "outcome-200",
        "outcome-200-wrapped",
        "sparse",
        "stale",
    }
)
OPERATIONS = frozenset(
    {
        "find",
        "book",
        "hold",
        "read",
        "search",
        "slot-search",
        "slot-write",
        "appointment-write",
        "context",
        "patient",
        "subscription",
    }
)
WRITES = frozenset({"book", "hold", "slot-write", "appointment-write", "patient", "subscription"})
READS = frozenset({"find", "read", "search", "slot-search"})
HEADER = b"x-sandbox-fault"


class UnknownFaultError(ValueError):
    """No such kind, operation or number."""


@dataclass(slots=True)
class Fault:
    """One kind of trouble, for every operation or one, for ever or so many times."""

    kind: str
    operation: str | None = None
    times: int | None = None
    seconds: float = 1.0
    past: Calendar | None = None
    over_at: float | None = None


@dataclass(slots=True)
class Faults:
    """The faults that wait for their operation."""

    waiting: list[Fault] = field(default_factory=list)

    def add(self, asked: Mapping[str, Any], calendar: Calendar) -> Fault:
        """Queue a fault as described, a stale one with the calendar as it is now; raises UnknownFaultError."""
        fault = described(asked)
        if fault.kind == "stale":
            fault.past = calendar.as_it_is()
            fault.over_at = time.monotonic() + fault.seconds if "seconds" in asked else None
        self.waiting.append(fault)
        return fault

    def clear(self) -> None:
        """No more trouble."""
        self.waiting.clear()

    def due(self, operation: str, scope: Mapping[str, Any]) -> Fault | None:
        """The fault for this call: the header's, or else the first one that waits for it, counted down."""
        header = next((value for name, value in scope["headers"] if name == HEADER), None)
        if header is not None:
            fault = _from_header(header.decode("latin-1"))
            return fault if _concerns(fault, operation, scope) else None
        self.waiting = [each for each in self.waiting if each.over_at is None or time.monotonic() < each.over_at]
        for fault in self.waiting:
            if _concerns(fault, operation, scope):
                self._count_down(fault)
                return fault
        return None

    def _count_down(self, fault: Fault) -> None:
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.waiting.remove(fault)


def described(asked: Mapping[str, Any]) -> Fault:
    """A fault from a JSON object; raises UnknownFaultError."""
    kind, operation = asked.get("kind"), asked.get("operation")
    times, seconds = asked.get("times"), asked.get("seconds", 1.0)
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnknownFaultError(f"kind must be one of {sorted(KINDS)}")
    if operation is not None and (not isinstance(operation, str) or operation not in OPERATIONS):
        raise UnknownFaultError(f"operation must be one of {sorted(OPERATIONS)}")
    if times is not None and (not isinstance(times, int) or times < 1):
        raise UnknownFaultError("times must be a number from 1")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
        raise UnknownFaultError("seconds must be from 0 to 3600")
    return Fault(kind, operation, times, float(seconds))


def _from_header(text: str) -> Fault:
    kind, _, rest = text.partition(";")
    asked: dict[str, Any] = {"kind": kind.strip()}
    if asked["kind"] == "stale":
        raise UnknownFaultError("A stale answer needs a moment that is past: order it beforehand")
    name, _, number = rest.strip().partition("=")
    if name == "seconds":
        try:
            asked["seconds"] = float(number)
        except ValueError as error:
            raise UnknownFaultError("seconds must be a number") from error
    return described(asked)


def _concerns(fault: Fault, operation: str, scope: Mapping[str, Any]) -> bool:
    if fault.operation not in (None, operation):
        return False
    if fault.kind == "taken":
        return operation in ("book", "hold", "slot-write")
    if fault.kind == "stale":
        return operation in READS
    if fault.kind in ("lost-answer", "late"):
        return operation in WRITES and scope["method"] in ("POST", "PUT", "DELETE")
    if fault.kind == "hang-between-pages":
        offset = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("_offset", ["0"])
        return offset[-1] not in ("", "0")
    return True
