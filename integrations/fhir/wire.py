"""FHIR resources as they come over the wire: only what is needed of them, and nothing more is demanded.

Every entry of a Bundle is decoded by itself, so that one that cannot be understood does not spoil its neighbours.
What comes by the ten thousand is left out of garbage collection: nothing decoded can refer to what it is part of.
"""

from collections.abc import Iterator
from datetime import datetime, time
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

Instant = Annotated[datetime, Meta(tz=True)]


class Unreadable(Exception):
    """A body that is no JSON, or not what FHIR says it should be."""


class Identifier(Struct, gc=False):
    system: str = ""
    value: str = ""


class Coding(Struct, gc=False):
    system: str = ""
    code: str = ""
    display: str = ""


class Concept(Struct, gc=False):
    coding: list[Coding] = []
    text: str = ""


class Reference(Struct, gc=False):
    reference: str = ""
    identifier: Identifier | None = None
    display: str = ""


class Issue(Struct, gc=False):
    severity: str = "error"
    code: str = ""
    details: Concept | None = None
    diagnostics: str = ""


class Version(Struct, gc=False):
    versionId: str = ""
    lastUpdated: str = ""


class Resource(Struct, gc=False):
    """`issue` makes an OperationOutcome readable wherever another resource was expected."""

    resourceType: str = ""
    id: str = ""
    meta: Version | None = None
    language: str = ""
    active: bool = True
    identifier: list[Identifier] = []
    issue: list[Issue] = []


class _Named(Struct, gc=False):
    resourceType: str = ""


class Outcome(_Named):
    issue: list[Issue] = []


class Participant(Struct, gc=False):
    actor: Reference = msgspec.field(default_factory=Reference)


class Appointment(Resource):
    status: str = ""
    start: Instant | None = None
    end: Instant | None = None
    serviceType: list[Concept] = []
    participant: list[Participant] = []
    slot: list[Reference] = []
    supportingInformation: list[dict[str, Any]] = []


class Slot(Resource):
    status: str = ""
    start: Instant | None = None
    end: Instant | None = None
    schedule: Reference = msgspec.field(default_factory=Reference)
    serviceType: list[Concept] = []
    comment: str = ""


class Telecom(Struct):
    system: str = ""
    value: str = ""
    use: str = ""


class Patient(Resource):
    telecom: list[Telecom] = []


class Address(Struct):
    text: str = ""
    line: list[str] = []
    postalCode: str = ""
    city: str = ""
    country: str = ""


class Position(Struct):
    latitude: float
    longitude: float


class Location(Resource):
    name: str = ""
    telecom: list[Telecom] = []
    address: Address | None = None
    position: Position | None = None


class AvailableTime(Struct):
    daysOfWeek: list[str] = []
    allDay: bool = False
    availableStartTime: time | None = None
    availableEndTime: time | None = None


class HealthcareService(Resource):
    name: str = ""
    telecom: list[Telecom] = []
    location: list[Reference] = []
    availableTime: list[AvailableTime] = []
    contained: list[msgspec.Raw] = []


class HumanName(Struct):
    text: str = ""
    family: str = ""
    given: list[str] = []


class Attachment(Struct):
    url: str = ""


class Qualification(Struct):
    code: Concept = msgspec.field(default_factory=Concept)


class Practitioner(Resource):
    name: list[HumanName] = []
    photo: list[Attachment] = []
    qualification: list[Qualification] = []


class PractitionerRole(Resource):
    practitioner: Reference = msgspec.field(default_factory=Reference)
    code: list[Concept] = []
    specialty: list[Concept] = []
    location: list[Reference] = []
    healthcareService: list[Reference] = []


class Quantity(Struct):
    value: float = 0
    unit: str = ""
    code: str = ""


class ActivityDefinition(Resource):
    status: str = "active"
    name: str = ""
    title: str = ""
    description: str = ""
    code: Concept | None = None
    timingDuration: Quantity | None = None


class Schedule(Resource):
    serviceType: list[Concept] = []
    actor: list[Reference] = []


class Link(Struct):
    relation: str = ""
    url: str = ""


class Entry(Struct, gc=False):
    resource: msgspec.Raw = msgspec.Raw(b"{}")


class Bundle(Struct):
    """`total` is not even looked at: servers leave it out, and `next` says all that it would."""

    resourceType: str = ""
    link: list[Link] = []
    entry: list[Entry] = []
    issue: list[Issue] = []

    @property
    def next(self) -> str | None:
        return next((link.url for link in self.link if link.relation == "next" and link.url), None)


R = TypeVar("R", bound=Resource)
T = TypeVar("T")
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}


def decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The body as that kind. Raises `Unreadable`."""
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        decoded: T = _DECODERS[kind].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"not a readable {kind.__name__}") from error
    return decoded


def bundle(body: bytes) -> Bundle:
    """A Bundle, or the bare OperationOutcome that came instead. Raises `Unreadable`."""
    found = decode(body, Bundle)
    if found.resourceType not in ("Bundle", "OperationOutcome"):
        raise Unreadable(f"a {found.resourceType or 'nameless thing'} where a Bundle was expected")
    return found


def within(found: Bundle, kind: type[R]) -> Iterator[R | Unreadable]:
    """The entries of that type in order; in place of one that cannot be understood, why."""
    for entry in found.entry:
        try:
            resource = decode(entry.resource, kind)
        except Unreadable as unreadable:
            if type_of(entry.resource) in (None, kind.__name__):
                yield unreadable
            continue
        if resource.resourceType == kind.__name__:
            yield resource


def type_of(body: bytes | msgspec.Raw) -> str | None:
    """What kind of resource it says it is; None for what cannot be read at all."""
    try:
        return decode(body, _Named).resourceType
    except Unreadable:
        return None


def issues(found: Bundle) -> list[Issue]:
    """What a bare or wrapped OperationOutcome says."""
    said = list(found.issue)
    for entry in found.entry:
        if b'"OperationOutcome"' in bytes(entry.resource):
            told = decode(entry.resource, Outcome)
            said += told.issue if told.resourceType == "OperationOutcome" else []
    return said


def complaints(said: list[Issue]) -> list[Issue]:
    """Issues that mean no; information and warnings may come along with a yes."""
    return [issue for issue in said if issue.severity in ("error", "fatal")]


@lru_cache(maxsize=10_000)
def id_in(reference: str, kind: str) -> str | None:
    """The id of a literal reference to that type, relative or absolute; it may hold any character, also a colon."""
    before, found, id = reference.partition(f"{kind}/")
    if not found or (before and not before.endswith("/")):
        return None
    return id.partition("/_history/")[0] or None
