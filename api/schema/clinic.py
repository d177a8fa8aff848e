"""Clinics: what patients see of them, and the lists that hang on them."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.loaders import ClinicList
from api.schema.allowed import enters, owned
from api.schema.fields import After, Before, CampaignCode, First, Info, Last, described_enum, searched
from api.schema.ids import global_id, parse_id, parse_ids
from api.schema.image import Image
from api.schema.node import LOOK_UPS, Node, find
from api.schema.offer import OfferConnection
from api.schema.pages import (
    MOST_IN_CATALOGUE,
    MOST_OFFERS,
    CountedConnection,
    Cursors,
    Edge,
    connection_field,
)
from api.schema.place import Address, Area, GeoPoint, GeoPointInput, OpeningHours
from api.schema.practitioner import PractitionerConnection
from api.schema.rules import BookingRules
from api.schema.scalars import URL, LanguageTag, PhoneNumber, TimeZone
from api.schema.source import SourceStatus
from api.schema.treatment import ClinicTreatmentConnection
from domain.catalogue import ClinicFilter as FilterEntity
from domain.clinic import Clinic as ClinicEntity
from domain.clinic import ClinicBooking
from domain.clinic import GeoPoint as PointEntity
from domain.pages import Page
from domain.rules import rules_of
from domain.text import said_in

if TYPE_CHECKING:
    from api.context import Context

described_enum(
    ClinicBooking,
    description="How patients can book at a clinic.",
    ONLINE="Here: its free times are shown, and can be held and booked through this API.",
    EXTERNAL="On a page of the clinic's own, at `externalBookingUrl`; it has no times here.",
    CLOSED="Not online for now: the clinic is listed, and books by phone.",
)

OneTreatment = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Only for this treatment. An id of nothing known answers an empty list."),
]


@strawberry.type(description="A place where patients are treated.", directives=[owned("Clinic")])
class Clinic(Node):
    entity: strawberry.Private[ClinicEntity]
    slug: str = strawberry.field(description="A readable name for addresses, stable, for `clinic(slug:)`.")
    name: str = strawberry.field(description="As the clinic is signed, the same in every language.")
    address: Address | None = strawberry.field(description="Where to go; null where the clinic has not told it.")
    position: GeoPoint | None = strawberry.field(description="Where to put it on a map; null where it is unknown.")
    phone: PhoneNumber | None = strawberry.field(description="Where to call about a visit, also what cannot be booked.")
    email: str | None = strawberry.field(description="For patients; not for anything about their health.")
    website: URL | None = strawberry.field(description="The clinic's own pages; null when it has none.")
    time_zone: TimeZone = strawberry.field(description="What its clocks show: its days and opening hours follow it.")
    opening_hours: list[OpeningHours] = strawberry.field(
        description="A usual week, Monday first. When somebody can be treated is told by free times, not by this."
    )
    image: Image | None = strawberry.field(
        description="A photo of the clinic. Whether to show it, a map or nothing, the tenant's `display` tells."
    )
    directions: str | None = strawberry.field(description="How to find the way in; null when nobody wrote it.")
    parking: str | None = strawberry.field(description="Where to leave a car or bicycle; null when nobody wrote it.")
    about: str | None = strawberry.field(description="The clinic in its own words; null when nobody wrote it.")
    spoken_languages: list[LanguageTag] = strawberry.field(
        description="What patients can speak with the staff; empty when the clinic has not told."
    )
    booking_information: str | None = strawberry.field(
        description="What to know before booking here, to be shown beside the form; null when there is nothing."
    )
    booking: ClinicBooking = strawberry.field(description="Whether it can be booked here, elsewhere or by phone only.")
    external_booking_url: URL | None = strawberry.field(
        description="Where to book instead; set when `booking` is `EXTERNAL`, else null."
    )

    @strawberry.field(description="Which of the group's areas it is listed under; null when under none.")
    async def area(self, info: Info) -> Area | None:
        return await find("Area", info.context, self.entity.area_id) if self.entity.area_id else None

    @strawberry.field(
        description="In metres, as the crow flies; null without `near` and for a clinic whose position is unknown."
    )
    def distance(
        self,
        near: Annotated[GeoPointInput | None, strawberry.argument(description="Where to measure from.")] = (
            strawberry.UNSET
        ),
    ) -> int | None:
        return self.entity.position.metres_to(near.point()) if near and self.entity.position else None

    @strawberry.field(description="What the clinic asks of bookings now. A booking also keeps those it was made under.")
    def rules(self, info: Info) -> BookingRules:
        return BookingRules.of(rules_of(info.context.tenant.rules, self.entity.rules))

    @connection_field(
        "What is offered here, in the group's own order. The edges carry what each takes at this clinic.",
        enters("Treatment"),
    )
    async def treatments(
        self,
        info: Info,
        campaign_code: CampaignCode = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> ClinicTreatmentConnection:
        loaders, cursors = info.context.loaders, self._cursors(info, "treatments")
        request = cursors.request(first, after, last, before, most=MOST_IN_CATALOGUE)
        whole = ClinicList(clinic_id=self.entity.id)
        page = await loaders.treatments_of_clinic.load(whole.at(request))
        count = loaders.treatment_count_of_clinic
        return ClinicTreatmentConnection.of(page, cursors, info.context, lambda: count.load(whole))

    @connection_field("Who can be chosen here, by name.", enters("Practitioner"))
    async def practitioners(
        self,
        info: Info,
        treatment_id: OneTreatment = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> PractitionerConnection:
        loaders, cursors = info.context.loaders, self._cursors(info, "practitioners")
        request = cursors.request(first, after, last, before, most=MOST_IN_CATALOGUE)
        whole = ClinicList(clinic_id=self.entity.id, treatment_id=_treatment(treatment_id))
        page = await loaders.practitioners_of_clinic.load(whole.at(request))
        count = loaders.practitioner_count_of_clinic
        return PractitionerConnection.of(page, cursors, info.context, lambda: count.load(whole))

    @connection_field("What can be booked here and with whom.", enters("Offer"))
    async def offers(
        self,
        info: Info,
        treatment_id: OneTreatment = strawberry.UNSET,
        campaign_code: CampaignCode = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> OfferConnection:
        loaders, cursors = info.context.loaders, self._cursors(info, "offers")
        request = cursors.request(first, after, last, before, most=MOST_OFFERS)
        whole = ClinicList(clinic_id=self.entity.id, treatment_id=_treatment(treatment_id))
        page = await loaders.offers_of_clinic.load(whole.at(request))
        return OfferConnection.of(page, cursors, lambda: loaders.offer_count_of_clinic.load(whole))

    @strawberry.field(
        description="Whether this clinic's record system answers now, asked when this field is; null when that is not "
        "known. Never a reason to hide the clinic."
    )
    async def source(self, info: Info) -> SourceStatus | None:
        status = await info.context.loaders.source.load(self.entity.endpoint_id)
        return SourceStatus.of(replace(status, clinic_ids=(self.entity.id,))) if status else None

    def _cursors(self, info: Info, list_name: str) -> Cursors:
        return Cursors.of(info.context, f"{list_name}-of-{self.entity.id}")

    @classmethod
    def of(cls, clinic: ClinicEntity, context: "Context") -> "Clinic":
        shown = context.loaders.shown
        if (built := shown.get((cls, clinic.id))) is None:
            built = shown[cls, clinic.id] = cls(**_told(clinic, context))
        return built


def _told(clinic: ClinicEntity, context: "Context") -> dict[str, Any]:
    languages = context.languages
    plain = ("slug", "name", "phone", "email", "website", "time_zone", "booking", "external_booking_url")
    texts = ("directions", "parking", "about", "booking_information")
    return {
        "entity": clinic,
        "id": global_id("Clinic", clinic.id),
        "address": Address.of(clinic.address),
        "position": GeoPoint.of(clinic.position),
        "opening_hours": [OpeningHours.of(hours) for hours in clinic.opening_hours],
        "image": Image.of(clinic.image, context),
        "spoken_languages": list(clinic.spoken_languages),
        **{name: getattr(clinic, name) for name in plain},
        **{name: said_in(getattr(clinic, name), languages) for name in texts},
    }


def _treatment(id: strawberry.ID | None) -> UUID | None:
    return parse_id(id, "Treatment") if id else None


@strawberry.type(description="A clinic's place in a list of clinics.")
class ClinicEdge(Edge[Clinic]): ...


@strawberry.type(description="Clinics by name, or the nearest first where a place was given.")
class ClinicConnection(CountedConnection[Clinic, ClinicEdge]):
    def edge(self, item: Any, node: Clinic, cursor: str) -> ClinicEdge:
        return ClinicEdge(node=node, cursor=cursor)

    @classmethod
    def of(
        cls, page: Page[ClinicEntity], cursors: Cursors, context: "Context", count: Callable[[], Awaitable[int]]
    ) -> "ClinicConnection":
        built = [Clinic.of(clinic, context) for clinic in page.items]
        return cls(page=page, cursors=cursors, built=built, count=count)


@strawberry.input(
    description="Which clinics to list: those that fit every field given. What is left out narrows nothing; an empty "
    "list neither."
)
class ClinicFilter:
    search: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Letters to find in name, street and town, upper or lower case alike; at most 100.",
    )
    area_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only those listed under one of these areas; at most 200 ids."
    )
    treatment_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only those that offer one of these treatments; at most 200 ids."
    )
    booking: list[ClinicBooking] | None = strawberry.field(
        default=strawberry.UNSET, description="Only those that can be booked in one of these ways."
    )

    def where(self, near: PointEntity | None) -> FilterEntity:
        """Raises `BadInput`."""
        return FilterEntity(
            search=searched(self.search),
            area_ids=parse_ids(self.area_ids, "Area"),
            treatment_ids=parse_ids(self.treatment_ids, "Treatment"),
            booking=tuple(dict.fromkeys(self.booking or ())),
            near=near,
        )


async def _clinic(context: "Context", id: UUID) -> Clinic | None:
    clinic = await context.loaders.clinic.load(id)
    return Clinic.of(clinic, context) if clinic else None


LOOK_UPS["Clinic"] = _clinic
