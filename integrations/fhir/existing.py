"""Finding a visit's Appointment in its EHR."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from msgspec import Raw

from domain.endpoint import Endpoint, FindsBy
from domain.ports import AppointmentState, EhrAppointment, EhrUnavailable, Visit
from domain.refusals import Refused, RejectedByEhr
from integrations.fhir.client import FhirClient, after_writing, only_reading, path_to, token
from integrations.fhir.failures import FhirFailure
from integrations.fhir.paging import pages
from integrations.fhir.reading import appointment_of, is_of, role_of, value_of
from integrations.fhir.whose import Participants, Whose
from integrations.fhir.wire import Appointment, Identifier, decode
from integrations.fhir.writing import in_utc, person_identifier


@dataclass(frozen=True, slots=True)
class Held:
    """An Appointment as it stands: the whole resource, its version where the server has versions, and the gist."""

    resource: dict[str, Any]
    version: str | None
    appointment: EhrAppointment

    @property
    def state(self) -> AppointmentState:
        return self.appointment.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    client: FhirClient
    endpoint: Endpoint

    async def held(self, visit: Visit, *, ours_alone: bool = False) -> Held | None:
        """By its id where that is known, else by our booking number, else by who, when and with whom.

        `ours_alone`: not what the clinic may have booked itself, for somebody who would cancel it.
        Raises `EhrUnavailable` or `Unreadable` where there is no telling: None means that it is not there.
        """
        held = await self.read(visit.ehr_id) if visit.ehr_id else None
        return held or await self._search(visit, ours_alone)

    async def before_writing(self, visit: Visit) -> Held:
        """The same, right before it is changed: what goes wrong here has changed nothing. Raises `Refused`."""
        with only_reading():
            held = await self.held(visit)
        if held is None:
            raise Refused(RejectedByEhr("the EHR has no such Appointment"))
        return held

    async def read(self, id: str) -> Held | None:
        """None where there is no such Appointment, or where the server lets nobody read one by id."""
        try:
            answer = await self.client.send("GET", path_to("Appointment", id))
        except FhirFailure:
            return None
        found = decode(answer.body, Appointment)
        return _held(found, answer.body, answer.headers.get("ETag", ""))

    async def again(self, visit: Visit) -> Held | None:
        """After a write that was not answered with a yes: where this cannot be had either, it stays open."""
        with after_writing():
            return await self.held(visit)

    async def _search(self, visit: Visit, ours_alone: bool) -> Held | None:
        """Servers that do not index the number find nothing by it: only who, when and with whom says it is not there.

        A server that looked for the number, and refuses to look for the patient, is believed. So is one of which the
        endpoint says that it finds whatever carries our number.
        """
        found, obeyed = await self._numbered(visit)
        by_person = self.endpoint.finds_by is not FindsBy.NUMBER
        if not found and by_person and not (obeyed and ours_alone):
            try:
                found = [each async for each in self._by_person(visit, ours_alone)]
            except FhirFailure:
                if not obeyed:
                    raise
        return _best([_held(each, raw) for each, raw in found])

    async def _numbered(self, visit: Visit) -> tuple[list[tuple[Appointment, Raw]], bool]:
        """As below; nothing, and not obeyed, where the server cannot look for numbers. Raises where it must."""
        if self.endpoint.finds_by is FindsBy.PERSON:
            return [], False
        try:
            return await self._by_number(visit)
        except FhirFailure:
            if self.endpoint.finds_by is FindsBy.NUMBER:
                raise
            return [], False

    async def _by_number(self, visit: Visit) -> tuple[list[tuple[Appointment, Raw]], bool]:
        """Those with our number, and whether the server looked for it at all: one that does not answers others too."""
        asked = {"identifier": token(self.endpoint.booking_system, str(visit.booking_id))}
        found = 0
        ours: list[tuple[Appointment, Raw]] = []
        async for each, raw in self._matching(asked):
            found += 1
            if not is_of(visit, self.endpoint, each.identifier):
                return ours, False
            ours.append((each, raw))
        return ours, len(ours) == found

    async def _by_person(self, visit: Visit, ours_alone: bool) -> AsyncIterator[tuple[Appointment, Raw]]:
        """The patient's Appointment at that start with that practitioner, unless it is another booking of ours.

        Without our number it may be the clinic's own. It is taken for ours only while it stands, and for that patient:
        an earlier one that was cancelled says nothing about what we have asked for.
        """
        if visit.patient.national_id is None:
            return  # nobody is booked without one
        person = person_identifier(visit.patient)
        minute = (f"ge{in_utc(visit.start)}", f"lt{in_utc(visit.start + timedelta(minutes=1))}")
        asked = {"patient.identifier": token(person["system"], person["value"]), "date": list(minute)}
        whose = Whose(self.client, Identifier(person["system"], person["value"]))
        async for each, raw in self._matching(asked, person="patient.identifier"):
            if each.start != visit.start or role_of(each) not in (None, visit.practitioner_ehr_id):
                continue
            number = value_of(each.identifier, self.endpoint.booking_system)
            if number is None and not ours_alone and each.status == "booked":
                if await whose.takes_part(decode(raw, Participants).participant):
                    yield each, raw
            elif number == str(visit.booking_id):
                yield each, raw

    async def _matching(self, asked: Mapping[str, Any], person: str = "") -> AsyncIterator[tuple[Appointment, Raw]]:
        async for page in pages(self.client, "Appointment", asked, person=person):
            for entry in page.entry:
                found = decode(entry.resource, Appointment)
                if found.resourceType == "Appointment":
                    yield found, entry.resource


def version(version_id: str, tag: str = "") -> str | None:
    """As `If-Match` wants it: weak and in quotes, for without them servers ignore it in silence."""
    if version_id:
        return f'W/"{version_id}"'
    return tag if tag.startswith(('W/"', '"')) else None


def _held(found: Appointment, body: bytes | Raw, tag: str = "") -> Held | None:
    """None for a proposal or request that nobody has agreed to."""
    appointment = appointment_of(found)
    known = version(found.meta.versionId if found.meta else "", tag)
    return Held(decode(body, dict[str, Any]), known, appointment) if appointment else None


def _best(found: list[Held | None]) -> Held | None:
    """The booked one, where an earlier one under the same number was cancelled."""
    agreed = [held for held in found if held]
    if found and not agreed:
        raise EhrUnavailable("the Appointment is requested but not yet agreed to")
    return min(agreed, key=lambda each: each.state is not AppointmentState.BOOKED, default=None)
