"""Notice and age, at the instant; and whose value counts."""

from datetime import UTC, date, datetime, timedelta

import pytest

from domain.refusals import AgeUnknown, NotEnoughNotice, TooYoung
from domain.rules import BEFORE_CONFIRM, BEFORE_HOLD, Proposal, RuleValues, refusals, rules_of

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def proposal(start: datetime, birth_date: date | None = None, **values: int) -> Proposal:
    rules = rules_of(RuleValues(**values), RuleValues())  # type: ignore[arg-type]
    return Proposal(start=start, time_zone="Europe/Oslo", rules=rules, now=NOW, birth_date=birth_date)


@pytest.mark.parametrize(("seconds", "refused"), [(0, False), (-1, True), (1, False)])
def test_notice_counts_from_the_instant(seconds: int, refused: bool) -> None:
    earliest = NOW + timedelta(minutes=120)
    asked = proposal(earliest + timedelta(seconds=seconds), minimum_notice_minutes=120)
    assert refusals(asked, BEFORE_HOLD) == ((NotEnoughNotice(earliest),) if refused else ())


def test_a_time_that_has_passed_is_never_on_offer() -> None:
    assert refusals(proposal(NOW - timedelta(seconds=1)), BEFORE_HOLD)


@pytest.mark.parametrize(
    ("born", "start", "refused"),
    [
        # 23:30 UTC is already the birthday in Oslo
        (date(2010, 12, 3), datetime(2026, 12, 2, 23, 30, tzinfo=UTC), False),
        (date(2010, 12, 3), datetime(2026, 12, 2, 22, 30, tzinfo=UTC), True),
        (date(2012, 2, 29), datetime(2028, 2, 28, 12, tzinfo=UTC), True),
        (date(2012, 2, 29), datetime(2028, 2, 29, 12, tzinfo=UTC), False),
        (date(2011, 2, 28), datetime(2027, 2, 28, 12, tzinfo=UTC), False),
    ],
)
def test_age_is_whole_years_on_the_day_at_the_clinic(born: date, start: datetime, refused: bool) -> None:
    assert refusals(proposal(start, born, minimum_age=16), BEFORE_CONFIRM) == ((TooYoung(16),) if refused else ())


def test_an_unknown_age_has_an_answer_of_its_own() -> None:
    assert refusals(proposal(NOW, minimum_age=16), BEFORE_CONFIRM) == (AgeUnknown(16),)
    assert refusals(proposal(NOW), BEFORE_CONFIRM) == ()


def test_the_clinics_value_counts_over_the_tenants_one_by_one() -> None:
    tenant = RuleValues(minimum_age=16, minimum_notice_minutes=120, cancellation_allowed=True)
    clinic = RuleValues(minimum_age=0, cancellation_allowed=False)
    rules = rules_of(tenant, clinic)
    assert rules.minimum_age == 0
    assert rules.minimum_notice == timedelta(minutes=120)
    assert not rules.cancellation.allowed
    assert rules.rescheduling.allowed
