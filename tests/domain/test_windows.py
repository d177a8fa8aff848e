"""Until when a booking may be changed, and why not: product.md's rule at its edges."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from domain.booking import Booking, BookingStatus
from domain.refusals import ChangeRefusal
from domain.rules import BookingRules, ChangeWindow, RuleValues, WindowCombination, rules_of
from domain.slot import Slot
from domain.windows import cancellation_right, rescheduling_right

BOOKED_AT = datetime(2026, 12, 1, 12, tzinfo=UTC)
START = datetime(2026, 12, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


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


@pytest.mark.parametrize("status", [s for s in BookingStatus if s is not BookingStatus.BOOKED])
def test_only_a_booked_booking_can_be_changed(status: BookingStatus) -> None:
    of = window(None, None)
    assert not cancellation_right(booking(of, status=status), rules(of), BOOKED_AT).allowed


@pytest.mark.parametrize("night", [(2027, 3, 28), (2026, 10, 25)])
def test_hours_are_elapsed_hours_over_a_dst_night(night: tuple[int, int, int]) -> None:
    oslo = ZoneInfo("Europe/Oslo")
    start = datetime(*night, 12, tzinfo=oslo)
    of = window(None, 24)
    made = booking(of, start, booked_at=start - timedelta(days=30))
    last = start.astimezone(UTC) - timedelta(hours=24)
    assert cancellation_right(made, rules(of), last).allowed
    assert not cancellation_right(made, rules(of), last + SECOND).allowed
