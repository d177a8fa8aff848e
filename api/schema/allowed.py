"""What a client's key must be for: said in the schema, and enforced where an object is entered, never on its leaves.

Every root field carries a rule, and so does every field that leads into an object of another owner;
`tests/api/test_every_way_in.py` walks the schema and fails for what can be reached without one.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import strawberry
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location, schema_directive
from strawberry.types.field import StrawberryField

from api.errors import Forbidden
from api.reading import READ_AS
from api.schema.fields import Info
from domain.client import Scope

if TYPE_CHECKING:
    from api.context import Context


@schema_directive(
    locations=[Location.FIELD_DEFINITION, Location.OBJECT],
    name="requiresScope",
    description="What a client that comes with an API key or a system token must have been given; without it, "
    "FORBIDDEN. Where `or` names another one, either will do. Who comes without a key has what the public may have. On "
    "a type: what `node` asks for, and every field that enters it from elsewhere.",
)
class RequiresScope:
    scope: str
    or_: str | None = strawberry.directive_field(name="or", default=strawberry.UNSET)


@schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="requiresScopeOfType",
    description="What the type of the thing requires; a thing that the client has no scope for is null, as if missing.",
)
class RequiresScopeOfType: ...


@schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="requiresOwnFrontend",
    description="Only for the group's own frontends, which bring no API key: what patients settle for themselves is no "
    "agency's to do, by whatever scope. Others get FORBIDDEN.",
)
class RequiresOwnFrontend: ...


OWNERS: dict[str, Scope] = {
    "Tenant": Scope.ORGANIZATION_READ,
    "Area": Scope.HEALTHCARE_SERVICE_READ,
    "Clinic": Scope.HEALTHCARE_SERVICE_READ,
    "Treatment": Scope.ACTIVITY_DEFINITION_READ,
    "Practitioner": Scope.PRACTITIONER_ROLE_READ,
    "Offer": Scope.OFFERS,
    "Availability": Scope.FIND,
    "SlotChanges": Scope.FIND,
    "Hold": Scope.BOOK,
    "Viewer": Scope.PATIENT_READ,
    "Patient": Scope.PATIENT_READ,
    "Consent": Scope.PATIENT_READ,
    "Booking": Scope.APPOINTMENT_READ,
    "BookingChange": Scope.APPOINTMENT_READ,
}
"""What each object that is somebody's own requires; other objects are part of what leads to them."""

OR: dict[str, Scope] = {"Viewer": Scope.APPOINTMENT_READ}
"""What will do as well: whoever may read a patient's bookings or the patient gets to where both are, each of which asks
for its own."""


def owned(type_name: str) -> RequiresScope:
    """The directive for such a type."""
    return _required(OWNERS[type_name], OR.get(type_name))


def _required(scope: Scope, or_: Scope | None) -> RequiresScope:
    return RequiresScope(scope=scope.value) if or_ is None else RequiresScope(scope=scope.value, or_=or_.value)


class ForScope(FieldExtension):
    """Turns away clients without the scope, and prints `@requiresScope` beside the field. Waits for nothing.

    Where another scope is named, it will do as well. To be named last: of a field's extensions the last is asked first,
    and looks for no patient in vain.
    """

    def __init__(self, scope: Scope, or_: Scope | None = None) -> None:
        self.scope = scope
        self.or_ = or_

    def apply(self, field: StrawberryField) -> None:
        field.directives = [*field.directives, _required(self.scope, self.or_)]

    def resolve(self, next_: Callable[..., Any], source: Any, info: Info, **arguments: Any) -> Any:
        if info.context.caller.scopes.isdisjoint((self.scope, self.or_)):
            raise Forbidden(scope=self.scope.value)
        return next_(source, info, **arguments)

    def resolve_async(self, next_: Callable[..., Any], source: Any, info: Info, **arguments: Any) -> Any:
        """Not a coroutine of its own: what the next one returns is awaited, or iterated, by whoever asked."""
        return self.resolve(next_, source, info, **arguments)


class ForReading(ForScope):
    """Of a field that leads into what is a patient's: has it noted for whoever comes with a key (`api/reading.py`)."""

    def __init__(self, type_name: str) -> None:
        super().__init__(OWNERS[type_name], OR.get(type_name))
        self._type_name = type_name

    def resolve_async(self, next_: Callable[..., Any], source: Any, info: Info, **arguments: Any) -> Any:
        found = super().resolve_async(next_, source, info, **arguments)
        if info.context.caller.is_own:
            return found
        return (
            self._begun(found, info.context)
            if isinstance(found, AsyncGenerator)
            else self._entered(found, info.context)
        )

    async def _entered(self, found: Awaitable[Any] | Any, context: "Context") -> Any:
        entered = await found if isawaitable(found) else found
        if isinstance(entered, AsyncGenerator):  # of a subscription that something was awaited before
            return self._begun(entered, context)
        context.reads.add(self._type_name, entered)
        return entered

    async def _begun(self, events: AsyncGenerator[Any, None], context: "Context") -> AsyncIterator[Any]:
        """A subscription that is refused tells nothing, and so leaves no line."""
        is_noted = False
        async with aclosing(events) as told:
            async for event in told:
                if not is_noted:
                    await context.reads.begin(self._type_name)
                    is_noted = True
                yield event


class ForOwnFrontends(FieldExtension):
    """Turns away every client with a key. To be named last, as `ForScope` is."""

    def apply(self, field: StrawberryField) -> None:
        field.directives = [*field.directives, RequiresOwnFrontend()]

    def resolve(self, next_: Callable[..., Any], source: Any, info: Info, **arguments: Any) -> Any:
        if not info.context.caller.is_own:
            raise Forbidden()
        return next_(source, info, **arguments)

    def resolve_async(self, next_: Callable[..., Any], source: Any, info: Info, **arguments: Any) -> Any:
        return self.resolve(next_, source, info, **arguments)


class ForScopeOfType(FieldExtension):
    """Only says so: the look-up itself asks `may_see`."""

    def apply(self, field: StrawberryField) -> None:
        field.directives = [*field.directives, RequiresScopeOfType()]


def enters(type_name: str) -> ForScope:
    """The rule of a field that leads into such a type from elsewhere."""
    return ForReading(type_name) if type_name in READ_AS else ForScope(OWNERS[type_name], OR.get(type_name))


def may_see(context: "Context", type_name: str) -> bool:
    """Whether the client may see such a thing at all; whose it is, is another question."""
    return not context.caller.scopes.isdisjoint((OWNERS[type_name], OR.get(type_name)))
