"""What patients may do to bookings: confirm, move, cancel."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from api.schema.allowed import ForScope
from api.schema.booking import Booking
from api.schema.errors import Refusable, UserError
from api.schema.fields import Info, storable
from api.schema.hold import checked_key, held_id, input_hash
from api.schema.ids import parse_id
from api.schema.signed_in import FRESH_MINUTES, ForPatients, signed_in
from api.scopes import scope_of
from domain.client import Scope
from domain.refusals import InvalidInput, Refused
from domain.usecases.changing import ChangeRequest
from domain.usecases.confirm_booking import ConfirmRequest

if TYPE_CHECKING:
    from api.context import Context

LONGEST_TEXT = 1000
"""Characters of a comment or a reason: a note to the clinic, not a medical history."""

KEY = "A new UUID for each intention. Sent again with the same input it gives the same answer, and changes nothing."
ACCEPT = "True: the patient has been told of another visit at that time and wants both, where the tenant only warns."
VERSION = "The booking's `version` as it was shown."


@strawberry.input(description="What the patient agrees to.")
class ConfirmBookingInput:
    idempotency_key: strawberry.ID = strawberry.field(description=KEY)
    hold_token: str = strawberry.field(description="What `holdSlot` gave out for the time that is wanted.")
    accepted_terms_version: str = strawberry.field(
        description="The tenant's `termsVersion` that the patient has read and accepted."
    )
    sms_confirmation: bool = strawberry.field(
        description="Whether to send a text message to the number registered at the clinic."
    )
    comment: str | None = strawberry.field(
        default=strawberry.UNSET, description="A note for the clinic, at most 1,000 characters."
    )
    accept_double_booking: bool | None = strawberry.field(default=False, description=ACCEPT)


@strawberry.type(description="What came of `confirmBooking`.")
class ConfirmBookingPayload:
    booking: Booking | None = strawberry.field(
        default=None, description="The booking: BOOKED, or UNKNOWN while the record system owes an answer."
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Everything that must be put right; the hold stays meanwhile."
    )


@strawberry.input(description="Which booking to move, and to which held time.")
class RescheduleBookingInput:
    idempotency_key: strawberry.ID = strawberry.field(description=KEY)
    booking_id: strawberry.ID = strawberry.field(
        description="The visit that is wanted at another time; one of the patient's own."
    )
    expected_version: int = strawberry.field(description=VERSION)
    hold_token: str = strawberry.field(description="A hold made with this booking's id as `movingBookingId`.")
    accept_double_booking: bool | None = strawberry.field(default=False, description=ACCEPT)


@strawberry.type(description="What came of `rescheduleBooking`.")
class RescheduleBookingPayload:
    booking: Booking | None = strawberry.field(
        default=None, description="The same booking at its new time, or UNKNOWN while an answer is owed."
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it was not moved; the old time then stands untouched."
    )


@strawberry.input(description="Which visit is called off, as the patient last saw it.")
class CancelBookingInput:
    idempotency_key: strawberry.ID = strawberry.field(description=KEY)
    booking_id: strawberry.ID = strawberry.field(description="The visit that is called off; one of the patient's own.")
    expected_version: int = strawberry.field(description=VERSION)
    reason: str | None = strawberry.field(
        default=strawberry.UNSET, description="Why, for the clinic's own eyes; at most 1,000 characters."
    )


@strawberry.type(description="What came of `cancelBooking`.")
class CancelBookingPayload:
    booking: Booking | None = strawberry.field(
        default=None, description="The booking: CANCELLED, or UNKNOWN while the record system owes an answer."
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it was not cancelled; the visit then stands."
    )


def _note(text: str | None, field: str) -> str | None:
    """Raises `Refused` for one that is too long, or that cannot be kept."""
    if text and (len(text) > LONGEST_TEXT or not storable(text)):
        raise Refused(InvalidInput(("input", field), f"at most {LONGEST_TEXT} characters of text"))
    return text or None


async def _confirm(given: ConfirmBookingInput, context: "Context") -> ConfirmRequest:
    comment, key = _note(given.comment or None, "comment"), checked_key(given.idempotency_key)
    return ConfirmRequest(
        hold_id=held_id(context, given.hold_token),
        scope=await scope_of(context, key),
        key=key,
        input_hash=input_hash(given),
        terms_version=given.accepted_terms_version,
        sms=given.sms_confirmation,
        comment=comment,
        language=context.languages[0],
        accept_double_booking=bool(given.accept_double_booking),
    )


async def _reschedule(given: RescheduleBookingInput, context: "Context") -> ChangeRequest:
    key = checked_key(given.idempotency_key)
    return ChangeRequest(
        booking_id=parse_id(given.booking_id, "Booking"),
        expected_version=given.expected_version,
        scope=await scope_of(context, key),
        key=key,
        input_hash=input_hash(given),
        hold_id=held_id(context, given.hold_token),
        accept_double_booking=bool(given.accept_double_booking),
    )


async def _cancel(given: CancelBookingInput, context: "Context") -> ChangeRequest:
    reason, key = _note(given.reason or None, "reason"), checked_key(given.idempotency_key)
    return ChangeRequest(
        booking_id=parse_id(given.booking_id, "Booking"),
        expected_version=given.expected_version,
        scope=await scope_of(context, key),
        key=key,
        input_hash=input_hash(given),
        reason=reason,
    )


@strawberry.type
class BookingMutations:
    @strawberry.mutation(
        extensions=[Refusable(), ForPatients(FRESH_MINUTES), ForScope(Scope.BOOK)],
        description="Book the held time in the clinic's record system. BOOKED means that it is there. A hold that was "
        "taken in time is honoured; age, terms and the patient's other visits are looked at here.",
    )
    async def confirm_booking(
        self, info: Info, input: Annotated[ConfirmBookingInput, strawberry.argument(description="What is agreed to.")]
    ) -> ConfirmBookingPayload | None:
        context, viewer = info.context, await signed_in(info)
        booking = await context.use.confirm_booking(
            context.tenant, await context.actor(), viewer.patient, await _confirm(input, context)
        )
        return ConfirmBookingPayload(booking=Booking.of(booking, context))

    @strawberry.mutation(
        extensions=[Refusable(), ForPatients(FRESH_MINUTES), ForScope(Scope.APPOINTMENT_WRITE)],
        description="Move a booking to a held time in the same record system. It keeps its id and reference, and its "
        "old time until the new one is certain.",
    )
    async def reschedule_booking(
        self, info: Info, input: Annotated[RescheduleBookingInput, strawberry.argument(description="What goes where.")]
    ) -> RescheduleBookingPayload | None:
        context, viewer = info.context, await signed_in(info)
        booking = await context.use.reschedule_booking(
            context.tenant, await context.actor(), viewer.patient, await _reschedule(input, context)
        )
        return RescheduleBookingPayload(booking=Booking.of(booking, context))

    @strawberry.mutation(
        extensions=[Refusable(), ForPatients(FRESH_MINUTES), ForScope(Scope.APPOINTMENT_WRITE)],
        description="Cancel a booking in the clinic's record system, while its `cancellation` allows it.",
    )
    async def cancel_booking(
        self,
        info: Info,
        input: Annotated[CancelBookingInput, strawberry.argument(description="Which visit is called off, and why.")],
    ) -> CancelBookingPayload | None:
        context, viewer = info.context, await signed_in(info)
        booking = await context.use.cancel_booking(
            context.tenant, await context.actor(), viewer.patient, await _cancel(input, context)
        )
        return CancelBookingPayload(booking=Booking.of(booking, context))
