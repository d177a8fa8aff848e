"""A booking's status moves by one table only."""

from dataclasses import replace
from datetime import timedelta

import pytest

from domain.booking import OCCUPYING, Asked, BookingStatus, IllegalTransition
from tests.domain.test_windows import BOOKED_AT, booking, window

S = BookingStatus
FINAL = (S.CANCELLED, S.FULFILLED, S.NO_SHOW, S.FAILED, S.EXPIRED, S.RELEASED)


def at(status: BookingStatus):  # type: ignore[no-untyped-def]
    return booking(window(None, None), status=status)


DRAWN = {
    S.HELD: {S.CONFIRMING, S.EXPIRED, S.RELEASED},
    S.CONFIRMING: {S.BOOKED, S.FAILED, S.UNKNOWN, S.HELD, S.RELEASED, S.CANCELLED},
    S.UNKNOWN: {S.BOOKED, S.FAILED, S.CANCELLED, S.RELEASED},
    S.BOOKED: {S.BOOKED, S.CANCELLING, S.UNKNOWN, S.CANCELLED, S.FULFILLED, S.NO_SHOW},
    S.CANCELLING: {S.CANCELLED, S.UNKNOWN, S.BOOKED},
}
"""The state machine, written down a second time: a way that is added or lost must be meant."""


@pytest.mark.parametrize("start", list(S))
@pytest.mark.parametrize("to", list(S))
def test_a_status_moves_only_along_the_drawn_ways(start: BookingStatus, to: BookingStatus) -> None:
    if to in DRAWN.get(start, set()):
        assert at(start).becomes(to).status is to
    else:
        with pytest.raises(IllegalTransition):
            at(start).becomes(to)


@pytest.mark.parametrize("status", [S.CONFIRMING, S.CANCELLING, S.UNKNOWN, S.BOOKED])
def test_a_look_without_a_verdict_leaves_the_question_open(status: BookingStatus) -> None:
    asked = replace(at(status), asked=Asked.MOVE, asked_at=BOOKED_AT)
    later = asked.unsettled(BOOKED_AT, 1)
    assert later.status is (S.BOOKED if status is S.BOOKED else S.UNKNOWN)
    assert (later.asked, later.asked_at, later.empty_reads) == (Asked.MOVE, BOOKED_AT, 1)
    assert later.version == asked.version + 1


@pytest.mark.parametrize("final", FINAL)
@pytest.mark.parametrize("to", list(S))
def test_what_is_over_stays_over(final: BookingStatus, to: BookingStatus) -> None:
    with pytest.raises(IllegalTransition):
        at(final).becomes(to)


@pytest.mark.parametrize("final", FINAL)
def test_what_is_over_keeps_no_time(final: BookingStatus) -> None:
    assert final not in OCCUPYING


def test_every_change_is_a_new_version() -> None:
    held = at(S.HELD)
    asking = held.asking(S.CONFIRMING, Asked.CONFIRM, BOOKED_AT, BOOKED_AT)
    booked = asking.answered(S.BOOKED)
    assert [b.version for b in (held, asking, booked)] == [1, 2, 3]
    assert (asking.asked, booked.asked, booked.check_at) == (Asked.CONFIRM, None, None)


def test_a_hold_lapses_at_the_instant_and_a_booking_never() -> None:
    held = replace(at(S.HELD), expires_at=BOOKED_AT)
    assert held.lapsed(BOOKED_AT)
    assert not held.lapsed(BOOKED_AT - timedelta(seconds=1))
    assert not at(S.BOOKED).lapsed(BOOKED_AT + timedelta(days=1))
