"""National numbers: what is one, what is read out of it, and that none is ever printed."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.no import fodselsnummer as norwegian_oracle

from domain.national_id import InvalidNationalId, NationalId, NationalIdKind, national_id

TODAY = datetime.now(UTC).date()
IN_2032 = date(2032, 1, 1)


def read(country: str, raw: str) -> NationalId | None:
    try:
        return national_id(country, raw, today=TODAY, synthetic_allowed=False)
    except InvalidNationalId:
        return None


def with_norwegian_check_digits(nine: str) -> str:
    first = norwegian_oracle.calc_check_digit1(nine)
    return nine + first + (norwegian_oracle.calc_check_digit2(nine + first) if len(first) == 1 else "")


@given(st.text(max_size=14), st.sampled_from(["SE", "NO", "DK", ""]))
def test_any_text_is_valid_or_refused_without_being_repeated(text: str, country: str) -> None:
    try:
        national_id(country, text, today=TODAY)
    except InvalidNationalId as refused:
        assert len(text.strip()) < 4 or text.strip() not in str(refused)


@given(st.integers(0, 10), st.integers(0, 9))
def test_one_wrong_digit_is_always_noticed(place: int, digit: int) -> None:
    right = "13116900216"
    wrong = right[:place] + str(digit) + right[place + 1 :]
    assert (read("NO", wrong) is None) == (wrong != right)


@pytest.mark.parametrize("written", ["197010632391", "19701063-2391", " 701063-2391 ", "7010632391"])
def test_however_it_is_written_a_swedish_number_is_twelve_digits(written: str) -> None:
    got = national_id("SE", written, today=date(2026, 1, 1))
    assert (got.number, got.birth_date) == ("197010632391", date(1970, 10, 3))
    assert (got.kind, got.system) == (NationalIdKind.SAMORDNINGSNUMMER, "urn:oid:1.2.752.129.2.1.3.3")


@pytest.mark.parametrize("written", ["13116900216", "131169 00216", "131169-00216", " 13116900216\n"])
def test_however_it_is_written_a_norwegian_number_is_eleven_digits(written: str) -> None:
    got = national_id("NO", written, today=date(2026, 1, 1))
    assert (got.number, got.birth_date) == ("13116900216", date(1969, 11, 13))
    assert (got.kind, got.system) == (NationalIdKind.FODSELSNUMMER, "urn:oid:2.16.578.1.12.4.1.4.1")


@pytest.mark.parametrize(
    ("written", "day", "year"),
    [
        ("121212+1212", date(2026, 1, 1), 1912),
        ("121212-1212", date(2026, 1, 1), 2012),
        ("121212-1212", date(2012, 12, 11), 1912),
        ("121212-1212", date(2012, 12, 12), 2012),
        # The plus sign comes on New Year's Day of the year of the hundredth birthday, not on the birthday.
        ("121212+1212", date(2012, 1, 1), 1912),
    ],
)
def test_the_century_of_ten_digits_follows_the_day_and_the_sign(written: str, day: date, year: int) -> None:
    assert national_id("SE", written, today=day).number == f"{year}12121212"


def test_other_kinds_of_norwegian_numbers_are_told_apart() -> None:
    def first_valid(day_and_month: str) -> NationalId:
        numbers = (with_norwegian_check_digits(f"{day_and_month}85{serial:03d}") for serial in range(1, 40))
        return next(got for raw in numbers if len(raw) == 11 and (got := national_id("NO", raw, today=TODAY)))

    assert first_valid("5403").kind is NationalIdKind.D_NUMBER
    assert first_valid("1443").kind is NationalIdKind.H_NUMBER
    assert first_valid("5483").kind is NationalIdKind.D_NUMBER
    assert first_valid("1483").kind is NationalIdKind.FODSELSNUMMER
    assert {first_valid(each).birth_date for each in ("5403", "1443", "1483")} == {date(1985, 3, 14)}


def test_fh_numbers_carry_no_birth_date() -> None:
    got = next(
        national_id("NO", raw, today=TODAY)
        for raw in (with_norwegian_check_digits(f"812345{serial:03d}") for serial in range(30))
        if len(raw) == 11
    )
    assert (got.kind, got.birth_date) == (NationalIdKind.FH_NUMBER, None)


def test_synthetic_people_pass_only_where_allowed() -> None:
    raw = next(raw for n in range(30) if len(raw := with_norwegian_check_digits(f"148386{n:03d}")) == 11)
    assert national_id("NO", raw, today=TODAY).birth_date == date(1986, 3, 14)
    with pytest.raises(InvalidNationalId):
        national_id("NO", raw, today=TODAY, synthetic_allowed=False)


def test_from_2032_four_remainders_are_valid_and_no_birth_date_is_read() -> None:
    nine = "131169002"
    accepted: dict[date, set[str]] = {IN_2032: set(), date(2031, 12, 31): set()}
    for check in range(100):
        for day, numbers in accepted.items():
            try:
                got = national_id("NO", f"{nine}{check:02d}", today=day)
            except InvalidNationalId:
                continue
            assert (got.birth_date is None) == (day == IN_2032)
            numbers.add(got.number)
    assert accepted[date(2031, 12, 31)] == {"13116900216"}
    assert "13116900216" in accepted[IN_2032] and 2 <= len(accepted[IN_2032]) <= 4


@pytest.mark.parametrize("country, raw", [("SE", "19701063-2392"), ("SE", "19900101-0009"), ("NO", "13116900217")])
def test_wrong_check_digits_and_serial_zero_are_refused(country: str, raw: str) -> None:
    assert read(country, raw) is None


def test_digits_of_other_alphabets_are_no_digits() -> None:
    assert read("NO", "13116900216".translate({48 + n: 0x660 + n for n in range(10)})) is None


def test_a_number_is_never_printed() -> None:
    got = national_id("NO", "13116900216", today=TODAY)
    for printed in (str(got), repr(got), f"{got}", f"{got!r}", repr([got])):
        assert "131169002" not in printed and "*********16" in printed
