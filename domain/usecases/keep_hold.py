"""What becomes of a hold before it is confirmed: kept longer at login, or let go."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.audit import Actor
from domain.booking import ENDED_UNBOOKED, Booking, BookingStatus
from domain.patient import Patient
from domain.ports import BookingReads, Clock, StartWork, UnitOfWork
from domain.refusals import HoldNotFound, NotFound, Refused
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.record import record


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHold:
    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient | None, hold_id: UUID) -> None:
        """Released, lapsed or never there in the end: all the same to the visitor. Raises `HoldNotFound`."""
        async with self.start_work(tenant.id) as work:
            own = await work.bookings.get(tenant.id, hold_id, lock=True)
            if own is None or not is_hold_of(own, patient) or _was_booked(own):
                raise Refused(HoldNotFound())
            if own.status is BookingStatus.HELD:
                await release(work, own, actor, self.clock.now())
                await work.commit()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewHold:
    start_work: StartWork
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, hold_id: UUID) -> None:
        """At login: longer, once, and from now on this patient's. A hold that is gone stays gone, without an error."""
        async with self.start_work(tenant.id) as work:
            now = self.clock.now()
            try:
                own = await own_holds(work, tenant, patient, hold_id, now)
            except Refused:
                return
            if kept := next((each for each in own if each.id == hold_id), None):
                await keep_only(work, kept, own, patient, actor, now, self.timing)
                await work.commit()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireHolds:
    """A hold that has run out is in nobody's way; to let it go is to show its time again where it is watched for."""

    reads: BookingReads
    start_work: StartWork
    clock: Clock

    async def __call__(self, limit: int = 200) -> int:
        """At most `limit` of each tenant's, in a unit of work for each tenant; returns how many."""
        return sum([await self._of(tenant_id, limit) for tenant_id in await self.reads.lapsed_in(self.clock.now())])

    async def _of(self, tenant_id: str, limit: int) -> int:
        async with self.start_work(tenant_id) as work:
            expired = await work.bookings.expire_lapsed(tenant_id, self.clock.now(), limit)
            if expired:
                await work.commit()
        return expired


async def own_holds(
    work: UnitOfWork, tenant: Tenant, patient: Patient | None, shown: UUID | None, now: datetime
) -> list[Booking]:
    """A visitor's live holds, locked: the signed-in patient's, and the one whose token was shown.

    Nobody else holds or confirms for that patient until this work is done. Raises `HoldNotFound` for a hold that is
    somebody else's, or none; `NotFound` when the patient was erased by another of their windows meanwhile.
    """
    if patient and not await work.bookings.queue_for_patient(tenant.id, patient.id):
        raise Refused(NotFound())
    own = list(await work.bookings.live_holds_of(tenant.id, patient.id, now)) if patient else []
    if shown is None or any(each.id == shown for each in own):
        return own
    hold = await work.bookings.get(tenant.id, shown, lock=True)
    if hold is None or not is_hold_of(hold, patient):
        raise Refused(HoldNotFound())
    return [*own, hold] if hold.status is BookingStatus.HELD and not hold.lapsed(now) else own


async def keep_only(
    work: UnitOfWork,
    kept: Booking,
    own: Sequence[Booking],
    patient: Patient | None,
    actor: Actor,
    now: datetime,
    timing: Timing,
) -> Booking:
    """Of a visitor's holds the one, kept longer once for a known patient; the others are let go."""
    for other in own:
        if other.id != kept.id:
            await release(work, other, actor, now)
    if patient is None or kept.renewed:
        return kept
    longer = kept.extended(renewed_until(kept, now, timing), patient_id=patient.id)
    await record(work, longer, actor, now, action="booking.renew")
    return longer


def renewed_until(hold: Booking, now: datetime, timing: Timing) -> datetime:
    """Another lifetime from now, never beyond the cap since it was taken, and never sooner than it was."""
    return max(hold.expires_at, min(now + timing.hold_lifetime, hold.created_at + timing.hold_cap))


async def release(work: UnitOfWork, hold: Booking, actor: Actor, now: datetime) -> None:
    await record(work, hold.becomes(BookingStatus.RELEASED), actor, now, action="booking.release")


def _was_booked(own: Booking) -> bool:
    """Or is being booked: more than a hold that was let go of, or that its EHR keeps as well."""
    only_held = own.status is BookingStatus.HELD or own.status in ENDED_UNBOOKED
    return own.asked is not None or (own.ehr_id is not None and not only_held)


def is_hold_of(hold: Booking, patient: Patient | None) -> bool:
    """A hold belongs to whoever shows its token, until a patient has signed in with it."""
    return hold.patient_id is None or (patient is not None and hold.patient_id == patient.id)
