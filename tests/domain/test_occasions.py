"""One set of rules: what is found can be held, each occasion asks what it can know, and every reason is told."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.booking import Booking, BookingStatus
from domain.clinic import ClinicBooking
from domain.refusals import ChangeNotAllowed, ChangeRefusal, RefusalCode
from domain.rules import (
    BEFORE_CANCEL,
    BEFORE_CONFIRM,
    BEFORE_FIND,
    BEFORE_HOLD,
    BEFORE_MOVE,
    Change,
    Proposal,
    RuleValues,
    opens_at,
    proposed,
    refusals,
    rules_of,
)
from domain.tenant import DoubleBooking
from tests.domain.test_search_windows import MICROSECOND, clinic, found, search
from tests.store.making import make_booking, make_tenant

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
START = NOW + timedelta(days=3)
RULES = rules_of(RuleValues(), RuleValues())
OTHER = make_booking("other")


def asked(**more: object) -> Proposal:
    values = {"start": START, "time_zone": "Europe/Oslo", "rules": RULES, "now": NOW, **more}
    return Proposal(**values)  # type: ignore[arg-type]


def change(start: datetime = START, **more: object) -> Change:
    booking: Booking = make_booking("visit", start, status=BookingStatus.BOOKED, booked_at=NOW, rules=RULES)
    return Change(**{"booking": booking, "rules": RULES, **more})  # type: ignore[arg-type]


zones = st.sampled_from(["Europe/Oslo", "Europe/Stockholm", "Pacific/Kiritimati", "UTC"])
nights = [datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), NOW]
minutes = st.none() | st.integers(-60, 3 * 24 * 60)


@settings(max_examples=300, deadline=None)
@given(
    zone=zones,
    now=st.sampled_from(nights),
    in_zone=st.booleans(),
    tenant_notice=minutes,
    clinic_notice=minutes,
    how=st.sampled_from(ClinicBooking),
    off=st.timedeltas(timedelta(hours=-2), timedelta(hours=2))
    | st.sampled_from([-MICROSECOND, timedelta(), MICROSECOND]),
)
def test_a_time_is_found_if_and_only_if_it_can_be_held_at_that_instant(
    zone: str,
    now: datetime,
    in_zone: bool,
    tenant_notice: int | None,
    clinic_notice: int | None,
    how: ClinicBooking,
    off: timedelta,
) -> None:
    place = replace(clinic(zone, clinic_notice), booking=how)
    tenant = make_tenant("t", rules=RuleValues(minimum_notice_minutes=tenant_notice))
    notice = clinic_notice if clinic_notice is not None else tenant_notice
    start = now + timedelta(minutes=notice or 0) + off
    if in_zone:
        now = now.astimezone(ZoneInfo(zone))
    day = start.astimezone(ZoneInfo(zone)).date()
    shown = found(
        search(day - timedelta(days=1), day + timedelta(days=1)), zone, [start], now, place=place, tenant=tenant
    )
    proposal = proposed(tenant, place, start.astimezone(ZoneInfo(zone)), now)
    assert bool(shown) is (refusals(proposal, BEFORE_HOLD) == ())
    assert refusals(proposal, BEFORE_FIND) == refusals(proposal, BEFORE_HOLD)


@given(now=st.sampled_from(nights), values=minutes)
def test_what_opens_has_never_passed(now: datetime, values: int | None) -> None:
    tenant = make_tenant("t", rules=RuleValues(minimum_notice_minutes=values))
    opens = opens_at(tenant, clinic(), now)
    assert opens is not None
    assert opens >= now


@pytest.mark.parametrize("how", [ClinicBooking.EXTERNAL, ClinicBooking.CLOSED])
def test_a_clinic_that_is_not_booked_here_has_no_time_that_can_be_held(how: ClinicBooking) -> None:
    assert codes(asked(clinic_booking=how), BEFORE_HOLD) == ["CLINIC_CLOSED"]
    assert opens_at(make_tenant("t"), replace(clinic(), booking=how), NOW) is None


def codes(proposal: Proposal, occasion: tuple) -> list[str]:  # type: ignore[type-arg]
    return [str(no.refusal if isinstance(no, ChangeNotAllowed) else no.code) for no in refusals(proposal, occasion)]


STRANGER = {
    "has_national_id": False,
    "terms_version": "2",
    "accepted_terms": "1",
    "birth_date": date(2020, 1, 1),
    "rules": replace(RULES, minimum_age=16, minimum_notice=timedelta(days=30)),
    "overlapping": OTHER,
    "is_offered": False,
    "clinic_booking": ClinicBooking.CLOSED,
}
"""Everything in the way at once."""


def test_each_occasion_asks_what_it_can_know_and_tells_every_reason() -> None:
    moved = asked(**STRANGER, change=change(stays=False, outside=ChangeRefusal.EHR_OFFLINE))
    notice = ["TREATMENT_NOT_OFFERED", "CLINIC_CLOSED", "NOT_ENOUGH_NOTICE"]
    patient = ["TOO_YOUNG", "PATIENT_DOUBLE_BOOKED"]
    assert codes(moved, BEFORE_FIND) == notice
    assert codes(moved, BEFORE_HOLD) == [*notice, "NOT_ALLOWED", "EHR_OFFLINE"]
    assert codes(moved, BEFORE_CONFIRM) == ["NATIONAL_ID_REQUIRED", "TERMS_NOT_ACCEPTED", *patient]
    assert codes(moved, BEFORE_MOVE) == ["NOT_ALLOWED", "EHR_OFFLINE", *patient]
    assert codes(moved, BEFORE_CANCEL) == ["EHR_OFFLINE"]


@pytest.mark.parametrize(("warns", "accepts", "refused"), [(0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_two_visits_at_once_are_only_had_where_the_tenant_warns_and_the_patient_accepts(
    warns: bool, accepts: bool, refused: bool
) -> None:
    proposal = asked(overlapping=OTHER, overlap_warns=bool(warns), overlap_accepted=bool(accepts))
    found_in_the_way = refusals(proposal, BEFORE_CONFIRM)
    assert [(no.code, no.may_proceed) for no in found_in_the_way] == (  # type: ignore[attr-defined]
        [(RefusalCode.PATIENT_DOUBLE_BOOKED, bool(warns))] if refused else []
    )


@pytest.mark.parametrize(("how", "warns"), [(DoubleBooking.WARN, True), (DoubleBooking.BLOCK, False)])
def test_a_proposal_takes_what_tenant_and_clinic_say(how: DoubleBooking, warns: bool) -> None:
    tenant = make_tenant("t", double_booking=how, terms_version="7", rules=RuleValues(minimum_age=12))
    proposal = proposed(tenant, replace(clinic(), booking=ClinicBooking.EXTERNAL), START, NOW)
    assert (proposal.overlap_warns, proposal.terms_version, proposal.rules.minimum_age) == (warns, "7", 12)
    assert proposal.clinic_booking is ClinicBooking.EXTERNAL


@pytest.mark.parametrize("status", [s for s in BookingStatus if s is not BookingStatus.BOOKED])
@pytest.mark.parametrize("occasion", [BEFORE_HOLD, BEFORE_MOVE, BEFORE_CANCEL])
def test_what_is_not_booked_is_refused_once(status: BookingStatus, occasion: tuple) -> None:  # type: ignore[type-arg]
    of = change()
    proposal = asked(change=replace(of, booking=replace(of.booking, status=status)))
    assert codes(proposal, occasion) == ["NOT_ALLOWED"]


@settings(max_examples=300)
@given(
    born=st.dates(date(1920, 1, 1), date(2027, 12, 31)) | st.sampled_from([date(2008, 2, 29), date(2012, 2, 29)]),
    start=st.integers(0, 5 * 365 * 24 * 60).map(lambda n: NOW + timedelta(minutes=n)),
    minimum=st.integers(0, 120),
    zone=zones,
)
def test_old_enough_is_a_birthday_on_the_clinics_own_date(born: date, start: datetime, minimum: int, zone: str) -> None:
    """29 February counts from 1 March in common years."""
    local, year = start.astimezone(ZoneInfo(zone)).date(), born.year + minimum
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    turns = date(year, 3, 1) if (born.month, born.day) == (2, 29) and not leap else born.replace(year=year)
    proposal = asked(start=start, time_zone=zone, birth_date=born, rules=replace(RULES, minimum_age=minimum))
    assert (codes(proposal, BEFORE_CONFIRM) == []) is (local >= turns)


@pytest.mark.parametrize(("zone", "night"), [(z, n) for z in ("Europe/Oslo", "Europe/Stockholm") for n in nights[:2]])
def test_age_changes_at_the_clinics_midnight_also_when_the_clocks_change(zone: str, night: datetime) -> None:
    day = night.astimezone(ZoneInfo(zone)).date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rules = replace(RULES, minimum_age=16)
    born = day.replace(year=day.year - 16)
    for off, expected in ((timedelta(), []), (-MICROSECOND, ["TOO_YOUNG"])):
        proposal = asked(start=midnight + off, time_zone=zone, birth_date=born, rules=rules)
        assert codes(proposal, BEFORE_CONFIRM) == expected
