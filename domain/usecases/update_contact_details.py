"""How a patient wants to be reached, in their own words, which no login writes over."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from domain.audit import Actor, AuditEntry
from domain.patient import Patient
from domain.ports import Clock, StartWork
from domain.refusals import NotFound, Refused
from domain.tenant import Tenant

TYPED = ("phone", "email", "language")
"""All that a patient may type; who they are is vouched for by others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateContactDetails:
    start_work: StartWork
    clock: Clock

    async def __call__(
        self, tenant: Tenant, actor: Actor, patient: Patient, typed: Mapping[str, str | None]
    ) -> Patient:
        """`typed` has what was said of `TYPED`: None takes it away, and it stays away. Raises `Refused`."""
        async with self.start_work(tenant.id) as work:
            await work.bookings.queue_for_patient(tenant.id, patient.id)
            known = await work.patients.get(tenant.id, patient.id)
            if known is None:
                raise Refused(NotFound())  # erased by another of their windows meanwhile
            edited = tuple(name for name in TYPED if name in typed or name in known.edited)
            said = {name: typed[name] for name in TYPED if name in typed}
            current = replace(known, edited=edited, **said)  # type: ignore[arg-type]
            if current != known:
                await work.patients.save(current)
                await work.audit(
                    AuditEntry(
                        tenant_id=tenant.id,
                        at=self.clock.now(),
                        actor=actor,
                        action="patient.contact_details",
                        target="patient",
                        target_id=patient.id,
                        details={"fields": " ".join(said)},
                    )
                )
                await work.commit()
        return current
