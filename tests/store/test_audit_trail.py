"""The trail of who did what: nobody rewrites it, a tenant reads its own, and what cannot be noted is not read."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from domain.audit import SYSTEM, Actor, ActorKind, AuditEntry
from domain.pages import PageRequest
from domain.ports import AuditFilter
from domain.usecases.audited_reading import read_noted
from domain.usecases.read_audit import MOST_ENTRIES, ReadAudit
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, an_id, make_identity

STAFF = Actor(kind=ActorKind.STAFF, id="m-1", request_id="r9")
MINUTE = timedelta(minutes=1)


def entry(n: int, tenant_id: str = "nord", **more: Any) -> AuditEntry:
    values: dict[str, Any] = {
        "actor": STAFF,
        "action": "booking.test",
        "target": "booking",
        "target_id": an_id(f"b{n}"),
    }
    return AuditEntry(**{"tenant_id": tenant_id, "at": NOW + n * MINUTE, **values, **more})


async def write(start: StartSqlWork, *entries: AuditEntry) -> None:
    for each in entries:
        async with start(each.tenant_id) as work:
            await work.audit(each)
            await work.commit()


async def read(start: StartSqlWork, where: AuditFilter, size: int = 100, **more: Any) -> Any:
    return await ReadAudit(start_work=start, clock=Stopped())("nord", STAFF, where, PageRequest(size=size, **more))


async def found(start: StartSqlWork, **where: Any) -> list[AuditEntry]:
    page = await read(start, AuditFilter(**where))
    return [each for each in page.items if each.action != "audit.read"]


async def count(start: StartSqlWork) -> int:
    async with raw(start) as connection:
        return int((await connection.execute(text("SELECT count(*) FROM audit"))).scalar_one())


async def test_a_tenant_reads_its_own_by_time_actor_target_and_action(start: StartSqlWork) -> None:
    patient = Actor(kind=ActorKind.PATIENT, id="p-1")
    await write(start, *(entry(n) for n in range(4)), entry(4, actor=patient), entry(5, action="patient.export"))
    await write(start, entry(1, "syd"))
    assert [each.at for each in await found(start)] == [NOW + n * MINUTE for n in range(6)]
    assert len(await found(start, since=NOW + MINUTE, until=NOW + 3 * MINUTE)) == 2
    assert [each.actor for each in await found(start, actor_id="p-1")] == [patient]
    assert len(await found(start, actor_kind="PATIENT")) == 1
    assert [each.target_id for each in await found(start, target_id=an_id("b2"))] == [an_id("b2")]
    assert [each.at for each in await found(start, action="patient.export")] == [NOW + 5 * MINUTE]


async def test_pages_follow_each_other_without_a_gap_also_within_one_moment(start: StartSqlWork) -> None:
    await write(start, *(entry(n, at=NOW) for n in range(7)))
    where, seen, after = AuditFilter(action="booking.test"), [], None
    while True:
        page = await read(start, where, size=3, after=after)
        seen += [each.target_id for each in page.items]
        if not page.has_next:
            break
        after = page.keys[-1]
    assert sorted(seen) == sorted(an_id(f"b{n}") for n in range(7))
    with pytest.raises(ValueError, match="at most"):
        await read(start, where, size=MOST_ENTRIES + 1)


async def test_a_reading_leaves_one_line_however_many_pages_it_takes(start: StartSqlWork) -> None:
    await write(start, *(entry(n) for n in range(3)))
    page = await read(start, AuditFilter(action="booking.test"), size=2)
    await read(start, AuditFilter(action="booking.test"), size=2, after=page.keys[-1])
    [line] = (await read(start, AuditFilter(action="audit.read"))).items[:1]
    assert (line.actor, line.at) == (STAFF, NOW)
    assert await count(start) == 3 + 2  # and the line of the look just now


async def test_what_cannot_be_noted_is_not_read(start: StartSqlWork) -> None:
    async with start("nord") as work:
        patient = await work.patients.recognise("nord", make_identity(), uuid4())
        await work.commit()
    note = entry(1, action="patient.revealed", target="patient", target_id=patient.id)
    told: list[Any] = []

    async def look(work: Any) -> Any:
        told.append(await work.patients.get("nord", patient.id))
        return told[-1]

    assert await read_noted(start, note, look) == patient
    told.clear()
    async with raw(start) as connection:
        await connection.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    with pytest.raises(DBAPIError):
        await read_noted(start, note, look)
    assert told == []


@pytest.mark.parametrize(("years", "may_go"), [(4.9, False), (5.1, True)])
async def test_no_line_can_be_deleted_within_five_years(start: StartSqlWork, years: float, may_go: bool) -> None:
    long_ago = datetime.now(NOW.tzinfo) - timedelta(days=365.25 * years)
    await write(start, entry(1, at=long_ago, actor=SYSTEM))
    async with raw(start) as connection:
        if may_go:
            await connection.execute(text("DELETE FROM audit"))
            return
        with pytest.raises(DBAPIError, match="append_only"):
            await connection.execute(text("DELETE FROM audit"))


async def test_the_trail_cannot_be_emptied_at_once(start: StartSqlWork) -> None:
    await write(start, entry(1))
    async with raw(start) as connection:
        if connection.dialect.name != "postgresql":
            return  # SQLite knows no TRUNCATE
        with pytest.raises(DBAPIError, match="append_only"):
            await connection.execute(text("TRUNCATE audit"))


async def test_a_login_that_changes_what_is_known_says_so_and_not_what(start: StartSqlWork) -> None:
    async with start("nord") as work:
        await work.patients.recognise("nord", make_identity(), an_id("kari"))
        await work.patients.recognise("nord", make_identity(), uuid4())
        await work.patients.recognise("nord", make_identity(subject="other"), uuid4())
        await work.patients.recognise("nord", make_identity(email="kari@example.org"), uuid4())
        await work.commit()
    lines = [each for each in await found(start) if each.target == "patient"]
    assert {(each.action, *each.details.values()) for each in lines} == {
        ("patient.registered",),
        ("patient.sign_in_linked",),
        ("patient.brought_up_to_date", "email"),
    }
    assert {(each.actor.id, each.target_id) for each in lines} == {(str(an_id("kari")), an_id("kari"))}
