"""Bookings as patients see them."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.messages import message
from api.schema.allowed import enters, may_see, owned
from api.schema.errors import ChangeRefusal  # where it is described; must come before it is used
from api.schema.fields import Info, described_enum
from api.schema.ids import global_id
from api.schema.node import LOOK_UPS, Node, find
from api.schema.pages import Connection, Edge
from api.schema.price import Price, price_on_confirmation
from api.schema.scalars import URL
from api.schema.signed_in import RequiresPatient
from api.schema.source import SourceStatus
from domain import booking as domain
from domain import windows
from domain.audit import ActorKind
from domain.booking import BookingStatus
from domain.own_booking import OwnBooking
from domain.rules import BookingRules, rules_of
from domain.text import said_in

if TYPE_CHECKING:
    from api.context import Context
    from api.schema.clinic import Clinic
    from api.schema.practitioner import Practitioner
    from api.schema.treatment import Treatment

described_enum(
    BookingStatus,
    description="Where a booking stands. New ones may come: keep a default branch.",
    HELD="Kept for a visitor. The clinic's record system knows of it only where `Hold.scope` is `EHR`.",
    CONFIRMING="The record system is being asked to book it.",
    UNKNOWN="The record system did not answer. The time is kept, and the answer is being found out: tell the patient "
    "that it is being confirmed.",
    BOOKED="In the clinic's record system: the patient has the time.",
    CANCELLING="The record system is being asked to cancel it.",
    CANCELLED="Cancelled, there and here.",
    FULFILLED="The visit has taken place.",
    NO_SHOW="The patient did not come.",
    FAILED="The record system said no; nothing was booked.",
    EXPIRED="A hold that lapsed.",
    RELEASED="A hold that was let go of.",
)
described_enum(
    ActorKind,
    name="StepActor",
    description="Who changed a booking.",
    PATIENT="The patient, or the visitor who was to become one.",
    STAFF="Somebody in the back office.",
    AGENCY="A system with an API key.",
    EHR="Somebody at the clinic, in its own record system.",
    SYSTEM="This service by itself: a hold that lapsed, an answer that was found out.",
)


@strawberry.type(description="Whether the patient may change a booking right now, and until when.")
class ChangeRight:
    allowed: bool = strawberry.field(description="True while the change can be made online.")
    until: datetime | None = strawberry.field(
        description="The last moment at which it can or could be made; null when no moment would do."
    )
    refusal: ChangeRefusal | None = strawberry.field(description="Why not, as a stable word; null when it is allowed.")
    message: str | None = strawberry.field(description="Why not, in the reader's language; null when it is allowed.")

    @classmethod
    def of(cls, right: windows.ChangeRight, context: "Context", phone: str | None) -> "ChangeRight":
        words = message(right.refusal, context.languages) if right.refusal else None
        if words and phone and right.refusal is ChangeRefusal.MANAGED_EXTERNALLY:
            words += f" {message('CALL_THE_CLINIC', context.languages, phone=phone)}"
        return cls(allowed=right.allowed, until=right.until, refusal=right.refusal, message=words)


@strawberry.type(description="One line of a booking's history.")
class BookingStep:
    at: datetime = strawberry.field(description="When it happened.")
    status: BookingStatus = strawberry.field(description="Where the booking stood from then on.")
    actor: ActorKind = strawberry.field(description="Who brought it about.")
    start: datetime | None = strawberry.field(description="When the visit was to begin from then on.")


@strawberry.type(
    description="A patient's claim on a time, from confirmation to visit.",
    directives=[owned("Booking"), RequiresPatient()],
)
class Booking(Node):
    reference: str | None = strawberry.field(
        description="Short and speakable, for the phone; null for what was booked past this service, by phone say."
    )
    status: BookingStatus = strawberry.field(description="Where it stands.")
    version: int = strawberry.field(
        description="Grows with every change; give it as `expectedVersion`, so that nobody changes what they have not "
        "seen."
    )
    start: datetime = strawberry.field(description="When the visit begins, in the clinic's own UTC offset.")
    end: datetime = strawberry.field(description="When the visit is over, in the clinic's own UTC offset.")
    comment: str | None = strawberry.field(description="What the patient told the clinic when booking.")
    created_at: datetime | None = strawberry.field(
        description="When the time was first held; null where nobody says when it was booked."
    )
    sms_confirmation_to: str | None = strawberry.field(
        description="The end of the number that a confirmation goes to, registered at the clinic; null when none was "
        "asked for."
    )
    calendar_url: URL = strawberry.field(description="The visit as an iCalendar file, for the patient's own calendar.")
    source: strawberry.Private[domain.Booking]
    own: strawberry.Private[OwnBooking]

    @classmethod
    def of(cls, booking: domain.Booking, context: "Context") -> "Booking":
        """One of ours."""
        return cls.of_own(OwnBooking(booking=booking), context)

    @classmethod
    def of_own(cls, own: OwnBooking, context: "Context") -> "Booking":
        booking = own.booking
        return cls(
            id=global_id("Booking", booking.id),
            reference=None if booking.made_elsewhere else booking.reference,
            status=booking.status,
            version=booking.version,
            start=booking.slot.start,
            end=booking.slot.end,
            comment=booking.comment,
            created_at=booking.created_at if booking.created_at > domain.LONG_AGO else None,
            sms_confirmation_to=booking.sms_to,
            calendar_url=URL(f"{context.public_url}/bookings/{booking.id}.ics?tenant={context.tenant.slug}"),
            source=booking,
            own=own,
        )

    @strawberry.field(description="What to call it: the treatment's title, else the record system's words.")
    async def title(self, info: Info) -> str:
        return await title_of(self.own, info.context)

    @strawberry.field(
        extensions=[enters("Clinic")],
        description="Where the patient goes; null when the clinic is not, or no longer, in the catalogue.",
    )
    async def clinic(self, info: Info) -> Annotated["Clinic", strawberry.lazy("api.schema.clinic")] | None:
        return await find("Clinic", info.context, self.source.slot.clinic_id)

    @strawberry.field(
        extensions=[enters("Treatment")],
        description="What is done; null when it is not, or no longer, in the catalogue.",
    )
    async def treatment(self, info: Info) -> Annotated["Treatment", strawberry.lazy("api.schema.treatment")] | None:
        return await find("Treatment", info.context, self.source.slot.treatment_id)

    @strawberry.field(
        extensions=[enters("Practitioner")],
        description="Who does it; null when they are not, or no longer, in the catalogue.",
    )
    async def practitioner(
        self, info: Info
    ) -> Annotated["Practitioner", strawberry.lazy("api.schema.practitioner")] | None:
        return await find("Practitioner", info.context, self.source.slot.practitioner_id)

    @strawberry.field(description="What it costs; null where the tenant shows no prices with bookings.")
    async def price(self, info: Info) -> Price | None:
        offer = await info.context.loaders.offer.load(self.source.slot.offer_id)
        return price_on_confirmation(offer.price, info.context) if offer else None

    @strawberry.field(description="Whether the patient may cancel it online now.")
    async def cancellation(self, info: Info) -> ChangeRight:
        return await self._right(info.context, self.own.cancellation)

    @strawberry.field(description="Whether the patient may move it online now.")
    async def rescheduling(self, info: Info) -> ChangeRight:
        return await self._right(info.context, self.own.rescheduling)

    async def _right(
        self, context: "Context", of: Callable[[BookingRules, datetime], windows.ChangeRight]
    ) -> ChangeRight:
        """By the kinder of the rules it was made under and the clinic's present ones."""
        clinic = await context.loaders.clinic.load(self.source.slot.clinic_id)
        rules = rules_of(context.tenant.rules, clinic.rules) if clinic else self.source.rules
        return ChangeRight.of(of(rules, context.clock.now()), context, clinic.phone if clinic else None)

    @strawberry.field(
        description="What has happened to it, oldest first; empty for what was booked past this service and has not "
        "been changed here."
    )
    async def history(self, info: Info) -> list[BookingStep]:
        steps = await info.context.loaders.steps.load(self.source.id) or []
        zone = self.source.slot.start.tzinfo
        return [
            BookingStep(at=s.at, status=s.status, actor=ActorKind(s.actor), start=s.start.astimezone(zone))
            for s in steps
        ]


async def title_of(own: OwnBooking, context: "Context") -> str:
    treatment = await context.loaders.treatment.load(own.booking.slot.treatment_id)
    known = treatment and said_in(treatment.title, context.languages)
    return known or (own.elsewhere and own.elsewhere.title) or message("A_VISIT", context.languages)


async def own_booking(context: "Context", id: UUID) -> OwnBooking | None:
    """The signed-in patient's booking, also one that only a record system knows.

    Somebody else's is as little there as one that never was, and so is any for a client without the scope.
    """
    viewer = await context.viewer() if may_see(context, "Booking") else None
    booking = await context.loaders.booking.load(id) if viewer else None
    if viewer is None:
        return None
    if booking is None:
        own, _ = await context.use.find_bookings.one(context.tenant, viewer.patient, id)
        return own
    return OwnBooking(booking=booking) if booking.patient_id == viewer.patient.id else None


async def _own(context: "Context", id: UUID) -> Booking | None:
    own = await own_booking(context, id)
    return Booking.of_own(own, context) if own and not own.booking.moves_booking_id else None


LOOK_UPS["Booking"] = _own


@strawberry.type(description="A visit's place in the patient's own list.")
class PatientBookingEdge(Edge[Booking]):
    pass


@strawberry.type(description="A patient's bookings: upcoming ones soonest first, previous ones latest first.")
class PatientBookingConnection(Connection[Booking, PatientBookingEdge]):
    sources: list[SourceStatus] = strawberry.field(
        description="The record systems that were asked beside our own store; empty when none was."
    )

    def edge(self, item: Any, node: Any, cursor: str) -> PatientBookingEdge:
        return PatientBookingEdge(node=node, cursor=cursor)
