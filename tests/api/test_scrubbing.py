"""What is taken out of a line of the log, and what is left in."""

import json
import logging
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.logs import FORMS, LogFormatter
from api.scrubbing import GONE, scrubbed

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJrYXJpIn0.c2lnbmF0dXJl"
BLANKS = (
    *("\xa0", "\u2009", "\u202f", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212", "\u200b", "\ufffd"),
    *("%C2%A0", "%c2%a0", "%E2%80%89", "%E2%80%93", "%2520", "%25C2%25A0", "%A0"),
    *("\\xa0", "\\u00a0", "\\u2009", "\\u2013", "\\xc2\\xa0", "\\xe2\\x80\\x93", "\\\\u00a0", "\\u002d"),
)
"""What word processors, web pages and phones put between the parts of a number, and how it is escaped."""
ESCAPES = (
    "%20",
    "%2520",
    "%252520",
    "%C2%A0",
    "%25C2%25A0",
    "\\xa0",
    "\\x00",
    "\\u00a0",
    "\\u0000",
    "\\U00000010",
    "\\240",
)
"""They end in a digit, and a number may follow at once."""
PEOPLE = [
    *("13116900216", "131169 00216", "131169-00216", "131169%2000216", "01929900045"),
    *("197010632391", "19701063-2391", "701063-2391", "7010632391", "701063%2D2391", "191212121212", "121212+1212"),
    *("kari@example.org", "kari.o+x@post.example.no", "kari%40example.org"),
    *("+4790000001", "+47 900 00 001", "+46 (0)70-174 06 05", "0047 90 00 00 01", "070-174 06 05", "%2B4790000001"),
    *(
        "99 00 00 01",
        "990 00 001",
        "47 990 00 001",
        "22 00 00 01,99 00 00 01",
        "99\xa000\xa000\xa001",
        "99%2000%2000%2001",
    ),
    *(
        "tlf. 99000001",
        "Telefon: 99000001",
        "mobilnummer er 99000001",
        "phone1=99000001",
        "tel%3A%2099000001",
        "tel 99 000001",
    ),
    *(
        "{'system': 'phone', 'use': 'home', 'value': '99000001'}",
        "SMS to 99000001",
        "tel 22000001, 99000001",
        "tlf99000001",
    ),
    *("Mobil 0799000001", "phone +47 22000001 / 99000001", "telefonen är 99000001", "phoneNumber: 4799000001"),
    *(JWT, f"Bearer {JWT}", "Bearer abc-123", "Basic a2FyaTpodXNo", "itb_live_ab12cd34_0123456789abcdef"),
    *(f"131169{blank}00216" for blank in BLANKS),
    *(f"701063{blank}2391" for blank in BLANKS),
    *(f"{escape}{number}" for escape in ESCAPES for number in ("13116900216", "7010632391", "19701063-2391")),
    *(f"+47{blank}900{blank}00{blank}001" for blank in BLANKS),
    *(f"tlf. 990{blank}00001" for blank in BLANKS),
    *("99\u200900\u200900\u200901", "99%C2%A000%C2%A000%C2%A001", "%252B4790000001", "\\u002b4790000001"),
    *("kåre@øy.example", "kari@post.øy", "kari@xn--y-4ga.no", "kari@post.xn--y-4ga", "κάρι@ταχυδρομείο.ελ"),
    *("k%C3%A5ri%40%C3%B8y.example", "kari%2540example.org", "kari\\u0040\\u00f8y.example", "kari@\\xf8y.example"),
    *("__Host-sid=f00ba7f00ba7", "sid=f00ba7f00ba7", "Set-Cookie: sid=f00; Path=/", "{'cookie': 'a=b; c=d'}"),
    *("https://ehr.example/fhir/Patient?identifier=kari", "/login/callback?code=abc&state=x"),
]
"""As they are written in errors, addresses and headers."""
FRAMES = ["{}", "no answer for {}: HTTP 500", "'{}'", '{{"text": "{}"}}', "a\n{}\nb", "x={},", "|{}|", "æ{}ø"]
KEPT = [
    *("13116900217", "00000000000", "12345678901234567890", "131169002160", "9e107d9d-3726-4b26-8c1d-13116900216a"),
    *("2026-11-24T19:26:00.123456+01:00", "2026-11-24 19:26:00+0100", "127.0.0.1:8000", "took 0.125 s", "42"),
    *("99000001", "booking 99000001", "20261128", "phone of booking 99000001", "telling 99000001", "hotel 99000001"),
    *("telefon 2026-11-24T19:26:00", "phone 11111111-2222-3333-4444-555555555555", "tel 4000004", "sms 16 of 20261128"),
    *("28 11 2026", "12 500 000", "kr 99 000 001", "990 000 01", "22.33.44.55", "19:26 00 00 12", "4099 00 00 01 at"),
    *(
        "131169\xa000217",
        "%252013116900217",
        "\\u00a013116900217",
        "28\xa011\xa02026",
        "12\u2009500\u2009000",
        "2026–11–28",
    ),
    *("postgres@127.0.0.1:5432", "package@1.2.3", "somebody@localhost", "%252520", "\\u2009", "100%2526"),
    *("/Appointment/ap:1", "HTTP 503", "booking 11111111-2222-3333-4444-555555555555", "what? nothing", "-1800"),
]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("private", PEOPLE)
def test_what_is_somebodys_is_gone_however_it_is_written(private: str, frame: str) -> None:
    shown = scrubbed(frame.format(private))
    assert private not in shown and GONE in shown
    for part in ("identifier=kari", "code=abc", "f00", "a=b", "abc-123", "9000001", "00 01", "22"):
        assert part not in shown


@pytest.mark.parametrize("frame", FRAMES[:4])
@pytest.mark.parametrize("text", KEPT)
def test_what_is_nobodys_is_left(text: str, frame: str) -> None:
    assert scrubbed(frame.format(text)) == frame.format(text)


def test_a_number_in_a_field_is_gone_though_its_blank_is_not_printable() -> None:
    """Such characters are marked before anything is looked for."""
    for form in FORMS:
        line = LogFormatter(form).format(record(extra={"found": ["131169\xa000216", "131169\u200900216"]}, message="x"))
        assert "00216" not in line and GONE in line


HOSTILE = (
    "%25",
    "%2525",
    "\\",
    "\\x",
    "\\u20",
    "1",
    "131169 ",
    "a@",
    "a@b.",
    "a@%25",
    "phone 1 ",
    "+1 ",
    "99 ",
    "%40",
    "/?",
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_line_takes_no_longer_than_its_length(piece: str) -> None:
    """It would take hours, were each place looked at anew from every other."""
    began = monotonic()
    scrubbed(piece * (100_000 // len(piece)) + "!")
    assert monotonic() - began < 60


@given(st.text(max_size=200))
def test_any_text_is_scrubbed_once_and_for_all(text: str) -> None:
    once = scrubbed(text)
    assert scrubbed(once) == once


def record(*args: object, message: str = "%s", extra: dict[str, object] | None = None, fails: str = "") -> Any:
    made = logging.LogRecord("api.x", logging.ERROR, "x.py", 1, message, args, None)
    made.__dict__.update(extra or {})
    if fails:
        try:
            raise ValueError(fails) from KeyError(fails)
        except ValueError as failure:
            made.exc_info = (ValueError, failure, failure.__traceback__)
    return made


@pytest.mark.parametrize("form", FORMS)
def test_lines_and_fields_are_scrubbed(form: str) -> None:
    told = record(
        "13116900216",
        extra={"name_of": "kari@example.org", "comment": "Kari", "deep": {"token": "hush", "more": ["+4790000001"]}},
    )
    line = LogFormatter(form).format(told)
    for private in ("13116900216", "kari@example.org", "Kari", "hush", "+4790000001"):
        assert private not in line
        assert private in LogFormatter(form, scrub=False).format(told)
    assert "api.x" in line


@pytest.mark.parametrize("form", FORMS)
def test_of_an_exception_and_its_cause_only_classes_and_places_are_told(form: str) -> None:
    """A name has no pattern, and whoever raises something may quote one."""
    line = LogFormatter(form).format(record(fails="no such patient: Kari Nordmann", message="failed", extra={}))
    assert "Kari" not in line and "no such patient" not in line
    assert "builtins.ValueError" in line and "builtins.KeyError" in line and f"{__file__}:" in line


def failed_with(failure: BaseException) -> str:
    made = record(message="failed")
    made.exc_info = (type(failure), failure, failure.__traceback__)
    return LogFormatter("text").format(made)


def test_what_failed_in_a_group_is_told_by_its_class() -> None:
    line = failed_with(ExceptionGroup("Kari", [ExceptionGroup("Ola", [RuntimeError("Kari")]), KeyError("Kari")]))
    assert "builtins.RuntimeError" in line and "builtins.KeyError" in line and "Kari" not in line


def test_causes_that_go_round_in_a_ring_come_to_an_end() -> None:
    one, other = ValueError("one"), KeyError("other")
    one.__cause__, other.__cause__ = other, one
    assert failed_with(one).count("builtins.") == 2


@pytest.mark.parametrize("form", FORMS)
def test_what_the_operating_system_says_is_told(form: str) -> None:
    made = record(message="failed")
    made.exc_info = (ConnectionRefusedError, ConnectionRefusedError(111, "Connection refused", "Kari"), None)
    line = LogFormatter(form).format(made)
    assert "ConnectionRefusedError: Connection refused" in line and "Kari" not in line


def test_a_line_of_json_is_json_with_when_how_bad_and_where() -> None:
    told = json.loads(LogFormatter("json").format(record('a "quoted" 13116900216 \n /x?y=z', fails="13116900216\\")))
    assert told["event"] == f'a "quoted" {GONE} \n /x?{GONE}'
    assert (told["level"], told["logger"]) == ("error", "api.x") and told["timestamp"].endswith("Z")
    assert "exc_info" not in told and "ValueError" in told["exception"]


@pytest.mark.parametrize("form", FORMS)
def test_nobody_writes_a_second_line_or_hides_behind_a_control_character(form: str) -> None:
    line = LogFormatter(form).format(record("kari\nadmin logged in\x1b[2J\x0013116900216"))
    assert "\n" not in line and "\x1b" not in line and "13116900216" not in line and "\x00" not in line
