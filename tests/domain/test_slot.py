"""Times that open up for a booking that is being moved."""

from datetime import UTC, datetime, timedelta

from domain.slot import Span, freed_by_moving


def span(start: str, minutes: int) -> Span:
    begins = datetime.fromisoformat(f"2026-12-07T{start}:00+00:00").astimezone(UTC)
    return Span(start=begins, end=begins + timedelta(minutes=minutes))


OWN = span("09:00", 45)


def starts(free: list[Span]) -> list[str]:
    return [f"{s.start:%H:%M}" for s in freed_by_moving(OWN, free)]


def test_a_visit_can_move_by_a_quarter_of_an_hour_into_free_time() -> None:
    assert starts([span("09:45", 45), span("10:00", 45)]) == ["09:15", "09:30"]


def test_and_backwards() -> None:
    assert starts([span("08:00", 45), span("08:15", 45)]) == ["08:30", "08:45"]


def test_nothing_opens_up_over_a_time_that_is_not_free() -> None:
    assert starts([span("10:00", 45), span("10:15", 45)]) == []


def test_free_times_of_other_lengths_count_as_free() -> None:
    assert starts([span("09:45", 15), span("10:00", 15)]) == ["09:15", "09:30"]


def test_without_free_times_nearby_nothing_opens_up() -> None:
    assert starts([]) == []


def test_what_is_free_anyway_is_not_told_twice() -> None:
    free = [span("09:45", 45), span("09:15", 45)]
    assert "09:15" not in starts(free)
