"""Page sizes are bounded, and a cursor works in its own list only."""

from types import SimpleNamespace
from typing import Any

import pytest
import strawberry

from api.errors import BadInput
from api.schema.pages import Cursors
from api.signing import Signer
from domain.pages import PageRequest

UNSET = strawberry.UNSET


def cursors(tenant: str = "tannhelse", list_name: str = "clinics", order: str = "name") -> Cursors:
    context: Any = SimpleNamespace(signer=Signer(b"secret"), tenant=SimpleNamespace(id=tenant))
    return Cursors.of(context, list_name, order)


def asked(first: Any = UNSET, after: Any = UNSET, last: Any = UNSET, before: Any = UNSET) -> PageRequest:
    return cursors().request(first, after, last, before, most=500)


def test_twenty_from_the_front_unless_said() -> None:
    assert asked() == PageRequest(size=20)
    assert asked(None, None, None, None) == PageRequest(size=20)


def test_a_small_list_is_never_asked_for_more_than_its_most() -> None:
    assert cursors().request(UNSET, UNSET, UNSET, UNSET, most=10).size == 10


def test_both_ways_through_a_list() -> None:
    place = cursors().write(("Oslo", "b1"))
    assert asked(first=5, after=place) == PageRequest(size=5, after=("Oslo", "b1"))
    assert asked(last=5, before=place) == PageRequest(size=5, before=("Oslo", "b1"), backward=True)
    assert asked(before=place) == PageRequest(size=20, before=("Oslo", "b1"), backward=True)


def test_no_items_may_be_asked_for() -> None:
    assert asked(first=0).size == 0
    assert asked(last=0) == PageRequest(size=0, backward=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"first": -1},
        {"last": -1},
        {"first": 501},
        {"last": 501},
        {"first": 5, "last": 5},
        {"first": 5, "before": "x"},
        {"last": 5, "after": "x"},
        {"after": ""},
        {"after": "MQ=="},
        {"after": "x" * 100_000},
        {"before": "æ"},
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        asked(**arguments)


@pytest.mark.parametrize("other", [{"tenant": "folktand"}, {"list_name": "offers"}, {"order": "near:59.9:10.7"}])
def test_a_cursor_of_another_list_is_refused(other: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="`after`"):
        asked(after=cursors(**other).write(("Oslo", "b1")))


def test_keys_come_back_as_they_were() -> None:
    key = ("Ærlig tannklinikk", 12.345678901234567, 7, "b1")
    assert cursors().read("after", cursors().write(key)) == key
