"""Tokens that nobody else can make, change or use for something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.signing import Signer, Tampered, from_text, to_text

signer = Signer(b"a secret")


@given(st.text(max_size=50), st.binary(max_size=200))
def test_what_was_sealed_is_opened(purpose: str, payload: bytes) -> None:
    assert signer.open(purpose, signer.seal(purpose, payload)) == payload


@given(st.binary(max_size=40), st.data())
def test_no_changed_character_goes_unnoticed(payload: bytes, data: st.DataObject) -> None:
    token = signer.seal("hold", payload)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda c: c != token[place]))
    with pytest.raises(Tampered):
        signer.open("hold", token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize(
    "spoil", [lambda t: t + "=", lambda t: t[:-1], lambda t: t + "A", lambda t: "", lambda t: " " + t]
)
def test_only_the_token_itself_is_the_token(spoil) -> None:
    with pytest.raises(Tampered):
        signer.open("hold", spoil(signer.seal("hold", b"x")))


@given(st.text(max_size=60))
def test_any_text_is_refused_and_never_crashes(text: str) -> None:
    with pytest.raises(Tampered):
        signer.open("hold", text)


def test_a_token_is_good_for_its_purpose_and_its_secret_only() -> None:
    token = signer.seal("cursor:a:clinics:name", b"x")
    with pytest.raises(Tampered):
        signer.open("cursor:b:clinics:name", token)
    with pytest.raises(Tampered):
        Signer(b"another secret").open("cursor:a:clinics:name", token)


def test_sealing_twice_gives_the_same_token() -> None:
    assert signer.seal("slot", b"x") == Signer(b"a secret").seal("slot", b"x")


def test_a_signer_without_a_secret_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="secret"):
        Signer(b"")


@given(st.binary(max_size=50))
def test_base64url_has_one_spelling(content: bytes) -> None:
    assert from_text(to_text(content)) == content


def test_spare_bits_that_decode_to_the_same_are_refused() -> None:
    assert to_text(b"a") == "YQ"
    with pytest.raises(ValueError, match="canonical"):
        from_text("YR")
