"""A hundred thousand national numbers, made up and mutated, are judged as two independent libraries judge them.

Hypothesis draws a seed; each is a batch of numbers, so that a hundred thousand take seconds. Where an oracle claims no
support it is not asked:

- python-stdnum knows no FH-numbers (day 80 and above), no synthetic numbers and no rule of 2032. It lets separators
  stand anywhere in a Norwegian number, where we want one in the middle or none; it takes a samordningsnummer for no
  number, and reads the century of ten digits by another rule than the law's.
- personnummer lets people be born later this year, and takes the serial 000 and years
  before 1800, which are given to nobody.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from personnummer import personnummer as swedish_oracle
from stdnum.exceptions import ValidationError
from stdnum.no import fodselsnummer as norwegian_oracle
from stdnum.se import personnummer as second_swedish_oracle

from domain.national_id import InvalidNationalId, NationalId, NationalIdKind, national_id

TODAY = datetime.now(UTC).date()
AS_WRITTEN = re.compile(r"[0-9]{6}[ -]?[0-9]{5}")
"""A Norwegian number as people write it."""

BATCHES, BATCH = 100, 500
"""For each of the two countries: a hundred thousand together."""

many = settings(
    max_examples=BATCHES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
seeds = given(st.integers(0, 2**32))


def read(country: str, raw: str) -> NationalId | None:
    try:
        return national_id(country, raw, today=TODAY, synthetic_allowed=False)
    except InvalidNationalId:
        return None


def born(dice: random.Random) -> date:
    """Leap days and the edges of centuries more often than chance would have them; some in the future."""
    if dice.random() < 0.15:
        return date(dice.choice([1896, 1904, 1960, 1996, 2000, 2004, 2024]), 2, dice.choice([28, 29]))
    if dice.random() < 0.1:
        return TODAY + timedelta(days=dice.randint(-400, 400))
    return date(1850, 1, 1) + timedelta(days=dice.randint(0, 66_000))


def mutated(dice: random.Random, raw: str) -> str:
    """Left as it is, or with one thing changed as people and forms change it."""
    place = dice.randrange(len(raw))
    match dice.randrange(12):
        case 0:
            return raw[:place] + str(dice.randrange(10)) + raw[place + 1 :]
        case 1:
            return raw[:place] + raw[place + 1 :]
        case 2:
            return raw[:place] + str(dice.randrange(10)) + raw[place:]
        case 3:
            other = dice.randrange(len(raw))
            swapped = list(raw)
            swapped[place], swapped[other] = raw[other], raw[place]
            return "".join(swapped)
        case 4:
            return raw[:place] + dice.choice("-+ ./x٣") + raw[place:]
        case _:
            return raw


def norwegian(dice: random.Random) -> str:
    """Fødselsnummer, D-, H-, DH-, FH- and synthetic numbers, most with right check digits, half with a separator."""
    day = born(dice)
    days, months = dice.choice([(0, 0)] * 4 + [(40, 0), (0, 40), (40, 40), (80, 0), (0, 80), (0, 65)])
    serial = dice.choice([0, 499, 500, 749, 750, 899, 900, 999, *[dice.randrange(1000)] * 8])
    nine = f"{day.day + days:02d}{day.month + months:02d}{day:%y}{serial:03d}"
    first = norwegian_oracle.calc_check_digit1(nine)
    second = norwegian_oracle.calc_check_digit2(nine + first) if len(first) == 1 else ""
    check = first + second if len(first + second) == 2 else f"{dice.randrange(100):02d}"
    return nine[:6] + dice.choice(["", "", " ", "-"]) + nine[6:] + check


def swedish(dice: random.Random) -> str:
    """Personnummer and samordningsnummer in twelve and ten digits, most of them with the right check digit."""
    day, coordination = born(dice), dice.choice([0, 0, 0, 60])
    serial = dice.choice([0, 1, 990, 999, *[dice.randrange(1000)] * 8])
    nine = f"{day:%y%m}{day.day + coordination:02d}{serial:03d}"
    check = next(str(n) for n in range(10) if luhn(nine + str(n)))
    digits = nine + check
    if dice.random() < 0.6:
        return f"{day.year // 100:02d}{digits[:6]}{dice.choice(['', '-'])}{digits[6:]}"
    return f"{digits[:6]}{dice.choice(['', '-', '+'])}{digits[6:]}"


def luhn(digits: str) -> bool:
    doubled = "".join(str(int(digit) * (2 - place % 2)) for place, digit in enumerate(digits))
    return sum(map(int, doubled)) % 10 == 0


def batch(seed: int, make: object) -> Iterator[str]:
    dice = random.Random(seed)
    return (mutated(dice, make(dice)) for _ in range(BATCH))  # type: ignore[operator]


def by_stdnum(raw: str) -> date | None:
    try:
        return norwegian_oracle.get_birth_date(norwegian_oracle.validate(raw))
    except ValidationError:
        return None


def by_personnummer(raw: str) -> tuple[date, bool] | None:
    try:
        person = swedish_oracle.Personnummer(raw)
    except swedish_oracle.PersonnummerException:
        return None
    return person.get_date(), person.is_coordination_number()


seen: Counter[str] = Counter()


@pytest.mark.skipif(date(2032, 1, 1) <= TODAY, reason="the oracle knows the old Norwegian rule only")
def test_fifty_thousand_norwegian_numbers_agree_with_stdnum() -> None:
    seen.clear()

    @many
    @seeds
    def agree(seed: int) -> None:
        for raw in batch(seed, norwegian):
            ours = read("NO", raw)
            digits = "".join(each for each in raw if each in "0123456789")
            seen["asked"] += 1
            if len(digits) == 11 and (int(digits[:2]) >= 80 or int(digits[2:4]) > 80):
                assert ours is None or ours.kind is NationalIdKind.FH_NUMBER, raw
                continue
            if AS_WRITTEN.fullmatch(raw.strip()):
                assert (ours and ours.birth_date) == by_stdnum(raw), raw
                seen["with a separator" if digits != raw.strip() else "plain"] += 1
                seen["refused with a separator"] += ours is None and digits != raw.strip()
            else:
                assert ours is None, raw
            seen[str(ours.kind) if ours else "refused"] += 1

    agree()
    assert seen["asked"] >= BATCHES * BATCH
    for kind in ("fødselsnummer", "D-number", "H-number", "refused", "with a separator", "refused with a separator"):
        assert seen[kind] > 1000, seen


def test_fifty_thousand_swedish_numbers_agree_with_personnummer_and_stdnum() -> None:
    seen.clear()

    @many
    @seeds
    def agree(seed: int) -> None:
        for raw in batch(seed, swedish):
            seen["asked"] += 1
            compare_swedish(raw)

    agree()
    assert seen["asked"] >= BATCHES * BATCH
    for kind in ("personnummer", "samordningsnummer", "refused", "second opinion"):
        assert seen[kind] > 1000, seen


def compare_swedish(raw: str) -> None:
    ours, theirs = read("SE", raw), by_personnummer(raw.strip())
    full = sum(each in "0123456789" for each in raw) == 12
    if theirs and theirs[0] > TODAY:  # it lets people be born tomorrow, where ten digits mean the century before to us
        assert ours is None or not full, raw
        return
    if theirs and (raw[-4:-1] == "000" or theirs[0].year < 1800):
        assert ours is None, raw
        return
    assert (ours and (ours.birth_date, ours.kind is NationalIdKind.SAMORDNINGSNUMMER)) == theirs, raw
    seen[str(ours.kind) if ours else "refused"] += 1
    if ours and full and ours.kind is NationalIdKind.PERSONNUMMER:
        assert second_swedish_oracle.is_valid(raw.strip()), raw
        seen["second opinion"] += 1
