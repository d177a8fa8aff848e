"""When a visit may start: days, weekdays and hours on the clinic's wall, notice to the instant, and both DST nights."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.availability import Search, Window
from domain.clinic import WEEK, Clinic, Weekday
from domain.offer import Offer
from domain.offered import offered, on_days, windows_of
from domain.ports import Offering
from domain.practitioner import Practitioner
from domain.rules import RuleValues
from domain.slot import FoundTime, Slot
from domain.tenant import Tenant
from domain.treatment import Treatment

ID = UUID(int=1)
TENANT = Tenant(id="t", slug="t", name="T")
MICROSECOND = timedelta.resolution
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ZONES = ("Europe/Oslo", "Europe/Stockholm")
SPRING = (date(2026, 3, 29), date(2027, 3, 28))
AUTUMN = (date(2026, 10, 25), date(2027, 10, 31))

both_zones = pytest.mark.parametrize("zone", ZONES)
in_spring = pytest.mark.parametrize("night", SPRING, ids=str)
in_autumn = pytest.mark.parametrize("night", AUTUMN, ids=str)


def clinic(zone: str = "Europe/Oslo", notice: int | None = None) -> Clinic:
    return Clinic(
        tenant_id="t",
        id=ID,
        endpoint_id="fjord",
        ehr_id="hs",
        slug="c",
        name="C",
        time_zone=zone,
        rules=RuleValues(minimum_notice_minutes=notice),
    )


def search(first: date, last: date | None = None, /, **asked: object) -> Search:
    return Search(treatment_id=ID, first_day=first, last_day=last or first, **asked)  # type: ignore[arg-type]


def windows(of: Search, zone: str = "Europe/Oslo", opens: datetime = LONG_AGO) -> dict[date, Window]:
    return of.windows_at(clinic(zone), opens)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def found(
    of: Search,
    zone: str,
    times: Iterable[datetime],
    now: datetime = LONG_AGO,
    notice: int = 0,
    *,
    place: Clinic | None = None,
    tenant: Tenant = TENANT,
) -> list[Slot]:
    """What is offered of free times there, as a search comes by it."""
    offering = Offering(
        offer=Offer(
            tenant_id="t",
            id=ID,
            endpoint_id="fjord",
            clinic_id=ID,
            treatment_id=ID,
            practitioner_id=ID,
            duration=timedelta(minutes=30),
        ),
        clinic=place or clinic(zone, notice),
        practitioner=Practitioner(tenant_id="t", id=ID, endpoint_id="fjord", ehr_id="pr", clinic_id=ID, name="P"),
        treatment=Treatment(tenant_id="t", id=ID, code="c", title={}),
    )
    own = windows_of(tenant, of, [offering], now).get(ID, {})
    told = [
        FoundTime(practitioner_ehr_id="pr", service_code="c", reference="", start=t, end=t + timedelta(minutes=30))
        for t in times
    ]
    days = on_days(told, list(own), zone, now)
    return [each.slot for day, window in own.items() for each in offered(offering, days[day], window, of)]


def quarters(day: date, zone: str) -> list[datetime]:
    """Every quarter of an hour of a day on that wall, in UTC."""
    first = datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
    last = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone)).astimezone(UTC)
    return [first + n * timedelta(minutes=15) for n in range((last - first) // timedelta(minutes=15))]


def walls(slots: Sequence[Slot]) -> list[str]:
    return [f"{slot.start:%H:%M%z}" for slot in slots]


def test_a_day_is_whole_from_midnight_to_midnight_on_the_clinics_wall() -> None:
    assert windows(search(date(2026, 12, 7))) == {
        date(2026, 12, 7): Window(start=utc("2026-12-06T23:00"), end=utc("2026-12-07T23:00"), whole=True, wall=False)
    }


def test_the_first_and_the_last_day_are_both_asked_for() -> None:
    days = list(windows(search(date(2026, 12, 30), date(2027, 1, 2))))
    assert days == [date(2026, 12, 30), date(2026, 12, 31), date(2027, 1, 1), date(2027, 1, 2)]


@pytest.mark.parametrize("weekday", list(Weekday))
def test_weekdays_are_the_walls(weekday: Weekday) -> None:
    [first, second] = windows(search(date(2026, 12, 7), date(2026, 12, 20), weekdays=frozenset({weekday})))
    assert WEEK[first.weekday()] is WEEK[second.weekday()] is weekday
    assert second - first == timedelta(days=7)


def test_no_weekday_leaves_them_open_and_one_that_does_not_come_finds_nothing() -> None:
    monday = date(2026, 12, 7)
    assert list(windows(search(monday, weekdays=frozenset()))) == [monday]
    assert windows(search(monday, weekdays=frozenset({Weekday.TUESDAY}))) == {}


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"not_before": time(8)}, [0, 1, 2, 3]),
        ({"not_after": time(9)}, [-1, 0, 1, 2]),
        ({"not_before": time(8), "not_after": time(9)}, [0, 1, 2]),
        ({"not_before": time(9), "not_after": time(8)}, []),
        ({"not_before": time(8), "not_after": time(8)}, [0]),
    ],
    ids=str,
)
def test_hours_are_inclusive_to_the_microsecond(asked: dict[str, time], wanted: list[int]) -> None:
    day, zone = date(2026, 12, 7), "Europe/Oslo"
    eight, nine = utc("2026-12-07T07:00"), utc("2026-12-07T08:00")
    edges = [eight - MICROSECOND, eight, eight + MICROSECOND, nine, nine + MICROSECOND]
    times = dict(zip([-1, 0, 1, 2, 3], edges, strict=True))
    assert [slot.start for slot in found(search(day, **asked), zone, times.values())] == [times[n] for n in wanted]


def test_the_last_microsecond_of_a_day_is_that_days_and_the_next_is_not() -> None:
    day, midnight = date(2026, 12, 7), utc("2026-12-07T23:00")
    times = [midnight - MICROSECOND, midnight]
    for asked in ({}, {"not_after": time.max}, {"not_before": time.max}):
        assert [slot.start for slot in found(search(day, **asked), "Europe/Oslo", times)] == times[:1]
    assert [slot.start for slot in found(search(day, not_before=time()), "Europe/Oslo", times)] == times[:1]


def test_hours_that_leave_everything_open_leave_the_day_whole() -> None:
    day = date(2026, 12, 7)
    assert windows(search(day, not_before=time(), not_after=time.max))[day].whole
    assert not windows(search(day, not_before=time(0, 0, 1)))[day].whole


@pytest.mark.parametrize("asked", [{}, {"not_before": time(8)}, {"not_after": time(18)}], ids=str)
def test_notice_counts_to_the_instant(asked: dict[str, time]) -> None:
    now = utc("2026-12-07T09:30")
    earliest = now + timedelta(minutes=120)
    times = [earliest - MICROSECOND, earliest, earliest + MICROSECOND]
    slots = found(search(date(2026, 12, 7), **asked), "Europe/Oslo", times, now, notice=120)
    assert [slot.start for slot in slots] == times[1:]


def test_notice_may_take_away_days() -> None:
    opens = utc("2026-12-08T12:00")
    left = windows(search(date(2026, 12, 6), date(2026, 12, 9)), opens=opens)
    assert [(day.day, window.start == opens, window.whole) for day, window in left.items()] == [
        (8, True, False),
        (9, False, True),
    ]
    assert windows(search(date(2026, 12, 8), not_after=time(12)), opens=opens) == {}
    [last] = windows(search(date(2026, 12, 8), not_after=time(13)), opens=opens).values()
    assert (last.start, last.end) == (opens, opens + MICROSECOND)


def test_notice_that_ends_at_midnight_leaves_the_day_whole() -> None:
    day, midnight = date(2026, 12, 7), utc("2026-12-06T23:00")
    assert windows(search(day), opens=midnight)[day].whole
    assert not windows(search(day), opens=midnight + MICROSECOND)[day].whole


@both_zones
@in_spring
def test_the_spring_day_has_twenty_three_hours(zone: str, night: date) -> None:
    [window] = windows(search(night), zone).values()
    assert window.end - window.start == timedelta(hours=23) and window.whole
    assert len(found(search(night), zone, quarters(night, zone))) == 23 * 4


@both_zones
@in_autumn
def test_the_autumn_day_has_twenty_five_hours(zone: str, night: date) -> None:
    [window] = windows(search(night), zone).values()
    assert window.end - window.start == timedelta(hours=25) and window.whole
    assert len(found(search(night), zone, quarters(night, zone))) == 25 * 4


@both_zones
@in_spring
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"not_before": time(2), "not_after": time(2, 59)}, []),
        ({"not_before": time(2, 15), "not_after": time(3)}, ["03:00+0200"]),
        ({"not_before": time(1, 45), "not_after": time(2, 30)}, ["01:45+0100"]),
        ({"not_before": time(1, 45), "not_after": time(3)}, ["01:45+0100", "03:00+0200"]),
        ({"not_before": time(23, 30)}, ["23:30+0200", "23:45+0200"]),
        ({"not_after": time(0, 15)}, ["00:00+0100", "00:15+0100"]),
    ],
    ids=str,
)
def test_hours_that_fall_into_the_gap_find_what_the_wall_shows(
    zone: str, night: date, asked: dict[str, time], expected: list[str]
) -> None:
    assert walls(found(search(night, **asked), zone, quarters(night, zone))) == expected


@both_zones
@in_autumn
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            {"not_before": time(2, 15), "not_after": time(2, 30)},
            ["02:15+0200", "02:30+0200", "02:15+0100", "02:30+0100"],
        ),
        ({"not_before": time(1, 45), "not_after": time(2)}, ["01:45+0200", "02:00+0200", "02:00+0100"]),
        ({"not_before": time(2, 45), "not_after": time(3)}, ["02:45+0200", "02:45+0100", "03:00+0100"]),
        ({"not_before": time(23, 30)}, ["23:30+0100", "23:45+0100"]),
        ({"not_after": time(0, 15)}, ["00:00+0200", "00:15+0200"]),
    ],
    ids=str,
)
def test_hours_that_come_twice_find_both(zone: str, night: date, asked: dict[str, time], expected: list[str]) -> None:
    assert walls(found(search(night, **asked), zone, quarters(night, zone))) == expected


@both_zones
@in_autumn
def test_notice_within_the_doubled_hour_tells_the_two_apart(zone: str, night: date) -> None:
    second = datetime.combine(night, time(2, 30), ZoneInfo(zone)).replace(fold=1).astimezone(UTC)
    asked = search(night, not_before=time(2), not_after=time(2, 45))
    assert walls(found(asked, zone, quarters(night, zone), second)) == ["02:30+0100", "02:45+0100"]


@both_zones
@pytest.mark.parametrize("night", (*SPRING, *AUTUMN), ids=str)
def test_the_days_around_a_dst_night_are_as_long_as_ever(zone: str, night: date) -> None:
    """And their hours are a single stretch, which the night's own are not."""
    hours = {"not_before": time(8), "not_after": time(16)}
    around = windows(search(night - timedelta(days=1), night + timedelta(days=1), **hours), zone)
    assert [window.wall for window in around.values()] == [False, True, False]
    for window in (around[night - timedelta(days=1)], around[night + timedelta(days=1)]):
        assert window.end - window.start == timedelta(hours=8) + MICROSECOND
    nothing_left_out = windows(search(night - timedelta(days=1), night + timedelta(days=1)), zone).values()
    assert all(one.end == other.start for one, other in pairwise(nothing_left_out))


def test_one_day_lies_at_other_instants_in_zones_far_apart() -> None:
    day = date(2026, 12, 7)
    east, west = (windows(search(day), zone)[day] for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"))
    assert (east.start, west.start) == (utc("2026-12-06T10:00"), utc("2026-12-07T11:00"))
    assert east.end < west.start
    instant = utc("2026-12-07T10:30")
    assert [found(search(day), zone, [instant]) != [] for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago")] == [
        False,
        False,
    ]
    [there] = found(search(date(2026, 12, 8)), "Pacific/Kiritimati", [instant])
    [here] = found(search(date(2026, 12, 6)), "Pacific/Pago_Pago", [instant])
    assert (there.start, walls([there]), walls([here])) == (here.start, ["00:30+1400"], ["23:30-1100"])


def test_a_day_that_never_was_has_no_times() -> None:
    """Samoa went to bed on a Thursday and rose on a Saturday."""
    days = list(
        windows(search(date(2011, 12, 29), date(2011, 12, 31)), "Pacific/Apia", datetime(2000, 1, 1, tzinfo=UTC))
    )
    assert days == [date(2011, 12, 29), date(2011, 12, 31)]


ODD = ("Australia/Lord_Howe", "America/Havana", "America/Santiago", "Africa/Cairo", "Pacific/Kiritimati", "UTC")
"""Half an hour's shift; clocks that change at or over midnight; the farthest east."""


def changes_in(zone: str) -> list[date]:
    """The days of two years on which that zone's clocks change."""
    info, days = ZoneInfo(zone), (date(2026, 1, 1) + timedelta(days=n) for n in range(730))
    begins = ((day, datetime.combine(day, time(12), info).utcoffset()) for day in days)
    last, changed = None, []
    for day, offset in begins:
        if last not in (None, offset):
            changed.append(day)
        last = offset
    return changed or [date(2026, 6, 1)]


NIGHTS = {zone: changes_in(zone) for zone in (*ZONES, *ODD)}
wall_times = st.sampled_from([time(h, m) for h in (0, 1, 2, 3, 8, 23) for m in (0, 15, 30)] + [time.max]) | st.times()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_exactly_those_times_are_offered_that_a_look_at_the_wall_admits(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(sorted(NIGHTS)))
    wall, night = ZoneInfo(zone), data.draw(st.sampled_from(NIGHTS[zone]))
    first = night + timedelta(days=data.draw(st.integers(-2, 1)))
    asked = search(
        first,
        first + timedelta(days=data.draw(st.integers(0, 3))),
        weekdays=data.draw(st.frozensets(st.sampled_from(Weekday), max_size=6)),
        not_before=data.draw(st.none() | wall_times),
        not_after=data.draw(st.none() | wall_times),
    )
    noon = datetime.combine(night, time(12), UTC)
    quarter = timedelta(minutes=15)
    now = data.draw(st.just(LONG_AGO) | st.integers(-72 * 4, 72 * 4).map(lambda n: noon + n * quarter))
    notice = data.draw(st.sampled_from([0, 15, 120]))
    earliest = now + timedelta(minutes=notice)
    edges = [earliest] + [
        datetime.combine(night + timedelta(days=n), edge, wall).replace(fold=fold).astimezone(UTC)
        for n in (-1, 0, 1)
        for edge in (asked.not_before, asked.not_after, time())
        if edge is not None
        for fold in (0, 1)
    ]
    times = {noon + n * quarter for n in range(-60 * 4, 60 * 4)}
    times |= {edge + n * MICROSECOND for edge in edges for n in (-1, 0, 1)}

    def admitted(instant: datetime) -> bool:
        local = instant.astimezone(wall)
        return (
            asked.first_day <= local.date() <= asked.last_day
            and (not asked.weekdays or WEEK[local.weekday()] in asked.weekdays)
            and (asked.not_before is None or local.time() >= asked.not_before)
            and (asked.not_after is None or local.time() <= asked.not_after)
            and instant >= earliest
        )

    slots = found(asked, zone, sorted(times), now, notice)
    assert [slot.span.start for slot in slots] == [instant for instant in sorted(times) if admitted(instant)]
