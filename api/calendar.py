"""A booking as an iCalendar file (RFC 5545), for the patient's own calendar."""

from icalendar import Calendar, Event
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.context import Context
from api.links import NEVER_KEPT, MakeContext, link
from api.schema.booking import own_booking, title_of
from domain.booking import ONLY_HELD, Booking, BookingStatus
from domain.own_booking import OwnBooking
from domain.patient import Patient
from domain.usecases.sign_in import Viewer

CALENDAR = "text/calendar; charset=utf-8"
STANDING = {
    BookingStatus.CONFIRMING: "TENTATIVE",
    BookingStatus.UNKNOWN: "TENTATIVE",
    BookingStatus.CANCELLED: "CANCELLED",
    BookingStatus.FAILED: "CANCELLED",  # it may be in a calendar from when it was not known
}
"""An event's STATUS; every other booking is CONFIRMED."""


def calendar_route(make_context: MakeContext) -> Route:
    """`/bookings/{id}.ics`, for the signed-in patient; somebody else's booking is not found."""

    async def download(request: Request, context: Context, viewer: Viewer) -> Response | None:
        own = await own_booking(context, request.path_params["id"])
        if own is None or not _is_visit_of(viewer.patient, own.booking):
            return None
        context.reads.add("Booking", own.booking)
        await context.reads.settle()
        name = "visit" if own.booking.made_elsewhere else own.booking.reference
        headers = {"Content-Disposition": f'attachment; filename="{name}.ics"', **NEVER_KEPT}
        return Response(await _calendar(own, context), media_type=CALENDAR, headers=headers)

    return link("/bookings/{id:uuid}.ics", make_context, download)


def _is_visit_of(patient: Patient, booking: Booking) -> bool:
    """A hold is no visit yet, and one made to move a booking never becomes one."""
    only_held = booking.status in ONLY_HELD
    return booking.patient_id == patient.id and not only_held and booking.moves_booking_id is None


async def _calendar(own: OwnBooking, context: Context) -> bytes:
    """The booking's version is the SEQUENCE, so that a calendar takes the newest whichever arrives last."""
    booking = own.booking
    clinic = await context.loaders.clinic.load(booking.slot.clinic_id)
    event = Event()
    event.add("uid", f"{booking.id}@{context.tenant.slug}")
    event.add("sequence", booking.version)
    event.add("dtstamp", context.clock.now())
    event.add("dtstart", booking.slot.span.start)
    event.add("dtend", booking.slot.span.end)
    event.add("summary", await title_of(own, context))
    event.add("status", STANDING.get(booking.status, "CONFIRMED"))
    if clinic:
        event.add("location", ", ".join([clinic.name, *([clinic.address.formatted] if clinic.address else [])]))
    calendar = Calendar()
    calendar.add("prodid", "-//ITB//booking//EN")
    calendar.add("version", "2.0")
    calendar.add_component(event)
    return bytes(calendar.to_ical())
