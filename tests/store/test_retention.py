"""What is kept of people is kept for as long as it is needed, and no longer, in every tenant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from domain.audit import SYSTEM, ActorKind, AuditEntry
from domain.booking import Asked, Booking, BookingStatus
from domain.consent import Consent, ConsentKind
from domain.pages import PageRequest
from domain.ports import DataExport, Session
from domain.usecases import forget
from domain.usecases.record import record
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.planted import as_written
from tests.store.making import AT_TEN, NOW, SECRET, TENANTS, an_id, make_booking, make_identity
from tests.store.test_erasing import WRITTEN
from tests.store.test_forgetting import forget_at, left

S = BookingStatus
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
KARI = an_id("kari")
ENDED = AT_TEN + timedelta(minutes=30)


async def kari(start: StartSqlWork, tenant_id: str = "nord") -> None:
    async with start(tenant_id) as work:
        await work.patients.recognise(tenant_id, make_identity(), KARI)
        await work.commit()


async def booked(start: StartSqlWork, name: str, tenant_id: str = "nord", **more: Any) -> Booking:
    """A visit with practitioner `name`, from ten to half past."""
    made = {"tenant_id": tenant_id, "practitioner": name, "patient_id": KARI, "ehr_id": f"A-{name}", **WRITTEN}
    booking = make_booking(name, more.pop("starts", AT_TEN), **{**made, **more})
    async with start(tenant_id) as work:
        assert await record(work, booking, SYSTEM, NOW, action="booking.hold", is_new=True)
        for status in (S.CONFIRMING, S.BOOKED):
            booking = booking.becomes(status)
            await record(work, booking, SYSTEM, NOW, action="booking.test")
        await work.commit()
    return booking


async def let_go(start: StartSqlWork, now: datetime) -> None:
    """Consents alone: the database looks at its own clock before it lets a line of the trail go."""
    async with start("nord") as work:
        await work.retention.forget_consents("nord", now - forget.TRAIL, 500)
        await work.commit()


async def now_is(start: StartSqlWork, booking: Booking) -> Booking:
    async with start(booking.tenant_id) as work:
        found = await work.bookings.get(booking.tenant_id, booking.id)
        assert found
        return found


async def test_numbers_go_thirty_days_after_the_visit_and_patients_after_ninety(start: StartSqlWork) -> None:
    for tenant_id in TENANTS:
        await kari(start, tenant_id)
    bookings = [await booked(start, "p1", tenant_id) for tenant_id in TENANTS]
    await forget_at(start, ENDED + 30 * DAY)
    assert [(await now_is(start, each)).sms_to for each in bookings] == [WRITTEN["sms_to"]] * 2
    await forget_at(start, ENDED + 30 * DAY + MINUTE)
    for each in bookings:
        assert await now_is(start, each) == replace(each, sms_to=None, version=each.version + 1)
    await forget_at(start, ENDED + 90 * DAY)
    assert [(await now_is(start, each)).patient_id for each in bookings] == [KARI, KARI]
    await forget_at(start, ENDED + 90 * DAY + MINUTE)
    for each in bookings:
        assert await now_is(start, each) == replace(each.nobodys(), ehr_id=None, version=each.version + 2)


async def test_each_booking_that_became_nobodys_is_noted_without_saying_whose(start: StartSqlWork, engine: Any) -> None:
    await kari(start)
    booking = await booked(start, "p1")
    await forget_at(start, ENDED + 91 * DAY)
    where = "SELECT actor_kind, target_id, details FROM audit WHERE action = 'booking.pseudonymised'"
    async with raw(engine) as connection:
        [(kind, target, details)] = (await connection.execute(text(where))).all()
    assert (kind, str(target).replace("-", ""), details) == ("SYSTEM", booking.id.hex, "{}")


async def test_which_visit_it_was_goes_with_the_end_of_it_where_a_booking_is_nobodys(start: StartSqlWork) -> None:
    await kari(start)
    erased, kept = await booked(start, "p1"), {"held_in_ehr": True, "ehr_id": "A-held"}
    async with start("nord") as work:
        await work.traces.erase("nord", KARI, NOW)
        assert await work.bookings.hold(make_booking("held", practitioner="p2", **kept), NOW)
        await work.commit()
    await kari(start)
    hers = await booked(start, "p3")
    await forget_at(start, ENDED - MINUTE)
    assert (await now_is(start, erased)).ehr_id == erased.ehr_id
    await forget_at(start, ENDED)
    gone = await now_is(start, erased)
    assert (gone.ehr_id, gone.version, gone.status) == (None, erased.version + 2, S.BOOKED)
    assert await now_is(start, hers) == hers
    assert (await now_is(start, make_booking("held"))).ehr_id == "A-held", "it is still to be let go of there"


async def test_a_question_that_is_open_keeps_its_patient_however_old_it_is(start: StartSqlWork) -> None:
    await kari(start)
    booking = await booked(start, "p1", asked=Asked.CANCEL)
    await forget_at(start, ENDED + 400 * DAY)
    assert await now_is(start, booking) == booking


async def test_previous_bookings_go_on_without_those_that_are_nobodys(start: StartSqlWork, engine: Any) -> None:
    """What is older is told by the record systems, and is not taken for one of the patient's bookings here."""
    await kari(start)
    old = await booked(start, "p1")
    late = await booked(start, "p2", starts=AT_TEN + 60 * DAY)
    await forget_at(start, ENDED + 91 * DAY)
    reads = SqlBookingReads(engine, Sealing(SECRET))
    page = await reads.of_patient("nord", KARI, ENDED + 91 * DAY, "PREVIOUS", PageRequest(size=9))
    assert [each.id for each in page.items] == [late.id]
    assert await reads.known_of_patient("nord", KARI, [old.id], ["A-p1"]) == []


async def test_exports_go_when_they_expire(start: StartSqlWork, engine: Any) -> None:
    await kari(start)
    export = DataExport(
        tenant_id="nord", id=uuid4(), patient_id=KARI, created_at=NOW, expires_at=NOW + DAY, content=b"{}"
    )
    async with start("nord") as work:
        await work.exports.put(export)
        await work.commit()
    await forget_at(start, NOW + DAY - MINUTE)
    assert len(await left(engine, "SELECT id FROM data_export")) == 1
    await forget_at(start, NOW + DAY)
    assert await left(engine, "SELECT id FROM data_export") == []


async def test_what_a_patient_said_last_is_kept_and_what_it_replaced_for_five_years(
    start: StartSqlWork, engine: Any
) -> None:
    await kari(start)
    async with start("nord") as work:
        sms, later = ConsentKind.SMS, NOW + 365 * DAY
        for kind, given, at in ((sms, True, NOW), (sms, False, later), (ConsentKind.MARKETING, True, NOW)):
            said = Consent(tenant_id="nord", patient_id=KARI, kind=kind, given=given, at=at, actor=ActorKind.PATIENT)
            await work.consents.add(said)
        await work.commit()
    every = "SELECT kind || number FROM consent ORDER BY kind, number"
    await let_go(start, NOW + 5 * 366 * DAY + MINUTE)
    assert await left(engine, every) == ["MARKETING1", "SMS1", "SMS2"], "replaced a year ago"
    await let_go(start, NOW + (365 + 5 * 366) * DAY + MINUTE)
    assert await left(engine, every) == ["MARKETING1", "SMS2"]


async def test_a_round_lets_go_of_consents_that_were_replaced_five_years_ago(start: StartSqlWork, engine: Any) -> None:
    """By the real clock, as the trail does."""
    await kari(start)
    today = datetime.now(UTC)
    async with start("nord") as work:
        for kind, years in ((ConsentKind.SMS, (8, 6)), (ConsentKind.MARKETING, (8, 4))):
            for given, ago in zip((True, False), years, strict=True):
                at = today - ago * 366 * DAY
                said = Consent(
                    tenant_id="nord", patient_id=KARI, kind=kind, given=given, at=at, actor=ActorKind.PATIENT
                )
                await work.consents.add(said)
        await work.commit()
    assert await forget_at(start, today) == 1
    every = "SELECT kind || number FROM consent ORDER BY kind, number"
    assert await left(engine, every) == ["MARKETING1", "MARKETING2", "SMS2"]


async def test_the_marks_of_erased_sign_ins_go_after_thirty_days(start: StartSqlWork, engine: Any) -> None:
    await kari(start)
    async with start("nord") as work:
        await work.traces.erase("nord", KARI, NOW)
        await work.commit()
    await forget_at(start, NOW + 30 * DAY)
    assert len(await left(engine, "SELECT at FROM erased_sign_in")) == 1
    await forget_at(start, NOW + 30 * DAY + MINUTE)
    assert await left(engine, "SELECT at FROM erased_sign_in") == []


async def test_the_trail_goes_after_five_years_and_no_sooner(start: StartSqlWork, engine: Any) -> None:
    """By the real clock, for the database looks at its own before it lets a line go."""
    today = datetime.now(UTC)
    async with start("nord") as work:
        for years in (4, 6):
            at = today - years * 366 * DAY
            told: dict[str, Any] = {"actor": SYSTEM, "action": f"after {years}", "target": "booking"}
            await work.audit(AuditEntry(tenant_id="nord", at=at, target_id=an_id("b"), **told))
        await work.commit()
    assert await forget_at(start, today) == 1
    assert await left(engine, "SELECT action FROM audit") == ["after 4"]


async def logged_in(start: StartSqlWork, tenant_id: str, ends: datetime) -> None:
    times = dict.fromkeys(("authenticated_at", "created_at", "last_seen_at"), NOW)
    async with start(tenant_id) as work:
        await work.patients.recognise(tenant_id, make_identity(), KARI)
        session = Session(tenant_id=tenant_id, id=tenant_id, patient_id=KARI, expires_at=ends, **times)
        await work.sessions.add(session)
        await work.commit()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "domain.usecases.forget"]


async def test_what_one_tenant_cannot_let_go_of_is_in_no_others_way(
    start: StartSqlWork, engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A line of the trail that the database keeps yet, by its own clock, which is behind ours."""
    ahead = datetime.now(UTC) + 8 * DAY
    for tenant_id in TENANTS:
        await logged_in(start, tenant_id, ahead)
    first, *_ = TENANTS
    async with start(first) as work:
        at = ahead - forget.TRAIL - MINUTE
        line: dict[str, Any] = {"actor": SYSTEM, "action": "old", "target": "booking", "target_id": an_id("b")}
        await work.audit(AuditEntry(tenant_id=first, at=at, **line))
        await work.commit()
    with pytest.raises(forget.NotAllForgotten, match="1 steps failed, 2 rows are gone"):
        await forget_at(start, ahead)
    assert await left(engine, "SELECT id FROM session") == []
    assert told(caplog) == [f"the trail of {first} cannot be let go of"]
    assert "append_only" not in as_written(caplog.records)


async def test_nor_is_one_kind_in_the_way_of_another(
    start: StartSqlWork, engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await kari(start)
    export = DataExport(tenant_id="nord", id=uuid4(), patient_id=KARI, created_at=NOW, expires_at=NOW, content=b"{}")
    async with start("nord") as work:
        await work.exports.put(export)
        await work.commit()
    async with raw(engine) as connection:
        await connection.execute(text("ALTER TABLE session RENAME TO lost"))
        await connection.commit()
    with pytest.raises(forget.NotAllForgotten):
        await forget_at(start, NOW + MINUTE)
    assert await left(engine, "SELECT id FROM data_export") == []
    assert told(caplog) == [f"sessions of {tenant_id} cannot be let go of" for tenant_id in sorted(TENANTS)]


async def test_a_few_rows_at_a_time(start: StartSqlWork, statements: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "AT_ONCE", 2)
    await kari(start)
    for n in range(5):
        await booked(start, f"p{n}")
    with statements() as seen:
        await forget_at(start, ENDED + 91 * DAY)
    assert len([each for each in seen if each.startswith("UPDATE booking") and "terms_version" in each]) == 3
    assert await SqlBookingReads(start._engine).known_of_patient("nord", KARI, [], ["A-p0"]) == []
