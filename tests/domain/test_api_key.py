"""An agency's key: how it is written, that typing mistakes are found, and what is kept of it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.api_key import ALPHABET, ApiKey, KeyKind, KeyMistyped, KeyText, PepperMissing, Peppers, PeppersInvalid
from domain.client import OWN_CLIENT, SYSTEM_SCOPES, Scope

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECRET = "tests-only-not-a-secret-0123456789abcdef"
FORM = re.compile(r"itb_(live|test)_[0-9A-Za-z]{8}_[0-9A-Za-z]{36}")


def kept(key: KeyText, peppers: Peppers) -> ApiKey:
    pepper, digest = peppers.digest(key)
    return ApiKey(
        tenant_id="t",
        id=uuid4(),
        key_id=key.key_id,
        agency="fysio",
        kind=key.kind,
        last_four=key.last_four,
        pepper=pepper,
        digest=digest,
        scopes=SYSTEM_SCOPES,
        origins=(),
        rate_per_minute=60,
        created_at=NOW,
    )


@pytest.mark.parametrize("kind", KeyKind)
def test_a_key_can_be_grepped_for_and_is_never_made_twice(kind: KeyKind) -> None:
    keys = [KeyText.new(kind) for _ in range(200)]
    assert all(FORM.fullmatch(key.text) and key.text.startswith(f"itb_{kind.value}_") for key in keys)
    assert len({key.text[18:48] for key in keys}) == len({key.key_id for key in keys}) == 200
    assert set("".join(key.text[18:48] for key in keys)) == set(ALPHABET)
    assert all(KeyText.parsed(key.text).key_id == key.key_id for key in keys)
    assert keys[0].text not in repr(keys[0])


KNOWN = KeyText.new(KeyKind.LIVE).text


@given(st.integers(4, len(KNOWN) - 1), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found(place: int, character: str) -> None:
    typed = KNOWN[:place] + character + KNOWN[place + 1 :]
    if typed == KNOWN:
        assert KeyText.parsed(typed).text == KNOWN
        return
    with pytest.raises(KeyMistyped):
        KeyText.parsed(typed)


@given(st.integers(4, len(KNOWN) - 2))
def test_two_characters_in_each_others_place_are_found(place: int) -> None:
    typed = KNOWN[:place] + KNOWN[place + 1] + KNOWN[place] + KNOWN[place + 2 :]
    if typed != KNOWN:
        with pytest.raises(KeyMistyped):
            KeyText.parsed(typed)


@pytest.mark.parametrize(
    "typed",
    ["", "itb_", KNOWN[:-1], KNOWN + "0", f" {KNOWN}", KNOWN + "\n", KNOWN.upper()],
    ids=["nothing", "beginning", "shorter", "longer", "space", "line", "upper case"],
)
def test_what_has_not_the_form_is_no_key(typed: str) -> None:
    with pytest.raises(KeyMistyped):
        KeyText.parsed(typed)


def test_a_key_matches_its_own_digest_and_no_other() -> None:
    peppers, one, other = Peppers(SECRET.encode()), KeyText.new(KeyKind.LIVE), KeyText.new(KeyKind.LIVE)
    assert peppers.matches(one, kept(one, peppers))
    assert not peppers.matches(other, kept(one, peppers))
    assert one.text.encode() not in kept(one, peppers).digest


def test_a_stolen_database_does_not_tell_without_the_pepper() -> None:
    one = KeyText.new(KeyKind.LIVE)
    stolen = kept(one, Peppers(SECRET.encode()))
    assert not Peppers(b"another secret of another installation").matches(one, stolen)


def test_a_new_pepper_is_for_new_keys_and_the_old_one_for_old_ones() -> None:
    key = KeyText.new(KeyKind.LIVE)
    first = Peppers.read(SECRET, "")
    second = Peppers.read(SECRET, f"1:{'a' * 32},3:{'b' * 32}")
    assert (first.current, second.current) == (0, 3)
    assert second.matches(key, kept(key, first)) and second.matches(key, kept(key, second))
    assert not Peppers.read(SECRET, f"1:{'a' * 32}").matches(key, kept(key, second))
    assert not Peppers.read(SECRET, f"3:{'c' * 32}").matches(key, kept(key, second))


def test_a_pepper_is_known_before_it_is_used() -> None:
    key, both = KeyText.new(KeyKind.LIVE), f"1:{'a' * 32},2:{'b' * 32}"
    knowing, using = Peppers.read(SECRET, both, "1"), Peppers.read(SECRET, both)
    assert (knowing.current, using.current, Peppers.read(SECRET, both, "0").current) == (1, 2, 0)
    assert kept(key, knowing).pepper == 1
    assert knowing.matches(key, kept(key, using)) and using.matches(key, kept(key, knowing))
    with pytest.raises(PepperMissing):
        Peppers.read(SECRET, both, "3")


@pytest.mark.parametrize(
    "written", ["a" * 32, f"0:{'a' * 32}", f"x:{'a' * 32}", "1:short", f"1:{'a' * 32},1:{'b' * 32}", f"-1:{'a' * 32}"]
)
def test_peppers_that_are_none_are_told_without_being_repeated(written: str) -> None:
    with pytest.raises(PeppersInvalid) as told:
        Peppers.read(SECRET, written)
    assert "a" * 32 not in str(told.value) and "short" not in str(told.value).split()


def test_a_key_stands_until_it_expires_or_is_revoked() -> None:
    key = kept(KeyText.new(KeyKind.LIVE), Peppers(SECRET.encode()))
    tomorrow = replace(key, expires_at=NOW + timedelta(days=1))
    assert key.stands(NOW) and tomorrow.stands(NOW)
    assert not tomorrow.stands(NOW + timedelta(days=1))
    assert not replace(key, revoked_at=NOW).stands(NOW)


def test_our_own_frontends_may_what_the_public_may() -> None:
    assert all(OWN_CLIENT.may(scope) for scope in Scope)
    agency = kept(KeyText.new(KeyKind.LIVE), Peppers(SECRET.encode())).client()
    assert {scope for scope in Scope if agency.may(scope)} == SYSTEM_SCOPES
    assert (agency.id, agency.rate_per_minute) == ("agency:fysio", 60)
