"""How long a hold lives: renewed once at login, never beyond the cap, lapsed at the instant."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.timing import Timing
from domain.usecases.keep_hold import renewed_until
from tests.store.making import NOW, make_booking

MICRO = timedelta(microseconds=1)
lengths = st.timedeltas(timedelta(seconds=1), timedelta(hours=1))


@given(lifetime=lengths, longer=lengths, waited=lengths)
def test_a_renewed_hold_never_outlives_its_cap_nor_shortens(
    lifetime: timedelta, longer: timedelta, waited: timedelta
) -> None:
    timing = Timing(hold_lifetime=lifetime, hold_cap=lifetime + longer)
    hold = make_booking("h", created_at=NOW, expires_at=NOW + lifetime)
    until = renewed_until(hold, NOW + waited, timing)
    assert hold.expires_at <= until <= NOW + timing.hold_cap
    assert until in (hold.expires_at, NOW + waited + lifetime, NOW + timing.hold_cap)


@pytest.mark.parametrize(("waited", "minutes"), [(0, 10), (3, 13), (5, 15), (9, 15)])
def test_ten_minutes_from_login_fifteen_in_all(waited: int, minutes: int) -> None:
    hold = make_booking("h", created_at=NOW, expires_at=NOW + timedelta(minutes=10))
    assert renewed_until(hold, NOW + timedelta(minutes=waited), Timing()) == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(("off", "lapsed"), [(-MICRO, False), (0 * MICRO, True), (MICRO, True)])
def test_a_hold_lapses_at_the_instant(off: timedelta, lapsed: bool) -> None:
    hold = make_booking("h", expires_at=NOW)
    assert hold.lapsed(NOW + off) is lapsed
