"""One change of a booking, written down whole: the row, its history, the audit trail, the outbox and who must hear."""

from collections.abc import Mapping
from datetime import datetime

from domain.audit import Actor, AuditEntry
from domain.booking import ENDED_UNBOOKED, Booking, BookingStep
from domain.changes import change_of
from domain.events import Event, EventKind
from domain.ports import StaleBooking, UnitOfWork, let_go_later


async def record(
    work: UnitOfWork,
    booking: Booking,
    actor: Actor,
    now: datetime,
    *,
    action: str,
    event: EventKind | None = None,
    is_new: bool = False,
    details: Mapping[str, str] | None = None,
) -> bool:
    """Everything in the caller's transaction. False when the database's guard refuses a new hold its time.

    `details` are what the audit trail is to say besides.
    """
    accepted = await work.bookings.hold(booking, now) if is_new else await work.bookings.save(booking)
    if not accepted and not is_new:
        raise StaleBooking(booking.id)  # its time is kept already, unless somebody else changed the row
    if not accepted:
        return False
    await work.bookings.add_step(booking, _step(booking, actor, now))
    work.hint(change_of(booking, now))
    await _let_go(work, booking, now)
    await work.audit(
        AuditEntry(
            tenant_id=booking.tenant_id,
            at=now,
            actor=actor,
            action=action,
            target="booking",
            target_id=booking.id,
            details={"status": booking.status, "version": str(booking.version), **(details or {})},
        )
    )
    if event:
        told = Event(tenant_id=booking.tenant_id, kind=event, booking_id=booking.id, version=booking.version, at=now)
        await work.tell(told)
    return True


def _step(booking: Booking, actor: Actor, now: datetime) -> BookingStep:
    status, start = booking.status, booking.slot.start
    return BookingStep(at=now, version=booking.version, status=status, actor=actor.kind, start=start)


async def _let_go(work: UnitOfWork, booking: Booking, now: datetime) -> None:
    """What its EHR keeps for it is in everybody's way, once it has ended without being booked."""
    if booking.held_in_ehr and booking.status in ENDED_UNBOOKED:
        await let_go_later(work.jobs, booking, now)
