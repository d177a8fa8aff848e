"""The roots that read the catalogue: what can be booked where and with whom."""

from typing import Annotated

import strawberry

from api.errors import BadInput
from api.schema.allowed import ForScopeOfType, enters
from api.schema.clinic import Clinic, ClinicConnection, ClinicFilter
from api.schema.fields import After, Before, CampaignCode, First, Info, Last, storable
from api.schema.node import MOST_NODES, Node, node, nodes
from api.schema.offer import OfferConnection, OfferFilter
from api.schema.pages import MOST_IN_CATALOGUE, MOST_OFFERS, Cursors, connection_field
from api.schema.place import Area, GeoPointInput
from api.schema.practitioner import PractitionerConnection, PractitionerFilter
from api.schema.tenant import Tenant
from api.schema.treatment import Treatment, TreatmentConnection, TreatmentFilter

LONGEST_NAME = 200
ROOT_LIST_COST = "5"

Narrowed = strawberry.argument(description="What to narrow the list by; without it, everything is listed.")


@strawberry.type
class CatalogueQueries:
    @strawberry.field(
        extensions=[ForScopeOfType()],
        description="The thing behind an id; null when there is none or the viewer may not see it. A malformed id, or "
        "one of a type that cannot be fetched, is `BAD_USER_INPUT`.",
    )
    async def node(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="As some `id` field gave it.")]
    ) -> Node | None:
        return await node(info.context, id)

    @strawberry.field(
        extensions=[ForScopeOfType()],
        description="The things behind many ids, in their order, with null where `node` answers null.",
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(description=f"As `id` fields gave them, of any types; at most {MOST_NODES}."),
        ],
    ) -> list[Node | None]:
        return await nodes(info.context, ids)

    @strawberry.field(
        extensions=[enters("Tenant")],
        description="The group of clinics that this request is for: by host name, API key or the X-Tenant header.",
    )
    def tenant(self, info: Info) -> Tenant:
        return Tenant.of(info.context.tenant, info.context)

    @strawberry.field(
        extensions=[enters("Area")],
        description="The areas that clinics are listed under, in the group's own order.",
    )
    async def areas(self, info: Info) -> list[Area]:
        context = info.context
        return [Area.of(area, context) for area in await context.catalogue.areas(context.tenant.id)]

    @connection_field(
        "The group's clinics, also those that cannot be booked online.", enters("Clinic"), weight=ROOT_LIST_COST
    )
    async def clinics(
        self,
        info: Info,
        filter: Annotated[ClinicFilter | None, Narrowed] = strawberry.UNSET,
        near: Annotated[
            GeoPointInput | None,
            strawberry.argument(
                description="Lists the nearest first, those without a position last. For the distances themselves, "
                "ask each clinic's `distance`."
            ),
        ] = strawberry.UNSET,
        campaign_code: CampaignCode = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> ClinicConnection:
        context, catalogue, tenant_id = info.context, info.context.catalogue, info.context.tenant.id
        point = near.point() if near else None
        where = (filter or ClinicFilter()).where(point)
        order = f"near:{point.latitude}:{point.longitude}" if point else "name"
        cursors = Cursors.of(context, "clinics", order)
        request = cursors.request(first, after, last, before, most=MOST_IN_CATALOGUE)
        page = await catalogue.clinics(tenant_id, where, request)
        return ClinicConnection.of(page, cursors, context, lambda: catalogue.count_clinics(tenant_id, where))

    @strawberry.field(
        extensions=[enters("Clinic")], description="One clinic; null when the group has none of that name."
    )
    async def clinic(
        self,
        info: Info,
        slug: Annotated[
            str, strawberry.argument(description="As the clinic's own `slug` field tells it, letter by letter.")
        ],
        campaign_code: CampaignCode = strawberry.UNSET,
    ) -> Clinic | None:
        found = await info.context.loaders.clinic_by_slug.load(_named("slug", slug))
        return Clinic.of(found, info.context) if found else None

    @connection_field(
        "What somebody offers somewhere, in the group's own order: for choosing the treatment before the clinic.",
        enters("Treatment"),
        weight=ROOT_LIST_COST,
    )
    async def treatments(
        self,
        info: Info,
        filter: Annotated[TreatmentFilter | None, Narrowed] = strawberry.UNSET,
        campaign_code: CampaignCode = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> TreatmentConnection:
        context, catalogue, tenant_id = info.context, info.context.catalogue, info.context.tenant.id
        where = (filter or TreatmentFilter()).where()
        cursors = Cursors.of(context, "treatments")
        request = cursors.request(first, after, last, before, most=MOST_IN_CATALOGUE)
        page = await catalogue.treatments(tenant_id, where, request)
        return TreatmentConnection.of(page, cursors, context, lambda: catalogue.count_treatments(tenant_id, where))

    @strawberry.field(
        extensions=[enters("Treatment")],
        description="One treatment; null when nobody in the group offers one by that code.",
    )
    async def treatment(
        self,
        info: Info,
        code: Annotated[
            str, strawberry.argument(description="As the treatment's own `code` field tells it, letter by letter.")
        ],
        campaign_code: CampaignCode = strawberry.UNSET,
    ) -> Treatment | None:
        found = await info.context.loaders.treatment_by_code.load(_named("code", code))
        return Treatment.of(found, info.context) if found else None

    @connection_field(
        "Those whom patients may choose, at all clinics, by name.", enters("Practitioner"), weight=ROOT_LIST_COST
    )
    async def practitioners(
        self,
        info: Info,
        filter: Annotated[PractitionerFilter | None, Narrowed] = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> PractitionerConnection:
        context, catalogue, tenant_id = info.context, info.context.catalogue, info.context.tenant.id
        where = (filter or PractitionerFilter()).where()
        cursors = Cursors.of(context, "practitioners")
        request = cursors.request(first, after, last, before, most=MOST_IN_CATALOGUE)
        page = await catalogue.practitioners(tenant_id, where, request)
        return PractitionerConnection.of(
            page, cursors, context, lambda: catalogue.count_practitioners(tenant_id, where)
        )

    @connection_field(
        "What can be booked, where, with whom: the relation between the three, which a frontend preloads in one call.",
        enters("Offer"),
        weight=ROOT_LIST_COST,
    )
    async def offers(
        self,
        info: Info,
        filter: Annotated[OfferFilter | None, Narrowed] = strawberry.UNSET,
        campaign_code: CampaignCode = strawberry.UNSET,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> OfferConnection:
        catalogue, tenant_id = info.context.catalogue, info.context.tenant.id
        where = (filter or OfferFilter()).where()
        cursors = Cursors.of(info.context, "offers")
        request = cursors.request(first, after, last, before, most=MOST_OFFERS)
        page = await catalogue.offers(tenant_id, where, request)
        return OfferConnection.of(page, cursors, lambda: catalogue.count_offers(tenant_id, where))


def _named(argument: str, given: str) -> str:
    if not 0 < len(given) <= LONGEST_NAME or not storable(given):
        raise BadInput(f"`{argument}` takes 1 to {LONGEST_NAME} characters of text.")
    return given
