"""Note what an agency has read of a patient, before it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from domain.audit import Actor, AuditEntry
from domain.ports import Clock, StartWork


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteReads:
    start_work: StartWork
    clock: Clock

    async def __call__(
        self, tenant_id: str, actor: Actor, patient_id: UUID, read: Mapping[str, Mapping[str, str]]
    ) -> None:
        """A line about the patient for each action in `read`, all or none; its value is the line's details."""
        now = self.clock.now()
        async with self.start_work(tenant_id) as work:
            for action, details in read.items():
                entry = AuditEntry(
                    tenant_id=tenant_id,
                    at=now,
                    actor=actor,
                    action=action,
                    target="patient",
                    target_id=patient_id,
                    details=details,
                )
                await work.audit(entry)
            await work.commit()
