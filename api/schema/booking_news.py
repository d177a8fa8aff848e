"""A patient's own bookings on an open screen, whoever changes them."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from api.schema.allowed import enters, owned
from api.schema.booking import Booking
from api.schema.cursors import bookings_cursor, mark_of_cursor
from api.schema.fields import Info
from api.schema.signed_in import ForPatients, RequiresPatient, signed_in
from domain.usecases.watch_bookings import BookingNews

if TYPE_CHECKING:
    from api.context import Context


@strawberry.type(
    description="One of the patient's bookings, as it is now.", directives=[owned("BookingChange"), RequiresPatient()]
)
class BookingChange:
    cursor: str = strawberry.field(description="Give it as `after` to go on from here.")
    resync: bool = strawberry.field(
        description="True, with no booking: forget what you have. Every booking that is to come follows, one by one."
    )
    booking: Booking | None = strawberry.field(description="The booking; null in the event that says `resync`.")

    @classmethod
    def of(cls, news: BookingNews, patient_id: UUID, context: "Context") -> "BookingChange":
        booking = Booking.of(news.booking, context) if news.booking else None
        return cls(cursor=bookings_cursor(context, patient_id, news.mark), resync=news.resync, booking=booking)


@strawberry.type
class BookingSubscriptions:
    @strawberry.subscription(
        extensions=[ForPatients(), enters("BookingChange")],
        description="The signed-in patient's bookings: first all that are to come, then each that changes, by the "
        "patient, the clinic or the record system. What was booked past this service, by phone say, is told from its "
        "first change here on. Nobody else's are ever shown.",
    )
    async def booking_changes(
        self,
        info: Info,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Where to go on from: the last event's `cursor`. What changed since comes first; where "
                "that cannot be told any more, everything comes anew."
            ),
        ] = strawberry.UNSET,
    ) -> AsyncGenerator[BookingChange, None]:
        context, viewer = info.context, await signed_in(info)
        own = viewer.patient.id
        mark = mark_of_cursor(context, own, after) if after else None
        async with aclosing(context.use.watch_bookings(context.tenant.id, own, mark)) as changes:
            async for news in changes:
                context.renew_loaders()
                yield BookingChange.of(news, own, context)
