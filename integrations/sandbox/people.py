"""Made-up people who can log in at the demo provider and are known at the demo clinics.

Their national numbers are computed here, apart from the house's own checks, so that one mistake cannot hide another:
Norwegian ones carry the Tenor mark (month + 80) that no real person has, Swedish ones take the last serial numbers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from itertools import islice

PERSONNUMMER = "urn:oid:1.2.752.129.2.1.3.1"
SAMORDNINGSNUMMER = "urn:oid:1.2.752.129.2.1.3.3"
FODSELSNUMMER = "urn:oid:2.16.578.1.12.4.1.4.1"
D_NUMBER = "urn:oid:2.16.578.1.12.4.1.4.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One invented person. The clinic may know another phone than the one told at login, or none."""

    login: str
    given_name: str
    family_name: str
    birth_date: date
    country: str
    number: str | None
    number_system: str | None
    phone_at_clinic: str | None
    phone_at_login: str | None
    locale: str
    listed: bool = True

    @property
    def name(self) -> str:
        return f"{self.given_name} {self.family_name}"

    @property
    def email(self) -> str:
        return f"{self.login}@example.org"


def swedish_number(born: date, serial: int, *, coordination: bool = False) -> str:
    """Twelve digits ending in a Luhn check digit; a samordningsnummer adds 60 to the day."""
    nine = f"{born:%y%m}{born.day + 60 * coordination:02d}{serial:03d}"
    doubled = "".join(str(int(digit) * (2 if place % 2 == 0 else 1)) for place, digit in enumerate(nine))
    check = -sum(int(digit) for digit in doubled) % 10
    return f"{born.year // 100}{nine}{check}"


def norwegian_number(born: date, *, skip: int = 0, nth: int = 0, d_number: bool = False) -> str:
    """The nth valid synthetic number of a birth day. About one serial in six is skipped: it has no check digits."""
    return next(islice(_norwegian_numbers(born, skip, d_number), nth, None))


def _norwegian_numbers(born: date, skip: int, d_number: bool) -> Iterator[str]:
    serials = range(1, 500) if born.year < 2000 else range(500, 1000)
    for serial in serials[skip:]:
        digits = f"{born.day + 40 * d_number:02d}{born.month + 80:02d}{born:%y}{serial:03d}"
        for weights in ("376189452", "5432765432"):
            check = -sum(int(weight) * int(digit) for weight, digit in zip(weights, digits, strict=True)) % 11
            if check == 10:
                break
            digits += str(check)
        else:
            yield digits


def _norwegian(login: str, given: str, family: str, born: date, phone: int, locale: str = "nb") -> Person:
    return Person(
        login=login,
        given_name=given,
        family_name=family,
        birth_date=born,
        country="NO",
        number=norwegian_number(born),
        number_system=FODSELSNUMMER,
        phone_at_clinic=f"+4790000{phone:03d}",
        phone_at_login=f"+4799999{phone:03d}",
        locale=locale,
    )


def _swedish(login: str, given: str, family: str, born: date, phone: int) -> Person:
    """The phone numbers are those that Post- och telestyrelsen keeps for fiction: 070-174 06 05 to 06 99."""
    return Person(
        login=login,
        given_name=given,
        family_name=family,
        birth_date=born,
        country="SE",
        number=swedish_number(born, 980 + phone % 20),
        number_system=PERSONNUMMER,
        phone_at_clinic=f"+467017406{phone:02d}",
        phone_at_login=f"+467017406{phone + 40:02d}",
        locale="sv",
    )


PEOPLE: tuple[Person, ...] = (
    _norwegian("kari", "Kari", "Testesen", date(1986, 3, 14), 1),
    _norwegian("ola", "Ola", "Prøvemann", date(1959, 11, 30), 2),
    _norwegian("ailu", "Áilu", "Čáppačohkka", date(1994, 2, 6), 3, "se"),
    _norwegian("lillebror", "Lillebror", "Testesen", date(2021, 8, 19), 4),
    _norwegian("ungdom", "Trym", "Testesen", date(2012, 4, 2), 5),
    _norwegian("skuddar", "Live", "Skuddår", date(2000, 2, 29), 6),
    Person(
        login="piotr",
        given_name="Piotr",
        family_name="Próbny",
        birth_date=date(1979, 7, 21),
        country="NO",
        number=norwegian_number(date(1979, 7, 21), d_number=True),
        number_system=D_NUMBER,
        phone_at_clinic="+4790000007",
        phone_at_login=None,
        locale="en",
    ),
    _swedish("astrid", "Astrid", "Påhittad", date(1983, 5, 9), 5),
    _swedish("erik", "Erik", "Exempelsson", date(1948, 12, 24), 6),
    _swedish("linnea", "Linnéa", "Låtsas-Åkerström", date(1999, 1, 1), 7),
    _swedish("olle", "Olle", "Påhittad", date(2022, 6, 3), 8),
    Person(
        login="maria",
        given_name="Maria",
        family_name="Inventada",
        birth_date=date(1991, 10, 12),
        country="SE",
        number=swedish_number(date(1991, 10, 12), 989, coordination=True),
        number_system=SAMORDNINGSNUMMER,
        phone_at_clinic=None,
        phone_at_login="+46701740649",
        locale="en",
    ),
    Person(
        login="turist",
        given_name="Tom",
        family_name="Tourist",
        birth_date=date(1975, 6, 15),
        country="NO",
        number=None,
        number_system=None,
        phone_at_clinic=None,
        phone_at_login="+491713920001",
        locale="en",
    ),
)


@cache
def crowd(n: int) -> tuple[Person, ...]:
    """The first n of an endless crowd of adults, the same each time: even ones Norwegian, odd ones Swedish."""
    return tuple(_one_of_the_crowd(place) for place in range(n))


def _one_of_the_crowd(place: int) -> Person:
    # 7,000 days lie between the oldest and the youngest, so a birth day comes back with the next serial number only
    # after 7,000 people of a country.
    round_, day = divmod(place // 2, 7000)
    born = date(1970, 1, 1) + timedelta(days=day)
    norwegian = place % 2 == 0
    return Person(
        login=f"crowd-{place}",
        given_name="Testperson",
        family_name=f"Nummer {place}",
        birth_date=born,
        country="NO" if norwegian else "SE",
        number=norwegian_number(born, skip=200, nth=round_) if norwegian else swedish_number(born, 900 + round_),
        number_system=FODSELSNUMMER if norwegian else PERSONNUMMER,
        phone_at_clinic=f"+4791{place % 1_000_000:06d}" if norwegian else "+46701740699",
        phone_at_login=None,
        locale="nb" if norwegian else "sv",
        listed=False,
    )


def as_ehr_patients(country: str, people: Iterable[Person] = PEOPLE) -> list[dict[str, str]]:
    """What a clinic's record system holds on these people; who has no national number is not in it."""
    return [
        {
            "system": str(person.number_system),
            "value": person.number,
            "name": person.name,
            "birthDate": person.birth_date.isoformat(),
            **({"phone": person.phone_at_clinic} if person.phone_at_clinic else {}),
        }
        for person in people
        if person.country == country and person.number is not None
    ]
