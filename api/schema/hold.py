"""A time kept for a visitor: taken, looked at again, let go."""

from dataclasses import fields
from datetime import datetime
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.errors import BadInput
from api.schema.allowed import ForScope, enters, owned
from api.schema.errors import Refusable, UserError
from api.schema.fields import Info, described_enum, storable
from api.schema.ids import parse_id
from api.schema.price import Price, price_on_confirmation
from api.schema.slot import Slot, slot_of_id
from api.scopes import scope_of
from api.signing import Tampered
from domain.booking import Booking, BookingStatus
from domain.client import Scope
from domain.refusals import CampaignInvalid, HoldNotFound, InvalidInput, Refused, TreatmentNotOffered
from domain.usecases.take_hold import HoldRequest

if TYPE_CHECKING:
    from api.context import Context

LONGEST_KEY = 200


class HoldScope(Enum):
    LOCAL = "LOCAL"
    EHR = "EHR"


described_enum(
    HoldScope,
    description="How far a hold reaches.",
    LOCAL="Kept from everybody who books through this API; the clinic's own staff may still take the time.",
    EHR="Kept in the clinic's record system too, from everybody.",
)


@strawberry.type(
    description="A time kept for a visitor who signs in and decides. Whoever shows its token may use it, until a "
    "patient has signed in with it; then only that patient.",
    directives=[owned("Hold")],
)
class Hold:
    token: str = strawberry.field(description="Opaque; keep it over the login and give it to `confirmBooking`.")
    slot: Slot = strawberry.field(description="What is kept, with a concrete practitioner.")
    expires_at: datetime = strawberry.field(description="When it lapses, unless it is confirmed before.")
    server_time: datetime = strawberry.field(
        description="What time it is here, so that a countdown does not depend on the visitor's clock."
    )
    scope: HoldScope = strawberry.field(description="From whom the time is kept.")
    source: strawberry.Private[Booking]

    @classmethod
    def of(cls, hold: Booking, context: "Context") -> "Hold":
        now = context.clock.now()
        return cls(
            token=context.signer.seal(_purpose(context), hold.id.bytes),
            slot=Slot.of(hold.slot, context, hold.created_at),
            expires_at=hold.expires_at,
            server_time=now,
            scope=HoldScope.EHR if hold.held_in_ehr else HoldScope.LOCAL,
            source=hold,
        )

    @strawberry.field(description="What the visit will cost as it will be booked; null where no prices are shown.")
    async def price(self, info: Info) -> Price | None:
        offer = await info.context.loaders.offer.load(self.source.slot.offer_id)
        return price_on_confirmation(offer.price, info.context) if offer else None


@strawberry.input(description="Which time to keep, and for whom it replaces what.")
class HoldSlotInput:
    idempotency_key: strawberry.ID = strawberry.field(
        description="A new UUID for each intention. Sent again with the same input it gives the same hold."
    )
    slot_id: strawberry.ID = strawberry.field(
        description="A slot's `id`, from `availability` or an error's alternatives."
    )
    campaign_code: str | None = strawberry.field(
        default=strawberry.UNSET, description="A campaign's code; one that does not hold is refused here."
    )
    any_practitioner: bool | None = strawberry.field(
        default=False,
        description="True: the time is what matters. It is held with whoever is free then, chosen fairly.",
    )
    hold_token: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The visitor's present hold, swapped for the new one in one step. With that hold's own slot it is "
        "kept longer instead, once, after login. A signed-in patient has one hold in all, shown or not.",
    )
    moving_booking_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Holds the time for moving this booking of the signed-in patient."
    )


@strawberry.type(description="What came of `holdSlot`.")
class HoldSlotPayload:
    hold: Hold | None = strawberry.field(default=None, description="The time, kept; null when it was refused.")
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it was refused; empty when it was not."
    )


@strawberry.input(description="Which kept time to let go of.")
class ReleaseHoldInput:
    token: str = strawberry.field(description="What `holdSlot` gave out.")


@strawberry.type(description="What came of `releaseHold`.")
class ReleaseHoldPayload:
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why it could not be let go; empty when the time is free again."
    )


def _purpose(context: "Context") -> str:
    return f"hold:{context.tenant.id}"


def hold_id_of(context: "Context", token: str) -> UUID:
    """Raises `BadInput` for a token that this tenant has not given out."""
    try:
        return UUID(bytes=context.signer.open(_purpose(context), token))
    except (Tampered, ValueError) as spoilt:
        raise BadInput("That is not the token of a hold at this tenant.") from spoilt


def held_id(context: "Context", token: str) -> UUID:
    """As above for mutations, whose errors stand in the payload. Raises `Refused`."""
    try:
        return hold_id_of(context, token)
    except BadInput as spoilt:
        raise Refused(HoldNotFound()) from spoilt


def checked_key(key: str) -> str:
    """Raises `Refused` for a key that cannot tell one intention from another."""
    if not key.strip() or len(key) > LONGEST_KEY or not storable(key):
        raise Refused(InvalidInput(("input", "idempotencyKey"), f"between 1 and {LONGEST_KEY} characters of text"))
    return key


def input_hash(given: Any) -> str:
    """Of the whole input but the key itself: whatever is sent another time is another request. Absent is as null."""
    said = {f.name: getattr(given, f.name) or None for f in fields(given) if f.name != "idempotency_key"}
    return sha256(repr(sorted(said.items())).encode()).hexdigest()


async def hold_slot(context: "Context", given: HoldSlotInput) -> Hold:
    """Raises `Refused`, or `BadInput` for a slot id that is not ours."""
    key = checked_key(given.idempotency_key)
    slot = await slot_of_id(context, given.slot_id)
    if slot is None:
        raise Refused(TreatmentNotOffered())
    if given.campaign_code:
        raise Refused(CampaignInvalid())  # no campaign exists yet that a code could open
    moving = given.moving_booking_id or None
    replaces = held_id(context, given.hold_token) if given.hold_token else None
    viewer = await context.viewer()
    patient = viewer.patient if viewer else None
    request = HoldRequest(
        slot=slot,
        scope=await scope_of(context, key),
        key=key,
        input_hash=input_hash(given),
        may_hold=partial(context.may_hold, patient.id if patient else None, replaces),
        any_practitioner=bool(given.any_practitioner),
        replaces=replaces,
        moving_booking_id=parse_id(moving, "Booking") if moving else None,
    )
    held = await context.use.hold_slot(context.tenant, await context.actor(), patient, request)
    return Hold.of(held, context)


@strawberry.type
class HoldQueries:
    @strawberry.field(
        extensions=[enters("Hold")],
        description="The hold behind a token, after a login redirect say; null once it has lapsed or become a booking.",
    )
    async def hold(
        self, info: Info, token: Annotated[str, strawberry.argument(description="What `holdSlot` gave out.")]
    ) -> Hold | None:
        context = info.context
        id = hold_id_of(context, token)
        found = (await context.booking_reads.get(context.tenant.id, [id])).get(id)
        if found is None or found.status is not BookingStatus.HELD or found.lapsed(context.clock.now()):
            return None
        viewer = await context.viewer()
        if found.patient_id and (viewer is None or viewer.patient.id != found.patient_id):
            return None
        return Hold.of(found, context)


@strawberry.type
class HoldMutations:
    @strawberry.mutation(
        extensions=[Refusable(), ForScope(Scope.BOOK)],
        description="Keep a time while the visitor signs in and decides. The record system is asked again first; when "
        "somebody was faster, `SlotTakenError` carries the nearest free times. Needs no login.",
    )
    async def hold_slot(
        self, info: Info, input: Annotated[HoldSlotInput, strawberry.argument(description="Which time, and how.")]
    ) -> HoldSlotPayload | None:
        return HoldSlotPayload(hold=await hold_slot(info.context, input))

    @strawberry.mutation(
        extensions=[Refusable(), ForScope(Scope.BOOK)],
        description="Let go of a held time, so that others can have it. Doing it twice is no error.",
    )
    async def release_hold(
        self,
        info: Info,
        input: Annotated[ReleaseHoldInput, strawberry.argument(description="What to let go of, named by its token.")],
    ) -> ReleaseHoldPayload | None:
        context = info.context
        viewer = await context.viewer()
        await context.use.release_hold(
            context.tenant,
            await context.actor(),
            viewer.patient if viewer else None,
            held_id(context, input.token),
        )
        return ReleaseHoldPayload()
