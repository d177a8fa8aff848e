"""Who became two patients, because a sign-in told no number at first, is one as soon as it tells it."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text

from domain.booking import Booking, BookingStatus
from domain.consent import Consent, ConsentKind
from domain.patient import Patient
from domain.ports import StaleBooking
from domain.usecases.sign_in import SignedOut, SignIn
from integrations.store.joining import JOINED
from integrations.store.sessions import SqlSessionReads
from integrations.store.tables import PATIENT_IDENTITY
from integrations.store.traces import whose
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, a_number, an_id, make_identity
from tests.store.test_erasing import (
    KARI,
    LONE,
    TENANT,
    THE_TRAIL,
    TYPED,
    a_life,
    a_patient,
    booked,
    dumped,
    erase,
    found_in,
    sealed_in,
    traces,
)

BROKER = {"issuer": "https://broker.example", "subject": "kari-at-the-broker"}
AS_LONE = {
    **BROKER,
    "name": "Kari uten Nummer",
    "phone": "+4799887766",
    "email": "uten.nummer@example.org",
    "national_id": None,
}


async def two_patients(start: StartSqlWork) -> tuple[Patient, Patient, Booking]:
    """The one with a hold, and with something in every other table that she can have something in."""
    kari, lone = await a_patient(start, KARI, **TYPED), await a_patient(start, LONE, **AS_LONE)
    assert kari.id != lone.id
    return kari, lone, await booked(start, "chosen", LONE)


async def tells_the_number(start: StartSqlWork, **more: Any) -> Patient:
    async with start("nord") as work:
        told = make_identity(**{**BROKER, "name": TYPED["name"], **more})
        patient = await work.patients.recognise("nord", told, uuid4(), "r2")
        await work.commit()
    return patient


def of(lone: Patient) -> list[bytes]:
    said = [str(lone.id), lone.id.hex, *(str(AS_LONE[name]) for name in ("name", "phone", "email"))]
    return [each.encode() for each in said]


async def change(start: StartSqlWork, patient: Patient, **values: Any) -> None:
    async with start("nord") as work:
        await work.patients.save(replace(patient, **values))
        await work.commit()


async def test_erasing_leaves_nothing_of_either_of_them(start: StartSqlWork) -> None:
    kari, lone, _ = await two_patients(start)
    await a_life(start, KARI)
    before = await dumped(start)
    known = [*traces(kari, *sealed_in(before)), *of(lone), BROKER["subject"].encode()]
    naming = {"patient", "patient_identity", "session", "consent", "data_export", "booking", "change", "idempotency"}
    assert found_in(before, of(lone)) >= naming
    kari = await tells_the_number(start)
    assert kari.id == KARI
    joined = await dumped(start)
    assert found_in(joined, of(lone)) == {THE_TRAIL}
    await erase(start, kari)
    after = await dumped(start)
    assert found_in(after, [*known, *sealed_in(joined)]) == {THE_TRAIL}
    assert after["patient"] == after["patient_identity"] == after["session"] == after["consent"] == []


async def test_her_hold_is_hers_as_the_other_patient(start: StartSqlWork) -> None:
    _, _, hold = await two_patients(start)
    await tells_the_number(start)
    async with start("nord") as work:
        now = await work.bookings.get("nord", hold.id)
        assert now == replace(hold, patient_id=KARI, version=hold.version + 1)
        assert [each.id for each in await work.bookings.live_holds_of("nord", KARI, NOW)] == [hold.id]


async def test_who_is_signed_in_as_the_one_signs_in_again_and_the_other_stays(start: StartSqlWork) -> None:
    await two_patients(start)
    await tells_the_number(start)
    async with start("nord") as work:
        assert await work.sessions.get("nord", f"hash-{LONE}") is None
        assert await work.sessions.get("nord", f"hash-{KARI}") is not None


async def test_an_export_that_is_not_whole_any_more_is_gone(start: StartSqlWork) -> None:
    await two_patients(start)
    whole = {
        id: [row for row in (await dumped(start))["data_export"] if rows_of({"": [row]}, id)] for id in (KARI, LONE)
    }
    assert [len(rows) for rows in whole.values()] == [1, 1]
    await tells_the_number(start)
    assert (await dumped(start))["data_export"] == whole[KARI]


async def test_the_last_word_of_either_stands(start: StartSqlWork) -> None:
    await a_patient(start, KARI, **TYPED)  # says yes to SMS now
    await a_patient(start, LONE, **AS_LONE)
    lines = [
        (LONE, ConsentKind.SMS, False, 1),
        (KARI, ConsentKind.MARKETING, True, 2),
        (LONE, ConsentKind.MARKETING, True, 3),
        (KARI, ConsentKind.MARKETING, False, 4),
    ]
    async with start("nord") as work:
        for id, kind, given, minutes in lines:
            await work.consents.add(consent(id, kind, given, NOW + timedelta(minutes=minutes)))
        await work.commit()
    await tells_the_number(start)
    async with start("nord") as work:
        stands = await work.consents.of_patient("nord", KARI)
        assert not stands[ConsentKind.SMS].given and not stands[ConsentKind.MARKETING].given
        await work.consents.add(consent(KARI, ConsentKind.SMS, True, NOW + timedelta(minutes=5)))
        await work.commit()
    async with raw(start) as connection:
        kept = await connection.execute(text("SELECT kind, number, given FROM consent ORDER BY kind, number"))
        assert [(kind, number, bool(given)) for kind, number, given in kept] == [
            *(("MARKETING", 1, True), ("MARKETING", 2, True), ("MARKETING", 3, False)),
            *(("SMS", 1, True), ("SMS", 2, True), ("SMS", 3, False), ("SMS", 4, True)),
        ]


def consent(id: UUID, kind: ConsentKind, given: bool, at: datetime) -> Consent:
    return Consent(tenant_id="nord", patient_id=id, kind=kind, given=given, at=at)


async def test_what_she_typed_as_either_counts_and_first_as_the_one_with_the_number(start: StartSqlWork) -> None:
    kari, lone, _ = await two_patients(start)
    await change(start, kari, email="typed@example.org", edited=("email",))
    await change(start, lone, phone="+4791919191", email="lost@example.org", edited=("phone", "email"))
    joined = await tells_the_number(start, phone="+4790000009", email="told@example.org")
    assert (joined.phone, joined.email) == ("+4791919191", "typed@example.org")
    assert set(joined.edited) == {"phone", "email"}
    async with start("nord") as work:
        assert await work.patients.get("nord", KARI) == joined


async def test_tokens_from_before_she_signed_out_everywhere_stay_worthless(start: StartSqlWork, engine: Any) -> None:
    await two_patients(start)
    async with start("nord") as work:
        await work.patients.sign_out("nord", LONE, NOW)
        await work.commit()
    joined = await tells_the_number(start, authenticated_at=NOW + timedelta(seconds=1))
    assert joined.signed_out_at == NOW
    sign_in = SignIn(start_work=start, reads=SqlSessionReads(engine, start._sealing, Stopped()), clock=Stopped())
    for old in (make_identity(**AS_LONE), make_identity(**BROKER, name=TYPED["name"])):
        with pytest.raises(SignedOut):
            await sign_in.of_token(TENANT, old, "r3")


async def test_the_trail_says_so(start: StartSqlWork) -> None:
    await two_patients(start)
    await tells_the_number(start)
    merged = "SELECT actor_id, target_id, details, request_id FROM audit WHERE action = 'patient.merged'"
    async with raw(start) as connection:
        [line] = await connection.execute(text(merged))
    assert (line.actor_id, UUID(str(line.target_id)), line.request_id) == (str(KARI), LONE, "r2")
    assert line.details == f'{{"into":"{KARI}"}}'


async def test_an_export_tells_what_was_done_as_either(start: StartSqlWork) -> None:
    await two_patients(start)
    await a_patient(start, an_id("per"), subject="per", national_id=None)
    async with raw(start) as connection:
        lines = "SELECT action FROM audit WHERE tenant_id = 'nord' AND actor_id IN (:kari, :lone)"
        who = {"kari": str(KARI), "lone": str(LONE)}
        before = sorted((await connection.execute(text(lines), who)).scalars())
    joined = await tells_the_number(start)
    async with start("nord") as work:
        found = await work.traces.of_patient("nord", joined.id)
    assert found.complete
    now = ["patient.brought_up_to_date", "patient.merged", "patient.sign_in_linked"]
    told = found.tables["audit"]
    assert sorted(row["action"] for row in told) == sorted([*before, *now])
    assert {row["actor_id"] for row in told} == {str(KARI), str(LONE)}, "both are the patient"


async def test_who_has_another_sign_in_stays_who_they_are(start: StartSqlWork) -> None:
    await two_patients(start)
    other = {"tenant_id": "nord", "issuer": "https://other.example", "subject": "lone", "patient_id": LONE}
    async with raw(start) as connection:
        await connection.execute(insert(PATIENT_IDENTITY).values(other))
    assert (await tells_the_number(start)).id == KARI
    async with start("nord") as work:
        lone = await work.patients.get("nord", LONE)
        assert lone and lone.name == AS_LONE["name"]
        assert await work.sessions.get("nord", f"hash-{LONE}") is not None


async def test_whose_number_is_another_stays_who_they_are(start: StartSqlWork) -> None:
    await a_patient(start, KARI, **TYPED)
    await a_patient(start, LONE, **{**AS_LONE, "national_id": a_number("01929900126")})
    assert (await tells_the_number(start)).id == KARI
    async with start("nord") as work:
        assert await work.patients.get("nord", LONE) is not None


async def test_other_patients_and_other_tenants_keep_what_is_theirs(start: StartSqlWork) -> None:
    await two_patients(start)
    await a_patient(start, LONE, "syd", **AS_LONE)
    await a_patient(start, an_id("per"), subject="per", national_id=None)
    before = [await dumped(start, "syd"), rows_of(await dumped(start), an_id("per"))]
    assert all(before)
    await tells_the_number(start)
    assert [await dumped(start, "syd"), rows_of(await dumped(start), an_id("per"))] == before


def rows_of(tables: Mapping[str, Any], id: UUID) -> list[Any]:
    return [row for rows in tables.values() for row in rows if {str(id), id.hex, id} & set(map(str, row))]


async def test_of_ten_logins_at_once_one_joins_them(start: StartSqlWork) -> None:
    _, _, hold = await two_patients(start)
    found = await asyncio.gather(*(tells_the_number(start) for _ in range(10)))
    assert {each.id for each in found} == {KARI}
    tables = await dumped(start)
    assert found_in(tables, of(replace(found[0], id=LONE))) == {THE_TRAIL}
    assert str(tables[THE_TRAIL]).count("patient.merged") == 1
    async with start("nord") as work:
        now = await work.bookings.get("nord", hold.id)
        assert now and (now.status, now.version) == (BookingStatus.HELD, hold.version + 1)


async def test_who_changes_her_hold_at_that_moment_is_waited_for(start: StartSqlWork) -> None:
    _, _, hold = await two_patients(start)
    locked = asyncio.Event()

    async def renew() -> None:
        async with start("nord") as work:
            own = await work.bookings.get("nord", hold.id, lock=True)
            locked.set()
            await asyncio.sleep(0.05)
            assert own and await work.bookings.save(own.extended(own.expires_at, patient_id=LONE))
            await work.commit()

    renewing = asyncio.create_task(renew())
    await locked.wait()
    await tells_the_number(start)
    await renewing
    async with start("nord") as work:
        now = await work.bookings.get("nord", hold.id)
    assert now and (now.patient_id, now.version, now.renewed) == (KARI, hold.version + 2, True)


async def test_who_has_read_her_hold_before_does_not_write_it_as_it_was(start: StartSqlWork) -> None:
    _, _, hold = await two_patients(start)
    await tells_the_number(start)
    async with start("nord") as work:
        with pytest.raises(StaleBooking):
            await work.bookings.save(hold.becomes(BookingStatus.RELEASED))


def test_every_table_that_names_a_patient_is_joined() -> None:
    assert set(JOINED) == set(whose("nord", KARI))
