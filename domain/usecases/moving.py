"""Moving a visit in its EHR, and what a booking is afterwards."""

from domain.audit import Actor, ActorKind
from domain.booking import Booking, BookingStatus
from domain.ports import Ehr, EhrAppointment, EhrUnavailable, Visit
from domain.refusals import Refused
from domain.timing import Timing
from domain.usecases.confirm_booking import look_again


async def make_way(ehr: Ehr, to: Visit, hold: Booking, timing: Timing) -> None:
    """What keeps the new time in the EHR is in the way of the visit that is to move there.

    Raises `EhrUnavailable`; then the move itself surely was not sent.
    """
    if not hold.held_in_ehr or hold.ehr_id is None:
        return
    try:
        await ehr.let_go(to, hold.ehr_id, timing.look_up)
    except EhrUnavailable as outage:
        raise outage.as_if(sent=False) from outage


async def move_once(ehr: Ehr, visit: Visit, to: Visit, timing: Timing) -> EhrAppointment:
    """As with booking: a refusal is believed only when the EHR does not already hold the visit at its new time."""
    try:
        return await ehr.move(visit, to, timing.book)
    except Refused:
        held = await look_again(ehr, visit, timing)
        if held and has_moved(held, to):
            return held
        raise


def has_moved(appointment: EhrAppointment, to: Visit) -> bool:
    same_practitioner = appointment.practitioner_ehr_id in (None, to.practitioner_ehr_id)
    return appointment.start == to.start and same_practitioner


def moves_by(actor: Actor, booking: Booking) -> int:
    """How many moves the booking will have had: those of staff are not the patient's.

    The hold keeps it, so that it is known who asked also when the answer is found out later.
    """
    return booking.moves_made + (actor.kind is not ActorKind.STAFF)


def moved_to(booking: Booking, hold: Booking) -> tuple[Booking, Booking]:
    """The hold let go first, then the booking in its place: the order in which the database's guard can follow."""
    moved = booking.answered(BookingStatus.BOOKED, slot=hold.slot, moves_made=hold.moves_made)
    return hold.answered(BookingStatus.RELEASED), moved
