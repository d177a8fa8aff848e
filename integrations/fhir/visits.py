"""What a record system holds of one patient: every visit that was agreed to, whoever made it."""

import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import unescape
from re import sub

from msgspec import Raw, Struct

from domain.endpoint import Endpoint
from domain.patient import Patient as Person
from domain.ports import EhrVisit
from integrations.fhir.client import FhirClient, token
from integrations.fhir.paging import pages
from integrations.fhir.reading import SLOT_ID, appointment_of, as_text, first_id, number_in, value_of
from integrations.fhir.whose import Taking, Whose
from integrations.fhir.wire import Appointment, Concept, Identifier, Unreadable, decode
from integrations.fhir.writing import in_utc

log = logging.getLogger(__name__)

MOST_VISITS = 200
LONGEST_TITLE = 200
CONNECT = "http://canonical.fhir.link/servicewell/wof-connect/StructureDefinition/"


class Extension(Struct):
    url: str = ""
    valueInteger: int | None = None
    valueBoolean: bool | None = None
    extension: list["Extension"] = []


class Details(Struct):
    """What is only read where one patient's visits are shown."""

    created: str = ""
    participant: list[Taking] = []
    extension: list[Extension] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitsOf:
    """One patient's. Who an Appointment is for is looked at in each one: a server may ignore what it was asked for."""

    client: FhirClient
    endpoint: Endpoint
    person: Person

    async def since(self, moment: datetime) -> list[EhrVisit]:
        number = self.person.national_id
        if number is None:
            return []
        own = Identifier(number.system, number.number)
        found: dict[str, EhrVisit] = {}
        whose = Whose(self.client, own)
        async for appointment, details in self._told(own, moment):
            if await whose.takes_part(details.participant) and (visit := self._visit(appointment, details)):
                found[visit.held.ehr_id] = visit
            if len(found) >= MOST_VISITS:
                log.warning(
                    "%s has %d visits of one patient or more: the rest is left out", self.endpoint.id, MOST_VISITS
                )
                break
        return list(found.values())

    async def _told(self, own: Identifier, moment: datetime) -> AsyncIterator[tuple[Appointment, Details]]:
        """One that cannot be read hides no other."""
        asked = {
            "patient.identifier": token(own.system, own.value),
            "date": f"ge{in_utc(moment)}",
            "_count": self.endpoint.page_size,
        }
        async for page in pages(self.client, "Appointment", asked, person="patient.identifier"):
            for entry in page.entry:
                if read := self._read(entry.resource):
                    yield read

    def _read(self, resource: Raw) -> tuple[Appointment, Details] | None:
        try:
            found = decode(resource, Appointment)
            return (found, decode(resource, Details)) if found.resourceType == "Appointment" else None
        except Unreadable as unreadable:
            log.warning("a visit at %s is left out: %s", self.endpoint.id, unreadable)
            return None

    def _visit(self, found: Appointment, details: Details) -> EhrVisit | None:
        try:
            held = appointment_of(found)
        except Unreadable as unreadable:
            log.warning("a visit at %s is left out: %s", self.endpoint.id, unreadable)
            return None
        if held is None:
            return None
        told = {each.url.removeprefix(CONNECT): each for each in _every(details.extension)}
        hours = _integer(told.get("minChangeHours"))
        return EhrVisit(
            held=held,
            clinic_ehr_id=first_id([each.actor for each in found.participant], "HealthcareService"),
            service_code=_code(found.serviceType, self.endpoint.service_system),
            title=_title(found.serviceType),
            booking_id=number_in(found.identifier, self.endpoint),
            created=_moment(details.created),
            no_change_within=timedelta(hours=hours if 0 < hours <= 24 * 366 else 0),
            can_be_cancelled=_may(told.get("canBeCancelled")),
            can_be_rescheduled=_may(told.get("canBeRescheduled")),
            reference=first_id(found.slot, "Slot") or value_of(found.identifier, SLOT_ID) or "",
            resources=tuple(map(as_text, found.supportingInformation)),
        )


def _every(extensions: Iterable[Extension]) -> Iterator[Extension]:
    for each in extensions:
        yield each
        yield from _every(each.extension)


def _integer(extension: Extension | None) -> int:
    return (extension and extension.valueInteger) or 0


def _may(extension: Extension | None) -> bool:
    """Only a plain no is one."""
    return extension is None or extension.valueBoolean is not False


def _code(services: Iterable[Concept], system: str) -> str | None:
    codes = (coding.code for service in services for coding in service.coding if coding.system == system)
    return next((code for code in codes if code), None)


def _title(services: Iterable[Concept]) -> str:
    told = (each.text or next((coding.display for coding in each.coding if coding.display), "") for each in services)
    return ", ".join(dict.fromkeys(filter(None, map(_plain, told))))[:LONGEST_TITLE]


def _plain(text: str) -> str:
    """Without markup, which some systems write into any text."""
    return " ".join(sub(r"</?[A-Za-z!][^<>]*>", " ", unescape(text)).split())


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
