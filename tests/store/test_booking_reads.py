"""Reading bookings outside a unit of work: one statement each, and no other tenant's."""

from datetime import timedelta

import pytest

from domain.booking import OCCUPYING, Asked, BookingStatus
from domain.pages import PageRequest
from domain.ports import Turn
from domain.slot import Span
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.paging import NoSuchPlace
from integrations.store.sealing import Sealing
from tests.store.making import NOW, SECRET, TENANTS, an_id, at, make_booking, make_identity
from tests.store.test_bookings import a_patient, put

S = BookingStatus
DAY = Span(start=at(0), end=at(0) + timedelta(days=1))


@pytest.fixture
def reads(engine) -> SqlBookingReads:
    return SqlBookingReads(engine, Sealing(SECRET))


async def test_occupied_is_what_bookings_and_live_holds_keep(start, reads, statements):
    everything = [make_booking(f"{s}", at(1) + timedelta(hours=n), status=s) for n, s in enumerate(S)]
    await put(
        start,
        *everything,
        make_booking("lapsed", at(20), expires_at=NOW),
        make_booking("theirs", at(21), tenant_id="syd", status=S.BOOKED),
        make_booking("p2's", practitioner="p2"),
    )
    with statements() as seen:
        taken = await reads.occupied("nord", [an_id("p1"), an_id("p2"), an_id("p3")], DAY, NOW)
    assert taken[an_id("p1")] == [each.slot.span for each in everything if each.status in OCCUPYING]
    assert taken[an_id("p2")] == [Span(start=at(10), end=at(10, 30))]
    assert taken[an_id("p3")] == []
    assert len(seen) == 1


async def test_ones_own_booking_and_the_hold_that_moves_it_are_left_out(start, reads):
    visit = make_booking("visit", status=S.BOOKED)
    await put(start, visit, make_booking("move", at(12), moves_booking_id=visit.id), make_booking("other", at(14)))
    taken = await reads.occupied("nord", [an_id("p1")], DAY, NOW, except_ids=[visit.id])
    assert taken[an_id("p1")] == [Span(start=at(14), end=at(14, 30))]


async def test_turns_count_the_day_and_remember_the_latest(start, reads, statements):
    later = NOW + timedelta(minutes=5)
    await put(
        start,
        make_booking("a", at(9), status=S.BOOKED),
        make_booking("b", at(10), status=S.FULFILLED, created_at=later),
        make_booking("c", at(11), status=S.CANCELLED),
        make_booking("d", at(9) + timedelta(days=1), status=S.BOOKED),
        make_booking("e", at(12), tenant_id="syd", status=S.BOOKED),
    )
    with statements() as seen:
        turns = await reads.turns("nord", [an_id("p1"), an_id("p2")], DAY)
    assert turns == {an_id("p1"): Turn(bookings_that_day=2, last_given_at=later), an_id("p2"): Turn()}
    assert len(seen) == 1


async def test_bookings_by_id_leave_out_what_the_tenant_does_not_have(start, reads):
    await put(start, *(make_booking("same", tenant_id=t, comment=t) for t in TENANTS), make_booking("n", at(12)))
    found = await reads.get("syd", [an_id("same"), an_id("n"), an_id("nobody's")])
    assert {id: booking.comment for id, booking in found.items()} == {an_id("same"): "syd"}


async def test_periods_split_a_patients_bookings_and_leave_holds_out(start, reads):
    for tenant_id in TENANTS:
        patient = await a_patient(start, tenant_id)
        mine = {"patient_id": patient.id, "tenant_id": tenant_id}
        await put(
            start,
            *(make_booking(f"{s}", at(1) + timedelta(hours=n), status=s, **mine) for n, s in enumerate(S)),
            make_booking("ended", NOW - timedelta(days=1), status=S.BOOKED, **mine),
            make_booking("going on", NOW - timedelta(minutes=5), status=S.BOOKED, **mine),
            make_booking("move", at(22), status=S.CONFIRMING, moves_booking_id=an_id("x"), **mine),
            make_booking("stranger", at(23), status=S.BOOKED, tenant_id=tenant_id),
        )

    async def names(period: str) -> list[str]:
        page = await reads.of_patient("nord", patient.id, NOW, period, PageRequest(size=50))
        return [booking.reference for booking in page.items]

    upcoming = ["going on", "CONFIRMING", "UNKNOWN", "BOOKED", "CANCELLING"]
    previous = ["FAILED", "NO_SHOW", "FULFILLED", "CANCELLED", "ended"]
    assert await names("UPCOMING") == upcoming
    assert await names("PREVIOUS") == previous
    assert sorted(await names("ALL")) == sorted(upcoming + previous)


@pytest.mark.parametrize("period", ["UPCOMING", "ALL"])
async def test_pages_of_a_patients_bookings_meet_without_gap_or_overlap(start, reads, period):
    patient = await a_patient(start)
    mine = {"patient_id": patient.id, "status": S.BOOKED}
    await put(start, *(make_booking(f"b{n}", at(8), practitioner=f"p{n}", **mine) for n in range(5)))
    whole = await reads.of_patient("nord", patient.id, NOW, period, PageRequest(size=9))
    forward = backward = ()
    after = before = None
    more = True
    while more:
        page = await reads.of_patient("nord", patient.id, NOW, period, PageRequest(size=2, after=after))
        forward, after, more = (*forward, *page.items), page.keys[-1], page.has_next
        assert page.has_previous is (len(forward) > 2)
    more = True
    while more:
        asked = PageRequest(size=2, before=before, backward=True)
        page = await reads.of_patient("nord", patient.id, NOW, period, asked)
        backward, before, more = (*page.items, *backward), page.keys[0], page.has_previous
    assert forward == backward == tuple(whole.items)


async def test_a_cursor_of_another_list_is_told_apart(start, reads):
    for key in (("x",), ("x", "y"), ("2026-03-03T10:00:00+00:00", "no id")):
        with pytest.raises(NoSuchPlace):
            await reads.of_patient("nord", an_id("a"), NOW, "ALL", PageRequest(size=2, after=key))


async def test_due_are_open_questions_whose_time_has_come_oldest_first(start, reads, statements):
    open_ones = [(S.CONFIRMING, Asked.CONFIRM), (S.UNKNOWN, Asked.CANCEL), (S.CANCELLING, Asked.CANCEL)]
    bookings = [
        make_booking(f"b{n}", at(n), tenant_id=t, status=status, asked=asked, check_at=NOW - timedelta(minutes=n))
        for t in TENANTS
        for n, (status, asked) in enumerate([*open_ones, (S.BOOKED, Asked.MOVE)])
    ]
    await put(
        start,
        *bookings,
        make_booking("later", at(12), status=S.UNKNOWN, check_at=NOW + timedelta(seconds=1)),
        make_booking("never", at(13), status=S.UNKNOWN),
        make_booking("settled", at(14), status=S.BOOKED, check_at=NOW),
        make_booking("over", at(15), status=S.CANCELLED, check_at=NOW),
    )
    with statements() as seen:
        due = await reads.due(NOW, 7)
    expected = [(t, an_id(f"b{n}")) for n in (3, 2, 1, 0) for t in TENANTS]
    assert due == expected[:7]
    assert len(seen) == 1


async def test_a_patients_bookings_are_known_by_our_ids_and_by_any_record_systems(start, reads, statements):
    async with start("nord") as work:
        own, other = make_identity(), make_identity(subject="ola", national_id=None)
        kari = (await work.patients.recognise("nord", own, an_id("kari"))).id
        ola = (await work.patients.recognise("nord", other, an_id("ola"))).id
        await work.commit()
    async with start("syd") as work:
        await work.patients.recognise("syd", own, kari)
        await work.commit()
    await put(
        start,
        make_booking("a", at(9), status=S.CANCELLED, patient_id=kari),
        make_booking("b", at(10), status=S.BOOKED, patient_id=kari, ehr_id="ap:b"),
        make_booking("c", at(11), status=S.BOOKED, patient_id=kari, ehr_id="ap:c"),
        make_booking("d", at(12), status=S.BOOKED, patient_id=ola, ehr_id="ap:d"),
        make_booking("e", at(13), status=S.BOOKED, patient_id=kari, ehr_id="ap:e", tenant_id="syd"),
    )
    with statements() as seen:
        found = await reads.known_of_patient("nord", kari, [an_id("a"), an_id("d")], ["ap:b", "ap:d", "ap:e"])
    assert {each.id for each in found} == {an_id("a"), an_id("b")}
    assert len(seen) == 1
    assert await reads.known_of_patient("nord", kari, [], []) == []
