"""Treatments, in the catalogue and as one clinic offers them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import strawberry

from api.schema.allowed import owned
from api.schema.fields import searched
from api.schema.ids import global_id, parse_ids
from api.schema.node import LOOK_UPS, Node
from api.schema.pages import CountedConnection, Cursors, Edge
from api.schema.price import Price, price_on_treatments
from domain.catalogue import ClinicTreatment
from domain.catalogue import TreatmentFilter as FilterEntity
from domain.pages import Page
from domain.text import said_in
from domain.treatment import Treatment as TreatmentEntity

if TYPE_CHECKING:
    from api.context import Context


@strawberry.type(
    description="Something that can be done for a patient, the same at every clinic of the group.",
    directives=[owned("Treatment")],
)
class Treatment(Node):
    code: str = strawberry.field(
        description="The group's own name for it, shared by all its record systems, and stable: for links and for "
        "`treatment(code:)`."
    )
    title: str = strawberry.field(description="What patients know it by, in the reader's language.")
    subtitle: str | None = strawberry.field(description="A few words below the title; null when there are none.")
    description: str | None = strawberry.field(description="What happens, for patients; null when nobody wrote it.")
    sort_key: int = strawberry.field(description="The group's own order: the lowest comes first.")

    @classmethod
    def of(cls, treatment: TreatmentEntity, context: "Context") -> "Treatment":
        shown = context.loaders.shown
        if (built := shown.get((cls, treatment.id))) is None:
            languages = context.languages
            built = shown[cls, treatment.id] = cls(
                id=global_id("Treatment", treatment.id),
                code=treatment.code,
                title=said_in(treatment.title, languages) or treatment.code,
                subtitle=said_in(treatment.subtitle, languages),
                description=said_in(treatment.description, languages),
                sort_key=treatment.sort_key,
            )
        return built


@strawberry.type(description="A treatment's place in a list of treatments.")
class TreatmentEdge(Edge[Treatment]): ...


@strawberry.type(description="Treatments that somebody offers somewhere, in the group's own order.")
class TreatmentConnection(CountedConnection[Treatment, TreatmentEdge]):
    def edge(self, item: Any, node: Treatment, cursor: str) -> TreatmentEdge:
        return TreatmentEdge(node=node, cursor=cursor)

    @classmethod
    def of(
        cls, page: Page[TreatmentEntity], cursors: Cursors, context: "Context", count: Callable[[], Awaitable[int]]
    ) -> "TreatmentConnection":
        built = [Treatment.of(treatment, context) for treatment in page.items]
        return cls(page=page, cursors=cursors, built=built, count=count)


@strawberry.type(description="A treatment's place in one clinic's list, with what it takes there.")
class ClinicTreatmentEdge(Edge[Treatment]):
    duration: timedelta = strawberry.field(
        description="How long a visit lasts; the shortest, where the clinic's practitioners differ."
    )
    price: Price | None = strawberry.field(
        description="What it costs; the lowest, where practitioners differ. Null where the clinic tells none or the "
        "group shows no prices."
    )


@strawberry.type(description="What one clinic offers, in the group's own order.")
class ClinicTreatmentConnection(CountedConnection[Treatment, ClinicTreatmentEdge]):
    context: strawberry.Private[Any]

    def edge(self, item: ClinicTreatment, node: Treatment, cursor: str) -> ClinicTreatmentEdge:
        price = price_on_treatments(item.cheapest.price, self.context)
        return ClinicTreatmentEdge(node=node, cursor=cursor, duration=item.duration, price=price)

    @classmethod
    def of(
        cls, page: Page[ClinicTreatment], cursors: Cursors, context: "Context", count: Callable[[], Awaitable[int]]
    ) -> "ClinicTreatmentConnection":
        built = [Treatment.of(item.treatment, context) for item in page.items]
        return cls(page=page, cursors=cursors, built=built, count=count, context=context)


@strawberry.input(description="Which treatments to list. What is left out narrows nothing; an empty list neither.")
class TreatmentFilter:
    search: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Letters to find in titles and subtitles of any language, upper or lower case alike; at most 100.",
    )
    clinic_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only what at least one of these clinics offers; at most 200 ids."
    )

    def where(self) -> FilterEntity:
        """Raises `BadInput`."""
        return FilterEntity(search=searched(self.search), clinic_ids=parse_ids(self.clinic_ids, "Clinic"))


async def _treatment(context: "Context", id: UUID) -> Treatment | None:
    treatment = await context.loaders.treatment.load(id)
    return Treatment.of(treatment, context) if treatment else None


LOOK_UPS["Treatment"] = _treatment
