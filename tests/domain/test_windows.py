"""Until when a booking may be changed, and why not: the rule at its edges."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.booking import Booking, BookingStatus
from domain.refusals import ChangeRefusal
from domain.rules import BookingRules, ChangeWindow, RuleValues, WindowCombination, rules_of
from domain.slot import Slot
from domain.windows import cancellation_right, rescheduling_right

BOOKED_AT = datetime(2026, 12, 1, 12, tzinfo=UTC)
START = datetime(2026, 12, 10, 12, tzinfo=UTC)
SECOND, MICRO = timedelta(seconds=1), timedelta(microseconds=1)
NIGHTS = [(2027, 3, 28), (2026, 10, 25)]


def rules(window: ChangeWindow, most: int | None = None) -> BookingRules:
    return replace(
        rules_of(RuleValues(), RuleValues()), cancellation=window, rescheduling=window, maximum_reschedules=most
    )


def booking(window: ChangeWindow, start: datetime = START, **changes: object) -> Booking:
    id = uuid4()
    slot = Slot(
        endpoint_id="fjord",
        offer_id=id,
        clinic_id=id,
        treatment_id=id,
        practitioner_id=id,
        reference="s",
        start=start,
        end=start + timedelta(minutes=30),
    )
    made = Booking(
        tenant_id="t",
        id=id,
        reference="ABC234",
        slot=slot,
        status=BookingStatus.BOOKED,
        created_at=BOOKED_AT,
        booked_at=BOOKED_AT,
        expires_at=BOOKED_AT,
        rules=rules(window),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def window(grace: int | None, remaining: int | None, how: WindowCombination = WindowCombination.ANY) -> ChangeWindow:
    return ChangeWindow(
        allowed=True, within_hours_of_booking=grace, until_hours_before_start=remaining, combination=how
    )


REMAINING = START - timedelta(hours=24)
GRACE = BOOKED_AT + timedelta(hours=1)


@pytest.mark.parametrize(
    ("of", "now", "refusal", "until"),
    [
        (window(1, 24), REMAINING, None, REMAINING),
        (window(1, 24), REMAINING + SECOND, ChangeRefusal.TOO_LATE, REMAINING),
        (window(1, 24, WindowCombination.ALL), GRACE, None, GRACE),
        (window(1, 24, WindowCombination.ALL), GRACE + SECOND, ChangeRefusal.GRACE_OVER, GRACE),
        (window(1, None), GRACE, None, GRACE),
        (window(1, None), GRACE + SECOND, ChangeRefusal.GRACE_OVER, GRACE),
        (window(None, None), START - SECOND, None, START),
        (window(None, None), START, ChangeRefusal.ALREADY_STARTED, START),
        (window(None, 0), START - SECOND, None, START),
        (window(1000, 24), START, ChangeRefusal.ALREADY_STARTED, START),
    ],
)
def test_the_window_closes_at_the_instant(
    of: ChangeWindow, now: datetime, refusal: ChangeRefusal | None, until: datetime
) -> None:
    right = cancellation_right(booking(of), rules(of), now)
    assert (right.allowed, right.refusal, right.until) == (refusal is None, refusal, until)


def test_the_patient_gets_the_kinder_of_snapshot_and_current() -> None:
    strict, kind = window(None, 72), window(None, 2)
    now = START - timedelta(hours=10)
    assert cancellation_right(booking(strict), rules(kind), now).allowed
    assert cancellation_right(booking(kind), rules(strict), now).allowed
    assert not cancellation_right(booking(strict), rules(strict), now).allowed


def test_a_switched_off_change_is_not_allowed_at_any_time() -> None:
    off = ChangeWindow(allowed=False)
    right = cancellation_right(booking(off), rules(off), BOOKED_AT)
    assert right.refusal is ChangeRefusal.NOT_ALLOWED


@pytest.mark.parametrize(("moves", "allowed"), [(0, True), (1, True), (2, False)])
def test_a_patient_may_move_only_so_often(moves: int, allowed: bool) -> None:
    of = window(None, None)
    made = replace(booking(of, moves_made=moves), rules=rules(of, most=2))
    right = rescheduling_right(made, rules(of, most=2), BOOKED_AT)
    assert right.allowed is allowed
    assert allowed or right.refusal is ChangeRefusal.COUNT_EXCEEDED


@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize("of", [(None, None), (10_000, None), (None, 1), (10_000, 1)])
@pytest.mark.parametrize(("off", "refusal"), [(-MICRO, None), (0 * MICRO, None), (MICRO, ChangeRefusal.TOO_LATE)])
def test_the_record_systems_own_limit_is_a_floor_under_both(
    move: bool, of: tuple[int | None, int | None], off: timedelta, refusal: ChangeRefusal | None
) -> None:
    made = booking(window(*of), no_change_within=timedelta(hours=36))
    floor = START - timedelta(hours=36)
    right = (rescheduling_right if move else cancellation_right)(made, rules(window(*of)), floor + off)
    assert (right.allowed, right.refusal, right.until) == (refusal is None, refusal, floor)


@pytest.mark.parametrize("zone", ["Europe/Oslo", "Europe/Stockholm"])
@pytest.mark.parametrize("night", NIGHTS)
def test_grace_is_elapsed_hours_over_a_dst_night(night: tuple[int, int, int], zone: str) -> None:
    booked_at = datetime(*night, 0, 30, tzinfo=ZoneInfo(zone))
    of = window(6, None)
    made = booking(of, booked_at + timedelta(days=9), booked_at=booked_at)
    last = booked_at.astimezone(UTC) + timedelta(hours=6)
    assert cancellation_right(made, rules(of), last).allowed
    assert not cancellation_right(made, rules(of), last + MICRO).allowed


def test_a_limit_of_the_record_system_that_is_wider_changes_nothing() -> None:
    made = booking(window(None, 24), no_change_within=timedelta(hours=2))
    right = cancellation_right(made, rules(window(None, 24)), REMAINING)
    assert (right.allowed, right.until) == (True, REMAINING)


@pytest.mark.parametrize(
    ("outside", "until"), [(ChangeRefusal.EHR_OFFLINE, REMAINING), (ChangeRefusal.MANAGED_EXTERNALLY, None)]
)
def test_a_no_from_elsewhere_counts_where_the_rules_say_yes(outside: ChangeRefusal, until: datetime | None) -> None:
    of = window(None, 24)
    right = cancellation_right(booking(of), rules(of), REMAINING, outside)
    assert (right.allowed, right.refusal, right.until) == (False, outside, until)
    late = cancellation_right(booking(of), rules(of), REMAINING + SECOND, outside)
    assert (late.refusal, late.until) == (ChangeRefusal.TOO_LATE, REMAINING)
    assert late.reasons == (ChangeRefusal.TOO_LATE, outside)


def test_every_reason_is_there_and_the_first_is_told() -> None:
    off = ChangeWindow(allowed=False)
    made = replace(booking(off, moves_made=3), rules=rules(off, most=1))
    right = rescheduling_right(made, rules(off, most=1), START)
    told = (ChangeRefusal.NOT_ALLOWED, ChangeRefusal.ALREADY_STARTED, ChangeRefusal.COUNT_EXCEEDED)
    assert (right.refusal, right.reasons) == (told[0], told)


hours = st.none() | st.integers(0, 24 * 14)
ways = st.sampled_from(WindowCombination)
windows_ = st.builds(window, hours, hours, ways)
starts = st.sampled_from(
    [
        START,
        *(
            datetime(*night, 12, tzinfo=ZoneInfo(zone))
            for night in NIGHTS
            for zone in ("Europe/Oslo", "Europe/Stockholm")
        ),
    ]
)


def allowed(of: ChangeWindow, made: Booking, now: datetime) -> bool:
    """The rule's sentence, word by word, in seconds since 1970."""
    at, start = now.timestamp(), made.slot.start.timestamp()
    branches = []
    if of.within_hours_of_booking is not None:
        branches.append(at <= made.booked_at.timestamp() + of.within_hours_of_booking * 3600)  # type: ignore[union-attr]
    if of.until_hours_before_start is not None:
        branches.append(at <= start - of.until_hours_before_start * 3600)
    counted = any(branches) if of.combination is WindowCombination.ANY else all(branches)
    return (
        of.allowed and (counted or not branches) and at < start and at <= start - made.no_change_within.total_seconds()
    )


@settings(max_examples=500)
@given(
    snapshot=windows_,
    current=windows_,
    start=starts,
    booked=st.integers(0, 24 * 14),
    asked=st.integers(-24 * 14, 2),
    off=st.sampled_from([-SECOND, 0 * SECOND, SECOND]),
    floor=st.integers(0, 72),
    switched_on=st.tuples(st.booleans(), st.booleans()),
)
def test_a_change_is_allowed_exactly_where_the_sentence_says_so(
    snapshot: ChangeWindow,
    current: ChangeWindow,
    start: datetime,
    booked: int,
    asked: int,
    off: timedelta,
    floor: int,
    switched_on: tuple[bool, bool],
) -> None:
    snapshot, current = (replace(each, allowed=on) for each, on in zip((snapshot, current), switched_on, strict=True))
    instant, zone = start.astimezone(UTC), start.tzinfo
    booked_at = (instant - timedelta(hours=booked)).astimezone(zone)
    made = booking(snapshot, start, booked_at=booked_at, no_change_within=timedelta(hours=floor))
    now = (instant + timedelta(hours=asked) + off).astimezone(zone)
    right = cancellation_right(made, rules(current), now)
    assert right.allowed is (allowed(snapshot, made, now) or allowed(current, made, now))
    assert right.allowed is (right.refusal is None) is (right.reasons == ())
    assert right.until is None or right.until <= instant
    if right.allowed:
        assert right.until is not None
        assert now.timestamp() <= right.until.timestamp()


@pytest.mark.parametrize("status", [s for s in BookingStatus if s is not BookingStatus.BOOKED])
def test_only_a_booked_booking_can_be_changed(status: BookingStatus) -> None:
    of = window(None, None)
    assert not cancellation_right(booking(of, status=status), rules(of), BOOKED_AT).allowed


@pytest.mark.parametrize("zone", ["Europe/Oslo", "Europe/Stockholm"])
@pytest.mark.parametrize("night", NIGHTS)
def test_hours_are_elapsed_hours_over_a_dst_night(night: tuple[int, int, int], zone: str) -> None:
    start = datetime(*night, 12, tzinfo=ZoneInfo(zone))
    of = window(None, 24)
    made = booking(of, start, booked_at=start - timedelta(days=30))
    last = start.astimezone(UTC) - timedelta(hours=24)
    assert cancellation_right(made, rules(of), last).allowed
    assert not cancellation_right(made, rules(of), last + SECOND).allowed
