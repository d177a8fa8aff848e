"""Patients, sessions and keys: found again in their own tenant only, and never readable in the database."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from domain.audit import SYSTEM, AuditEntry
from domain.events import Event, EventKind
from domain.ports import Remembered, Session
from integrations.store.sealing import Sealing, Unsealable
from integrations.store.tables import PATIENT, metadata
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.making import NOW, TENANTS, a_number, an_id, make_identity


async def recognise(start, tenant_id="nord", new_id=None, **more):
    async with start(tenant_id) as work:
        patient = await work.patients.recognise(tenant_id, make_identity(**more), new_id or uuid4())
        await work.commit()
        return patient


async def count_patients(engine) -> int:
    async with raw(engine) as connection:
        return (await connection.execute(select(func.count()).select_from(PATIENT))).scalar_one()


async def test_one_number_is_one_patient_whoever_vouches(start, engine):
    first = await recognise(start, issuer="https://bankid.example")
    again = await recognise(start, issuer="https://vipps.example", subject="other")
    without = await recognise(start, issuer="https://vipps.example", subject="other", national_id=None)
    assert first == again == without
    assert await count_patients(engine) == 1


async def test_a_patient_comes_back_whole_and_only_in_its_tenant(start):
    for tenant_id in TENANTS:
        await recognise(start, tenant_id, new_id=an_id("same"), name=tenant_id)
    for tenant_id in TENANTS:
        async with start(tenant_id) as work:
            patient = await work.patients.get(tenant_id, an_id("same"))
            assert (patient.tenant_id, patient.name) == (tenant_id, tenant_id)
            assert patient.national_id == a_number()
            assert patient.national_id.birth_date == a_number().birth_date
            assert patient.birth_date == date(1999, 12, 1)
            assert await work.patients.get(tenant_id, an_id("nobody")) is None


async def test_without_a_number_issuer_and_subject_tell(start, engine):
    first = await recognise(start, national_id=None)
    assert await recognise(start, national_id=None) == first
    assert (await recognise(start, national_id=None, subject="s2")).id != first.id
    assert (await recognise(start, national_id=None, issuer="https://x.example")).id != first.id
    assert await count_patients(engine) == 3


async def test_a_number_that_comes_later_is_added(start, engine):
    first = await recognise(start, national_id=None)
    later = await recognise(start)
    assert later == replace(first, national_id=a_number())
    assert (await recognise(start, issuer="https://other.example")).id == first.id
    assert await count_patients(engine) == 1


async def test_two_numbers_are_never_one_patient(start, engine):
    first = await recognise(start)
    other = await recognise(start, national_id=a_number("01929900126"))
    assert other.id != first.id
    assert (await recognise(start)).id == first.id
    assert await count_patients(engine) == 2


async def test_what_the_issuer_tells_is_brought_up_to_date_and_what_it_does_not_is_kept(start):
    first = await recognise(start)
    told = await recognise(start, name="Kari Ås", phone=None, email="kari@example.com", birth_date=None)
    assert told == replace(first, name="Kari Ås", email="kari@example.com")
    assert await recognise(start, name="", phone=None, email="kari@example.com", birth_date=None) == told
    async with start("nord") as work:
        assert await work.patients.get("nord", first.id) == told


async def test_recognising_somebody_unchanged_writes_nothing(start, statements):
    await recognise(start)
    with statements() as seen:
        await recognise(start)
    assert all(each.lstrip().startswith(("SELECT", "BEGIN")) for each in seen), seen


@pytest.mark.parametrize("number", [a_number(), None], ids=["with a number", "without"])
async def test_twenty_first_logins_at_once_make_one_patient(start, engine, number):
    found = await asyncio.gather(*(recognise(start, national_id=number) for _ in range(20)))
    assert len({patient.id for patient in found}) == 1
    assert await count_patients(engine) == 1


async def test_the_plain_number_is_in_no_column(start, engine):
    await recognise(start)
    async with raw(engine) as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(text(f'SELECT * FROM "{table.name}"')):
                for value in row:
                    content = value if isinstance(value, bytes) else str(value).encode()
                    assert a_number().number.encode() not in content, table.name


@pytest.mark.parametrize("target", ["id = :other", "tenant_id = 'syd'"])
async def test_a_sealed_number_does_not_open_in_another_row_or_tenant(start, target):
    first = await recognise(start, new_id=an_id("same"))
    other = await recognise(start, national_id=a_number("01929900126"), subject="s2")
    await recognise(start, "syd", new_id=an_id("same"))
    swapped = f"UPDATE patient SET national_sealed = (SELECT national_sealed FROM patient WHERE tenant_id = 'nord' AND id = :first) WHERE {target}"  # noqa: E501
    async with raw(start) as connection:
        ids = {"first": first.id, "other": other.id}
        sqlite = connection.dialect.name == "sqlite"
        names = [name for name in ids if f":{name}" in swapped]
        await connection.execute(text(swapped), {n: ids[n].hex if sqlite else ids[n] for n in names})
    async with start("nord") as work:
        assert await work.patients.get("nord", first.id) == first
    changed = ("nord", other.id) if "other" in target else ("syd", first.id)
    async with start(changed[0]) as work:
        with pytest.raises(Unsealable):
            await work.patients.get(*changed)


async def test_another_key_opens_nothing(start, engine):
    patient = await recognise(start)
    async with StartSqlWork(engine, Sealing("another secret of at least 32 bytes"))("nord") as work:
        with pytest.raises(Unsealable):
            await work.patients.get("nord", patient.id)


async def test_sessions_are_their_tenants_own(start):
    sessions = {}
    for tenant_id in TENANTS:
        patient = await recognise(start, tenant_id, new_id=an_id("same"))
        expires = NOW + timedelta(hours=8)
        sessions[tenant_id] = Session(
            tenant_id=tenant_id,
            id="hash",
            patient_id=patient.id,
            authenticated_at=NOW,
            created_at=NOW,
            last_seen_at=NOW,
            expires_at=expires,
        )
    later = NOW + timedelta(minutes=1)
    for session in sessions.values():
        async with start(session.tenant_id) as work:
            await work.sessions.add(session)
            await work.commit()
    async with start("nord") as work:
        await work.sessions.touch("nord", "hash", later)
        await work.commit()
    async with start("nord") as work:
        assert await work.sessions.get("nord", "hash") == replace(sessions["nord"], last_seen_at=later)
        assert (await work.sessions.end("nord", "hash")).login is None
        assert await work.sessions.get("nord", "hash") is None
        await work.commit()
    async with start("syd") as work:
        assert await work.sessions.get("syd", "hash") == sessions["syd"]


async def remember(start, key="k", now=NOW, value="in", commit=True, place=("nord", "scope", "hold")):
    async with start(place[0]) as work:
        before = await work.idempotency.remember(
            *place, key, Remembered(input_hash=value, booking_id=an_id(value)), now
        )
        if commit:
            await work.commit()
        return before


async def test_a_key_remembers_its_first_use_for_48_hours(start):
    first = Remembered(input_hash="in", booking_id=an_id("in"))
    assert await remember(start) is None
    assert await remember(start, value="other") == first
    assert await remember(start, value="other", now=NOW + timedelta(hours=48, microseconds=-1)) == first
    assert await remember(start, value="other", now=NOW + timedelta(hours=48)) is None
    assert (await remember(start, now=NOW + timedelta(hours=49))).input_hash == "other"


async def test_a_key_is_its_tenants_scopes_and_operations_own(start):
    for place in [("nord", "a", "x"), ("syd", "a", "x"), ("nord", "b", "x"), ("nord", "a", "y")]:
        assert await remember(start, place=place) is None


async def test_a_key_is_forgotten_with_the_work_that_failed(start):
    assert await remember(start, commit=False) is None
    assert await remember(start) is None


async def test_one_of_ten_uses_of_a_key_is_the_first(start):
    found = await asyncio.gather(*(remember(start, value=f"v{n}") for n in range(10)))
    assert found.count(None) == 1
    assert len({each.input_hash for each in found if each}) == 1


async def test_audit_and_outbox_are_part_of_the_work(start, engine):
    entry = AuditEntry(tenant_id="nord", at=NOW, actor=SYSTEM, action="hold", target="booking", target_id=an_id("b"))
    event = Event(tenant_id="nord", kind=EventKind.BOOKED, booking_id=an_id("b"), version=2, at=NOW)
    for commit in (False, True):
        async with start("nord") as work:
            await work.audit(entry)
            await work.tell(event)
            if commit:
                await work.commit()
    async with raw(engine) as connection:
        audits = (await connection.execute(text("SELECT tenant_id, actor_kind, action, details FROM audit"))).all()
        told = (await connection.execute(text("SELECT tenant_id, kind, version FROM outbox"))).all()
    assert audits == [("nord", "SYSTEM", "hold", "{}")]
    assert told == [("nord", "booking.booked", 2)]
