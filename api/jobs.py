"""Jobs as an operator sees them: how many wait, and which were given up and why."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from api.tables import table
from domain.ports import DeadJob, Depth

MOST_DEAD = 100


def told(depths: Sequence[Depth], dead: Sequence[DeadJob], now: datetime) -> Iterator[str]:
    """Lines of two tables; nothing of what a job is about."""
    counted = ((each.kind, each.state, str(each.count), _age(each.oldest, now)) for each in depths)
    yield from table(("KIND", "STATE", "JOBS", "OLDEST"), counted)
    if dead:
        yield ""
        yield from table(
            ("DEAD", "KIND", "TENANT", "ATTEMPTS", "WANTED", "DIED", "ERROR"), (_row(d, now) for d in dead)
        )


def _row(dead: DeadJob, now: datetime) -> Sequence[str]:
    wanted, died = (f"{_age(at, now)} ago" for at in (dead.wanted_at, dead.died_at))
    return str(dead.id), dead.kind, dead.tenant_id or "-", str(dead.attempts), wanted, died, dead.error


def _age(since: datetime | None, now: datetime) -> str:
    """In the largest unit that fits."""
    if since is None:
        return "-"
    seconds = max(0, int((now - since).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
