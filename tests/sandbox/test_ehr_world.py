"""The made-up world is complete and lifelike, and its days are the same every time."""

from datetime import UTC, date, datetime, timedelta

import pytest

from integrations.sandbox.calendar import Calendar
from integrations.sandbox.catalogue import catalogue, photo
from integrations.sandbox.hours import local
from integrations.sandbox.taken import Taken, TimeTakenError
from integrations.sandbox.world import World
from integrations.sandbox.world_no import NORWAY
from integrations.sandbox.world_se import SWEDEN

WORLDS = pytest.mark.parametrize("world", [NORWAY, SWEDEN], ids=lambda world: world.name)
MINUTES = {
    "consultation": 30,
    "long-consultation": 45,
    "vaccination": 15,
    "blood-test": 15,
    "skin-check": 45,
    "physiotherapy": 45,
    "psychology": 60,
    "dental-check": 45,
    "womens-health": 30,
    "child-health": 30,
    "travel-advice": 30,
    "ear-care": 15,
}
NOW = datetime(2026, 12, 1, 6, tzinfo=UTC)


def calendar_of(world: World, now: datetime = NOW) -> Calendar:
    return Calendar(world, now=lambda: now)


def free(calendar: Calendar, role: str, minutes: int) -> list[int]:
    days = calendar.dates(0, 10**9)
    return [start for day in days for start in calendar.free_starts(role, day, minutes) if not calendar.is_past(start)]


@WORLDS
def test_every_treatment_exists_with_its_usual_length_and_somebody_performs_it(world: World) -> None:
    assert {each.code: each.minutes for each in world.treatments} == MINUTES
    assert {code for role in world.roles for code in role.treatments} == set(MINUTES)


def test_there_are_twenty_six_practitioners_at_eight_clinics() -> None:
    roles = NORWAY.roles + SWEDEN.roles
    assert len(roles) == len({role.id for role in roles}) == 26
    assert len({role.clinic for role in roles}) == 8


@WORLDS
def test_every_clinic_has_three_practitioners_and_two_for_the_common_treatments(world: World) -> None:
    for clinic in world.clinics:
        here = [role for role in world.roles if role.clinic == clinic.id]
        assert len(here) >= 3
        assert all(3 <= len(role.treatments) <= 6 for role in here)
        for code in ("consultation", "skin-check"):
            assert sum(code in role.treatments for role in here) >= 2


def test_ids_of_the_ihe_world_hold_colons_and_those_of_the_r4_world_are_plain() -> None:
    assert all(":" in role.id for role in NORWAY.roles)
    kinds = catalogue(SWEDEN, "http://x").values()
    assert all(each["id"].replace("-", "").isalnum() for kind in kinds for each in kind)


@WORLDS
def test_a_practitioner_has_a_portrait_with_initials(world: World) -> None:
    drawn = {photo(role) for role in world.roles}
    assert len(drawn) == len(world.roles)
    assert all(svg.startswith("<svg") for svg in drawn)


@WORLDS
def test_every_role_has_free_times_within_eight_weeks_and_none_after(world: World) -> None:
    calendar = calendar_of(world)
    horizon = (NOW + timedelta(weeks=8, days=1)).timestamp() / 60
    for role in world.roles:
        for code in role.treatments:
            starts = free(calendar, role.id, MINUTES[code])
            assert len(starts) > 20, (role.id, code)
            assert max(starts) < horizon


@WORLDS
def test_about_a_third_of_the_working_time_is_booked_from_the_beginning(world: World) -> None:
    calendar = calendar_of(world)
    days = [calendar.day(role.id, day) for role in world.roles for day in calendar.dates(0, 10**9)]
    working = sum(until - since for day in days for since, until in day.working)
    booked = sum(until - since for day in days for since, until in day.booked)
    assert 0.28 < booked / working < 0.42


def test_a_restart_invents_the_same_days_again() -> None:
    first, second = calendar_of(NORWAY), calendar_of(NORWAY)
    assert free(first, "B544:E472", 30) == free(second, "B544:E472", 30)


def test_the_eight_weeks_roll_forward_with_the_clock() -> None:
    later = calendar_of(NORWAY, NOW + timedelta(days=30))
    assert later.dates(0, 10**9)[0] == date(2026, 12, 31)
    assert len(later.dates(0, 10**9)) == 57


@pytest.mark.parametrize(
    ("now", "night", "before", "after"),
    [
        (datetime(2027, 3, 20, tzinfo=UTC), date(2027, 3, 28), "+01:00", "+02:00"),
        (datetime(2026, 10, 20, tzinfo=UTC), date(2026, 10, 25), "+02:00", "+01:00"),
    ],
)
@WORLDS
def test_the_clock_change_keeps_working_hours_on_the_clinics_clock(
    world: World, now: datetime, night: date, before: str, after: str
) -> None:
    calendar = calendar_of(world, now)
    for role in world.roles:
        for shift, offset in ((-2, before), (0, after), (1, after)):
            for since, until in calendar.day(role.id, night + timedelta(days=shift)).working:
                assert local(since, world.zone).isoformat().endswith(offset)
                assert 7 <= local(since, world.zone).hour < local(until, world.zone).hour <= 17


def test_no_two_times_of_one_practitioner_can_overlap() -> None:
    calendar = calendar_of(NORWAY)
    start = free(calendar, "B544:E472", 45)[5]
    calendar.take(Taken(key="a", role="B544:E472", start=start, end=start + 45))
    for shift in (-30, -15, 0, 15, 30):
        with pytest.raises(TimeTakenError):
            calendar.take(Taken(key="b", role="B544:E472", start=start + shift, end=start + shift + 45))


def test_a_version_moves_only_where_the_calendar_changed() -> None:
    calendar = calendar_of(SWEDEN)
    start = free(calendar, "pr11", 30)[5]
    before = [calendar.version("pr11", start + shift, start + shift + 30) for shift in (0, 15, 30)]
    calendar.take(Taken(key="a", role="pr11", start=start, end=start + 30))
    after = [calendar.version("pr11", start + shift, start + shift + 30) for shift in (0, 15, 30)]
    assert [late > early for early, late in zip(before, after, strict=True)] == [True, True, False]
