"""Keyset pages: a stretch of a list after or before a known place in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

Key = tuple[str | int | float, ...]
"""An item's place in its list: the values it is sorted by, ending in something unique."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """`backward`: the last `size` items before `before`; else the first `size` after `after`."""

    size: int
    after: Key | None = None
    before: Key | None = None
    backward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Items in list order, each with its key in `keys`."""

    items: Sequence[T]
    keys: Sequence[Key]
    has_next: bool = False
    has_previous: bool = False
