"""What an operation reads of a patient through an agency's key: in the audit trail before it is told, or not told.

A patient who reads what is their own by our own frontends leaves no line, and costs none.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api.context import Context

READ_AS = {
    "Viewer": "patient.read",
    "Patient": "patient.read",
    "Consent": "patient.read",
    "Booking": "booking.read",
    "BookingChange": "booking.read",
}
"""Every type that only a patient may enter, and what its reading is called in the trail."""

COUNTED = frozenset({"booking.read"})


class Reads:
    """Of one operation: a line for each action, however many fields, aliases and bookings lead to it."""

    def __init__(self, context: "Context") -> None:
        self._context = context
        self._found: dict[str, set[Any]] = {}

    def add(self, type_name: str, found: Any) -> None:
        """What was entered: one thing, a list or connection of them, or None, which tells nothing."""
        action = READ_AS.get(type_name)
        if found is None or action is None or self._context.caller.is_own:
            return
        things = found if isinstance(found, list) else getattr(found, "built", (found,))
        self._found.setdefault(action, set()).update(each.id for each in things)

    async def settle(self) -> None:
        """To be awaited before the answer is given; whatever it raises, the answer is then not to be given."""
        if self._found:
            found, self._found = self._found, {}
            await self._note({name: _count(name, len(ids)) for name, ids in found.items()})

    async def begin(self, type_name: str) -> None:
        """The one line of a subscription, before the first of what it tells. Raises as above."""
        if not self._context.caller.is_own and (action := READ_AS.get(type_name)):
            await self._note({action: {"how": "subscription"}})

    async def _note(self, read: Mapping[str, Mapping[str, str]]) -> None:
        context = self._context
        if (viewer := await context.viewer()) is None:
            raise LookupError("nobody's data was read")  # it is the viewer's, or there is none
        await context.use.note_reads(context.tenant.id, await context.actor(), viewer.patient.id, read)


def _count(action: str, count: int) -> Mapping[str, str]:
    return {"count": str(count)} if action in COUNTED else {}
