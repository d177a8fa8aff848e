"""Keyset pages in SQL: the stretch after or before a known place, and one row more to know whether the list goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Uuid, literal, tuple_

from domain.pages import Key, Page, PageRequest
from integrations.store.types import AnyRow, Instant

T = TypeVar("T")


class NoSuchPlace(ValueError):
    """A key that no item of this list can have: a cursor of another list, or a forged one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a list is sorted by, all one way, ending in something unique."""

    columns: tuple[ColumnElement[Any], ...]
    descending: bool = False

    def places(self) -> list[ColumnElement[Any]]:
        """The sort columns, to be selected beside an item's own so that its key can be told."""
        return [column.label(f"place_{n}") for n, column in enumerate(self.columns)]

    def within(self, page: PageRequest) -> list[ColumnElement[bool]]:
        """Only what lies after `after` and before `before`."""
        here = tuple_(*self.columns)
        limits: list[ColumnElement[bool]] = []
        if page.after is not None:
            there = self._place(page.after)
            limits.append(here < there if self.descending else here > there)
        if page.before is not None:
            there = self._place(page.before)
            limits.append(here > there if self.descending else here < there)
        return limits

    def sorting(self, page: PageRequest) -> list[ColumnElement[Any]]:
        """From the end that the page is taken from."""
        return [column.desc() if page.backward != self.descending else column.asc() for column in self.columns]

    def _place(self, key: Key) -> ColumnElement[Any]:
        if len(key) != len(self.columns):
            raise NoSuchPlace("a place in another list")
        pairs = zip(key, self.columns, strict=True)
        return tuple_(*(literal(_value(part, column), column.type) for part, column in pairs))

    def key_of(self, row: AnyRow) -> Key:
        return tuple(_part(row._mapping[f"place_{n}"]) for n in range(len(self.columns)))


def paged(statement: Select[Any], order: Order, page: PageRequest) -> Select[Any]:
    return (
        statement.add_columns(*order.places())
        .where(*order.within(page))
        .order_by(*order.sorting(page))
        .limit(page.size + 1)
    )


def page_of(rows: Sequence[AnyRow], entity: Callable[[AnyRow], T], order: Order, page: PageRequest) -> Page[T]:
    """The rows that `paged` found, back in list order."""
    taken = list(rows[: page.size])
    more = len(rows) > page.size
    if page.backward:
        taken.reverse()
    return Page(
        items=[entity(row) for row in taken],
        keys=[order.key_of(row) for row in taken],
        has_next=page.before is not None if page.backward else more,
        has_previous=more if page.backward else page.after is not None,
    )


def _part(value: Any) -> str | int | float:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, str | int | float) else str(value)


def _value(part: str | int | float, column: ColumnElement[Any]) -> Any:
    try:
        if isinstance(column.type, Uuid):
            return UUID(str(part))
        if isinstance(column.type, Instant):
            return datetime.fromisoformat(str(part))
        return column.type.python_type(part)
    except ValueError:
        raise NoSuchPlace("not a place in this list") from None
