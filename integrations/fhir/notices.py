"""What a Subscription to topics sends: a Bundle whose first entry says which events it is about."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Raw, Struct

from integrations.fhir.wire import Entry, Reference, Unreadable, decode, id_in, type_of

LARGEST_NUMBER = 2**62


class Notice(Struct):
    resourceType: str = ""
    type: str = ""
    entry: list[Entry] = []


class Event(Struct):
    eventNumber: str | int = ""


class SubscriptionStatus(Struct):
    subscription: Reference | None = None
    eventsSinceSubscriptionStart: str | int = ""
    notificationEvent: list[Event] = []


class Parameter(Struct):
    name: str = ""
    valueReference: Reference | None = None
    valueString: str = ""
    valueUnsignedInt: int | None = None
    valueInteger64: str | int = ""
    part: list["Parameter"] = []

    @property
    def number(self) -> str | int:
        return self.valueUnsignedInt if self.valueUnsignedInt is not None else self.valueString or self.valueInteger64


class Parameters(Struct):
    parameter: list[Parameter] = []

    def all(self, name: str) -> list[Parameter]:
        return [each for each in self.parameter if each.name == name]


@dataclass(frozen=True, slots=True)
class Status:
    """`number` is that of the last event told, or of the last there has been where none is told."""

    subscription: str
    number: int
    events: int


def status_in(body: Raw) -> Status:
    """Raises `Unreadable`."""
    kind = type_of(body)
    if kind == "Parameters":
        return _of_parameters(decode(body, Parameters))
    if kind == "SubscriptionStatus":
        told = decode(body, SubscriptionStatus)
        numbers = [each.eventNumber for each in told.notificationEvent]
        return _status(told.subscription, numbers, told.eventsSinceSubscriptionStart)
    raise Unreadable("a notification that does not begin with its status")


def _of_parameters(told: Parameters) -> Status:
    reference = next((each.valueReference for each in told.all("subscription")), None)
    parts = [part for event in told.all("notification-event") for part in event.part if part.name == "event-number"]
    since = next((each.number for each in told.all("events-since-subscription-start")), "")
    return _status(reference, [each.number for each in parts], since)


def _status(reference: Reference | None, numbers: Sequence[str | int], since_start: str | int) -> Status:
    subscription = id_in(reference.reference, "Subscription") if reference else None
    told = [_number(each) for each in numbers]
    if not subscription:
        raise Unreadable("a notification without its subscription")
    return Status(subscription, max(told) if told else _number(since_start), len(told))


def _number(text: str | int) -> int:
    """64 bits wide, and so at times written as text."""
    if isinstance(text, str) and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Unreadable("a number of an event that is none")
    if not 0 <= (number := int(text)) <= LARGEST_NUMBER:
        raise Unreadable("a number of an event that is none")
    return number
