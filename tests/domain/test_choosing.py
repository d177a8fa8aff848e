"""Which of many free times are shown: the nearest to a lost one, and one for each start."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.availability import Availability
from domain.choosing import nearest, one_each
from domain.ports import Turn
from domain.slot import Slot, Span

OSLO = ZoneInfo("Europe/Oslo")
NOON = datetime(2026, 12, 7, 12, tzinfo=OSLO)
CLINIC = UUID(int=9)
ZONES = {CLINIC: "Europe/Oslo"}


def slot(start: datetime, practitioner: int = 1) -> Slot:
    id = UUID(int=practitioner)
    return Slot(
        endpoint_id="fjord",
        offer_id=id,
        clinic_id=CLINIC,
        treatment_id=UUID(int=8),
        practitioner_id=id,
        reference="",
        start=start,
        end=(start.astimezone(UTC) + timedelta(minutes=30)).astimezone(OSLO),
        time_zone="Europe/Oslo",
    )


def among(*slots: Slot) -> Availability:
    return Availability(slots=slots, sources=(), as_of=NOON)


def after(minutes: int, practitioner: int = 1) -> Slot:
    return slot(NOON + timedelta(minutes=minutes), practitioner)


def starts(slots: Sequence[Slot]) -> list[int]:
    return [int((each.start - NOON).total_seconds() // 60) for each in slots]


def test_the_three_nearest_are_told_nearest_first() -> None:
    free = among(after(-600), after(-45), after(30), after(60), after(300))
    assert starts(nearest(free, slot(NOON), 3)) == [30, -45, 60]


def test_each_is_at_another_start_and_the_same_practitioners_first() -> None:
    free = among(after(30, 2), after(30, 1), after(30, 3), after(60, 2))
    found = nearest(free, slot(NOON), 3)
    assert [(each.practitioner_id.int, start) for each, start in zip(found, starts(found), strict=True)] == [
        (1, 30),
        (2, 60),
    ]


def test_fewer_are_told_when_there_are_fewer() -> None:
    assert nearest(among(), slot(NOON), 3) == ()


def test_both_hours_of_an_autumn_night_are_times_of_their_own() -> None:
    summer = datetime(2026, 10, 25, 2, 15, tzinfo=OSLO)
    winter = summer.replace(fold=1)
    lost = slot(summer - timedelta(hours=1))
    assert len(nearest(among(slot(summer), slot(winter)), lost, 3)) == 2
    assert len(one_each([slot(summer), slot(winter)], {}, {}, ZONES)) == 2
    assert slot(winter).span.start - slot(summer).span.start == timedelta(hours=1)


def test_whose_turn_it_is_has_fewest_that_day_and_then_waited_longest() -> None:
    both = [slot(NOON, 1), slot(NOON, 2)]
    busy = {UUID(int=1): [Span(start=NOON - timedelta(hours=3), end=NOON - timedelta(hours=2))]}
    assert [s.practitioner_id.int for s in one_each(both, busy, {}, ZONES)] == [2]
    yesterday = {UUID(int=1): [Span(start=NOON - timedelta(days=1), end=NOON - timedelta(hours=23))]}
    late = Turn(last_given_at=datetime(2026, 12, 1, tzinfo=UTC))
    turns = {UUID(int=1): late, UUID(int=2): replace(late, last_given_at=late.last_given_at)}
    assert [s.practitioner_id.int for s in one_each(both, yesterday, turns, ZONES)] == [1]
    waited = {**turns, UUID(int=2): Turn(last_given_at=datetime(2026, 11, 1, tzinfo=UTC))}
    assert [s.practitioner_id.int for s in one_each(both, yesterday, waited, ZONES)] == [2]
