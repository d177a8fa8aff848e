"""Who did what in a tenant, for those who must answer for it: page by page, and itself noted."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.audit import Actor, AuditEntry
from domain.pages import Page, PageRequest
from domain.ports import AuditFilter, Clock, StartWork, UnitOfWork
from domain.usecases.audited_reading import read_noted

MOST_ENTRIES = 500
"""A page's."""

THE_TRAIL = UUID(int=0)
"""What a line on reading the trail is about: no single row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAudit:
    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant_id: str, actor: Actor, where: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        """Oldest first, at most `MOST_ENTRIES`. The first page of a reading leaves a line of its own."""
        if page.size > MOST_ENTRIES:
            raise ValueError(f"at most {MOST_ENTRIES} entries a page")

        async def read(work: UnitOfWork) -> Page[AuditEntry]:
            return await work.audit_log.find(tenant_id, where, page)

        if page.after is None and page.before is None:
            return await read_noted(self.start_work, self._entry(tenant_id, actor, where), read)
        async with self.start_work(tenant_id) as work:
            return await read(work)

    def _entry(self, tenant_id: str, actor: Actor, where: AuditFilter) -> AuditEntry:
        asked = {"since": _told(where.since), "until": _told(where.until), "of": where.action or ""}
        return AuditEntry(
            tenant_id=tenant_id,
            at=self.clock.now(),
            actor=actor,
            action="audit.read",
            target="audit",
            target_id=where.target_id or THE_TRAIL,
            details={name: value for name, value in asked.items() if value},
        )


def _told(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
