"""`python -m api audit`: one tenant's trail as FHIR, for the time that was asked for, however long it is."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.__main__ import main
from api.audit import asked_of
from api.bootstrap import open_house
from api.bootstrap.commands import tell_audit
from api.bootstrap.house import NoSuchTenant
from domain.audit import SYSTEM, AuditEntry
from tests.commands import run
from tests.fhir.test_audit_event import check
from tests.living import OTHER, Town
from tests.store.making import an_id
from tests.test_commands import NEEDED, told_in_one_line

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)


async def write(town: Town, url: str, tenant_id: str, count: int) -> None:
    house = open_house(town.settings(url))
    async with house.use.read_audit.start_work(tenant_id) as work:
        for n in range(count):
            told: dict[str, Any] = {"actor": SYSTEM, "action": "booking.hold", "target": "booking"}
            at = BEGAN + timedelta(days=n)
            await work.audit(AuditEntry(tenant_id=tenant_id, at=at, target_id=an_id(f"{n}"), **told))
        await work.commit()
    await house.close()


async def told(town: Town, url: str, *order: str) -> list[dict[str, Any]]:
    lines: list[str] = []
    await tell_audit(town.settings(url), asked_of(order), lines.append)
    return [json.loads(line) for line in lines]


async def test_a_tenants_trail_is_told_page_after_page(
    town: Town, filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.audit.MOST_ENTRIES", 3)
    await write(town, filled_url, "nordhelse", 8)
    await write(town, filled_url, OTHER, 2)
    events = await told(town, filled_url, "--tenant", "nordhelse", "--action", "booking.hold")
    assert len(events) == 8
    for event in events:
        check(event)
    part = ("--from", "2026-03-03", "--to", "2026-03-05T00:00:00+00:00", "--format", "ndjson")
    days = [event["recorded"][:10] for event in await told(town, filled_url, "--tenant", "nordhelse", *part)]
    assert days == ["2026-03-03", "2026-03-04"]
    readings = await told(town, filled_url, "--tenant", "nordhelse", "--action", "audit.read")
    assert len(readings) == 3


async def test_a_tenant_that_is_not_there_has_no_trail(town: Town, sqlite_filled_url: str) -> None:
    with pytest.raises(NoSuchTenant):
        await told(town, sqlite_filled_url, "--tenant", "nobody")


UNCLEAR = {
    (): "--tenant must say whose",
    ("--tenant",): "nothing is said behind --tenant",
    ("--tenant", ""): "--tenant must say whose",
    ("--from", "2026-03-02"): "--tenant must say whose",
    ("--tenant", "a", "--from", "soon"): "--from is no time such as 2026-03-01",
    ("--tenant", "a", "--to", "2026-02-30"): "--to is no time such as 2026-03-01",
    ("--tenant", "a", "--from", "2026-03-02", "--to", "2026-03-02"): "--from must be before --to",
    ("--tenant", "a", "--from", "2026-03-02T01:00+01:00", "--to", "2026-03-02"): "--from must be before --to",
    ("--tenant", "a", "--format", "xml"): "the only --format is ndjson",
    ("--tenant", "a", "--tenant", "b"): "--tenant is said twice",
    ("--tenant", "a", "--patient", "b"): "--patient is none of --tenant, --from",
    ("--patient",): "--patient is none of --tenant, --from",
}


@pytest.mark.parametrize("order", UNCLEAR, ids=" ".join)
def test_an_order_that_is_none_is_told_exactly(order: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", *order]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"itb: audit: {UNCLEAR[tuple(order)]}")
    assert line.endswith(
        "; usage: python -m api audit --tenant ID [--from TIME] [--to TIME] [--action NAME] [--format ndjson]"
    )


def test_an_action_that_there_is_not_is_answered_by_those_that_there_are(sqlite_filled_url: str) -> None:
    told = {**NEEDED, "database_url": sqlite_filled_url}
    line = told_in_one_line(run("audit", "--tenant", "nordhelse", "--action", "booking.canceled", **told))
    assert line.startswith("itb: audit: there is no such --action; there are api_key.minted, ")
    assert ", booking.cancelled, " in line
