"""Fields that only a signed-in patient may use, said in the schema and enforced in one place."""

from collections.abc import Awaitable, Callable
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location, schema_directive
from strawberry.types.field import StrawberryField

from api.errors import Unauthenticated
from api.schema.fields import Info
from domain.usecases.sign_in import Viewer


@schema_directive(
    locations=[Location.FIELD_DEFINITION, Location.OBJECT],
    name="requiresPatient",
    description="Only for a patient who is signed in; anybody else gets UNAUTHENTICATED.",
)
class RequiresPatient:
    max_age_minutes: int | None = strawberry.UNSET


class ForPatients(FieldExtension):
    """Turns everybody away but a signed-in patient, and prints `@requiresPatient` beside the field."""

    def apply(self, field: StrawberryField) -> None:
        field.directives = [*field.directives, RequiresPatient()]

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Info, **arguments: Any
    ) -> Any:
        if await info.context.viewer() is None:
            raise Unauthenticated()
        return await next_(source, info, **arguments)


async def signed_in(info: Info) -> Viewer:
    """The patient behind a field that `ForPatients` guards."""
    viewer = await info.context.viewer()
    if viewer is None:
        raise Unauthenticated()
    return viewer
