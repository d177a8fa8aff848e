"""The end of a tenant: its keys are deleted, with what they sealed, and copies of that are never read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from domain.audit import SYSTEM, Actor, AuditEntry
from domain.ports import Clock, StartWork

ALL_ITS_KEYS = UUID(int=0)
"""What the line in the trail is about: no single row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetKeys:
    """It opens nothing, and so needs no master key: whoever has lost theirs can still tidy up."""

    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant_id: str, actor: Actor = SYSTEM) -> tuple[int, Mapping[str, int]]:
        """How many keys are gone, and how many rows of which tables have nothing of anybody in them any more."""
        async with self.start_work(tenant_id) as work:
            emptied = await work.keys.sealed_rows(tenant_id)
            gone = await work.keys.forget(tenant_id)
            entry = AuditEntry(
                tenant_id=tenant_id,
                at=self.clock.now(),
                actor=actor,
                action="tenant_key.forgotten",
                target="tenant_key",
                target_id=ALL_ITS_KEYS,
                details={"keys": str(gone), **{table: str(count) for table, count in emptied.items()}},
            )
            await work.audit(entry)
            await work.commit()
        return gone, emptied
