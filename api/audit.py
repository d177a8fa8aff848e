"""`python -m api audit`: what was asked for, and the trail as lines of JSON, one FHIR AuditEvent each."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.orders import OrderUnclear
from domain.audit import SYSTEM, AuditEntry
from domain.pages import PageRequest
from domain.ports import AuditFilter
from domain.usecases.read_audit import MOST_ENTRIES, ReadAudit

USAGE = "audit --tenant ID [--from TIME] [--to TIME] [--action NAME] [--format ndjson]"
ASKED = ("--tenant", "--from", "--to", "--action", "--format")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    tenant_id: str
    where: AuditFilter


def asked_of(order: Sequence[str]) -> Asked:
    """Raises `OrderUnclear`. A time without an offset is UTC; a day is its beginning."""
    said = _said(order)
    if not said.get("--tenant"):
        raise _unclear("--tenant must say whose trail")
    if said.get("--format", "ndjson") != "ndjson":
        raise _unclear("the only --format is ndjson")
    since, until = _moment(said, "--from"), _moment(said, "--to")
    if since and until and since >= until:
        raise _unclear("--from must be before --to")
    return Asked(tenant_id=said["--tenant"], where=AuditFilter(since=since, until=until, action=said.get("--action")))


def check_action(asked: Asked, known: Iterable[str]) -> None:
    """An empty answer would tell that it was never done. Raises `OrderUnclear`."""
    if asked.where.action is not None and asked.where.action not in known:
        raise _unclear(f"there is no such --action; there are {', '.join(sorted(known))}")


async def lines(
    read: ReadAudit, asked: Asked, as_resource: Callable[[AuditEntry], Mapping[str, Any]]
) -> AsyncIterator[str]:
    """One page in memory at a time, however many years it is of."""
    after, more = None, True
    while more:
        page = await read(asked.tenant_id, SYSTEM, asked.where, PageRequest(size=MOST_ENTRIES, after=after))
        for entry in page.items:
            yield json.dumps(as_resource(entry), ensure_ascii=False, separators=(",", ":"))
        more = page.has_next
        after = page.keys[-1] if page.keys else None


def _said(order: Sequence[str]) -> Mapping[str, str]:
    for n, name in enumerate(order[::2]):
        if name not in ASKED:
            raise _unclear(f"{name} is none of {', '.join(ASKED)}")
        if name in order[: 2 * n : 2]:
            raise _unclear(f"{name} is said twice")
    if len(order) % 2:
        raise _unclear(f"nothing is said behind {order[-1]}")
    return dict(zip(order[::2], order[1::2], strict=True))


def _moment(said: Mapping[str, str], name: str) -> datetime | None:
    if name not in said:
        return None
    try:
        moment = datetime.fromisoformat(said[name])
    except ValueError:
        raise _unclear(f"{name} is no time such as 2026-03-01 or 2026-03-01T12:00:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unclear(why: str) -> OrderUnclear:
    return OrderUnclear(f"audit: {why}; usage: python -m api {USAGE}")
