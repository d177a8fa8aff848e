"""What becomes of a hold before it is confirmed: kept longer at login, or let go."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.audit import Actor
from domain.booking import Booking, BookingStatus
from domain.patient import Patient
from domain.ports import Clock, StartWork, UnitOfWork
from domain.refusals import HoldNotFound, Refused
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.record import record


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHold:
    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient | None, hold_id: UUID) -> None:
        """Released, lapsed or never there in the end: all the same to the visitor. Raises `HoldNotFound`."""
        async with self.start_work() as work:
            own = await work.bookings.get(tenant.id, hold_id, lock=True)
            if own is None or not is_hold_of(own, patient) or own.ehr_id or own.asked:
                raise Refused(HoldNotFound())
            if own.status is BookingStatus.HELD:
                await record(
                    work, own.becomes(BookingStatus.RELEASED), actor, self.clock.now(), action="booking.release"
                )
                await work.commit()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewHold:
    start_work: StartWork
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, hold_id: UUID) -> None:
        """At login: longer, once, and from now on this patient's. A hold that is gone stays gone, without an error."""
        async with self.start_work() as work:
            own = await work.bookings.get(tenant.id, hold_id, lock=True)
            now = self.clock.now()
            if own and own.status is BookingStatus.HELD and not own.lapsed(now) and is_hold_of(own, patient):
                await extend(work, own, patient, actor, now, self.timing)
                await work.commit()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireHolds:
    """A hold that has run out is in nobody's way; to let it go is to show its time again where it is watched for."""

    start_work: StartWork
    clock: Clock

    async def __call__(self, limit: int = 200) -> int:
        async with self.start_work() as work:
            expired = await work.bookings.expire_lapsed(self.clock.now(), limit)
            if expired:
                await work.commit()
        return expired


async def extend(
    work: UnitOfWork, hold: Booking, patient: Patient | None, actor: Actor, now: datetime, timing: Timing
) -> Booking:
    """Once, for a known patient, and never beyond the cap; otherwise the hold as it is."""
    if patient is None or hold.renewed:
        return hold
    until = max(hold.expires_at, min(now + timing.hold_lifetime, hold.created_at + timing.hold_cap))
    longer = hold.extended(until, patient_id=patient.id)
    await record(work, longer, actor, now, action="booking.renew")
    return longer


def is_hold_of(hold: Booking, patient: Patient | None) -> bool:
    """A hold belongs to whoever shows its token, until a patient has signed in with it."""
    return hold.patient_id is None or (patient is not None and hold.patient_id == patient.id)
