"""The whole public schema in words: everything is explained, and what was agreed on is there under its name."""

import re
from collections.abc import Iterator

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    is_specified_directive,
    is_specified_scalar_type,
)

from api.schema.schema import schema

GRAPH = schema._schema
SMALL = {"the", "a", "an", "of", "its", "this", "is", "it", "to", "in", "and", "or", "for", "that", "which"}
SOMETHING = 2
"""Words of meaning that a description adds to the name at least."""

QUERIES = [
    *("node", "nodes", "tenant", "areas", "clinics", "clinic", "treatments", "treatment", "practitioners", "offers"),
    *("availability", "hold", "viewer"),
]
MUTATIONS = [
    *("holdSlot", "releaseHold", "confirmBooking", "rescheduleBooking", "cancelBooking"),
    *("updateContactDetails", "setConsent", "requestDataExport", "eraseMyData", "signOut"),
]

AGREED = """
Query.node(id: ID!): Node
Query.nodes(ids: [ID!]!): [Node]!
Query.tenant: Tenant!
Query.areas: [Area!]!
Query.clinic(slug: String!, campaignCode: String): Clinic
Query.treatment(code: String!, campaignCode: String): Treatment
Query.availability(search: AvailabilitySearch!, holdToken: String): Availability
Query.hold(token: String!): Hold
Query.viewer: Viewer
Mutation.holdSlot(input: HoldSlotInput!): HoldSlotPayload
Mutation.releaseHold(input: ReleaseHoldInput!): ReleaseHoldPayload
Mutation.confirmBooking(input: ConfirmBookingInput!): ConfirmBookingPayload
Mutation.rescheduleBooking(input: RescheduleBookingInput!): RescheduleBookingPayload
Mutation.cancelBooking(input: CancelBookingInput!): CancelBookingPayload
Availability.slots(first: Int, after: String): SlotConnection!
Availability.days: [AvailableDay!]!
Availability.nextAvailable: Slot
Availability.sources: [SourceStatus!]!
Availability.complete: Boolean!
Availability.asOf: DateTime!
AvailableDay.date: LocalDate!
AvailableDay.slotCount: Int!
AvailableDay.first: Slot!
Slot.id: ID!
Slot.start: DateTime!
Slot.end: DateTime!
Slot.clinic: Clinic!
Slot.treatment: Treatment!
Slot.practitioner: Practitioner!
Slot.price: Price
Slot.asOf: DateTime!
SourceStatus.clinics: [Clinic!]!
SourceStatus.state: SourceState!
SourceStatus.asOf: DateTime
SourceStatus.reason: String
SourceStatus.retryAfter: Duration
Hold.token: String!
Hold.slot: Slot!
Hold.price: Price
Hold.expiresAt: DateTime!
Hold.serverTime: DateTime!
Hold.scope: HoldScope!
Viewer.patient: Patient!
Viewer.sessionExpiresAt: DateTime!
Viewer.consents: [Consent!]!
Consent.id: ID!
Consent.kind: ConsentKind!
Consent.given: Boolean!
Consent.documentVersion: String
Consent.at: DateTime
UpdateContactDetailsPayload.patient: Patient
SetConsentPayload.consent: Consent
RequestDataExportPayload.downloadUrl: URL
EraseMyDataPayload.erased: Boolean!
EraseMyDataPayload.notErased: [String!]!
Booking.reference: String
Booking.status: BookingStatus!
Booking.version: Int!
Booking.title: String!
Booking.clinic: Clinic
Booking.treatment: Treatment
Booking.practitioner: Practitioner
Booking.price: Price
Booking.comment: String
Booking.createdAt: DateTime
Booking.cancellation: ChangeRight!
Booking.rescheduling: ChangeRight!
Booking.smsConfirmationTo: String
Booking.calendarUrl: URL!
Booking.history: [BookingStep!]!
ChangeRight.allowed: Boolean!
ChangeRight.until: DateTime
ChangeRight.refusal: ChangeRefusal
ChangeRight.message: String
PatientBookingConnection.sources: [SourceStatus!]!
SlotTakenError.alternatives: [Slot!]!
ChangeNotAllowedError.refusal: ChangeRefusal!
ChangeNotAllowedError.clinicPhone: PhoneNumber
PatientDoubleBookedError.other: Booking
PatientDoubleBookedError.mayProceed: Boolean!
StaleVersionError.current: Booking
UpstreamUnavailableError.retryAfter: Duration
AvailabilitySearch.treatmentId: ID!
AvailabilitySearch.clinicIds: [ID!]
AvailabilitySearch.areaIds: [ID!]
AvailabilitySearch.practitionerIds: [ID!]
AvailabilitySearch.from: LocalDate!
AvailabilitySearch.to: LocalDate!
AvailabilitySearch.weekdays: [Weekday!]
AvailabilitySearch.notBefore: LocalTime
AvailabilitySearch.notAfter: LocalTime
AvailabilitySearch.campaignCode: String
AvailabilitySearch.anyPractitioner: Boolean
AvailabilitySearch.movingBookingId: ID
HoldSlotInput.idempotencyKey: ID!
HoldSlotInput.slotId: ID!
HoldSlotInput.campaignCode: String
HoldSlotInput.anyPractitioner: Boolean
HoldSlotInput.holdToken: String
HoldSlotInput.movingBookingId: ID
ConfirmBookingInput.acceptedTermsVersion: String!
ConfirmBookingInput.smsConfirmation: Boolean!
ConfirmBookingInput.comment: String
RescheduleBookingInput.expectedVersion: Int!
RescheduleBookingInput.holdToken: String!
CancelBookingInput.expectedVersion: Int!
CancelBookingInput.reason: String
""".strip().splitlines()

ENUMS = {
    "SourceState": "OK STALE TIMEOUT OFFLINE",
    "HoldScope": "LOCAL EHR",
    "ConsentKind": "TERMS PRIVACY SMS MARKETING",
    "BookingPeriod": "UPCOMING PREVIOUS ALL",
    "BookingStatus": "HELD CONFIRMING UNKNOWN BOOKED CANCELLING CANCELLED FULFILLED NO_SHOW FAILED EXPIRED RELEASED",
    "ChangeRefusal": "NOT_ALLOWED TOO_LATE GRACE_OVER COUNT_EXCEEDED ALREADY_STARTED EHR_OFFLINE MANAGED_EXTERNALLY",
    "StepActor": "PATIENT STAFF AGENCY EHR SYSTEM",
    "ClinicBooking": "ONLINE EXTERNAL CLOSED",
    "WindowCombination": "ANY ALL",
    "Weekday": "MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY",
    "UserErrorCode": """SLOT_TAKEN HOLD_EXPIRED HOLD_NOT_FOUND HOLD_LIMIT NOT_ENOUGH_NOTICE TOO_YOUNG AGE_UNKNOWN
        PATIENT_DOUBLE_BOOKED CLINIC_CLOSED TREATMENT_NOT_OFFERED CAMPAIGN_INVALID CAMPAIGN_EXHAUSTED
        TERMS_NOT_ACCEPTED NATIONAL_ID_REQUIRED CHANGE_NOT_ALLOWED STALE_VERSION UPSTREAM_UNAVAILABLE REJECTED_BY_EHR
        IDEMPOTENCY_KEY_REUSED IN_PROGRESS INVALID_INPUT NOT_FOUND""",
}


def own_types() -> Iterator[tuple[str, GraphQLNamedType]]:
    for name, kind in GRAPH.type_map.items():
        if not name.startswith("__") and not is_specified_scalar_type(kind):
            yield name, kind


def described() -> Iterator[tuple[str, str | None]]:
    """Every place that may have a description: types, fields, arguments, input fields, enum values, directives."""
    for name, kind in own_types():
        yield name, kind.description
        if isinstance(kind, GraphQLEnumType):
            yield from ((f"{name}.{value}", told.description) for value, told in kind.values.items())
        if isinstance(kind, GraphQLInputObjectType):
            yield from ((f"{name}.{field}", told.description) for field, told in kind.fields.items())
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field, told in kind.fields.items():
                yield f"{name}.{field}", told.description
                yield from ((f"{name}.{field}({a})", x.description) for a, x in told.args.items())
    for directive in GRAPH.directives:
        if not is_specified_directive(directive):
            yield f"@{directive.name}", directive.description


def words(text: str) -> set[str]:
    """In lower case, taken apart where a name's capitals do, each without the endings of its forms."""
    apart = re.findall(r"[A-ZÆØÅ]+(?![a-z])|[A-Za-zæøå][a-zæøå]*|\d+", text.replace("_", " "))
    return {re.sub(r"(?<=..)(s|es|ed|ing)$", "", word.lower()) for word in apart}


EVERYWHERE = list(described())


def test_the_whole_schema_is_looked_at() -> None:
    places = {place for place, _ in EVERYWHERE}
    assert {"Slot.start", "Query.availability(search)", "BookingStatus.UNKNOWN", "HoldSlotInput.slotId"} <= places
    assert {"SlotTakenError", "UserError.code", "DateTime"} <= places
    assert len(places) > 300


@pytest.mark.parametrize(("place", "description"), EVERYWHERE, ids=[place for place, _ in EVERYWHERE])
def test_everything_is_described_by_more_than_its_name(place: str, description: str | None) -> None:
    assert description, f"{place} has no description"
    added = words(description) - words(place) - SMALL
    assert len(added) >= SOMETHING, f"{place}: {description!r} says no more than the name"
    assert description.rstrip("`").endswith((".", ")", "?")), f"{place}: {description!r} is no sentence"
    assert description == description.strip()


def test_the_roots_are_those_agreed_on() -> None:
    assert GRAPH.query_type and GRAPH.mutation_type
    assert sorted(GRAPH.query_type.fields) == sorted(QUERIES)
    assert sorted(GRAPH.mutation_type.fields) == sorted(MUTATIONS)


@pytest.mark.parametrize("line", AGREED, ids=[line.partition(":")[0].partition("(")[0] for line in AGREED])
def test_what_was_agreed_on_is_there_as_agreed(line: str) -> None:
    place, _, kind = line.rpartition(": ")
    name, _, arguments = place.partition("(")
    owner, _, field = name.partition(".")
    there = GRAPH.type_map[owner].fields[field]  # type: ignore[attr-defined]
    assert str(there.type) == kind
    told = ", ".join(f"{a}: {x.type}" for a, x in getattr(there, "args", {}).items())
    assert told == arguments.removesuffix(")")


@pytest.mark.parametrize(("name", "values"), ENUMS.items(), ids=ENUMS)
def test_enums_have_the_values_agreed_on(name: str, values: str) -> None:
    kind = GRAPH.type_map[name]
    assert isinstance(kind, GraphQLEnumType)
    assert sorted(kind.values) == sorted(values.split())


def test_every_mutation_takes_one_input_and_answers_its_own_payload_with_errors() -> None:
    assert GRAPH.mutation_type
    for name, field in GRAPH.mutation_type.fields.items():
        own = name[0].upper() + name[1:]
        assert {a: str(x.type) for a, x in field.args.items()} == {"input": f"{own}Input!"}
        assert str(field.type) == f"{own}Payload"  # nullable: one error must not erase its siblings' data
        payload = GRAPH.type_map[f"{own}Payload"]
        assert str(payload.fields["errors"].type) == "[UserError!]!"  # type: ignore[attr-defined]


def test_every_error_type_is_named_so_that_old_clients_know_new_ones() -> None:
    interface = GRAPH.type_map["UserError"]
    assert isinstance(interface, GraphQLInterfaceType)
    kinds = GRAPH.get_possible_types(interface)
    assert len(kinds) >= 6
    assert all(kind.name.endswith("Error") for kind in kinds)
    assert {"code", "message", "path"} <= set(interface.fields)
    assert all(set(interface.fields) <= set(kind.fields) for kind in kinds)


def test_no_enum_and_no_input_is_there_for_nothing() -> None:
    printed = schema.as_str()
    for name, kind in own_types():
        if isinstance(kind, GraphQLEnumType | GraphQLInputObjectType):
            assert len(re.findall(rf"\b{name}\b", printed)) > 1, f"{name} is used nowhere"
