"""Fields that only a signed-in patient may use, said in the schema and enforced in one place."""

from collections.abc import Callable
from datetime import timedelta
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location, schema_directive
from strawberry.types.field import StrawberryField

from api.errors import StepUpRequired, Unauthenticated
from api.schema.fields import Info
from domain.usecases.sign_in import Viewer

if TYPE_CHECKING:
    from api.context import Context

FRESH_MINUTES = 30
"""How old a login may be for what cannot be taken back; a setting may shorten it."""


@schema_directive(
    locations=[Location.FIELD_DEFINITION, Location.OBJECT],
    name="requiresPatient",
    description="Only for a patient who is signed in; anybody else gets UNAUTHENTICATED. With `maxAgeMinutes` the "
    "login may be no older than that, else STEP_UP_REQUIRED: send the browser to `identityProviders.loginUrl`, where a "
    "fresh login is asked for; an app logs in anew with `max_age`.",
)
class RequiresPatient:
    max_age_minutes: int | None = strawberry.UNSET


class ForPatients(FieldExtension):
    """Turns everybody away but a signed-in patient, and prints `@requiresPatient` beside the field."""

    def __init__(self, max_age_minutes: int | None = None) -> None:
        self.max_age = None if max_age_minutes is None else timedelta(minutes=max_age_minutes)
        self._said = RequiresPatient() if max_age_minutes is None else RequiresPatient(max_age_minutes=max_age_minutes)

    def apply(self, field: StrawberryField) -> None:
        field.directives = [*field.directives, self._said]

    async def resolve_async(self, next_: Callable[..., Any], source: Any, info: Info, **arguments: Any) -> Any:
        """What the next one returns is awaited; the events of a subscription are iterated by whoever asked."""
        viewer = await info.context.viewer()
        if viewer is None:
            raise Unauthenticated()
        if self.max_age is not None:
            check_fresh(info.context, viewer, self.max_age)
        found = next_(source, info, **arguments)
        return await found if isawaitable(found) else found


def check_fresh(context: "Context", viewer: Viewer, max_age: timedelta = timedelta(minutes=FRESH_MINUTES)) -> None:
    """Raises `StepUpRequired` for a login that is older, or older than the setting says."""
    if context.clock.now() - viewer.authenticated_at > min(max_age, context.step_up_after):
        raise StepUpRequired()


async def signed_in(info: Info) -> Viewer:
    """The patient behind a field that `ForPatients` guards."""
    viewer = await info.context.viewer()
    if viewer is None:
        raise Unauthenticated()
    return viewer
