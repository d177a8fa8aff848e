"""Record systems that are booked by plain FHIR R4: a Slot is taken, then an Appointment made, in that order.

No other order left exactly one Appointment on every server measured; transactions and conditional updates did not.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from domain.catalogue import EhrCatalogue
from domain.endpoint import Endpoint
from domain.patient import Patient
from domain.ports import AppointmentState, EhrAppointment, EhrUnavailable, EhrVisit, Found, Visit, Wanted
from domain.refusals import Refused, RejectedByEhr
from domain.slot import FoundTime, Span
from integrations.fhir import reading, writing
from integrations.fhir.catalogue import SEARCHED, Parts, catalogue_of
from integrations.fhir.client import Answer, FhirClient, asking, path_to, token
from integrations.fhir.existing import Existing, Held
from integrations.fhir.failures import FhirFailure, outage_of
from integrations.fhir.instants import fixed_span, fixed_visit
from integrations.fhir.paging import every, pages
from integrations.fhir.phone import registered_phone
from integrations.fhir.probing import probe
from integrations.fhir.slots import ANSWER_IN_FULL, Slots, question
from integrations.fhir.visits import VisitsOf
from integrations.fhir.wire import Appointment, Resource, Slot, Unreadable, decode, id_in, within


@dataclass(frozen=True, slots=True, kw_only=True)
class R4:
    """One installation. A Slot that carries our number without an Appointment is what `abandon` lets go of."""

    client: FhirClient
    endpoint: Endpoint

    @property
    def _slots(self) -> Slots:
        return Slots(client=self.client, endpoint=self.endpoint)

    @property
    def _existing(self) -> Existing:
        return Existing(client=self.client, endpoint=self.endpoint)

    async def probe(self, deadline: float) -> None:
        with asking(deadline):
            await probe(self.client)

    async def catalogue(self, deadline: float) -> EhrCatalogue:
        parts = Parts()
        with asking(deadline):
            # To the last one: what one failure leaves running would go on when the connections are closed.
            ended = await asyncio.gather(*(self._gather(parts, kind) for kind in SEARCHED), return_exceptions=True)
            for failure in filter(None, ended):
                raise failure
        return catalogue_of(parts, self.endpoint)

    async def _gather(self, parts: Parts, kind: type[Resource]) -> None:
        async for page in pages(self.client, kind.__name__, {"_count": self.endpoint.page_size}):
            parts.add(kind, within(page, kind))

    async def find(
        self, wanted: Sequence[Wanted], span: Span, deadline: float, *, moving: Visit | None = None
    ) -> Found:
        """One search for the Slots of everybody wanted. One Slot is one visit: none is joined or split."""
        span, moving = fixed_span(span), moving and fixed_visit(moving)
        with asking(deadline):
            free, opened = await asyncio.gather(self._free(wanted, span), self._opened_up(wanted, span, moving))
        times = reading.one_of_each([*free.times, *opened.times])
        trouble = free.trouble or opened.trouble
        return Found(times=times, trouble=trouble, unanswered=frozenset(wanted) if trouble else frozenset())

    async def _free(self, wanted: Sequence[Wanted], span: Span) -> Found:
        schedules = list(dict.fromkeys(id for each in wanted for id in each.schedule_ids))
        if not schedules:
            return Found(times=[])
        codes = {each.service_code for each in wanted}
        service = {"service-type": token(self.endpoint.service_system, *codes)} if len(codes) == 1 else {}
        asked = question(schedules, span, self.endpoint.page_size, status="free", **service)
        slots: dict[str, Slot] = {}
        trouble = None
        try:
            async for slot in every(self.client, "Slot", asked, Slot):
                slots.setdefault(slot.id, slot)
        except (EhrUnavailable, FhirFailure, Unreadable) as error:
            trouble = outage_of(error)
        free = [slot for slot in slots.values() if slot.status == "free"]
        return Found(times=_times(free, wanted, span), trouble=trouble)

    async def _opened_up(self, wanted: Sequence[Wanted], span: Span, moving: Visit | None) -> Found:
        concerned = [each for each in wanted if reading.may_open_up(moving, each, span)]
        schedules = list(dict.fromkeys(id for each in concerned for id in each.schedule_ids))
        if moving is None or not schedules:
            return Found(times=[])
        try:
            slots = await self._slots.opened_up(moving, schedules)
        except (EhrUnavailable, FhirFailure, Unreadable) as error:
            return Found(times=[], trouble=outage_of(error))
        return Found(times=_times(slots, concerned, span))

    async def hold(self, visit: Visit, deadline: float) -> str | None:
        """None: a Slot that is kept here stays so until somebody frees it."""
        return None

    async def let_go(self, visit: Visit, ehr_id: str, deadline: float) -> None:
        """Nothing: nothing is kept."""

    async def book(self, visit: Visit, deadline: float) -> EhrAppointment:
        visit = fixed_visit(visit)
        created = writing.appointment(visit, self.endpoint)
        with asking(deadline):
            await self._slots.take(visit)
            answer = await self._create(created, visit)
            return await self._checked(answer, visit)

    async def _create(self, created: writing.Resource, visit: Visit) -> Answer:
        number = quote(token(self.endpoint.booking_system, str(visit.booking_id)), safe=":/|")
        headers = {"If-None-Exist": f"identifier={number}", **ANSWER_IN_FULL}
        try:
            return await self.client.send("POST", "Appointment", data=created, headers=headers)
        except FhirFailure as failure:
            refusal = failure.as_refusal(missing_is_taken=False)
            if refusal is None:
                raise
            await self._undo(visit)
            raise Refused(refusal) from failure
        except EhrUnavailable as outage:
            if not outage.sent:
                await self._undo(visit)
            raise

    async def _checked(self, answer: Answer, visit: Visit) -> EhrAppointment:
        """What stands under our number; HTTP 200 says that it stood there before."""
        found = decode(answer.body, Appointment)
        held = reading.appointment_of(found) if found.resourceType == "Appointment" else None
        if held is None:
            raise Unreadable(f"an Appointment that is {found.status or 'something else'}")
        if held.state is not AppointmentState.BOOKED or held.start != visit.start:
            await self._undo(visit)
            raise Refused(RejectedByEhr(f"an Appointment under this number is {held.state}"))
        return held

    async def _undo(self, visit: Visit) -> None:
        """Free what was taken for nothing. Where that fails the booking is in doubt, so that it is looked into."""
        if not await self._slots.let_go(visit.reference, visit):
            raise EhrUnavailable("a Slot was taken for nothing and could not be freed")

    async def move(self, visit: Visit, to: Visit, deadline: float) -> EhrAppointment:
        visit, to = fixed_visit(visit), fixed_visit(replace(to, booking_id=visit.booking_id))
        with asking(deadline):
            held = await self._existing.before_writing(visit)
            if held.state is not AppointmentState.BOOKED:
                raise Refused(RejectedByEhr(f"the Appointment is {held.state}"))
            before = _slot_ids(held, visit)
            await self._slots.take(to, moving=visit)
            moved = await self._rewrite(held, visit, to, is_new=to.reference not in before)
            left = await self._still_taken([id for id in before if id != to.reference], visit)
            return replace(moved, still_taken=left)

    async def _rewrite(self, held: Held, visit: Visit, to: Visit, *, is_new: bool) -> EhrAppointment:
        try:
            moved = await self._put(held, writing.moved_appointment(held.resource, to, self.endpoint))
        except Refused:
            if is_new:
                await self._undo(to)
            raise
        except EhrUnavailable as outage:
            if not outage.sent and is_new:
                await self._undo(to)
            now = await self._again(visit, outage) if outage.sent else None
            if now is None or now.start != to.start or now.practitioner_ehr_id != to.practitioner_ehr_id:
                raise
            return now
        return moved

    async def _still_taken(self, ids: Sequence[str], visit: Visit) -> tuple[str, ...]:
        """The deed is done: what could not be freed now is for later."""
        return tuple([id for id in ids if not await self._slots.let_go(id, visit)])

    async def cancel(self, visit: Visit, deadline: float) -> Sequence[str]:
        visit = fixed_visit(visit)
        with asking(deadline):
            return await self._cancel(visit, await self._existing.before_writing(visit))

    async def _cancel(self, visit: Visit, held: Held) -> Sequence[str]:
        if held.state not in (AppointmentState.BOOKED, AppointmentState.CANCELLED):
            raise Refused(RejectedByEhr(f"the Appointment is {held.state}"))
        if held.state is AppointmentState.BOOKED:
            await self._mark_cancelled(visit, held)
        return await self._still_taken(_slot_ids(held, visit), visit)

    async def _mark_cancelled(self, visit: Visit, held: Held) -> None:
        try:
            await self._put(held, held.resource | {"status": "cancelled"})
        except (Refused, EhrUnavailable) as error:
            if isinstance(error, EhrUnavailable) and not error.sent:
                raise
            now = await self._again(visit, error)  # somebody at the clinic may have been faster
            if now is None or now.state is not AppointmentState.CANCELLED:
                raise

    async def _put(self, held: Held, changed: writing.Resource) -> EhrAppointment:
        if held.version is None:
            raise Refused(RejectedByEhr("an Appointment without a version cannot be changed safely"))
        headers = {"If-Match": held.version, **ANSWER_IN_FULL}
        path = path_to("Appointment", held.appointment.ehr_id)
        try:
            answer = await self.client.send("PUT", path, data=changed, headers=headers)
        except FhirFailure as failure:
            refusal = failure.as_refusal(missing_is_taken=False)
            if refusal is None:
                raise failure.as_outage() from failure
            raise Refused(
                RejectedByEhr(f"changed in between: {failure}") if failure.status == 412 else refusal
            ) from failure
        appointment = reading.appointment_of(decode(answer.body, Appointment))
        if appointment is None:
            raise EhrUnavailable("the changed Appointment came back as a proposal")
        return appointment

    async def _again(self, visit: Visit, reason: Refused | EhrUnavailable) -> EhrAppointment | None:
        """A second look after a no or no answer; where it cannot be had either, what was written stays open."""
        try:
            held = await self._existing.again(visit)
        except (EhrUnavailable, FhirFailure, Unreadable) as error:
            raise (outage_of(error) if isinstance(reason, Refused) else reason) from error
        return held.appointment if held else None

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
                await self._mark_cancelled(visit, held)
            for id in _slot_ids(held, visit):
                await self._slots.free(id, visit)

    async def tidy(self, visit: Visit, deadline: float) -> None:
        visit = fixed_visit(visit)
        if not visit.reference:
            return
        with asking(deadline):
            held = await self._existing.held(visit, ours_alone=True)
            stands = held is not None and held.state is AppointmentState.BOOKED
            if stands and visit.reference in _slot_ids(held, replace(visit, reference="")):
                await self._slots.take(visit)
            else:
                await self._slots.free(visit.reference, visit)

    async def registered_phone(self, patient: Patient, deadline: float) -> str | None:
        with asking(deadline):
            return await registered_phone(self.client, patient)


def _times(slots: Sequence[Slot], wanted: Sequence[Wanted], span: Span) -> list[FoundTime]:
    by_schedule: dict[str, list[Wanted]] = {}
    for each in wanted:
        for id in each.schedule_ids:
            by_schedule.setdefault(id, []).append(each)
    return [
        FoundTime(
            practitioner_ehr_id=each.practitioner_ehr_id,
            service_code=each.service_code,
            reference=slot.id,
            start=slot.start,
            end=slot.end,
        )
        for slot in slots
        if slot.id and slot.start and slot.end and span.start <= slot.start < span.end and slot.start < slot.end
        for each in by_schedule.get(id_in(slot.schedule.reference, "Schedule") or "", ())
        if slot.end - slot.start == each.duration and reading.serves(slot.serviceType, each.service_code)
    ]


def _slot_ids(held: Held | None, visit: Visit) -> list[str]:
    """The Slots that the Appointment names, and the one we know of."""
    slots = held.resource.get("slot", ()) if held else ()
    named = [id_in(each.get("reference", ""), "Slot") for each in slots]
    return list(dict.fromkeys(id for id in (*named, visit.reference) if id))
