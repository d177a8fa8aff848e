"""FHIR's resources in the domain's words."""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
import phonenumbers

from domain.endpoint import Endpoint
from domain.ports import AppointmentState, EhrAppointment, Visit, Wanted
from domain.slot import FoundTime, Span, freed_by_moving
from integrations.fhir.wire import Appointment, Concept, Identifier, Reference, Slot, Telecom, Unreadable, id_in

SLOT_ID = "http://canonical.fhir.link/servicewell/wof-connect/identifiercodesystem/slot-id"
NEARBY = timedelta(hours=2)
"""How far around a visit its practitioner's free times are looked at, to see what moving it would open up."""

_STATES = {
    "booked": AppointmentState.BOOKED,
    "arrived": AppointmentState.BOOKED,
    "checked-in": AppointmentState.BOOKED,
    "fulfilled": AppointmentState.FULFILLED,
    "noshow": AppointmentState.NO_SHOW,
    "cancelled": AppointmentState.CANCELLED,
    "entered-in-error": AppointmentState.CANCELLED,
}
_PHONES = {"mobile": 0, "home": 1, "": 2, "work": 3}


def span_of(time: Appointment | Slot) -> Span | None:
    return Span(start=time.start, end=time.end) if time.start and time.end and time.start < time.end else None


def is_offered(proposed: Appointment, wanted: Wanted, span: Span) -> bool:
    """Whether a proposal is what was asked for; servers that ignore a parameter answer more than that."""
    start, end = proposed.start, proposed.end
    return (
        proposed.status in ("proposed", "pending")
        and start is not None
        and end is not None
        and start < end
        and end - start == wanted.duration
        and span.start <= start < span.end
        and serves(proposed.serviceType, wanted.service_code)
        and role_of(proposed) in (None, wanted.practitioner_ehr_id)
    )


def serves(concepts: Sequence[Concept], code: str) -> bool:
    """What names no service at all is for every one."""
    codes = [coding.code for concept in concepts for coding in concept.coding if coding.code]
    return not codes or code in codes


def found_time(proposed: Appointment, wanted: Wanted) -> FoundTime:
    assert proposed.start and proposed.end
    return FoundTime(
        practitioner_ehr_id=wanted.practitioner_ehr_id,
        service_code=wanted.service_code,
        reference=value_of(proposed.identifier, SLOT_ID) or "",
        start=proposed.start,
        end=proposed.end,
        resources=tuple(map(as_text, proposed.supportingInformation)),
    )


def as_text(supporting: dict[str, object]) -> str:
    """A chair or device as the EHR named it: its JSON with sorted keys, so that the same thing reads the same."""
    return msgspec.json.encode(supporting, order="sorted").decode()


def opened_up(moving: Visit, wanted: Wanted, free: Sequence[Span], span: Span) -> list[Span]:
    """Times within `span` that only the visit itself is in the way of."""
    own = Span(start=moving.start, end=moving.end)
    if not may_open_up(moving, wanted, span):
        return []
    return [time for time in freed_by_moving(own, free) if span.start <= time.start < span.end]


def may_open_up(moving: Visit | None, wanted: Wanted, span: Span) -> bool:
    """Whether moving the visit can open up anything wanted: near it, and as long as it."""
    if moving is None:
        return False
    length = moving.end - moving.start
    return (
        (moving.practitioner_ehr_id, moving.service_code, length)
        == (wanted.practitioner_ehr_id, wanted.service_code, wanted.duration)
        and span.start < moving.start + length
        and moving.start - length < span.end
    )


def around(visit: Visit) -> Span:
    return Span(start=visit.start - NEARBY, end=visit.end + NEARBY)


def one_of_each(times: Iterable[FoundTime]) -> list[FoundTime]:
    """A practitioner's time once, however many pages or rooms it is told for; by start."""
    unique = {(time.start, time.practitioner_ehr_id, time.service_code): time for time in reversed(list(times))}
    return [unique[key] for key in sorted(unique)]


def appointment_of(found: Appointment) -> EhrAppointment | None:
    """None for a mere proposal or request: nobody has agreed to it yet. Raises `Unreadable`."""
    if found.status in ("proposed", "pending", "waitlist"):
        return None
    span, state = span_of(found), _STATES.get(found.status)
    if not found.id or span is None or state is None:
        raise Unreadable("an Appointment without id or time, or of a status that FHIR does not know")
    return EhrAppointment(
        ehr_id=found.id, state=state, start=span.start, end=span.end, practitioner_ehr_id=role_of(found)
    )


def role_of(found: Appointment) -> str | None:
    """The PractitionerRole that takes part; `actor.type` may be absent, the reference says what it is."""
    return first_id([each.actor for each in found.participant], "PractitionerRole")


def first_id(references: Iterable[Reference], kind: str) -> str | None:
    for each in references:
        if id := id_in(each.reference, kind):
            return id
    return None


def codes_of(concepts: Iterable[Concept]) -> set[str]:
    return {coding.code for concept in concepts for coding in concept.coding if coding.code}


def value_of(identifiers: Iterable[Identifier], system: str) -> str | None:
    for each in identifiers:
        if each.system == system and each.value:
            return each.value
    return None


def number_in(identifiers: Iterable[Identifier], endpoint: Endpoint) -> UUID | None:
    """A booking number of ours; None also for one that we cannot have given."""
    try:
        return UUID(value_of(identifiers, endpoint.booking_system) or "")
    except ValueError:
        return None


def is_of(visit: Visit, endpoint: Endpoint, identifiers: Iterable[Identifier]) -> bool:
    """Whether our booking number is among them."""
    return Identifier(endpoint.booking_system, str(visit.booking_id)) in list(identifiers)


def phone_in(telecom: Iterable[Telecom], country: str | None) -> str | None:
    """The number to send a message to, mobile first; E.164 where country code or country can be told."""
    phones = [each for each in telecom if each.system in ("phone", "sms") and each.value and each.use in _PHONES]
    if not phones:
        return None
    return e164(min(phones, key=lambda each: _PHONES[each.use]).value, country)


def e164(written: str, country: str | None) -> str:
    """People write numbers for reading, `+46 (0)8-12 34 56`; 00 stands for the plus sign in both countries. What is no
    number comes back as it is written."""
    try:
        number = phonenumbers.parse(re.sub(r"^\s*00", "+", written.replace("(0)", "")), country)
    except phonenumbers.NumberParseException:
        return written.strip()
    if not phonenumbers.is_valid_number(number):
        return written.strip()
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
