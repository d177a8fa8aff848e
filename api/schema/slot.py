"""Times that can be held, and the ids that carry them."""

import json
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import strawberry

from api.errors import BadInput
from api.schema.allowed import enters
from api.schema.fields import Info
from api.schema.node import there
from api.schema.price import Price, price_on_treatments
from api.signing import Signer, Tampered
from domain import slot as domain
from domain.offer import Offer

if TYPE_CHECKING:
    from api.context import Context
    from api.schema.clinic import Clinic
    from api.schema.practitioner import Practitioner
    from api.schema.treatment import Treatment

_HEAD = struct.Struct(">16sqi")


def slot_id(signer: Signer, tenant_id: str, slot: domain.Slot) -> strawberry.ID:
    """Self-contained, deterministic and authenticated: what an EHR is asked for is never taken from a client's word."""
    span = slot.span
    length = int((span.end - span.start).total_seconds())
    head = _HEAD.pack(slot.offer_id.bytes, int(span.start.timestamp()), length)
    tail = json.dumps([slot.reference, *slot.resources], ensure_ascii=False, separators=(",", ":")).encode()
    return strawberry.ID(signer.seal(f"slot:{tenant_id}", head + tail))


async def slot_of_id(context: "Context", id: str) -> domain.Slot | None:
    """The slot that an id carries; None when what it was an offer of is no longer offered. Raises `BadInput`."""
    try:
        payload = context.signer.open(f"slot:{context.tenant.id}", id)
    except Tampered as spoilt:
        raise BadInput("slotId is not the id of a slot of this tenant.") from spoilt
    offer_id, start, seconds = _HEAD.unpack(payload[: _HEAD.size])
    reference, *resources = json.loads(payload[_HEAD.size :])
    offer: Offer | None = await context.loaders.offer.load(UUID(bytes=offer_id))
    clinic = await context.loaders.clinic.load(offer.clinic_id) if offer else None
    if offer is None or clinic is None:
        return None
    begins = datetime.fromtimestamp(start, UTC).astimezone(ZoneInfo(clinic.time_zone))
    return domain.Slot(
        endpoint_id=offer.endpoint_id,
        offer_id=offer.id,
        clinic_id=offer.clinic_id,
        treatment_id=offer.treatment_id,
        practitioner_id=offer.practitioner_id,
        reference=reference,
        start=begins,
        end=(datetime.fromtimestamp(start, UTC) + timedelta(seconds=seconds)).astimezone(begins.tzinfo),
        time_zone=clinic.time_zone,
        resources=tuple(resources),
    )


@strawberry.type(
    description="A time on offer: one treatment, by one practitioner, at one clinic. It cannot be fetched by its id: "
    "`holdSlot` is how to ask whether it is still free."
)
class Slot:
    id: strawberry.ID = strawberry.field(
        description="Opaque, and the same for everybody who is offered this time; to be given to `holdSlot`."
    )
    start: datetime = strawberry.field(description="When the visit begins, in the clinic's own UTC offset.")
    end: datetime = strawberry.field(description="When the visit is over, in the clinic's own UTC offset.")
    as_of: datetime = strawberry.field(description="When the clinic's record system said that this time was free.")
    source: strawberry.Private[domain.Slot]

    @classmethod
    def of(cls, slot: domain.Slot, context: "Context", as_of: datetime | None = None) -> "Slot":
        return cls(
            id=slot_id(context.signer, context.tenant.id, slot),
            start=slot.start,
            end=slot.end,
            as_of=as_of or context.clock.now(),
            source=slot,
        )

    @strawberry.field(extensions=[enters("Clinic")], description="Where the patient goes.")
    async def clinic(self, info: Info) -> Annotated["Clinic", strawberry.lazy("api.schema.clinic")]:
        return await there("Clinic", info.context, self.source.clinic_id)

    @strawberry.field(extensions=[enters("Treatment")], description="What is done at the visit.")
    async def treatment(self, info: Info) -> Annotated["Treatment", strawberry.lazy("api.schema.treatment")]:
        return await there("Treatment", info.context, self.source.treatment_id)

    @strawberry.field(
        extensions=[enters("Practitioner")],
        description="Who does it; with `anyPractitioner`, the one whose turn it is.",
    )
    async def practitioner(self, info: Info) -> Annotated["Practitioner", strawberry.lazy("api.schema.practitioner")]:
        return await there("Practitioner", info.context, self.source.practitioner_id)

    @strawberry.field(description="What it costs here; null where the tenant shows no prices.")
    async def price(self, info: Info) -> Price | None:
        offer = await info.context.loaders.offer.load(self.source.offer_id)
        return price_on_treatments(offer.price, info.context) if offer else None
