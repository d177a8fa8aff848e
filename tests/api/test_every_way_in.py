"""Every root carries a rule, and nothing that is somebody's own can be reached without the one that it requires."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    get_named_type,
    is_required_argument,
    is_required_input_field,
)

from api.reading import READ_AS
from api.schema.allowed import OWNERS, ForReading, ForScope, ForScopeOfType, RequiresScope, enters
from api.schema.schema import schema
from api.schema.signed_in import ForPatients, RequiresPatient
from domain.client import OWN_CLIENT, ClientKind, Scope
from tests.api.walking import OF_TYPE, OWN_FRONTENDS, PATIENT, Walk, rules_of

GRAPH = schema._schema

PARTS = frozenset(
    [
        *("Address", "AvailableDay", "Banner", "BookingRules", "BookingStep", "ChangeRight", "ChangeWindow"),
        *("DisplaySettings", "GeoPoint", "IdentityProvider", "Image", "Money", "OpeningHours", "PageInfo"),
        *("PortalTexts", "Price", "Slot", "SourceStatus"),
        *("ClinicConnection", "ClinicEdge", "ClinicTreatmentConnection", "ClinicTreatmentEdge"),
        *("OfferConnection", "OfferEdge", "PatientBookingConnection", "PatientBookingEdge"),
        *("PractitionerConnection", "PractitionerEdge", "SlotConnection", "SlotEdge"),
        *("TreatmentConnection", "TreatmentEdge"),
        *("SetConsentPayload", "UpdateContactDetailsPayload", "RequestDataExportPayload", "EraseMyDataPayload"),
        "SignOutPayload",
        *("HoldSlotPayload", "ReleaseHoldPayload", "ConfirmBookingPayload", "RescheduleBookingPayload"),
        *("CancelBookingPayload", "SimpleError", "SlotTakenError", "ChangeNotAllowedError", "StaleVersionError"),
        *("PatientDoubleBookedError", "UpstreamUnavailableError"),
    ]
)
"""Objects that are nobody's own, but part of what leads to them. A new type belongs here or in `OWNERS`."""

ANSWERS = frozenset(f"{verb}BookingPayload.booking" for verb in ("Confirm", "Reschedule", "Cancel"))
"""Who may book, move or cancel a visit is told of that visit, without the scope to read all of them."""

RECOGNISED = frozenset({"Query.viewer"})
"""Null for whoever is not the patient."""


LOOKED_UP = frozenset({"Query.node", "Query.nodes"})
"""Where the look-up itself asks what each thing's type requires; `tests/system/test_agencies.py` tests that it does."""

SETTLED = ("updateContactDetails", "setConsent", "requestDataExport", "eraseMyData")


def test_nothing_is_reached_without_its_rule() -> None:
    assert Walk(GRAPH, PARTS, ANSWERS, RECOGNISED, LOOKED_UP).faults() == []


def test_every_exception_is_one() -> None:
    """An exception that nothing needs any more is taken back."""
    for name in (*ANSWERS, *RECOGNISED):
        rest = Walk(GRAPH, PARTS, ANSWERS - {name}, RECOGNISED - {name}, LOOKED_UP)
        assert [fault.partition(" ")[0] for fault in rest.faults()] == [name]


def test_what_is_owned_says_so_in_the_schema() -> None:
    told = {name: rules_of(GRAPH.type_map[name]) - {PATIENT} for name in OWNERS}
    either = {"Viewer": "patient/Patient.read or patient/Appointment.read"}
    assert told == {name: {either.get(name, scope.value)} for name, scope in OWNERS.items()}
    assert {name for name in OWNERS if PATIENT in rules_of(GRAPH.type_map[name])} == {
        *("Viewer", "Patient", "Consent", "Booking", "BookingChange")
    }


def test_whatever_only_a_patient_may_enter_is_noted_when_an_agency_reads_it() -> None:
    assert set(READ_AS) == {name for name in OWNERS if PATIENT in rules_of(GRAPH.type_map[name])}
    assert {name for name in OWNERS if isinstance(enters(name), ForReading)} == set(READ_AS)


def roots() -> list[tuple[str, str, GraphQLField]]:
    kinds = {"query": GRAPH.query_type, "mutation": GRAPH.mutation_type, "subscription": GRAPH.subscription_type}
    return [(kind, name, field) for kind, type_ in kinds.items() if type_ for name, field in type_.fields.items()]


def example(type_: Any) -> str:
    """The least that can be sent as a value of the type."""
    named = get_named_type(type_)
    if isinstance(named, GraphQLInputObjectType):
        needed = {name: field for name, field in named.fields.items() if is_required_input_field(field)}
        return "{" + ", ".join(f"{name}: {example(field.type)}" for name, field in needed.items()) + "}"
    if isinstance(named, GraphQLEnumType):
        return next(iter(named.values))
    return {"LocalDate": '"2027-03-01"', "Boolean": "true", "Int": "1"}.get(named.name, '"x"')


def document(kind: str, name: str, field: GraphQLField) -> str:
    given = ", ".join(f"{n}: {example(a.type)}" for n, a in field.args.items() if is_required_argument(a))
    return f"{kind} {{ {name}{f'({given})' if given else ''} {{ __typename }} }}"


async def codes_of(
    kind: str, query: str, scopes: frozenset[Scope], of: ClientKind = ClientKind.OWN
) -> list[tuple[str, str | None]]:
    context: Any = SimpleNamespace(
        caller=replace(OWN_CLIENT, kind=of, scopes=scopes), request_id="r", languages=("en",), viewer=nobody
    )
    if kind == "subscription":
        results = await schema.subscribe(query, context_value=context)
        result: Any = await anext(aiter(results)) if isinstance(results, AsyncGenerator) else results
    else:
        result = await schema.execute(query, context_value=context)
    return [(e.extensions["code"], e.extensions.get("scope")) for e in result.errors or ()]


async def nobody() -> None:
    return None


@pytest.mark.parametrize(("kind", "name", "field"), roots(), ids=[name for _, name, _ in roots()])
async def test_a_client_without_the_scope_of_a_root_is_refused_there(kind: str, name: str, field: GraphQLField) -> None:
    [required] = rules_of(field) - {PATIENT}
    if required in (OF_TYPE, OWN_FRONTENDS):
        return  # the one is asked thing by thing, see tests/system/test_agencies.py, the other below
    query, scopes = document(kind, name, field), [Scope(each) for each in required.split(" or ")]
    refused = ("FORBIDDEN", scopes[0].value)
    assert await codes_of(kind, query, frozenset(Scope) - {*scopes}) == [refused]
    for scope in scopes:
        assert refused not in await codes_of(kind, query, frozenset({scope}))


async def test_what_patients_settle_for_themselves_is_no_agencys_by_whatever_scope() -> None:
    own = [(kind, name, field) for kind, name, field in roots() if OWN_FRONTENDS in rules_of(field)]
    assert [name for _, name, _ in own] == [*SETTLED, "signOut"]
    for kind, name, field in own:
        query = document(kind, name, field)
        assert await codes_of(kind, query, frozenset(Scope), ClientKind.AGENCY) == [("FORBIDDEN", None)]
        assert await codes_of(kind, query, frozenset(Scope)) == [("UNAUTHENTICATED", None)]


@pytest.mark.parametrize(("kind", "name", "field"), roots(), ids=[name for _, name, _ in roots()])
async def test_a_root_for_patients_turns_others_away(kind: str, name: str, field: GraphQLField) -> None:
    codes = await codes_of(kind, document(kind, name, field), frozenset(Scope))
    assert (("UNAUTHENTICATED", None) in codes) == (PATIENT in rules_of(field))


# What the walk must not let pass, built on purpose.


@strawberry.type
class Letter:
    text: str


@strawberry.type(directives=[RequiresScope(scope=Scope.APPOINTMENT_READ), RequiresPatient()])
class Visit:
    day: str


@strawberry.type
class Holder:
    visit: Visit | None


@strawberry.type(directives=[RequiresScope(scope=Scope.FIND)])
class Times:
    holder: Holder
    letter: Letter


@strawberry.type
class Ruled:
    @strawberry.field(extensions=[ForScope(Scope.FIND)])
    def times(self) -> Times | None:
        return None


@strawberry.type
class WithoutRule:
    @strawberry.field
    def letter(self) -> Letter | None:
        return None


@strawberry.type
class PastTheOwner:
    @strawberry.field(extensions=[ForScope(Scope.OFFERS)])
    def times(self) -> Times | None:
        return None


@strawberry.type
class ScopeWithoutPatient:
    @strawberry.field(extensions=[ForScope(Scope.APPOINTMENT_READ)])
    async def visit(self) -> Visit | None:
        return None


@strawberry.type
class Whole:
    @strawberry.field(extensions=[ForPatients(), ForScope(Scope.APPOINTMENT_READ)])
    async def visit(self) -> Visit | None:
        return None


@strawberry.type
class OnlySaid:
    """Looks to every reader of the schema as if it were ruled."""

    @strawberry.field(directives=[RequiresScope(scope=Scope.FIND)])
    def times(self) -> Times | None:
        return None


@strawberry.type
class Keeper:
    @strawberry.field(directives=[RequiresScope(scope=Scope.APPOINTMENT_READ), RequiresPatient()])
    async def visit(self) -> Visit | None:
        return None


@strawberry.type
class OfItsType:
    @strawberry.field(extensions=[ForScopeOfType()])
    async def keeper(self) -> Keeper | None:
        return None


@strawberry.type
class OtherThanSaid:
    @strawberry.field(extensions=[ForPatients(30)], directives=[RequiresPatient(max_age_minutes=5)])
    async def letter(self) -> Letter | None:
        return None


NO_VISIT = "visit enters Visit without patient/Appointment.read, the signed-in patient"
LOST = f"Holder.{NO_VISIT}"


@pytest.mark.parametrize(
    ("root", "parts", "faults"),
    [
        (Whole, [], []),
        (WithoutRule, ["Letter"], ["WithoutRule.letter: no rule"]),
        (ScopeWithoutPatient, [], ["ScopeWithoutPatient.visit enters Visit without the signed-in patient"]),
        (Ruled, ["Letter", "Holder"], [LOST]),
        (Ruled, ["Holder"], [LOST, "Letter: nobody says whose it is"]),
        (Ruled, ["Letter", "Holder", "Times"], [LOST, "Times: both owned and a part"]),
        (PastTheOwner, ["Letter", "Holder"], [LOST, "PastTheOwner.times enters Times without system/$find.read"]),
        (
            OnlySaid,
            ["Letter", "Holder"],
            [
                LOST,
                "OnlySaid.times enters Times without system/$find.read",
                "OnlySaid.times says system/$find.read and is held to nothing",
                "OnlySaid.times: no rule",
            ],
        ),
        (
            OfItsType,
            ["Keeper"],
            [
                f"Keeper.{NO_VISIT}",
                "Keeper.visit says patient/Appointment.read, the signed-in patient and is held to nothing",
                "OfItsType.keeper: no rule",
            ],
        ),
        (
            OtherThanSaid,
            ["Letter"],
            [
                "OtherThanSaid.letter says a login in minutes: 30, a login in minutes: 5, the signed-in patient and is "
                "held to a login in minutes: 30, the signed-in patient"
            ],
        ),
    ],
    ids=[
        *("whole", "root", "patient", "field", "new type", "both", "owner"),
        *("only said", "of its type", "other than said"),
    ],
)
def test_the_walk_finds_what_is_missing(root: Any, parts: list[str], faults: list[str]) -> None:
    assert Walk(strawberry.Schema(query=root)._schema, frozenset(parts)).faults() == faults


def test_the_walk_goes_every_way() -> None:
    """What is entered behind a rule on one way is not taken for entered so on another."""

    @strawberry.type
    class TwoWays(Ruled):
        @strawberry.field(extensions=[ForPatients(), ForScope(Scope.APPOINTMENT_READ)])
        async def holder(self) -> Holder | None:
            return None

    faults = Walk(strawberry.Schema(query=TwoWays)._schema, frozenset({"Letter", "Holder"})).faults()
    assert faults == [LOST]


def test_every_object_of_the_real_schema_was_walked() -> None:
    objects = {n for n, t in GRAPH.type_map.items() if isinstance(t, GraphQLObjectType) and not n.startswith("__")}
    assert objects == {*PARTS, *OWNERS, "Query", "Mutation", "Subscription"}
