"""How our GraphQL fields are declared: typed `info`, described enums, and the directives that state a field's cost."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import strawberry
from strawberry.schema_directive import Location, schema_directive

from api.errors import BadInput

if TYPE_CHECKING:
    from api.context import Context

    Info = strawberry.Info[Context, None]
else:
    Info = strawberry.Info

E = TypeVar("E", bound=type[Enum])

CampaignCode = Annotated[
    str | None,
    strawberry.argument(
        description="A campaign's code, as the patient typed it: spaces around it and upper or lower case do not "
        "matter. A code that does not hold changes nothing, and is no error."
    ),
]
First = Annotated[
    int | None,
    strawberry.argument(description="How many items to answer, from the front. 20 unless said; 0 answers none."),
]
After = Annotated[
    str | None, strawberry.argument(description="Go on behind this cursor, which must come from this very list.")
]
Last = Annotated[
    int | None,
    strawberry.argument(description="How many items to answer, counted from the back; not together with `first`."),
]
Before = Annotated[
    str | None, strawberry.argument(description="Stop ahead of this cursor, which must come from this very list.")
]


@schema_directive(
    locations=[
        Location.ARGUMENT_DEFINITION,
        Location.ENUM,
        Location.FIELD_DEFINITION,
        Location.INPUT_FIELD_DEFINITION,
        Location.OBJECT,
        Location.SCALAR,
    ],
    name="cost",
    description="What this adds to an operation's cost, as a decimal number. Without it an object costs 1, a leaf 0.",
)
class Cost:
    weight: str


@schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="listSize",
    description="How long this list may get when an operation's cost is counted: the slicing argument's value, "
    "else the assumed size. `sizedFields` are the fields of the answer that hold the list.",
)
class ListSize:
    assumed_size: int | None = 20
    slicing_arguments: list[str] | None = strawberry.field(default=("first", "last"))
    sized_fields: list[str] | None = strawberry.field(default=("edges", "nodes"))
    require_one_slicing_argument: bool | None = False


def list_size(**given: Any) -> ListSize:
    """`@listSize` that prints only what differs from the defaults in its definition; the class has those."""
    directive = ListSize(**given)
    for name in ("assumed_size", "slicing_arguments", "sized_fields", "require_one_slicing_argument"):
        if name not in given:
            setattr(directive, name, strawberry.UNSET)
    return directive


def described_enum(enum: E, *, description: str, name: str | None = None, **values: str) -> E:
    """Register a domain enum in place, with a description for each of its members; one left out is a `KeyError`."""
    strawberry.enum(enum, name=name, description=description)
    for value in enum.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = values[value.name]
    return enum


LONGEST_SEARCH = 100


def storable(text: str) -> bool:
    """Whether a database can take it: PostgreSQL's text holds every character but NUL."""
    return "\0" not in text


def searched(text: str | None) -> str | None:
    """What to look for; None when nothing was typed. Raises `BadInput`."""
    words = (text or "").strip()
    if not storable(words):
        raise BadInput("`search` holds a character that no text has.")
    if len(words) > LONGEST_SEARCH:
        raise BadInput(f"`search` takes at most {LONGEST_SEARCH} characters, got {len(words)}.")
    return words or None
