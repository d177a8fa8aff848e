"""Connections: pages of a list, with cursors that hold only for that list, in that order, of that tenant."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import strawberry

from api.errors import BadInput
from api.schema.allowed import ForScope
from api.schema.fields import Cost, list_size
from api.signing import Signer, Tampered
from domain.pages import Key, Page, PageRequest

if TYPE_CHECKING:
    from api.context import Context

N = TypeVar("N")
E = TypeVar("E")
T = TypeVar("T")

DEFAULT_SIZE = 20
MOST_IN_CATALOGUE = 500
MOST_OFFERS = 1000
MOST_OF_PATIENT = 50
LONGEST_CURSOR = 2000


@dataclass(frozen=True, slots=True)
class Cursors:
    """The cursors of one list. `purpose` tells it from every other, so that a cursor never wanders."""

    signer: Signer
    purpose: str

    @classmethod
    def of(cls, context: "Context", list_name: str, order: str = "name") -> "Cursors":
        return cls(context.signer, f"cursor:{context.tenant.id}:{list_name}:{order}")

    def write(self, key: Key) -> str:
        return self.signer.seal(self.purpose, json.dumps(key, separators=(",", ":")).encode())

    def read(self, argument: str, cursor: str | None) -> Key | None:
        """Raises `BadInput` for a cursor that this list has not given out."""
        if cursor is None:
            return None
        try:
            return tuple(json.loads(self.signer.open(self.purpose, cursor[:LONGEST_CURSOR])))
        except Tampered:
            raise BadInput(f"`{argument}` is not a cursor of this list.") from None

    def request(
        self, first: int | None, after: str | None, last: int | None, before: str | None, *, most: int
    ) -> PageRequest:
        """What the four arguments ask for, each possibly unset. Raises `BadInput`."""
        first, last = _given(first), _given(last)
        after, before = _given(after), _given(before)
        backward = last is not None or before is not None
        if backward and (first is not None or after is not None):
            raise BadInput("`first` and `after` go forward, `last` and `before` backward: ask for one of the two.")
        return PageRequest(
            size=_size("last", last, most) if backward else _size("first", first, most),
            after=self.read("after", after),
            before=self.read("before", before),
            backward=backward,
        )


def _given(argument: T | None) -> T | None:
    """An argument that was left out is the same as null."""
    return None if argument is strawberry.UNSET else argument


def _size(argument: str, given: int | None, most: int) -> int:
    if given is None:
        return min(DEFAULT_SIZE, most)
    if not 0 <= given <= most:
        raise BadInput(f"`{argument}` must be between 0 and {most}.")
    return given


@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more items follow the last one of this page.")
    has_previous_page: bool = strawberry.field(description="Whether items come ahead of the first one of this page.")
    start_cursor: str | None = strawberry.field(description="The first item's cursor; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The last item's cursor; null on an empty page.")


@strawberry.type
class Edge(Generic[N]):
    node: N = strawberry.field(description="What stands at this place in the list.")
    cursor: str = strawberry.field(description="The item's place: give it as `after` or `before` to go on from here.")


@strawberry.type
class Connection(Generic[N, E]):
    """A page of nodes that are built already; edges, with their cursors, are built when asked for."""

    page: strawberry.Private[Page[Any]]
    cursors: strawberry.Private[Cursors]
    built: strawberry.Private[Sequence[Any]]

    def edge(self, item: Any, node: Any, cursor: str) -> Any:
        """One edge; `item` is the domain's, for edges that say more."""
        raise NotImplementedError

    @strawberry.field(description="The items with their cursors, in the list's order.")
    def edges(self) -> list[E]:
        items = zip(self.page.items, self.built, self.page.keys, strict=True)
        return [self.edge(item, node, self.cursors.write(key)) for item, node, key in items]

    @strawberry.field(description="The items without their cursors, in the list's order.")
    def nodes(self) -> list[N]:
        return list(self.built)

    @strawberry.field(description="Whether there is more, and from where to go on.")
    def page_info(self) -> PageInfo:
        keys = self.page.keys
        return PageInfo(
            has_next_page=self.page.has_next,
            has_previous_page=self.page.has_previous,
            start_cursor=self.cursors.write(keys[0]) if keys else None,
            end_cursor=self.cursors.write(keys[-1]) if keys else None,
        )


@strawberry.type
class CountedConnection(Connection[N, E]):
    """A connection that can also tell how long the whole list is; `count` is only called when that is asked."""

    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field(description="How many items the whole list has, on all its pages. Counted when asked for.")
    async def total_count(self) -> int:
        return await self.count()


def connection_field(description: str, rule: ForScope, *, weight: str | None = None) -> Any:
    """A field that answers a connection, with its rule, size and cost printed beside it."""
    directives: list[object] = [list_size()]
    if weight:
        directives.append(Cost(weight=weight))
    return strawberry.field(description=description, directives=directives, extensions=[rule])
