"""A share for each: of a hundred ten, and never fewer than a few."""

from contextlib import ExitStack

import pytest

from domain.shares import Shares


@pytest.mark.parametrize(("most", "share"), [(100, 10), (49, 5), (1, 5)])
def test_each_may_have_a_tenth_and_at_least_a_few(most: int, share: int) -> None:
    shares = Shares(most)
    with ExitStack() as stack:
        for thing in range(share):
            assert shares.admits("a", thing)
            stack.enter_context(shares.with_one_more("a", thing))
        assert not shares.admits("a", share) and shares.admits("b", share)
    assert shares.admits("a", share)


def test_the_same_thing_twice_is_had_once_until_it_is_given_back_twice() -> None:
    shares = Shares(1)
    with shares.with_one_more("a", 0):
        with shares.with_one_more("a", 0):
            assert shares.admits("a", 0)
        assert not shares.have_none_of(0)
    assert shares.have_none_of(0)
