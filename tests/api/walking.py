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

from api.schema.allowed import (
    ForOwnFrontends,
    ForScope,
    ForScopeOfType,
    RequiresOwnFrontend,
    RequiresScope,
    RequiresScopeOfType,
)
from api.schema.signed_in import ForPatients, RequiresPatient
from domain.client import Scope

PATIENT = "the signed-in patient"
OF_TYPE = "the type's own"
FRESH = "a login in minutes: "
OWN_FRONTENDS = "our own frontends"

Rules = frozenset[str]
ALL_SCOPES: Rules = frozenset(scope.value for scope in Scope)


def rules_of(element: Any) -> Rules:
    """What a field is held to by its extensions, whatever is printed beside it; what a type says that it requires."""
    rules = held_to(element) if isinstance(element, GraphQLField) else told_of(element)
    return frozenset(rule for rule in rules if not rule.startswith(FRESH))


def held_to(field: GraphQLField) -> Rules:
    rules: set[str] = set()
    for each in definition(field).extensions:
        if isinstance(each, ForScope):
            rules.add(f"{each.scope.value} or {each.or_.value}" if each.or_ else each.scope.value)
        elif isinstance(each, ForPatients):
            rules |= {PATIENT} if each.max_age is None else {PATIENT, f"{FRESH}{each.max_age.total_seconds() / 60:g}"}
        elif isinstance(each, ForOwnFrontends | ForScopeOfType):
            rules.add(OWN_FRONTENDS if isinstance(each, ForOwnFrontends) else OF_TYPE)
    return frozenset(rules)


def told_of(element: Any) -> Rules:
    """What the directives printed beside a type or field require."""
    rules: set[str] = set()
    for each in definition(element).directives if definition(element) else ():
        if isinstance(each, RequiresScope):
            rules.add(f"{each.scope} or {each.or_}" if each.or_ else each.scope)
        elif isinstance(each, RequiresPatient):
            rules |= {PATIENT, f"{FRESH}{each.max_age_minutes}"} if each.max_age_minutes else {PATIENT}
        elif isinstance(each, RequiresOwnFrontend | RequiresScopeOfType):
            rules.add(OWN_FRONTENDS if isinstance(each, RequiresOwnFrontend) else OF_TYPE)
    return frozenset(rules)


def definition(element: Any) -> Any:
    return element.extensions.get("strawberry-definition")


@dataclass(frozen=True)
class Walk:
    """`parts` are the objects that are nobody's own, but part of whatever leads to them.

    `answers` are the fields by which a mutation answers what it has written: who may write it is told of it.
    `recognised` are fields that are null for everybody but the patient. `looked_up` are those that ask each thing's own
    rule; `ForScopeOfType` only says so, and is no rule anywhere else.
    """

    schema: GraphQLSchema
    parts: frozenset[str]
    answers: frozenset[str] = frozenset()
    recognised: frozenset[str] = frozenset()
    looked_up: frozenset[str] = frozenset()

    def faults(self) -> list[str]:
        """Sorted; none when nothing can be reached without a rule."""
        return sorted({*self._unruled_roots(), *self._undecided(), *self._entered(), *self._untrue()})

    def _roots(self) -> Iterator[GraphQLObjectType]:
        yield from filter(None, (self.schema.query_type, self.schema.mutation_type, self.schema.subscription_type))

    def _unruled_roots(self) -> Iterator[str]:
        for root in self._roots():
            yield from (f"{root}.{name}: no rule" for name in root.fields if not self._rules(root, name))

    def _rules(self, place: GraphQLObjectType, name: str) -> Rules:
        """Of a field, as far as it is held to them."""
        return rules_of(place.fields[name]) - (frozenset() if f"{place}.{name}" in self.looked_up else {OF_TYPE})

    def _untrue(self) -> Iterator[str]:
        """A frontend goes by what is printed, and we by what is enforced."""
        for place in self.schema.type_map.values():
            for name, field in place.fields.items() if _has_fields(place) else ():
                if (told := told_of(field)) != (held := held_to(field)):
                    yield f"{place}.{name} says {_words(told)} and is held to {_words(held)}"

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
                    by_type = needed if OF_TYPE in self._rules(place, name) else frozenset()
                    if missing := needed - met - by_type:
                        yield f"{place}.{name} enters {type_} without {', '.join(sorted(missing))}"
                    ahead.append((type_, met | needed))

    def _met(self, place: GraphQLObjectType, name: str, field: GraphQLField) -> Rules:
        met = self._rules(place, name) - {OF_TYPE}
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


def _has_fields(type_: object) -> bool:
    return isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not type_.name.startswith("__")


def _words(rules: Rules) -> str:
    return ", ".join(sorted(rules)) or "nothing"
