"""The invented people hold up against the house's own checks and the outside libraries."""

from datetime import date

import phonenumbers
import pytest
from personnummer import personnummer

from domain.age import age_on
from domain.national_id import national_id
from integrations.sandbox.people import PEOPLE, Person, as_ehr_patients, crowd

TODAY = date(2026, 11, 23)
BY_LOGIN = {person.login: person for person in PEOPLE}


@pytest.mark.parametrize("person", (*PEOPLE, *crowd(200)), ids=lambda person: person.login)
def test_everybody_has_a_valid_number_that_tells_their_birth_date_and_system(person: Person) -> None:
    if person.number is None:
        assert person.login == "turist"
        return
    got = national_id(person.country, person.number, today=TODAY)
    assert (got.number, got.birth_date, got.system) == (person.number, person.birth_date, person.number_system)
    if person.country == "SE":
        assert personnummer.Personnummer(person.number).get_date() == person.birth_date


def test_no_norwegian_number_can_belong_to_a_real_person() -> None:
    people = (*PEOPLE, *crowd(50))
    assert all(int(person.number[2:4]) > 80 for person in people if person.country == "NO" and person.number)


def test_phone_numbers_are_mobile_and_differ_between_clinic_and_login() -> None:
    for person in PEOPLE:
        for phone in filter(None, (person.phone_at_clinic, person.phone_at_login)):
            kind = phonenumbers.number_type(phonenumbers.parse(phone))
            assert kind == phonenumbers.PhoneNumberType.MOBILE, phone
        assert person.phone_at_clinic != person.phone_at_login


def test_the_cast_has_the_ages_that_rules_ask_about() -> None:
    assert age_on(BY_LOGIN["lillebror"].birth_date, TODAY) < 12
    assert age_on(BY_LOGIN["kari"].birth_date, TODAY) == 40
    assert BY_LOGIN["astrid"].country == "SE"
    assert BY_LOGIN["turist"].number is None


def test_a_crowd_is_many_different_adults_and_always_the_same() -> None:
    many = crowd(16000)
    assert len({person.number for person in many}) == len({person.login for person in many}) == 16000
    assert many[:10] == crowd(10)
    assert min(age_on(person.birth_date, TODAY) for person in many) >= 18


def test_the_clinic_holds_its_own_country_only_and_nobody_without_number() -> None:
    norwegian, swedish = as_ehr_patients("NO"), as_ehr_patients("SE")
    assert len(norwegian) + len(swedish) == len(PEOPLE) - 1
    assert norwegian[0] == {
        "system": "urn:oid:2.16.578.1.12.4.1.4.1",
        "value": BY_LOGIN["kari"].number,
        "name": "Kari Testesen",
        "birthDate": "1986-03-14",
        "phone": "+4790000001",
    }
