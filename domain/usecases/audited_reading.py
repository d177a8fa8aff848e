"""Reading what is a person's: noted before it is told, and not told where it cannot be noted."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from domain.audit import AuditEntry
from domain.ports import StartWork, UnitOfWork

T = TypeVar("T")


async def read_noted(start_work: StartWork, entry: AuditEntry, read: Callable[[UnitOfWork], Awaitable[T]]) -> T:
    """What `read` finds, once it is certain that the trail says so.

    For staff and operators, who read on somebody else's behalf, and for whole exports. The row and the reading are one
    transaction, committed before anything is returned. What agencies read comes from several places: `NoteReads`.
    """
    async with start_work(entry.tenant_id) as work:
        await work.audit(entry)
        found = await read(work)
        await work.commit()
    return found
