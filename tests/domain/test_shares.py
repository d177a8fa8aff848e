"""A share for each: of a hundred ten, for all of one place fifty, and never fewer than a few."""

from contextlib import ExitStack

import pytest

from domain.shares import Owner, Shares

A, B = Owner("a", of="there"), Owner("b", of="elsewhere")


@pytest.mark.parametrize(("most", "share"), [(100, 10), (49, 5), (1, 5)])
def test_each_may_have_a_tenth_and_at_least_a_few(most: int, share: int) -> None:
    shares = Shares(most)
    with ExitStack() as stack:
        for thing in range(share):
            assert shares.admits(A, thing)
            stack.enter_context(shares.with_one_more(A, thing))
        assert not shares.admits(A, share) and shares.admits(B, share)
    assert shares.admits(A, share)


@pytest.mark.parametrize(("most", "share"), [(100, 50), (11, 5), (1, 5)])
def test_those_of_one_place_may_have_half_together_and_at_least_a_few(most: int, share: int) -> None:
    """Named and unnamed; who is not named has no other share."""
    shares, unnamed = Shares(most), Owner(None, of="there")
    with ExitStack() as stack:
        for thing in range(share):
            owner = Owner(str(thing // 5), of="there") if thing % 2 else unnamed
            assert shares.admits(owner, thing)
            stack.enter_context(shares.with_one_more(owner, thing))
        assert not shares.admits(A, share) and not shares.admits(unnamed, share)
        assert shares.admits(A, 0) and shares.admits(unnamed, 1), "what somebody there has, all have"
        assert shares.admits(B, share) and shares.admits(Owner(None, of="elsewhere"), share)
    assert shares.admits(A, share)


def test_the_same_thing_twice_is_had_once_until_it_is_given_back_twice() -> None:
    shares = Shares(1)
    with shares.with_one_more(A, 0):
        with shares.with_one_more(A, 0):
            assert shares.admits(A, 0)
        assert not shares.have_none_of(0)
    assert shares.have_none_of(0)


def test_names_of_those_and_of_places_are_not_mixed_up() -> None:
    shares = Shares(1)
    with ExitStack() as stack:
        for thing in range(5):
            stack.enter_context(shares.with_one_more(Owner("a", of=str(thing)), thing))
        assert shares.admits(Owner(None, of="a"), 5) and not shares.admits(Owner("a", of="x"), 5)
