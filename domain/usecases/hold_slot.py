"""Keep a time for a visitor who signs in and decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from secrets import choice
from uuid import uuid4

from domain.audit import Actor
from domain.availability import LONGEST_SEARCH, Search
from domain.booking import Booking, BookingStatus
from domain.bypass import admitted, check_bypass
from domain.catalogue import OfferFilter
from domain.choosing import nearest
from domain.clinic import Clinic
from domain.endpoint import Endpoint
from domain.offered import slot_of
from domain.patient import Patient
from domain.ports import BookingReads, Catalogue, Clock, Ehrs, Offering
from domain.refusals import HoldLimit, NotFound, Refused, SlotTaken, TreatmentNotOffered, UpstreamUnavailable
from domain.rules import BEFORE_HOLD, proposed, rules_of
from domain.slot import Slot
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.adopt_booking import AdoptBooking
from domain.usecases.find_slots import FindSlots
from domain.usecases.hold_in_ehr import HoldInEhr
from domain.usecases.proposals import change_of_booking
from domain.usecases.take_hold import Asking, HoldRequest, TakeHold
from domain.usecases.visits import Visits, wanted_of

SPOKEN = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Letters and digits that are not taken for one another over the phone."""

ALTERNATIVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSlot:
    catalogue: Catalogue
    reads: BookingReads
    take_hold: TakeHold
    hold_in_ehr: HoldInEhr
    ehrs: Ehrs
    visits: Visits
    find_slots: FindSlots
    adopt: AdoptBooking
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient | None, request: HoldRequest) -> Booking:
        """The hold, on a concrete practitioner. Raises `Refused`; `SlotTaken` carries the nearest free times."""
        check_bypass(actor, request.bypass)
        asking = Asking(tenant=tenant, actor=actor, patient=patient, request=request)
        if kept := await self.take_hold.already(asking):
            return await self._answer(asking, kept)
        if not await request.may_hold():
            raise Refused(HoldLimit())
        offerings = await self._offerings(tenant, request)
        await self.adopt(tenant, actor, patient, request.moving_booking_id, moving=True)
        moving = await self._moving(tenant, patient, request)
        passed = await self._admitted(asking, offerings, moving)
        endpoint = await self._endpoint(tenant, request.slot)
        candidates = await self._live(endpoint, offerings, request, moving)
        draft = self._draft(asking, offerings[0].clinic, endpoint)
        taken = await self.take_hold(asking, draft, candidates, passed, in_ehr=endpoint.holds)
        held = await self.hold_in_ehr(actor, taken) if taken else None
        return await self._answer(asking, held, moving)

    async def _answer(self, asking: Asking, held: Booking | None, moving: Booking | None = None) -> Booking:
        """Raises `Refused` where somebody was faster, here or in the EHR."""
        if held is None or held.status is BookingStatus.RELEASED:
            raise Refused(SlotTaken(await self.alternatives(asking.tenant, asking.request.slot, moving)))
        return held

    async def alternatives(self, tenant: Tenant, wanted: Slot, moving: Booking | None = None) -> tuple[Slot, ...]:
        """The three nearest times of the same treatment at the same clinic; none when its EHR does not answer."""
        today = self.clock.now().astimezone(wanted.start.tzinfo).date()
        first = max(wanted.start.date() - timedelta(days=3), today)
        near = Search(
            treatment_id=wanted.treatment_id,
            clinic_ids=(wanted.clinic_id,),
            first_day=first,
            last_day=wanted.start.date() + timedelta(days=7),
            moving=moving,
        )
        known = await self.find_slots(tenant, near)
        found = nearest(known, wanted, ALTERNATIVES)
        if len(found) == ALTERNATIVES or not known.complete:
            return found
        wide = replace(near, last_day=first + LONGEST_SEARCH - timedelta(days=1))
        return nearest(await self.find_slots(tenant, wide), wanted, ALTERNATIVES)

    async def _offerings(self, tenant: Tenant, request: HoldRequest) -> list[Offering]:
        """The slot's own offer first; with any practitioner, the clinic's other offers of that treatment too."""
        slot = request.slot
        where = OfferFilter(clinic_ids=(slot.clinic_id,), treatment_ids=(slot.treatment_id,))
        found = await self.catalogue.offerings(tenant.id, where)
        own = next((o for o in found if o.offer.id == slot.offer_id), None)
        if own is None:
            return []
        others = [o for o in found if o is not own] if request.any_practitioner else []
        return [own, *others]

    async def _moving(self, tenant: Tenant, patient: Patient | None, request: HoldRequest) -> Booking | None:
        if request.moving_booking_id is None:
            return None
        found = await self.reads.get(tenant.id, [request.moving_booking_id])
        booking = found.get(request.moving_booking_id)
        if booking is None or patient is None or booking.patient_id != patient.id:
            raise Refused(NotFound(("movingBookingId",)))
        return booking

    async def _admitted(
        self, asking: Asking, offerings: Sequence[Offering], moving: Booking | None
    ) -> Mapping[str, str]:
        """What staff passed over. Raises `Refused`, always when the slot's offer is not among the offerings."""
        tenant, slot = asking.tenant, asking.request.slot
        if offerings:
            clinic: Clinic | None = offerings[0].clinic
        else:
            clinic = (await self.catalogue.clinics_by_id(tenant.id, [slot.clinic_id])).get(slot.clinic_id)
        if clinic is None:
            raise Refused(TreatmentNotOffered())
        change = await change_of_booking(self.catalogue, tenant, moving, slot) if moving else None
        proposal = proposed(tenant, clinic, slot.start, self.clock.now(), is_offered=bool(offerings), change=change)
        return admitted(proposal, BEFORE_HOLD, asking.request.bypass)

    async def _endpoint(self, tenant: Tenant, slot: Slot) -> Endpoint:
        return next(e for e in await self.catalogue.endpoints(tenant.id) if e.id == slot.endpoint_id)

    async def _live(
        self, endpoint: Endpoint, offerings: Sequence[Offering], request: HoldRequest, moving: Booking | None
    ) -> list[Slot]:
        """The EHR's own word, now. Raises `UpstreamUnavailable` when it cannot be had."""
        slot = request.slot
        visit = await self.visits.moving(moving) if moving else None
        found = await self.ehrs.at(endpoint).find(
            [wanted_of(o) for o in offerings], slot.span, self.timing.find, moving=visit
        )
        by_role = {o.practitioner.ehr_id: o for o in offerings}
        times = [t for t in found.times if t.start == slot.span.start and t.practitioner_ehr_id in by_role]
        if not times and found.trouble:
            raise Refused(UpstreamUnavailable(found.trouble.retry_after))
        return [slot_of(by_role[t.practitioner_ehr_id], t) for t in times]

    def _draft(self, asking: Asking, clinic: Clinic, endpoint: Endpoint) -> Booking:
        """The hold as it will be, but for whose time it is on.

        The EHR's own limit comes along from here, so that a booking has it however it turns out to be booked.
        """
        now, tenant, patient, request = self.clock.now(), asking.tenant, asking.patient, asking.request
        return Booking(
            tenant_id=tenant.id,
            id=uuid4(),
            reference="".join(choice(SPOKEN) for _ in range(8)),
            slot=request.slot,
            status=BookingStatus.HELD,
            created_at=now,
            expires_at=now + self.timing.hold_lifetime,
            rules=rules_of(tenant.rules, clinic.rules),
            patient_id=patient.id if patient else None,
            moves_booking_id=request.moving_booking_id,
            any_practitioner=request.any_practitioner,
            no_change_within=endpoint.no_change_within,
        )
