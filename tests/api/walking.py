"""Every way through a schema from its roots, and what may be entered on it without a rule."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    is_composite_type,
)

from domain.client import Scope

PATIENT = "the signed-in patient"
OF_TYPE = "the type's own"
OWN_FRONTENDS = "our own frontends"

Rules = frozenset[str]
ALL_SCOPES: Rules = frozenset(scope.value for scope in Scope)


def rules_of(element: Any) -> Rules:
    """What the directives printed beside a type or field require."""
    strawberry = element.extensions.get("strawberry-definition")
    told = {type(each).__name__: each for each in (strawberry.directives if strawberry else ())}
    rules = {told["RequiresScope"].scope} if "RequiresScope" in told else set()
    rules |= {PATIENT} if "RequiresPatient" in told else set()
    rules |= {OWN_FRONTENDS} if "RequiresOwnFrontend" in told else set()
    return frozenset(rules | ({OF_TYPE} if "RequiresScopeOfType" in told else set()))


@dataclass(frozen=True)
class Walk:
    """`parts` are the objects that are nobody's own, but part of whatever leads to them.

    `answers` are the fields by which a mutation answers what it has written: who may write it is told of it.
    `recognised` are fields that are null for everybody but the patient.
    """

    schema: GraphQLSchema
    parts: frozenset[str]
    answers: frozenset[str] = frozenset()
    recognised: frozenset[str] = frozenset()

    def faults(self) -> list[str]:
        """Sorted; none when nothing can be reached without a rule."""
        return sorted({*self._unruled_roots(), *self._undecided(), *self._entered()})

    def _roots(self) -> Iterator[GraphQLObjectType]:
        yield from filter(None, (self.schema.query_type, self.schema.mutation_type, self.schema.subscription_type))

    def _unruled_roots(self) -> Iterator[str]:
        for root in self._roots():
            yield from (f"{root}.{name}: no rule" for name, field in root.fields.items() if not rules_of(field))

    def _undecided(self) -> Iterator[str]:
        """Whoever adds a type says whose it is, or that it is part of what leads to it: never both, never neither."""
        roots = {root.name for root in self._roots()}
        for name, type_ in self.schema.type_map.items():
            if isinstance(type_, GraphQLObjectType) and not name.startswith("__") and name not in roots:
                is_owned = bool(rules_of(type_))
                if is_owned == (name in self.parts):
                    yield f"{name}: {'both owned and a part' if is_owned else 'nobody says whose it is'}"

    def _entered(self) -> Iterator[str]:
        """By every way: the same object may be reached behind a rule and past it."""
        seen: set[tuple[str, Rules]] = set()
        ahead: list[tuple[GraphQLObjectType, Rules]] = [(root, frozenset()) for root in self._roots()]
        while ahead:
            place, passed = ahead.pop()
            if (place.name, passed) in seen:
                continue
            seen.add((place.name, passed))
            for name, field in place.fields.items():
                met = passed | self._met(place, name, field)
                for type_ in self._types(field):
                    needed = rules_of(type_)
                    by_type = needed if OF_TYPE in rules_of(field) else frozenset()
                    if missing := needed - met - by_type:
                        yield f"{place}.{name} enters {type_} without {', '.join(sorted(missing))}"
                    ahead.append((type_, met | needed))

    def _met(self, place: GraphQLObjectType, name: str, field: GraphQLField) -> Rules:
        met = rules_of(field) - {OF_TYPE}
        met |= ALL_SCOPES if OWN_FRONTENDS in met else frozenset()
        for type_ in self._types(field) if f"{place}.{name}" in self.answers else ():
            met |= rules_of(type_)
        return met | ({PATIENT} if f"{place}.{name}" in self.recognised else frozenset())

    def _types(self, field: GraphQLField) -> Iterable[GraphQLObjectType]:
        named = get_named_type(field.type)
        if not is_composite_type(named):
            return ()
        if isinstance(named, GraphQLInterfaceType | GraphQLUnionType):
            return tuple(self.schema.get_possible_types(named))
        assert isinstance(named, GraphQLObjectType)
        return (named,)
