"""National identity numbers of Sweden and Norway: what is valid, and what a number says about its person.

The number opens a person's whole record, so nothing here prints it: not `str`, not `repr`, not an error.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

SWEDISH = re.compile(r"(\d{2})?(\d{2})(\d{2})(\d{2})([-+]?)(\d{4})", re.ASCII)
NORWEGIAN = re.compile(r"(\d{6})[ -]?(\d{5})", re.ASCII)

FIRST_WEIGHTS = (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)
SECOND_WEIGHTS = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)

NEW_NORWEGIAN_NUMBERS_FROM = date(2032, 1, 1)
"""From this day Skatteetaten hands out numbers whose first check digit leaves a remainder of 0, 1, 2 or 3."""

OLDEST_YEAR = 1800
"""Skatteverket stores the centuries 18, 19 and 20; nobody older was ever given a number."""


class InvalidNationalId(ValueError):
    """The text is no national number of that country. The message says why and never repeats the text."""


class NationalIdKind(StrEnum):
    """Which register or rule handed the number out."""

    PERSONNUMMER = "personnummer"
    SAMORDNINGSNUMMER = "samordningsnummer"
    FODSELSNUMMER = "fødselsnummer"
    D_NUMBER = "D-number"
    H_NUMBER = "H-number"
    FH_NUMBER = "FH-number"


SYSTEMS = {
    NationalIdKind.PERSONNUMMER: "urn:oid:1.2.752.129.2.1.3.1",
    NationalIdKind.SAMORDNINGSNUMMER: "urn:oid:1.2.752.129.2.1.3.3",
    NationalIdKind.FODSELSNUMMER: "urn:oid:2.16.578.1.12.4.1.4.1",
    NationalIdKind.D_NUMBER: "urn:oid:2.16.578.1.12.4.1.4.2",
    # The Norwegian base profiles know one system for assistance numbers.
    NationalIdKind.H_NUMBER: "urn:oid:2.16.578.1.12.4.1.4.3",
    NationalIdKind.FH_NUMBER: "urn:oid:2.16.578.1.12.4.1.4.3",
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NationalId:
    """A valid number in its canonical form: 12 digits for Sweden, 11 for Norway.

    `birth_date` is what the number says, None where it cannot say (FH-numbers, and every Norwegian number read
    from 2032 on). It is derived, so it takes no part in equality. Make one with `national_id`.
    """

    country: str
    number: str
    kind: NationalIdKind
    birth_date: date | None = field(compare=False)

    @property
    def system(self) -> str:
        """The FHIR identifier system of this kind of number."""
        return SYSTEMS[self.kind]

    @property
    def masked(self) -> str:
        """All but the last two digits starred: the rest tells birth date and sex."""
        return "*" * (len(self.number) - 2) + self.number[-2:]

    def __str__(self) -> str:
        return self.masked

    def __repr__(self) -> str:
        return f"NationalId({self.country} {self.kind} {self.masked})"


def national_id(country: str, raw: str, *, today: date, synthetic_allowed: bool = True) -> NationalId:
    """The number that people write in many ways, checked and in canonical form.

    `today` decides the century of ten-digit Swedish numbers and refuses people not yet born. Norwegian test people
    (month + 80) pass only where `synthetic_allowed`. Raises `InvalidNationalId`.
    """
    if country == "SE":
        return _swedish(raw.strip(), today)
    if country == "NO":
        return _norwegian(raw.strip(), today, synthetic_allowed)
    raise InvalidNationalId("only Swedish (SE) and Norwegian (NO) numbers are known")


def of_any_country(raw: str, *, today: date) -> NationalId | None:
    """The number by the rules of whichever country it keeps, synthetic people's too; None where it keeps none."""
    for country in ("NO", "SE"):
        with suppress(InvalidNationalId):
            return national_id(country, raw, today=today)
    return None


def _swedish(text: str, today: date) -> NationalId:
    """Personnummer or samordningsnummer (day + 60), by section 18 of Folkbokföringslagen."""
    match = SWEDISH.fullmatch(text)
    if match is None:
        raise InvalidNationalId("not 10 or 12 digits")
    century, year, month, day, separator, last = match.groups()
    if last.startswith("000") or not _passes_luhn(year + month + day + last):
        raise InvalidNationalId("check digit")
    coordination = int(day) > 60
    real_day = int(day) - 60 if coordination else int(day)
    full_year = int(century + year) if century else _swedish_year(int(year), int(month), real_day, separator, today)
    born = _past_date(full_year, int(month), real_day, today)
    kind = NationalIdKind.SAMORDNINGSNUMMER if coordination else NationalIdKind.PERSONNUMMER
    return NationalId(country="SE", number=f"{full_year:04d}{month}{day}{last}", kind=kind, birth_date=born)


def _swedish_year(year: int, month: int, day: int, separator: str, today: date) -> int:
    """The latest year the two digits can mean; a plus sign says it is the year of one's hundredth birthday or later."""
    latest = today.year - 100 if separator == "+" else today.year
    full_year = latest - (latest - year) % 100
    # Somebody who turns 100 later this year and did not write the plus sign is not yet to be born.
    unborn = full_year == today.year and (month, day) > (today.month, today.day)
    return full_year - 100 if unborn else full_year


def _passes_luhn(digits: str) -> bool:
    """Modulus 10 with the weights 2 and 1 from the left; two-digit products count by their digits."""
    products = (int(digit) * (2 - place % 2) for place, digit in enumerate(digits))
    return sum(product // 10 + product % 10 for product in products) % 10 == 0


def _norwegian(text: str, today: date, synthetic_allowed: bool) -> NationalId:
    """Fødselsnummer, D-number (day + 40), H-number (month + 40) or FH-number (day 80 and above)."""
    match = NORWEGIAN.fullmatch(text)
    if match is None:
        raise InvalidNationalId("not 11 digits")
    number = "".join(match.groups())
    _check_norwegian_digits(number, today)
    day, month = int(number[:2]), int(number[2:4])
    if day >= 80:
        return NationalId(country="NO", number=number, kind=NationalIdKind.FH_NUMBER, birth_date=None)
    kind = NationalIdKind.FODSELSNUMMER
    if day > 40:
        day, kind = day - 40, NationalIdKind.D_NUMBER
    if month > 80:
        if not synthetic_allowed:
            raise InvalidNationalId("a synthetic test number")
        month -= 80
    elif month > 40:
        month, kind = month - 40, NationalIdKind.H_NUMBER
    born = _norwegian_birth_date(number, month, day, today)
    return NationalId(country="NO", number=number, kind=kind, birth_date=born)


def _check_norwegian_digits(number: str, today: date) -> None:
    digits = [int(digit) for digit in number]
    first = sum(weight * digit for weight, digit in zip(FIRST_WEIGHTS, digits, strict=False)) % 11
    second = sum(weight * digit for weight, digit in zip(SECOND_WEIGHTS, digits, strict=True)) % 11
    remainders = range(4) if today >= NEW_NORWEGIAN_NUMBERS_FROM else range(1)
    if first not in remainders or second != 0:
        raise InvalidNationalId("check digits")


def _norwegian_birth_date(number: str, month: int, day: int, today: date) -> date | None:
    """The birth date by the table of individual numbers, which says nothing any more once the new numbers are out."""
    if today >= NEW_NORWEGIAN_NUMBERS_FROM:
        # The day must still exist in some century; 2000 has a 29 February where 1900 has none.
        _past_date(2000 + int(number[4:6]), month, day, date.max)
        return None
    return _past_date(_norwegian_year(int(number[4:6]), int(number[6:9])), month, day, today)


def _norwegian_year(year: int, individual: int) -> int:
    """The full year: 000-499 born 1900-1999, 500-749 born 1854-1899, 500-999 born 2000-2039, 900-999 born 1940-1999."""
    if individual < 500:
        return 1900 + year
    if year < 40:
        return 2000 + year
    if individual >= 900:
        return 1900 + year
    if individual < 750 and year >= 54:
        return 1800 + year
    raise InvalidNationalId("no century has this individual number")


def _past_date(year: int, month: int, day: int, today: date) -> date:
    try:
        born = date(year, month, day)
    except ValueError:
        raise InvalidNationalId("no such date") from None
    if born > today:
        raise InvalidNationalId("born in the future")
    if year < OLDEST_YEAR:
        raise InvalidNationalId("born before there were numbers")
    return born
