"""Record systems that are booked by `$find` and `$book` (IHE Scheduling, ITI-115 to 118; WOF Connect)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.catalogue import EhrCatalogue
from domain.endpoint import Endpoint
from domain.patient import Patient
from domain.ports import AppointmentState, EhrAppointment, EhrUnavailable, EhrVisit, Found, Visit, Wanted
from domain.refusals import Refused, RejectedByEhr
from domain.slot import FoundTime, Span
from integrations.fhir import reading, writing
from integrations.fhir.catalogue import CONTEXT, Parts, catalogue_of
from integrations.fhir.client import FhirClient, asking, token
from integrations.fhir.existing import Existing, Held
from integrations.fhir.failures import FhirFailure, outage_of
from integrations.fhir.holding import Holding
from integrations.fhir.instants import fixed_span, fixed_visit
from integrations.fhir.paging import every, pages
from integrations.fhir.phone import registered_phone
from integrations.fhir.probing import probe
from integrations.fhir.visits import VisitsOf
from integrations.fhir.wire import Appointment, Unreadable, bundle, within

CONTEXT_PERIOD = timedelta(days=31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ihe:
    """One installation. What is written is written by `$book`, which checks no version: so look right before."""

    client: FhirClient
    endpoint: Endpoint

    @property
    def _existing(self) -> Existing:
        return Existing(client=self.client, endpoint=self.endpoint)

    @property
    def _holding(self) -> Holding:
        return Holding(client=self.client, endpoint=self.endpoint)

    async def probe(self, deadline: float) -> None:
        with asking(deadline):
            await probe(self.client)

    async def catalogue(self, deadline: float) -> EhrCatalogue:
        now = datetime.now(UTC)
        period = {"period-start": writing.in_utc(now), "period-end": writing.in_utc(now + CONTEXT_PERIOD)}
        parts = Parts()
        with asking(deadline):
            async for page in pages(self.client, "Schedule/$get-schedule-context", period):
                for kind in CONTEXT:
                    parts.add(kind, within(page, kind))
        return catalogue_of(parts, self.endpoint)

    async def find(
        self, wanted: Sequence[Wanted], span: Span, deadline: float, *, moving: Visit | None = None
    ) -> Found:
        """One `$find` for each wanted, all at once: the servers answer one practitioner a call."""
        span, moving = fixed_span(span), moving and fixed_visit(moving)
        with asking(deadline):
            asked = dict.fromkeys(wanted)
            answers = await asyncio.gather(*(self._free(each, span, moving) for each in asked))
        times = reading.one_of_each(time for found in answers for time in found.times)
        return Found(
            times=times,
            trouble=next((found.trouble for found in answers if found.trouble), None),
            unanswered=frozenset(each for each, found in zip(asked, answers, strict=True) if found.trouble),
        )

    async def _free(self, wanted: Wanted, span: Span, moving: Visit | None) -> Found:
        """With a visit to be moved near by, also the times that open up for it."""
        near = moving if moving and reading.may_open_up(moving, wanted, span) else None
        if near is None:
            return await self._told(wanted, span)
        around = reading.around(near)
        own, *others = await asyncio.gather(
            self._told(wanted, _wider(span, around)), *(self._told(each, around) for each in near.other_services)
        )
        free = [time for found in (own, *others) for time in found.times]
        within_span = [time for time in own.times if span.start <= time.start < span.end]
        return Found(times=[*within_span, *_opened_up(near, wanted, free, span)], trouble=own.trouble)

    async def _told(self, wanted: Wanted, span: Span) -> Found:
        times: list[FoundTime] = []
        trouble = None
        try:
            async for each in every(self.client, "Appointment/$find", self._question(wanted, span), Appointment):
                if reading.is_offered(each, wanted, span):
                    times.append(reading.found_time(each, wanted))
        except (EhrUnavailable, FhirFailure, Unreadable) as error:
            trouble = outage_of(error)
        return Found(times=times, trouble=trouble)

    def _question(self, wanted: Wanted, span: Span) -> dict[str, Any]:
        return {
            "start": writing.with_offset(span.start),
            "end": writing.with_offset(span.end),
            "practitionerRole": f"PractitionerRole/{wanted.practitioner_ehr_id}",
            "healthcareService": f"HealthcareService/{wanted.clinic_ehr_id}",
            "visit-type": token(self.endpoint.service_system, wanted.service_code),
            "_count": self.endpoint.page_size,
        }

    async def hold(self, visit: Visit, deadline: float) -> str | None:
        with asking(deadline):
            return await self._holding.hold(fixed_visit(visit))

    async def let_go(self, visit: Visit, ehr_id: str, deadline: float) -> None:
        with asking(deadline):
            await self._holding.let_go(fixed_visit(visit), ehr_id)

    async def book(self, visit: Visit, deadline: float) -> EhrAppointment:
        visit = fixed_visit(visit)
        proposal = writing.proposal(visit, self.endpoint)
        with asking(deadline):
            return await self._book(proposal, visit, AppointmentState.BOOKED, comment=visit.comment)

    async def move(self, visit: Visit, to: Visit, deadline: float) -> EhrAppointment:
        visit, to = fixed_visit(visit), fixed_visit(to)
        with asking(deadline):
            held = await self._existing.before_writing(visit)
            if held.state is not AppointmentState.BOOKED:
                raise Refused(RejectedByEhr(f"the Appointment is {held.state}"))
            moved = writing.moved_proposal(held.resource, visit, to, self.endpoint)
            return await self._book(moved, visit, AppointmentState.BOOKED)

    async def cancel(self, visit: Visit, deadline: float) -> Sequence[str]:
        visit = fixed_visit(visit)
        with asking(deadline):
            held = await self._existing.before_writing(visit)
            await self._cancel(visit, held)
        return ()  # a time is taken by its Appointment alone here

    async def _cancel(self, visit: Visit, held: Held) -> None:
        if held.state is AppointmentState.CANCELLED:
            return
        if held.state is not AppointmentState.BOOKED:
            raise Refused(RejectedByEhr(f"the Appointment is {held.state}"))
        cancelled = writing.permitted(held.resource | {"status": "cancelled"})
        try:
            await self._book(cancelled, visit, AppointmentState.CANCELLED, missing_is_taken=False)
        except Refused:
            again = await self._existing.again(visit)  # somebody at the clinic may have been faster
            if again is None or again.state is not AppointmentState.CANCELLED:
                raise

    async def _book(
        self,
        appointment: writing.Resource,
        visit: Visit,
        wanted: AppointmentState,
        *,
        comment: str | None = None,
        missing_is_taken: bool = True,
    ) -> EhrAppointment:
        order = writing.order(appointment, visit, self.endpoint, comment=comment)
        try:
            answer = await self.client.send("POST", "Appointment/$book", data=order)
        except FhirFailure as failure:
            if refusal := failure.as_refusal(missing_is_taken=missing_is_taken):
                raise Refused(refusal) from failure
            raise
        return _only_one(answer.body, wanted)

    async def look_up(self, visit: Visit, deadline: float) -> EhrAppointment | None:
        with asking(deadline):
            held = await self._existing.held(fixed_visit(visit))
            return held.appointment if held else None

    async def visits_of(self, patient: Patient, since: datetime, deadline: float) -> Sequence[EhrVisit]:
        with asking(deadline):
            return await VisitsOf(client=self.client, endpoint=self.endpoint, person=patient).since(since)

    async def abandon(self, visit: Visit, deadline: float) -> None:
        visit = fixed_visit(visit)
        with asking(deadline):
            held = await self._existing.held(visit, ours_alone=True)
            if held and held.state is AppointmentState.BOOKED:
                await self._cancel(visit, held)

    async def tidy(self, visit: Visit, deadline: float) -> None:
        """Nothing: a time is taken by its Appointment alone here."""

    async def registered_phone(self, patient: Patient, deadline: float) -> str | None:
        with asking(deadline):
            return await registered_phone(self.client, patient)


def _wider(one: Span, other: Span) -> Span:
    return Span(start=min(one.start, other.start), end=max(one.end, other.end))


def _opened_up(moving: Visit | None, wanted: Wanted, free: Sequence[FoundTime], span: Span) -> list[FoundTime]:
    """Times that the EHR has no name for yet; none is needed to move there."""
    if moving is None:
        return []
    spans = [Span(start=time.start, end=time.end) for time in free]
    return [
        FoundTime(
            practitioner_ehr_id=wanted.practitioner_ehr_id,
            service_code=wanted.service_code,
            reference="",
            start=time.start,
            end=time.end,
            resources=moving.resources,
        )
        for time in reading.opened_up(moving, wanted, spans, span)
    ]


def _only_one(body: bytes, wanted: AppointmentState) -> EhrAppointment:
    """Success is exactly one Appointment, in the status that was asked for. Anything else leaves it open."""
    found = list(within(bundle(body), Appointment))
    if len(found) != 1 or isinstance(found[0], Unreadable):
        raise Unreadable(f"{len(found)} Appointments where one was expected")
    appointment = reading.appointment_of(found[0])
    if appointment is None or appointment.state is not wanted:
        raise Unreadable(f"an Appointment that is {found[0].status}")
    return appointment
