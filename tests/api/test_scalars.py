"""Each scalar takes what its specification says, refuses what merely looks like it, and writes what it takes."""

import contextlib
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import BadInput
from api.schema.scalars import SCALARS, URL, CurrencyCode, LanguageTag, PhoneNumber, TimeZone

CET = timezone(timedelta(hours=1))


def read(scalar: object, value: Any) -> Any:
    return SCALARS[scalar].parse_value(value)


def write(scalar: object, value: Any) -> Any:
    return SCALARS[scalar].serialize(value)


@pytest.mark.parametrize(
    ("scalar", "text", "value"),
    [
        (datetime, "2026-03-02T09:30:00+01:00", datetime(2026, 3, 2, 9, 30, tzinfo=CET)),
        (datetime, "2026-03-02T08:30:00.25Z", datetime(2026, 3, 2, 8, 30, 0, 250_000, tzinfo=UTC)),
        (date, "2028-02-29", date(2028, 2, 29)),
        (time, "09:30:00", time(9, 30)),
        (timedelta, "PT45M", timedelta(minutes=45)),
        (timedelta, "P1DT2H", timedelta(hours=26)),
        (timedelta, "P2W", timedelta(weeks=2)),
        (timedelta, "-PT0.5S", timedelta(seconds=-0.5)),
        (Decimal, "450.50", Decimal("450.50")),
        (TimeZone, "Europe/Oslo", "Europe/Oslo"),
        (PhoneNumber, "+4722334455", "+4722334455"),
        (URL, "https://clinic.example/a?b=c#d", "https://clinic.example/a?b=c#d"),
        (URL, "example.clinic.app:/signed-in", "example.clinic.app:/signed-in"),
        (CurrencyCode, "NOK", "NOK"),
        (LanguageTag, "nb-NO", "nb-NO"),
    ],
)
def test_what_the_specification_allows_is_read(scalar: object, text: str, value: Any) -> None:
    assert read(scalar, text) == value


REFUSED = [
    *((datetime, text) for text in ("2026-03-02T09:30:00", "2026-03-02", "2026-W10-1T09:30:00Z", "20260302T093000Z")),
    *((datetime, text) for text in ("2026-03-02t09:30:00z", "2026-03-02 09:30:00Z", "2026-03-02T09:30Z", "now")),
    *((datetime, text) for text in ("2026-03-02T09:30:00+0100", "2026-03-02T09:30:00+25:00", "2026-02-30T09:30:00Z")),
    *((datetime, text) for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-02T24:00:00Z")),
    *((datetime, text) for text in ("٢٠٢٦-03-02T09:30:00Z", "2026-03-02T09:30:00Z\n", "")),
    *((date, text) for text in ("2026-3-2", "20260302", "2026-W10-1", "2026-02-29", "2026-03-02T00:00:00Z")),
    *((time, text) for text in ("09:30", "9:30:00", "24:00:00", "09:30:00Z", "093000")),
    *((timedelta, text) for text in ("45M", "P", "PT", "P1DT", "P1Y", "P1M", "pt45m", "PT1.5H", "PT", "P1H")),
    *((timedelta, text) for text in ("P" + "9" * 400 + "D", "PT1e3S")),
    *((Decimal, text) for text in ("", "1e3", "NaN", "Infinity", "1,5", " 1", "1_000", "--1", ".")),
    *((TimeZone, text) for text in ("CET+1", "Europe/Atlantis", "../etc/passwd", "+01:00")),
    *((PhoneNumber, text) for text in ("22334455", "+47 22 33 44 55", "004722334455", "+0123456789", "+12")),
    *((URL, text) for text in ("clinic.example", "//clinic.example", "https:///x", "https://a b", "https://æ.no", "")),
    *((URL, text) for text in ("https://[::1", "https://a\\b", "https://a/" + "x" * 3000)),
    *((CurrencyCode, text) for text in ("nok", "NO", "KR.")),
    *((LanguageTag, text) for text in ("norwegian language", "n", "nb_NO", "")),
    *((scalar, wrong) for scalar in SCALARS for wrong in (1, 1.5, True, ["x"], {"a": 1})),
]


@pytest.mark.parametrize(("scalar", "value"), REFUSED)
def test_what_merely_looks_like_it_is_refused_with_an_example(scalar: object, value: Any) -> None:
    with pytest.raises(BadInput) as refused:
        read(scalar, value)
    assert refused.value.extensions["code"] == "BAD_USER_INPUT"
    assert "such as" in refused.value.message


def test_a_moment_keeps_its_own_offset() -> None:
    assert write(datetime, datetime(2026, 7, 1, 9, 0, tzinfo=ZoneInfo("Europe/Oslo"))) == "2026-07-01T09:00:00+02:00"
    assert write(datetime, datetime(2026, 1, 1, 9, 0, tzinfo=ZoneInfo("Europe/London"))) == "2026-01-01T09:00:00+00:00"


@pytest.mark.parametrize("utc", [UTC, ZoneInfo("UTC")])
def test_utc_is_written_with_a_z(utc: Any) -> None:
    assert write(datetime, datetime(2026, 7, 1, 9, 0, tzinfo=utc)) == "2026-07-01T09:00:00Z"


def test_a_naive_moment_never_leaves() -> None:
    with pytest.raises(ValueError, match="offset"):
        write(datetime, datetime(2026, 7, 1, 9, 0))  # noqa: DTZ001


def test_durations_are_written_in_hours_since_days_differ() -> None:
    assert write(timedelta, timedelta(days=1)) == "PT24H"
    assert write(timedelta, timedelta(0)) == "PT0S"
    assert write(timedelta, timedelta(minutes=90, seconds=5)) == "PT1H30M5S"


def test_money_is_written_without_exponents() -> None:
    assert write(Decimal, Decimal("1E+3")) == "1000"
    assert write(Decimal, Decimal("450.50")) == "450.50"


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.sampled_from([UTC, CET])))  # noqa: DTZ001
def test_every_moment_survives_the_way_there_and_back(moment: datetime) -> None:
    assert read(datetime, write(datetime, moment)) == moment


@given(st.timedeltas(timedelta(days=-40_000), timedelta(days=40_000)))
def test_every_duration_survives_the_way_there_and_back(length: timedelta) -> None:
    assert abs(read(timedelta, write(timedelta, length)) - length) < timedelta(microseconds=2)


@given(st.sampled_from(list(SCALARS)), st.text(max_size=40))
def test_no_text_crashes_a_scalar(scalar: object, text: str) -> None:
    with contextlib.suppress(BadInput):
        read(scalar, text)


def test_each_scalar_names_its_specification() -> None:
    assert all(scalar.specified_by_url and scalar.description for scalar in SCALARS.values())
