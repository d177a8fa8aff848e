"""`python -m api audit`: what was asked for, and the trail as lines of JSON, one FHIR AuditEvent each."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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
    """Raises `ValueError` for what is none of it. A time without an offset is UTC; a day is its beginning."""
    if len(order) % 2 or not set(order[::2]) <= set(ASKED) or len(set(order[::2])) < len(order[::2]):
        raise ValueError(USAGE)
    said = dict(zip(order[::2], order[1::2], strict=True))
    if not said.get("--tenant") or said.get("--format", "ndjson") != "ndjson":
        raise ValueError(USAGE)
    since, until = _moment(said.get("--from")), _moment(said.get("--to"))
    return Asked(tenant_id=said["--tenant"], where=AuditFilter(since=since, until=until, action=said.get("--action")))


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


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
