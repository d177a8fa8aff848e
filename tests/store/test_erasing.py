"""A patient who is erased is in no table but the trail, and what was used of the clinics' time stays counted."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from domain.audit import Actor, ActorKind
from domain.booking import Asked, Booking, BookingStatus
from domain.consent import Consent, ConsentKind
from domain.idempotency import scope
from domain.patient import Patient
from domain.ports import DataExport, Remembered, Session
from domain.refusals import RefusalCode, Refused
from domain.usecases.erase_patient import Erased, ErasePatient
from domain.usecases.record import record
from domain.usecases.set_consent import SetConsent
from domain.usecases.sign_in import SignedOut, SignIn
from domain.usecases.sweep import keep_looking, tidy_later
from integrations.store.sessions import SqlSessionReads
from integrations.store.tables import PATIENT, metadata
from integrations.store.traces import whose
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import AT_TEN, NOW, a_number, an_id, make_booking, make_identity, make_tenant

S = BookingStatus
KARI, OLA, LONE = uuid4(), uuid4(), uuid4()
WHO = {KARI: 1, OLA: 2, LONE: 3}
TENANT = make_tenant("nord")
DAY = timedelta(days=1)
TYPED = {
    "name": "Kari Plantet Øyen",
    "phone": "+4791234567",
    "email": "kari.plantet@example.org",
    "subject": "subject-of-kari",
}
WRITTEN = {"comment": "Jeg har vondt i kneet", "cancel_reason": "Jeg er på Mallorca", "sms_to": "••• 567"}
THE_TRAIL = "audit"


def actor(id: UUID) -> Actor:
    return Actor(kind=ActorKind.PATIENT, id=str(id), request_id="r1")


async def a_patient(start: StartSqlWork, id: UUID, tenant_id: str = "nord", **who: Any) -> Patient:
    """With something in every table that can hold something of a patient."""
    identity = make_identity(**who)
    async with start(tenant_id) as work:
        patient = await work.patients.recognise(tenant_id, identity, id)
        times = {"authenticated_at": NOW, "created_at": NOW, "last_seen_at": NOW, "expires_at": NOW + DAY}
        await work.sessions.add(Session(tenant_id=tenant_id, id=f"hash-{id}", patient_id=id, **times))
        said = Remembered(input_hash="h", booking_id=an_id("b"))
        for caller in ("itb", "some-agency"):
            await work.idempotency.remember(tenant_id, scope(caller, id), "confirmBooking", "k", said, NOW)
        more = {"created_at": NOW, "expires_at": NOW + DAY, "content": b"{}"}
        await work.exports.put(DataExport(tenant_id=tenant_id, id=uuid4(), patient_id=id, **more))
        await work.commit()
    consent = Consent(tenant_id=tenant_id, patient_id=id, kind=ConsentKind.SMS, given=True, language="nb")
    await SetConsent(start_work=start, clock=Stopped())(make_tenant(tenant_id), actor(id), consent)
    return patient


async def booked(start: StartSqlWork, name: str, id: UUID, *then: BookingStatus, **more: Any) -> Booking:
    made = {"practitioner": name, "patient_id": id, **WRITTEN}
    booking = make_booking(f"{name} of {WHO[id]}", start=more.pop("starts", AT_TEN), **{**made, **more})
    async with start("nord") as work:
        assert await record(work, booking, actor(id), NOW, action="booking.hold", is_new=True)
        for status in then:
            booking = booking.becomes(status)
            await record(work, booking, actor(id), NOW, action="booking.test")
        for nobody in ("anonymous", "visitor:5f0c"):  # it may have been chosen before the login
            held = Remembered(input_hash="h", booking_id=booking.id)
            await work.idempotency.remember("nord", scope("itb", nobody), "holdSlot", str(booking.id), held, NOW)
        if booking.status is S.FAILED:
            await keep_looking(work.jobs, booking, NOW)
            await tidy_later(work.jobs, booking, ["slot that stayed taken"], NOW)
        await work.commit()
    return booking


async def a_life(start: StartSqlWork, id: UUID) -> list[Booking]:
    return [
        await booked(start, "held", id),
        await booked(start, "standing", id, S.CONFIRMING, S.BOOKED, ehr_id="A-1"),
        await booked(start, "cancelled", id, S.CONFIRMING, S.BOOKED, S.CANCELLED, ehr_id="A-2"),
        await booked(start, "kept", id, S.CONFIRMING, S.BOOKED, S.FULFILLED, starts=NOW - DAY, ehr_id="A-3"),
        await booked(start, "failed", id, S.CONFIRMING, S.FAILED),
        await booked(start, "over", id, S.CONFIRMING, S.BOOKED, starts=NOW - 2 * DAY, ehr_id="A-4"),
    ]


async def erase(start: StartSqlWork, patient: Patient) -> Erased:
    return await ErasePatient(start_work=start, clock=Stopped())(TENANT, actor(patient.id), patient)


def traces(patient: Patient, *sealed: bytes) -> list[bytes]:
    """All that could lead to them, as either engine writes it down: `sealed` are the values that only keys open."""
    number = patient.national_id
    assert number
    said = [str(patient.id), patient.id.hex, number.number, *TYPED.values(), *WRITTEN.values(), *TYPED["name"].split()]
    return [*(each.encode() for each in said), *sealed]


def sealed_in(tables: dict[str, list[Sequence[Any]]]) -> list[bytes]:
    """The number's blind index among them; the tenant's keys are nobody's."""
    return [
        v for name, rows in tables.items() if name != "tenant_key" for row in rows for v in row if isinstance(v, bytes)
    ]


async def dumped(start: StartSqlWork, tenant_id: str = "nord") -> dict[str, list[Sequence[Any]]]:
    own = 'SELECT * FROM "{}" WHERE tenant_id = :tenant'
    async with raw(start) as connection:
        return {
            table.name: list(await connection.execute(text(own.format(table.name)), {"tenant": tenant_id}))
            for table in metadata.sorted_tables
        }


def found_in(tables: dict[str, list[Sequence[Any]]], wanted: list[bytes]) -> set[str]:
    return {
        name
        for name, rows in tables.items()
        for row in rows
        for value in row
        if any(each in (value if isinstance(value, bytes) else str(value).encode()) for each in wanted)
    }


async def used(start: StartSqlWork) -> list[Any]:
    """How much of the clinics' time was used for what, and what became of it."""
    counted = (
        "SELECT clinic_id, treatment_id, practitioner_id, status, starts_at, count(*) FROM booking "
        "WHERE status <> 'HELD' AND status <> 'RELEASED' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    )
    async with raw(start) as connection:
        return [tuple(row) for row in await connection.execute(text(counted))]


async def test_nothing_of_an_erased_patient_is_left_but_in_the_trail(start: StartSqlWork) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    await a_life(start, KARI)
    tables, figures = await dumped(start), await used(start)
    known = traces(kari, *sealed_in(tables))
    before = found_in(tables, known)
    assert before >= {"patient", "patient_identity", "session", "idempotency", "consent", "data_export", "booking"}
    assert before >= {"change", THE_TRAIL}
    assert (await dumped(start))["job"]
    await erase(start, kari)
    after = await dumped(start)
    assert found_in(after, known) == {THE_TRAIL}
    assert after["patient"] == after["session"] == after["consent"] == after["data_export"] == after["job"] == []
    assert after["idempotency"] == []
    assert await used(start) == figures
    assert found_in({THE_TRAIL: after[THE_TRAIL]}, traces(kari)[2:]) == set()  # by its id alone, which is random


async def test_other_patients_and_other_tenants_keep_what_is_theirs(start: StartSqlWork) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    await a_patient(start, OLA, subject="ola", national_id=a_number("01929900126"))
    await a_patient(start, KARI, "syd", **TYPED)
    bookings, syd = await a_life(start, OLA), await dumped(start, "syd")
    await erase(start, kari)
    assert await dumped(start, "syd") == syd
    left = await dumped(start)
    assert [len(left[name]) for name in ("patient", "session", "consent", "data_export")] == [1, 1, 1, 1]
    assert len(left["idempotency"]) == 2 + 2 * len(bookings) and len(left["job"]) == 13
    async with start("nord") as work:
        assert list(await work.traces.bookings("nord", OLA)) == sorted(bookings, key=lambda each: each.id)


async def test_what_stands_is_told_and_keeps_its_time_and_the_rest_lets_go(start: StartSqlWork) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    held, standing, cancelled, *_ = await a_life(start, KARI)
    erased = await erase(start, kari)
    assert [each.id for each in erased.standing] == [standing.id]
    async with start("nord") as work:
        now = {each.id: await work.bookings.get("nord", each.id) for each in (held, standing, cancelled)}
        assert not await work.bookings.hold(make_booking("x", practitioner="standing"), NOW)
        assert await work.bookings.hold(make_booking("y", practitioner="held"), NOW)
    assert (now[held.id].status, now[standing.id].status) == (S.RELEASED, S.BOOKED)
    assert (now[standing.id].ehr_id, now[cancelled.id].ehr_id) == ("A-1", None)
    assert now[standing.id].slot == standing.slot
    assert {row.ehr_id for row in (await dumped(start))["booking"]} == {None, "A-1"}


@pytest.mark.parametrize("then", [(S.CONFIRMING,), (S.CONFIRMING, S.UNKNOWN), (S.CONFIRMING, S.BOOKED, S.CANCELLING)])
async def test_nobody_is_erased_while_an_ehr_owes_an_answer(start: StartSqlWork, then: tuple[BookingStatus]) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    await booked(start, "open", KARI, *then)
    before = await dumped(start)
    with pytest.raises(Refused) as refused:
        await erase(start, kari)
    assert [each.code for each in refused.value.refusals] == [RefusalCode.IN_PROGRESS]
    assert await dumped(start) == before


async def test_an_open_move_of_a_standing_visit_counts_too(start: StartSqlWork) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    await booked(start, "open", KARI, S.CONFIRMING, S.BOOKED, asked=Asked.MOVE)
    with pytest.raises(Refused):
        await erase(start, kari)


async def test_a_token_from_before_brings_nobody_back_and_a_new_login_makes_somebody_new(start, engine) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    reads, old = SqlSessionReads(engine, start._sealing, Stopped()), make_identity(**TYPED, expires_at=NOW + DAY)
    sign_in = SignIn(start_work=start, reads=reads, clock=Stopped())
    assert (await sign_in.of_token(TENANT, old, "r1")).patient.id == KARI
    assert (await sign_in.standing(TENANT, old)).until == NOW + DAY
    await erase(start, kari)
    assert await sign_in.of_token(TENANT, old, "r1") is None and await sign_in.standing(TENANT, old) is None
    assert found_in(await dumped(start), traces(kari)) == {THE_TRAIL}
    assert await sign_in.viewer(TENANT, "secret") is None
    later = replace(old, authenticated_at=NOW + timedelta(seconds=1))
    again = await sign_in.of_token(TENANT, later, "r1")
    assert again is not None and again.patient.id != KARI and again.patient.name == TYPED["name"]


async def test_no_token_from_before_counts_for_who_signs_in_anew(start, engine) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    old = make_identity(**TYPED, expires_at=NOW + DAY)
    reads = SqlSessionReads(engine, start._sealing, Stopped())
    sign_in = SignIn(start_work=start, reads=reads, clock=Stopped())
    await erase(start, kari)
    later = replace(old, authenticated_at=NOW + timedelta(seconds=1))
    await sign_in.open_session(TENANT, later, "r1")
    assert (await sign_in.of_token(TENANT, later, "r1")).patient.name == TYPED["name"]
    with pytest.raises(SignedOut):
        await sign_in.of_token(TENANT, old, "r1")
    told_otherwise = replace(old, language="sv")
    assert await sign_in.of_token(TENANT, told_otherwise, "r1") is None
    assert [await sign_in.standing(TENANT, each) for each in (old, told_otherwise)] == [None, None]


async def test_a_token_that_does_not_tell_when_its_login_was_counts_until_the_first_sign_out(start, engine) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    untold = make_identity(**TYPED, authenticated_at=datetime.fromtimestamp(0, UTC), expires_at=NOW + DAY)
    reads = SqlSessionReads(engine, start._sealing, Stopped())
    sign_in = SignIn(start_work=start, reads=reads, clock=Stopped())
    assert (await sign_in.of_token(TENANT, untold, "r1")).patient.id == KARI
    async with start(TENANT.id) as work:
        await work.patients.sign_out(TENANT.id, KARI, NOW)
        await work.commit()
    with pytest.raises(SignedOut):
        await sign_in.of_token(TENANT, untold, "r1")
    assert await sign_in.standing(TENANT, untold) is None
    secret, _ = await sign_in.open_session(TENANT, untold, "r1")  # a browser's login is made before our eyes
    assert (await sign_in.viewer(TENANT, secret)).patient.id == KARI
    await erase(start, kari)
    assert await sign_in.of_token(TENANT, untold, "r1") is None and await sign_in.standing(TENANT, untold) is None


async def test_a_token_that_tells_something_else_of_the_person_ends_with_the_others(start, engine) -> None:
    """A second provider has told another language since."""
    await a_patient(start, KARI, **TYPED)
    old = make_identity(**{**TYPED, "language": "sv"}, expires_at=NOW + DAY)
    reads = SqlSessionReads(engine, start._sealing, Stopped())
    sign_in = SignIn(start_work=start, reads=reads, clock=Stopped())
    assert (await sign_in.standing(TENANT, old)).until == NOW + DAY
    async with start(TENANT.id) as work:
        await work.patients.sign_out(TENANT.id, KARI, NOW)
        await work.commit()
    assert await sign_in.standing(TENANT, old) is None


async def test_erasing_twice_is_erasing_once(start: StartSqlWork) -> None:
    kari = await a_patient(start, KARI, **TYPED)
    await erase(start, kari)
    before = await dumped(start)
    assert await erase(start, kari) == Erased()
    assert await dumped(start) == before


def test_every_table_that_names_a_patient_is_looked_through() -> None:
    known = {table.name for table in whose("nord", KARI)} | {PATIENT.name}
    naming = {t.name for t in metadata.sorted_tables if {"patient_id", "scope", "actor_id"} & set(t.c.keys())}
    assert naming <= known


async def test_everything_that_is_told_of_a_patient_is_in_plain_values(start: StartSqlWork) -> None:
    await a_patient(start, KARI, **TYPED)
    await a_life(start, KARI)
    async with start("nord") as work:
        found = await work.traces.of_patient("nord", KARI)
    assert found.complete
    assert {name for name, rows in found.tables.items() if not rows} == {"outbox"}
    assert {row["comment"] for row in found.tables["booking"]} == {WRITTEN["comment"]}
    assert [row["subject"] for row in found.tables["patient_identity"]] == [TYPED["subject"]]
    assert "id" not in found.tables["session"][0] and "sealed" not in found.tables["data_export"][0]
