"""Scalars beyond GraphQL's own: each says where it is specified, takes only what that says, and says what it wants."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NewType, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import strawberry
from graphql import ValueNode, value_from_ast_untyped
from strawberry.types.scalar import ScalarDefinition

from api.errors import BadInput

if TYPE_CHECKING:
    TimeZone = str
    PhoneNumber = str
    URL = str
    CurrencyCode = str
    LanguageTag = str
else:
    TimeZone = NewType("TimeZone", str)
    PhoneNumber = NewType("PhoneNumber", str)
    URL = NewType("URL", str)
    CurrencyCode = NewType("CurrencyCode", str)
    LanguageTag = NewType("LanguageTag", str)

T = TypeVar("T")

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,7})?"
DATE = re.compile(_DATE)
TIME = re.compile(_TIME)
DATE_TIME = re.compile(rf"{_DATE}T{_TIME}(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})")
DURATION = re.compile(
    r"(?P<sign>-?)P(?!$)(?:(?P<weeks>[0-9]{1,6})W)?(?:(?P<days>[0-9]{1,6})D)?"
    r"(?:T(?!$)(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?"
    r"(?:(?P<seconds>[0-9]{1,9}(?:\.[0-9]{1,6})?)S)?)?"
)
DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})")
PHONE = re.compile(r"\+[1-9][0-9]{3,14}")
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?(?:-[A-Za-z0-9]{5,8}){0,3}")
LONGEST_URL = 2048


def _reads(read: Callable[[str], T | None], wanted: str) -> Callable[[Any], T]:
    """A parser that answers what it cannot read with `BadInput`, which keeps its code wherever the value stood."""

    def parse(value: Any) -> T:
        try:
            parsed = read(value) if isinstance(value, str) else None
        except (ValueError, OverflowError):
            parsed = None
        if parsed is None:
            raise BadInput(f"Expected {wanted}.")
        return parsed

    return parse


def _reads_literals(parse: Callable[[Any], T]) -> Callable[..., T]:
    """For values that stand in the document: the error then points to them."""

    def parse_literal(node: ValueNode, _variables: Any = None) -> T:
        try:
            return parse(value_from_ast_untyped(node))
        except BadInput as wrong:
            raise BadInput(wrong.message, nodes=node) from None

    return parse_literal


def _date_time(text: str) -> datetime | None:
    if not DATE_TIME.fullmatch(text):
        return None
    moment = datetime.fromisoformat(text)
    moment.astimezone(UTC)  # the first and last hours of the calendar do not exist in UTC: OverflowError
    return moment


def _duration(text: str) -> timedelta | None:
    if not (found := DURATION.fullmatch(text)):
        return None
    parts = {unit: float(n) if unit == "seconds" else int(n) for unit, n in found.groupdict().items() if n and n != "-"}
    length = timedelta(**parts)
    return -length if found["sign"] else length


def _url(text: str) -> str | None:
    parts = urlsplit(text)
    plain = text.isascii() and text.isprintable() and not re.search(r'[\s\\<>"{}|^`]', text)
    named = bool(parts.scheme) and (parts.scheme not in ("http", "https") or bool(parts.hostname))
    return text if plain and named and len(text) <= LONGEST_URL else None


@cache
def _zones() -> set[str]:
    return available_timezones()


def _text_like(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda text: text if pattern.fullmatch(text) else None


def write_date_time(value: datetime) -> str:
    """With the value's own offset; Z where it is in UTC, so that a clinic in London keeps its +00:00."""
    if value.tzinfo is None:
        raise ValueError("a moment without an offset must not leave the house")
    text = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if value.tzinfo is UTC or str(value.tzinfo) == "UTC" else text


def write_duration(value: timedelta) -> str:
    """In hours, minutes and seconds, never days: a day may last 23 hours."""
    sign, micros = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, rest = divmod(micros, timedelta(minutes=1))
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest.total_seconds():.6f}".rstrip("0").rstrip(".")
    parts = [f"{n}{unit}" for n, unit in ((str(hours), "H"), (str(minutes), "M"), (seconds, "S")) if n != "0"]
    return f"{sign}PT{''.join(parts) or '0S'}"


def _scalar(
    name: str, *, url: str, read: Callable[[str], Any], wanted: str, description: str, write: Callable[[Any], Any] = str
) -> ScalarDefinition:
    parse = _reads(read, wanted)
    return strawberry.scalar(
        name=name,
        description=description,
        specified_by_url=url,
        serialize=write,
        parse_value=parse,
        parse_literal=_reads_literals(parse),
    )


SCALARS: dict[object, ScalarDefinition] = {
    datetime: _scalar(
        "DateTime",
        url="https://scalars.graphql.org/chillicream/date-time",
        read=_date_time,
        write=write_date_time,
        wanted='an RFC 3339 date and time with an offset, such as "2026-03-02T09:30:00+01:00"',
        description="A moment: date, time and UTC offset by RFC 3339, such as `2026-03-02T09:30:00+01:00`. At a "
        "clinic it carries the clinic's own offset; moments that belong to no clinic end in `Z`.",
    ),
    date: _scalar(
        "LocalDate",
        url="https://scalars.graphql.org/andimarek/local-date",
        read=lambda text: date.fromisoformat(text) if DATE.fullmatch(text) else None,
        write=date.isoformat,
        wanted='a date, such as "2026-03-02"',
        description="A day on the calendar of the place it is about, such as `2026-03-02`.",
    ),
    time: _scalar(
        "LocalTime",
        url="https://scalars.graphql.org/chillicream/local-time",
        read=lambda text: time.fromisoformat(text) if TIME.fullmatch(text) else None,
        write=time.isoformat,
        wanted='a time of day with seconds, such as "09:30:00"',
        description="A time on the wall of the place it is about, such as `09:30:00`.",
    ),
    timedelta: _scalar(
        "Duration",
        url="https://scalars.graphql.org/chillicream/duration",
        read=_duration,
        write=write_duration,
        wanted='an ISO 8601 duration without years and months, such as "PT45M"',
        description="How long something takes, by ISO 8601, such as `PT45M`. Years and months have no fixed "
        "length and are not taken; answers are in hours, minutes and seconds.",
    ),
    Decimal: _scalar(
        "Decimal",
        url="https://www.w3.org/TR/xmlschema-2/#decimal",
        read=lambda text: Decimal(text) if DECIMAL.fullmatch(text) else None,
        write=lambda value: format(value, "f"),
        wanted='a decimal number as a string, such as "450.50"',
        description="An exact decimal number as a string, such as `450.50`: a float would round money.",
    ),
    TimeZone: _scalar(
        "TimeZone",
        url="https://www.rfc-editor.org/rfc/rfc6557",
        read=lambda text: text if text in _zones() else None,
        wanted='an IANA time zone, such as "Europe/Oslo"',
        description="A zone of the IANA time zone database, such as `Europe/Oslo`.",
    ),
    PhoneNumber: _scalar(
        "PhoneNumber",
        url="https://www.itu.int/rec/T-REC-E.164",
        read=_text_like(PHONE),
        wanted='an E.164 phone number, such as "+4722334455"',
        description="A phone number by E.164: a plus sign, the country's code and the number, without spaces, such "
        "as `+4722334455`.",
    ),
    URL: _scalar(
        "URL",
        url="https://www.rfc-editor.org/rfc/rfc3986",
        read=_url,
        wanted='an absolute URL, such as "https://clinic.example/booking"',
        description="An absolute URL by RFC 3986, with its scheme. Apps may use schemes of their own.",
    ),
    CurrencyCode: _scalar(
        "CurrencyCode",
        url="https://www.iso.org/iso-4217-currency-codes.html",
        read=_text_like(re.compile(r"[A-Z]{3}")),
        wanted='an ISO 4217 currency code, such as "NOK"',
        description="A currency by its three letters in ISO 4217, such as `NOK` or `SEK`.",
    ),
    LanguageTag: _scalar(
        "LanguageTag",
        url="https://www.rfc-editor.org/info/bcp47",
        read=_text_like(LANGUAGE),
        wanted='a BCP 47 language tag, such as "nb"',
        description="A language by its BCP 47 tag, such as `nb`, `sv` or `en`.",
    ),
}
"""For `StrawberryConfig(scalar_map=…)`. Python's own types need no annotation beyond themselves."""
