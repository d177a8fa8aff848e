"""Until when a patient may cancel or move a booking, and why not."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from domain.booking import Booking, BookingStatus
from domain.refusals import ChangeRefusal
from domain.rule_values import BookingRules, ChangeWindow, WindowCombination


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRight:
    """Whether a change is allowed now; `until` is the last instant it is or was.

    `refusal` is what a patient is told when it is not; `reasons` are all there are, that one first.
    """

    allowed: bool
    until: datetime | None = None
    refusal: ChangeRefusal | None = None
    reasons: tuple[ChangeRefusal, ...] = ()


def cancellation_right(
    booking: Booking, current: BookingRules, now: datetime, outside: ChangeRefusal | None = None
) -> ChangeRight:
    """The kinder of the rules the booking was made under and those in force.

    `outside` is a no that comes from elsewhere: told where these rules would say yes, and in the way at any rate.
    """
    rights = (_right(booking, rules.cancellation, now) for rules in (booking.rules, current))
    return _despite(outside, _kinder(*rights))


def rescheduling_right(
    booking: Booking, current: BookingRules, now: datetime, outside: ChangeRefusal | None = None
) -> ChangeRight:
    """As for cancelling, and within the number of moves a patient may make."""
    rights = (_move_right(booking, rules, now) for rules in (booking.rules, current))
    return _despite(outside, _kinder(*rights))


def _despite(outside: ChangeRefusal | None, right: ChangeRight) -> ChangeRight:
    if outside is None:
        return right
    # once an EHR answers again, the window is what it was
    until = right.until if outside is ChangeRefusal.EHR_OFFLINE or not right.allowed else None
    return _judged(until, *right.reasons, outside)


def _judged(until: datetime | None, *reasons: ChangeRefusal) -> ChangeRight:
    return ChangeRight(allowed=not reasons, until=until, refusal=reasons[0] if reasons else None, reasons=reasons)


def _move_right(booking: Booking, rules: BookingRules, now: datetime) -> ChangeRight:
    right = _right(booking, rules.rescheduling, now)
    if rules.maximum_reschedules is None or booking.moves_made < rules.maximum_reschedules:
        return right
    return _judged(None if right.allowed else right.until, *right.reasons, ChangeRefusal.COUNT_EXCEEDED)


def _right(booking: Booking, window: ChangeWindow, now: datetime) -> ChangeRight:
    start, now = booking.slot.start.astimezone(UTC), now.astimezone(UTC)  # a zone's own wall would count wall hours
    floor = start - booking.no_change_within
    until = min(_until(window, (booking.booked_at or booking.created_at).astimezone(UTC), start), floor)
    late = () if now <= until and now < start else (_why_late(window, start, floor, now),)
    if booking.status is not BookingStatus.BOOKED or not window.allowed:
        return _judged(None, ChangeRefusal.NOT_ALLOWED, *late)
    return _judged(until, *late)


def _why_late(window: ChangeWindow, start: datetime, floor: datetime, now: datetime) -> ChangeRefusal:
    if now >= start:
        return ChangeRefusal.ALREADY_STARTED
    hours = window.until_hours_before_start
    near = hours is not None and now > start - timedelta(hours=hours)
    return ChangeRefusal.TOO_LATE if near or now > floor else ChangeRefusal.GRACE_OVER


def _until(window: ChangeWindow, booked_at: datetime, start: datetime) -> datetime:
    """Elapsed hours on the instants, so that a DST night makes nothing longer or shorter."""
    ends = []
    if window.within_hours_of_booking is not None:
        ends.append(booked_at + timedelta(hours=window.within_hours_of_booking))
    if window.until_hours_before_start is not None:
        ends.append(start - timedelta(hours=window.until_hours_before_start))
    pick = max if window.combination is WindowCombination.ANY else min
    return min(pick(ends, default=start), start)


def _kinder(one: ChangeRight, other: ChangeRight) -> ChangeRight:
    def worth(right: ChangeRight) -> tuple[bool, bool, datetime]:
        return right.allowed, right.until is not None, right.until or datetime.min.replace(tzinfo=UTC)

    return max(one, other, key=worth)
