"""Ages as clinics count them."""

from datetime import date

import pytest

from domain.age import age_on


@pytest.mark.parametrize(
    ("day", "years"),
    [
        (date(2026, 2, 28), 17),
        (date(2026, 3, 1), 18),
        (date(2028, 2, 28), 19),
        (date(2028, 2, 29), 20),
    ],
)
def test_born_on_leap_day_ages_on_the_first_of_march_in_common_years(day: date, years: int) -> None:
    assert age_on(date(2008, 2, 29), day) == years


@pytest.mark.parametrize(("day", "years"), [(date(2026, 5, 16), 11), (date(2026, 5, 17), 12), (date(2026, 5, 18), 12)])
def test_the_birthday_itself_counts(day: date, years: int) -> None:
    assert age_on(date(2014, 5, 17), day) == years


def test_a_newborn_is_zero() -> None:
    assert age_on(date(2026, 5, 17), date(2026, 5, 17)) == 0
