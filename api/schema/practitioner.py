"""Practitioners, each at one clinic."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.schema.allowed import enters, owned
from api.schema.fields import Info
from api.schema.ids import global_id, parse_ids
from api.schema.image import Image
from api.schema.node import LOOK_UPS, Node, there
from api.schema.pages import CountedConnection, Cursors, Edge
from domain.catalogue import PractitionerFilter as FilterEntity
from domain.pages import Page
from domain.practitioner import Practitioner as PractitionerEntity
from domain.text import said_in

if TYPE_CHECKING:
    from api.context import Context
    from api.schema.clinic import Clinic


@strawberry.type(
    description="Somebody who treats patients at one clinic. Who works at two clinics appears twice, once at each.",
    directives=[owned("Practitioner")],
)
class Practitioner(Node):
    clinic_id: strawberry.Private[UUID]
    name: str = strawberry.field(description="The full name, as patients may address the person.")
    title: str | None = strawberry.field(
        description="Such as “Dental hygienist”, in the reader's language; null when the clinic tells none."
    )
    role: str | None = strawberry.field(
        description="The profession as the record system codes it, the same in every language; null when it does not."
    )
    photo: Image | None = strawberry.field(
        description="A portrait; null when there is none, or when the group shows no photos of its staff."
    )
    description: str | None = strawberry.field(
        description="What the person does and cares for, in words for patients; null when nobody wrote it."
    )

    @strawberry.field(
        extensions=[enters("Clinic")],
        description="Where these hours are worked: the person's other clinics are other practitioners.",
    )
    async def clinic(self, info: Info) -> Annotated["Clinic", strawberry.lazy("api.schema.clinic")]:
        return await there("Clinic", info.context, self.clinic_id)

    @classmethod
    def of(cls, practitioner: PractitionerEntity, context: "Context") -> "Practitioner":
        shown = context.loaders.shown
        if (built := shown.get((cls, practitioner.id))) is None:
            photos = context.tenant.display.practitioner_photos
            built = shown[cls, practitioner.id] = cls(
                id=global_id("Practitioner", practitioner.id),
                clinic_id=practitioner.clinic_id,
                name=practitioner.name,
                title=said_in(practitioner.title, context.languages),
                role=practitioner.role,
                photo=Image.of(practitioner.photo, context) if photos else None,
                description=said_in(practitioner.description, context.languages),
            )
        return built


@strawberry.type(description="A practitioner's place in a list of practitioners.")
class PractitionerEdge(Edge[Practitioner]): ...


@strawberry.type(description="Practitioners whom patients may choose, by name.")
class PractitionerConnection(CountedConnection[Practitioner, PractitionerEdge]):
    def edge(self, item: Any, node: Practitioner, cursor: str) -> PractitionerEdge:
        return PractitionerEdge(node=node, cursor=cursor)

    @classmethod
    def of(
        cls, page: Page[PractitionerEntity], cursors: Cursors, context: "Context", count: Callable[[], Awaitable[int]]
    ) -> "PractitionerConnection":
        built = [Practitioner.of(practitioner, context) for practitioner in page.items]
        return cls(page=page, cursors=cursors, built=built, count=count)


@strawberry.input(
    description="Which practitioners to list: with both fields, those who do one of the treatments at one of the "
    "clinics. What is left out narrows nothing; an empty list neither."
)
class PractitionerFilter:
    clinic_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only those who work at one of these clinics; at most 200 ids."
    )
    treatment_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only those who offer one of these treatments; at most 200 ids."
    )

    def where(self) -> FilterEntity:
        """Raises `BadInput`."""
        return FilterEntity(
            clinic_ids=parse_ids(self.clinic_ids, "Clinic"),
            treatment_ids=parse_ids(self.treatment_ids, "Treatment"),
        )


async def _practitioner(context: "Context", id: UUID) -> Practitioner | None:
    practitioner = await context.loaders.practitioner.load(id)
    return Practitioner.of(practitioner, context) if practitioner else None


LOOK_UPS["Practitioner"] = _practitioner
