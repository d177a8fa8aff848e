"""Global ids: opaque to clients, and telling us what they name."""

import re
from collections.abc import Iterable
from uuid import UUID

import strawberry

from api.errors import BadInput
from api.signing import from_text, to_text

MOST_IDS = 200
"""In one list of ids: more than any group has clinics, and little enough for one statement."""

_NAMED = re.compile(r"([A-Z][A-Za-z]{0,63}):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


def global_id(type_name: str, id: UUID) -> strawberry.ID:
    return strawberry.ID(to_text(f"{type_name}:{id}".encode()))


def parse_id(id: str, *types: str) -> UUID:
    """What an id of one of these types names. Raises `BadInput` for a malformed id or one of another type."""
    type_name, uuid = split_id(id)
    if type_name not in types:
        raise BadInput(f"Expected the id of a {' or '.join(types)}.")
    return uuid


def parse_ids(ids: Iterable[str] | None, type_name: str) -> tuple[UUID, ...]:
    """A list of ids of one type, each once; nothing for a list that was not given. Raises `BadInput`."""
    given = tuple(dict.fromkeys(ids or ()))
    if len(given) > MOST_IDS:
        raise BadInput(f"At most {MOST_IDS} ids can be asked for at once, got {len(given)}.")
    return tuple(parse_id(id, type_name) for id in given)


def split_id(id: str) -> tuple[str, UUID]:
    """The type's name and the uuid. Raises `BadInput`."""
    try:
        named = _NAMED.fullmatch(from_text(id).decode())
    except ValueError:
        named = None
    if named is None:
        raise BadInput("Not an id that this API has given out.")
    return named[1], UUID(named[2])
