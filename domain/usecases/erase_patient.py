"""Forget a patient who asks for it (GDPR article 17), and say what is not ours to forget."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.audit import Actor, AuditEntry
from domain.booking import ASKING, Booking, BookingStatus
from domain.patient import Patient
from domain.ports import Clock, StaleBooking, StartWork, UnitOfWork
from domain.refusals import InProgress, Refused
from domain.tenant import Tenant
from domain.usecases.keep_hold import release


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """`standing`: visits still to come. They stay in the record system, and the clinic expects the patient."""

    standing: Sequence[Booking] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasePatient:
    """One transaction: there is no moment at which half a patient is left.

    No key is remembered, since it would be the patient's: who asks twice is nobody the second time.
    """

    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient) -> Erased:
        """Raises `Refused` (IN_PROGRESS) while a record system owes an answer that is about this patient."""
        try:
            return await self._erase(tenant, actor, patient)
        except StaleBooking:
            raise Refused(InProgress()) from None  # one of theirs is being changed at this moment

    async def _erase(self, tenant: Tenant, actor: Actor, patient: Patient) -> Erased:
        async with self.start_work(tenant.id) as work:
            now = self.clock.now()
            await work.bookings.queue_for_patient(tenant.id, patient.id)
            if await work.patients.get(tenant.id, patient.id) is None:
                return Erased()  # by another of their windows meanwhile
            bookings = await work.traces.bookings(tenant.id, patient.id)
            if any(each.asked or each.status in ASKING for each in bookings):
                raise Refused(InProgress())
            let_go = await _let_go(work, bookings, actor, now)
            await work.traces.erase(tenant.id, patient.id, now, let_go)
            await work.audit(
                AuditEntry(
                    tenant_id=tenant.id,
                    at=now,
                    actor=actor,
                    action="patient.erased",
                    target="patient",
                    target_id=patient.id,
                    details={"bookings": str(len(bookings))},
                )
            )
            await work.commit()
        return Erased(standing=[each for each in bookings if _is_to_come(each, now)])


async def _let_go(work: UnitOfWork, bookings: Sequence[Booking], actor: Actor, now: datetime) -> list[UUID]:
    """Nobody's by then: what is told of it must not name the patient any more."""
    held = [each for each in bookings if each.status is BookingStatus.HELD]
    for hold in held:
        await release(work, hold.nobodys(), actor, now)
    return [each.id for each in held]


def _is_to_come(booking: Booking, now: datetime) -> bool:
    return booking.status is BookingStatus.BOOKED and booking.slot.span.end > now
