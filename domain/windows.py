"""Until when a patient may cancel or move a booking, and why not (product.md §5)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.booking import Booking, BookingStatus
from domain.refusals import ChangeRefusal
from domain.rules import BookingRules, ChangeWindow, WindowCombination


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRight:
    """Whether a change is allowed now; `until` is the last instant it is or was."""

    allowed: bool
    until: datetime | None = None
    refusal: ChangeRefusal | None = None


def cancellation_right(booking: Booking, current: BookingRules, now: datetime) -> ChangeRight:
    """The kinder of the rules the booking was made under and those in force."""
    return _kinder(
        _right(booking, booking.rules.cancellation, now),
        _right(booking, current.cancellation, now),
    )


def rescheduling_right(booking: Booking, current: BookingRules, now: datetime) -> ChangeRight:
    """As for cancelling, and within the number of moves a patient may make."""
    return _kinder(*(_move_right(booking, rules, now) for rules in (booking.rules, current)))


def _move_right(booking: Booking, rules: BookingRules, now: datetime) -> ChangeRight:
    right = _right(booking, rules.rescheduling, now)
    spent = rules.maximum_reschedules is not None and booking.moves_made >= rules.maximum_reschedules
    return ChangeRight(allowed=False, refusal=ChangeRefusal.COUNT_EXCEEDED) if right.allowed and spent else right


def _right(booking: Booking, window: ChangeWindow, now: datetime) -> ChangeRight:
    if booking.status is not BookingStatus.BOOKED or not window.allowed:
        return ChangeRight(allowed=False, refusal=ChangeRefusal.NOT_ALLOWED)
    start = booking.slot.start.astimezone(UTC)  # arithmetic on a zone's own wall would count wall hours
    until = _until(window, booking.booked_at or booking.created_at, start)
    if now >= start:
        return ChangeRight(allowed=False, until=until, refusal=ChangeRefusal.ALREADY_STARTED)
    if now <= until:
        return ChangeRight(allowed=True, until=until)
    return ChangeRight(allowed=False, until=until, refusal=_why_late(window, start, now))


def _until(window: ChangeWindow, booked_at: datetime, start: datetime) -> datetime:
    """Elapsed hours on the instants, so that a DST night makes nothing longer or shorter."""
    ends = []
    if window.within_hours_of_booking is not None:
        ends.append(booked_at + timedelta(hours=window.within_hours_of_booking))
    if window.until_hours_before_start is not None:
        ends.append(start - timedelta(hours=window.until_hours_before_start))
    pick = max if window.combination is WindowCombination.ANY else min
    return min(pick(ends, default=start), start)


def _why_late(window: ChangeWindow, start: datetime, now: datetime) -> ChangeRefusal:
    hours = window.until_hours_before_start
    near = hours is not None and now > start - timedelta(hours=hours)
    return ChangeRefusal.TOO_LATE if near else ChangeRefusal.GRACE_OVER


def _kinder(one: ChangeRight, other: ChangeRight) -> ChangeRight:
    def worth(right: ChangeRight) -> tuple[bool, bool, float]:
        return right.allowed, right.until is not None, right.until.timestamp() if right.until else 0.0

    return max(one, other, key=worth)
