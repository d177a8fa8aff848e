"""Things that can be fetched again by their id."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import strawberry

from api.errors import BadInput
from api.schema.allowed import may_see
from api.schema.ids import split_id

if TYPE_CHECKING:
    from api.context import Context

MOST_NODES = 100


@strawberry.interface(description="Something that keeps its id and can be fetched again by it, with `node`.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="Opaque, and the same for as long as the thing exists. Caches may use it alone as a key."
    )


LOOK_UPS: dict[str, Callable[["Context", UUID], Awaitable[Node | None]]] = {}
"""How each type that implements `Node` is found: its GraphQL name → the look-up, which answers None for what is not
there or not the viewer's to see. Modules add their own types here."""


async def find(type_name: str, context: "Context", id: UUID) -> Any:
    """One of the types above without importing its module, or None."""
    return await LOOK_UPS[type_name](context, id)


async def there(type_name: str, context: "Context", id: UUID) -> Any:
    """One that our own data refers to, so that it must exist."""
    if (found := await find(type_name, context, id)) is None:
        raise LookupError(f"{type_name} {id} is referred to and gone")
    return found


async def node(context: "Context", id: str) -> Node | None:
    """Raises `BadInput` for an id that is malformed or of a type that cannot be fetched so."""
    type_name, uuid = split_id(id)
    if type_name not in LOOK_UPS:
        raise BadInput("Nothing of this id's type can be fetched by id.")
    if not may_see(context, type_name):
        return None
    found = await find(type_name, context, uuid)
    context.reads.add(type_name, found)
    return found


async def nodes(context: "Context", ids: list[strawberry.ID]) -> list[Node | None]:
    """In the order of the ids, null where there is nothing. Raises `BadInput`, also for too many."""
    if len(ids) > MOST_NODES:
        raise BadInput(f"At most {MOST_NODES} nodes can be fetched at once, got {len(ids)}.")
    return list(await asyncio.gather(*(node(context, id) for id in ids)))
