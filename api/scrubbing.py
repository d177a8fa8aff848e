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

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_APART = r"(?:(?<!\d)|(?<=%[0-9A-Fa-f]{2}))"
"""Not inside a longer number; what a URL encodes before it may end in a digit."""
_SIGN = r"(?:[ +-]|%20|%2[BbDd])?"
_NUMBER = re.compile(
    rf"(?P<uuid>{_UUID})|{_APART}(?:(?:\d\d)?\d{{6}}{_SIGN}\d{{4}}|\d{{6}}{_SIGN}\d{{5}})(?!\d)",
    re.ASCII | re.IGNORECASE,
)
_ENCODED = {"%20": " ", "%2B": "+", "%2D": "-"}


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII | re.IGNORECASE)


_GAP = r"[ ()./-]{0,3}"
_CALLED = (
    r"(?:(?:phone|telefon|tlf|mobil)[a-z_]{0,20}|\b(?:tel|sms)(?:_?(?:to|no|nr|number|nummer))?(?![a-z]))\d??"
    r"(?:%[\da-f]{2}|(?:number|nummer|nr|no|is|er|är|was|var|to|till?|use|home|work|mobile|value)(?![a-z])|[^\w*]){0,24}"
)
"""A word that says that a phone number comes, and what may stand between, such as `tlf. nr: `."""
_DIALLED = rf"(?!\d{{4}}-\d\d-\d\d|{_UUID})\d(?:{_GAP}\d){{7,14}}(?!\d)"
_SPACE = r"(?:[ \xa0]|%20)"
_GROUPED = rf"[2-9]\d(?:(?:{_SPACE}\d\d){{3}}|\d{_SPACE}\d\d{_SPACE}\d{{3}})"
"""Eight digits as Norwegian phones are grouped, and as neither dates nor amounts are: `22 00 00 01`, `990 00 001`."""
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
    (("@", "%40"), _pattern(r"[^\s\"'\\<>()\[\]{}|,:;=/@]{1,64}(?:@|%40)(?:[\w-]{1,63}\.){1,9}[a-z]{2,}"), GONE),
    (
        ("phone", "tel", "tlf", "mobil", "sms"),
        _pattern(rf"({_CALLED}){_DIALLED}(?:[^\w*]{{1,4}}{_DIALLED}){{0,9}}"),
        rf"\1{GONE}",
    ),
    (("+", "%2b", "00"), _pattern(rf"(?:\+|%2B|(?<![\w.:-])00(?=4[567]|35[48]))\d(?:{_GAP}\d){{7,14}}(?!\d)"), GONE),
    (("0",), _pattern(r"(?<![\w.:+-])0\d{1,3}[- ]\d{2,3}(?: ?\d\d){2}(?!\d)"), GONE),
    ((" ", "\xa0", "%20"), _pattern(rf"{_APART}(?<!\d[.:-]){_GROUPED}(?!\d)"), GONE),
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
    return _NUMBER.sub(_unless_valid, text)


def _unless_valid(match: re.Match[str]) -> str:
    written = match[0]
    if match["uuid"]:
        return written
    for code, sign in _ENCODED.items():
        written = re.sub(code, sign, written, flags=re.IGNORECASE)
    today = datetime.now(UTC).date()
    spellings = {written, written.replace(" ", ""), written.replace("-", ""), written.replace("+", "")}
    return GONE if any(of_any_country(each, today=today) for each in spellings) else match[0]


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
