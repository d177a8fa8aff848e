"""A booking as an iCalendar file (RFC 5545), for the patient's own calendar."""

from collections.abc import Awaitable, Callable

from icalendar import Calendar, Event
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.context import Context
from domain.booking import Booking, BookingStatus
from domain.text import said_in

CALENDAR = "text/calendar; charset=utf-8"
NOT_FOUND = Response("There is no such booking of yours.\n", status_code=404, media_type="text/plain")


def calendar_route(make_context: Callable[[Request, Response, str], Awaitable[Context]]) -> Route:
    """`/bookings/{id}.ics`, for the signed-in patient; somebody else's booking is not found."""

    async def download(request: Request) -> Response:
        response = Response(media_type=CALENDAR)
        context = await make_context(request, response, "calendar")
        viewer, id = await context.viewer(), request.path_params["id"]
        booking = await context.loaders.booking.load(id) if viewer else None
        if viewer is None or booking is None or booking.patient_id != viewer.patient.id:
            return NOT_FOUND
        file = await _calendar(booking, context)
        headers = {
            "Content-Disposition": f'attachment; filename="{booking.reference}.ics"',
            "Cache-Control": "no-store",
        }
        return Response(file, media_type=CALENDAR, headers=headers)

    return Route("/bookings/{id:uuid}.ics", download)


async def _calendar(booking: Booking, context: Context) -> bytes:
    """The booking's version is the SEQUENCE, so that a calendar takes the newest whichever arrives last."""
    clinic = await context.loaders.clinic.load(booking.slot.clinic_id)
    treatment = await context.loaders.treatment.load(booking.slot.treatment_id)
    event = Event()
    event.add("uid", f"{booking.id}@{context.tenant.slug}")
    event.add("sequence", booking.version)
    event.add("dtstamp", context.clock.now())
    event.add("dtstart", booking.slot.span.start)
    event.add("dtend", booking.slot.span.end)
    event.add("summary", (treatment and said_in(treatment.title, context.languages)) or booking.reference)
    cancelled = booking.status is BookingStatus.CANCELLED
    event.add("status", "CANCELLED" if cancelled else "CONFIRMED")
    if clinic:
        event.add("location", ", ".join([clinic.name, *([clinic.address.formatted] if clinic.address else [])]))
    calendar = Calendar()
    calendar.add("prodid", "-//ITB//booking//EN")
    calendar.add("version", "2.0")
    calendar.add_component(event)
    return bytes(calendar.to_ical())
