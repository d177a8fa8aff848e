"""Whose idempotency key it is: the client's, and within it the viewer's."""

from typing import TYPE_CHECKING
from uuid import UUID

from domain.idempotency import scope

if TYPE_CHECKING:
    from api.context import Context


async def scope_of(context: "Context", key: str) -> str:
    """Nobody's key meets anybody else's, whatever they choose; see docs/decisions/0009 for those without a name."""
    viewer = await context.viewer()
    if viewer:
        return scope(context.caller.id, viewer.patient.id)
    return scope(context.caller.id, _unnamed(context, key))


def _unnamed(context: "Context", key: str) -> str:
    """Nobody guesses a UUID, so a phone may change networks between two tries; a short key may be anybody's."""
    try:
        UUID(key)
        return "anonymous"
    except ValueError:
        return f"visitor:{context.visitor}"
