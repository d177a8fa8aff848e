"""What a provider calls a person is kept in the clear, and so may not be what is sealed elsewhere: their national
number, which opens their record, their e-mail address, phone or name."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, date, datetime
from typing import Any

import pytest

from integrations.oidc.claims import SubjectNotOpaque, UnusableClaims, identity_from
from integrations.oidc.provider import OidcSettings
from integrations.oidc.strict import tells_of_the_person

TODAY = date(2027, 3, 1)
FODSELSNUMMER, D_NUMBER, H_NUMBER = "13116900216", "53116900048", "13436900079"
FH_NUMBER, SYNTHETIC = "81116900092", "01929900045"
PERSONNUMMER, TEN_DIGITS = "191212121212", "1212121212"
SAMORDNINGSNUMMER = "197010632391"
NUMBERS = (FODSELSNUMMER, D_NUMBER, H_NUMBER, FH_NUMBER, SYNTHETIC, PERSONNUMMER, TEN_DIGITS, SAMORDNINGSNUMMER)


def subject_of(subject: str, **more: str) -> str:
    now = datetime(2027, 3, 1, tzinfo=UTC).timestamp()
    claims: dict[str, Any] = {"sub": subject, "exp": now, "auth_time": now, **more}
    return identity_from(claims, OidcSettings(issuer="https://login.example", client_id="itb"), today=TODAY).subject


def refused(subject: str, **more: str) -> str:
    with pytest.raises(SubjectNotOpaque) as why:
        subject_of(subject, **more)
    assert isinstance(why.value, UnusableClaims)
    return str(why.value)


@pytest.mark.parametrize(
    "prefix",
    ["", "NO:", "SE:", "urn:oid:2.16.578.1.12.4.1.4.1:", "NO/NO/", "f:1b2c-9d:", "PNOSE-", "https://id.example/#", " "],
)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_national_number_is_nobodys_name(number: str, prefix: str) -> None:
    """Synthetic ones too, so that a test installation finds out before any other does."""
    assert number not in refused(prefix + number)


@pytest.mark.parametrize("written", ["131169 00216", "19121212-1212", "121212+1212", "SE:121212-1212"])
def test_nor_is_it_in_any_other_spelling(written: str) -> None:
    assert written not in refused(written)


@pytest.mark.parametrize(
    "opaque",
    [
        *(
            "p1",
            "13116900217",
            "1311690021",
            "131169002160",
            f"a{FODSELSNUMMER}",
            f"{FODSELSNUMMER}a",
            f"{FODSELSNUMMER}:7",
        ),
        *(
            "Mn6v+4790000001",
            "+90000001/Zb3=",
            "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
            "0012345678",
            "001234.ab.0001",
        ),
        *("9e107d9d-3726-4b26-8c1d-131169002160", f"9e107d9d-{FODSELSNUMMER}", "auth0|5f7c8ec7c33c6c004bbafe82", "NO:"),
        *("248289761001", "110169484474386276334", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ],
)
def test_an_opaque_subject_is_taken_as_it_is(opaque: str) -> None:
    assert subject_of(opaque) == subject_of(opaque, phone_number="+4790000001") == opaque


def test_digits_that_are_not_the_persons_own_number_are_an_id_like_any_other() -> None:
    """Where the number is told. Of random ten digits some are a valid Swedish number, and their people must get in."""
    assert subject_of(TEN_DIGITS, pid=FODSELSNUMMER) == TEN_DIGITS
    for own in ({"pid": FODSELSNUMMER}, {"pid": "131169 00216"}):
        refused(f"NO:{FODSELSNUMMER}", **own)
    refused(TEN_DIGITS, personnummer=PERSONNUMMER)


@pytest.mark.parametrize(
    "personal",
    [
        *("kari.nordmann@example.no", "mailto:kari@example.no", "auth0|kari%40example.no", "kåre@øy.example"),
        *("+4790000001", "+47 900 00 001", "tel:+47-900-00-001", "tel:90000001", "0046701740605", "sms|+46701740605"),
        *("Kari Nordmann", "CN=Kari Nordmann,C=NO", "kari\xa0nordmann", "Nordmann,\tKari"),
    ],
)
def test_nor_is_an_e_mail_address_a_phone_or_a_name(personal: str) -> None:
    assert personal not in refused(personal)
    assert tells_of_the_person(signed(personal), TODAY), "nor is it put into the address of a logout"


def signed(subject: str) -> str:
    """An ID token as a provider gives it, with an opaque subject's claims."""
    claims = {"iss": "https://login.example", "sub": subject}
    return f"e30.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


def test_digits_are_a_phone_where_the_provider_tells_that_they_are() -> None:
    for phone in ("+4790000001", "+47 900 00 001", "90 00 00 01"):
        refused("90000001", phone_number=phone)
        assert subject_of("90000002", phone_number=phone) == "90000002"
    refused("4790000001", phone_number="+47 90000001")
    assert subject_of("1", phone_number="+4790000001") == "1"
    assert subject_of("90000001") == "90000001"


@pytest.mark.parametrize("subject", ["a\x00b", "a\nb", "\x7f"])
def test_a_subject_that_cannot_be_written_down_is_none(subject: str) -> None:
    with pytest.raises(UnusableClaims):
        subject_of(subject)
