"""Takes people out of text that is about to be logged: what has a pattern is found, wherever it stands.

A name has none: names are never logged in the first place, and fields that could hold one are dropped by their key.
"""

import re
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

from domain.national_id import of_any_country

GONE = "***"

DROPPED = frozenset(
    {
        *("address", "authorization", "birth_date", "birthdate", "claims", "comment", "cookie", "display", "email"),
        *("family", "given", "headers", "identifier", "key", "name", "national_id", "nin", "number", "password"),
        *("patient", "person", "personnummer", "phone", "pid", "query", "secret", "sms_to", "ssn", "sub", "subject"),
        *("telecom", "token", "variables"),
    }
)
"""Keys of fields whose values are never logged, whatever is in them."""


def _pattern(text: str, flags: int = re.ASCII) -> re.Pattern[str]:
    return re.compile(text, flags | re.IGNORECASE)


_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ESCAPES = ("%HH", "%25HH", "%2525HH", "%252525HH", r"\\xHH", r"\\uHHHH", r"\\UHHHHHHHH", r"\\[0-7][0-7][0-7]")
_APART = rf"(?:(?<!\d)|{'|'.join(f'(?<={each})' for each in _ESCAPES)})".replace("H", r"[\da-f]")
"""Not inside a longer number; what a URL, JSON or Python escapes before it may end in a digit."""

_BYTE, _POINT = r"(?:%(?:25){0,3}|\\{1,4}x)", r"\\{1,4}u"
"""What stands before a character of a URL, of bytes that Python shows, and of JSON, once or within one another."""
_BLANK = (
    r"(?:[ \-\xa0\xad\u2000-\u2015\u202f\u205f\u2060\u2212\ufeff\ufffd]"
    rf"|{_BYTE}(?:2[0d]|a[0d]|c2{_BYTE}a[0d]|e2{_BYTE}(?:80{_BYTE}(?:[89][\da-f]|af)|88{_BYTE}92))"
    rf"|{_POINT}(?:002[0d]|00a[0d]|20(?:0[\da-f]|1[0-5]|2f|5f|60)|2212|feff|fffd))"
)
"""Spaces and dashes of every width, the mark that `_scrubbed` puts in the place of some, and how they are escaped."""
_PLUS = rf"(?:\+|{_BYTE}2b|{_POINT}002b)"
_NUMBER = _pattern(
    rf"(?P<uuid>{_UUID})|{_APART}"
    rf"(?=(?P<number>(?P<day>\d{{6}}(?:\d\d)?)(?:{_BLANK}|{_PLUS})?(?P<rest>\d{{4,5}}))(?!\d))"
)
"""What it finds takes up no room, since digits that end an escape may look like a number's first."""

_GAP = rf"(?:[()./]|{_BLANK}){{0,3}}"
_CALLED = (
    r"(?:(?:phone|telefon|tlf|mobil)[a-z_]{0,20}|\b(?:tel|sms)(?:_?(?:to|no|nr|number|nummer))?(?![a-z]))\d??"
    r"(?:%[\da-f]{2}|(?:number|nummer|nr|no|is|er|är|was|var|to|till?|use|home|work|mobile|value)(?![a-z])|[^\w*]){0,24}"
)
"""A word that says that a phone number comes, and what may stand between, such as `tlf. nr: `."""
_DIALLED = rf"(?!\d{{4}}-\d\d-\d\d|{_UUID})\d(?:{_GAP}\d){{7,14}}(?!\d)"
_SPACE = rf"(?![\-\xad\u2010-\u2015]|%2d){_BLANK}"
_GROUPED = rf"[2-9]\d(?:(?:{_SPACE}\d\d){{3}}|\d{_SPACE}\d\d{_SPACE}\d{{3}})"
"""Eight digits as Norwegian phones are grouped, and as neither dates nor amounts are: `22 00 00 01`, `990 00 001`."""
_LABEL = r"(?:[\w-]|%(?!(?:25){0,3}40)|\\(?=[xu])(?!x40|u0040)){1,190}"
_LAST = r"(?:[^\W\d_]|%[\da-f]{2}|\\x[\da-f]{2}|\\u[\da-f]{4}){2,}"
"""Of a domain, in any script, and longer where it is escaped. The last has no digit, unlike a version's."""
_MAIL = _pattern(
    rf"[^\s\"'\\<>()\[\]{{}}|,:;=/@]{{1,64}}(?:@|{_BYTE}40|{_POINT}0040)"
    rf"(?:{_LABEL}\.){{1,9}}(?:xn--[\w-]{{2,59}}|{_LAST})",
    re.UNICODE,
)
_WHOLE = (
    (("eyj",), _pattern(r"\beyJ[\w-]{5,}(?:\.[\w-]+)*\.?"), GONE),
    (("itb_",), _pattern(r"\bitb_(?:live|test)_\w+"), GONE),
    (("bearer", "basic", "dpop"), _pattern(r"\b(Bearer|Basic|DPoP)[\s:]+[\w~+/.=-]{3,}"), rf"\1 {GONE}"),
    (("sid", "session"), _pattern(r"(\b[\w-]{0,40}(?:sid|session)\w{0,40})=[^\s\"'\\,;)}>&]+"), rf"\1={GONE}"),
    (("cookie",), _pattern(r"\b((?:set-)?cookie)(['\"\\]*\s*[:=,]\s*[b'\"\\]*)[^\r\n\"'\\]+"), rf"\1\2{GONE}"),
    (
        ("?",),
        _pattern(r"((?:https?|wss?)://[^\s\"'?\\]+|(?<![\w?])/[\w./%:$@~-]{0,500})\?[^\s\"'\\>)]+"),
        rf"\1?{GONE}",
    ),
    (("@", "%40", "2540", "x40", "u0040"), _MAIL, GONE),
    (
        ("phone", "tel", "tlf", "mobil", "sms"),
        _pattern(rf"({_CALLED}){_DIALLED}(?:[^\w*]{{1,4}}{_DIALLED}){{0,9}}"),
        rf"\1{GONE}",
    ),
    (("+", "2b", "00"), _pattern(rf"(?:{_PLUS}|(?<![\w.:-])00(?=4[567]|35[48]))\d(?:{_GAP}\d){{7,14}}(?!\d)"), GONE),
    (("0",), _pattern(r"(?<![\w.:+-])0\d{1,3}[- ]\d{2,3}(?: ?\d\d){2}(?!\d)"), GONE),
    (("",), _pattern(rf"{_APART}(?<!\d[.:-]){_GROUPED}(?!\d)"), GONE),
)
"""What has to be there for a pattern to be tried, the pattern, and what is put in its place: tokens, API keys,
credentials, sessions, cookies, queries of addresses, e-mail addresses, and phones as written in Norway and Sweden.
Eight digits in a row by themselves are left: ids and dates are written so, too."""


def scrubbed(text: str) -> str:
    """National numbers only where they are valid: what merely looks like one is an id that somebody needs."""
    seen = text.lower()
    for signs, pattern, instead in _WHOLE:
        if any(each in seen for each in signs):
            text = pattern.sub(instead, text)
    return _without_numbers(text)


def _without_numbers(text: str) -> str:
    kept: list[str] = []
    end = 0
    for match in _NUMBER.finditer(text):
        if match["uuid"] or not _is_valid(match["day"], match["rest"]):
            continue
        if match.start("number") >= end:
            kept += text[end : match.start("number")], GONE
        end = max(end, match.end("number"))
    return "".join((*kept, text[end:]))


def _is_valid(day: str, rest: str) -> bool:
    """The plus sign of whoever is a hundred years old changes the century, and with it which days there were."""
    today = datetime.now(UTC).date()
    return any(of_any_country(each, today=today) for each in (day + rest, f"{day}+{rest}"))


def scrub_event(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Every text in an event, and none of the values whose key says that they are somebody's."""
    return {key: GONE if key.lower() in DROPPED else _scrubbed(value) for key, value in event.items()}


def _scrubbed(value: object) -> object:
    if isinstance(value, str):
        return scrubbed("".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in value))
    if isinstance(value, Mapping):
        return {key: GONE if str(key).lower() in DROPPED else _scrubbed(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_scrubbed(each) for each in value]
    return value if isinstance(value, bool | int | float | None) else scrubbed(str(value))
