"""Offers: what can be booked, where, with whom."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.schema.allowed import enters, owned
from api.schema.fields import CampaignCode, Info
from api.schema.ids import global_id, parse_ids
from api.schema.node import LOOK_UPS, Node, there
from api.schema.pages import CountedConnection, Cursors, Edge
from api.schema.practitioner import Practitioner
from api.schema.price import Price, price_on_treatments
from api.schema.scalars import URL
from api.schema.treatment import Treatment
from domain.catalogue import OfferFilter as FilterEntity
from domain.offer import Offer as OfferEntity
from domain.pages import Page

if TYPE_CHECKING:
    from api.context import Context
    from api.schema.clinic import Clinic


@strawberry.type(
    description="One treatment by one practitioner at one clinic: the smallest thing that can be booked.",
    directives=[owned("Offer")],
)
class Offer(Node):
    entity: strawberry.Private[OfferEntity]
    duration: timedelta = strawberry.field(description="How long a visit lasts with this practitioner.")
    booking_url: URL | None = strawberry.field(
        description="A page of the clinic's own where this is booked instead; null when it is booked here."
    )

    @strawberry.field(extensions=[enters("Clinic")], description="Where the visit takes place.")
    async def clinic(self, info: Info) -> Annotated["Clinic", strawberry.lazy("api.schema.clinic")]:
        return await there("Clinic", info.context, self.entity.clinic_id)

    @strawberry.field(extensions=[enters("Treatment")], description="What is done for the patient.")
    async def treatment(self, info: Info) -> Treatment:
        return await there("Treatment", info.context, self.entity.treatment_id)

    @strawberry.field(
        extensions=[enters("Practitioner")],
        description="Who treats the patient, as somebody who works at this offer's clinic.",
    )
    async def practitioner(self, info: Info) -> Practitioner:
        return await there("Practitioner", info.context, self.entity.practitioner_id)

    @strawberry.field(
        description="What it costs with this practitioner. Null where the clinic tells none or the group shows no "
        "prices. It depends on the code, so the code is asked for here: a cache then keeps both answers apart."
    )
    def price(self, info: Info, campaign_code: CampaignCode = strawberry.UNSET) -> Price | None:
        return price_on_treatments(self.entity.price, info.context)

    @classmethod
    def of(cls, offer: OfferEntity) -> "Offer":
        return cls(
            id=global_id("Offer", offer.id), entity=offer, duration=offer.duration, booking_url=offer.booking_url
        )


@strawberry.type(description="An offer's place in a list of offers.")
class OfferEdge(Edge[Offer]): ...


@strawberry.type(description="What can be booked, by clinic, treatment and practitioner.")
class OfferConnection(CountedConnection[Offer, OfferEdge]):
    def edge(self, item: Any, node: Offer, cursor: str) -> OfferEdge:
        return OfferEdge(node=node, cursor=cursor)

    @classmethod
    def of(cls, page: Page[OfferEntity], cursors: Cursors, count: Callable[[], Awaitable[int]]) -> "OfferConnection":
        return cls(page=page, cursors=cursors, built=[Offer.of(offer) for offer in page.items], count=count)


@strawberry.input(
    description="Which offers to list: those that fit every field given. What is left out narrows nothing; an empty "
    "list neither."
)
class OfferFilter:
    clinic_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only at these clinics; at most 200 ids."
    )
    treatment_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only of these treatments; at most 200 ids."
    )
    practitioner_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only by these practitioners; at most 200 ids."
    )

    def where(self) -> FilterEntity:
        """Raises `BadInput`."""
        return FilterEntity(
            clinic_ids=parse_ids(self.clinic_ids, "Clinic"),
            treatment_ids=parse_ids(self.treatment_ids, "Treatment"),
            practitioner_ids=parse_ids(self.practitioner_ids, "Practitioner"),
        )


async def _offer(context: "Context", id: UUID) -> Offer | None:
    offer = await context.loaders.offer.load(id)
    return Offer.of(offer) if offer else None


LOOK_UPS["Offer"] = _offer
