"""Keep a time for a visitor who signs in and decides."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from secrets import choice
from uuid import UUID, uuid4

from domain.audit import Actor
from domain.availability import LONGEST_SEARCH, Search
from domain.booking import Booking, BookingStatus
from domain.catalogue import OfferFilter
from domain.choosing import nearest
from domain.clinic import Clinic, ClinicBooking
from domain.offered import slot_of
from domain.patient import Patient
from domain.ports import (
    BookingReads,
    Catalogue,
    Clock,
    Ehrs,
    Offering,
    Remembered,
    StartWork,
    Turn,
    UnitOfWork,
)
from domain.refusals import (
    ChangeNotAllowed,
    ChangeRefusal,
    ClinicClosed,
    HoldExpired,
    HoldLimit,
    HoldNotFound,
    IdempotencyKeyReused,
    NotFound,
    Refused,
    SlotTaken,
    TreatmentNotOffered,
    UpstreamUnavailable,
)
from domain.rules import BEFORE_HOLD, BookingRules, Proposal, refusals, rules_of
from domain.slot import Slot, Span
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.adopt_booking import AdoptBooking
from domain.usecases.find_slots import FindSlots, is_movable
from domain.usecases.keep_hold import extend, is_hold_of
from domain.usecases.record import record
from domain.usecases.visits import Visits, wanted_of
from domain.windows import rescheduling_right

SPOKEN = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Letters and digits that are not taken for one another over the phone."""

ALTERNATIVES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRequest:
    """`replaces` is the visitor's present hold, swapped for the new one in one transaction.

    `scope` and `key` make the request idempotent, `input_hash` tells whether it is the same one. `may_hold` counts one
    more hold of this caller, and says whether that is within the limit: repeats and renewals are not counted.
    """

    slot: Slot
    scope: str
    key: str
    input_hash: str
    may_hold: Callable[[], Awaitable[bool]]
    any_practitioner: bool = False
    replaces: UUID | None = None
    moving_booking_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSlot:
    catalogue: Catalogue
    reads: BookingReads
    start_work: StartWork
    ehrs: Ehrs
    visits: Visits
    find_slots: FindSlots
    adopt: AdoptBooking
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient | None, request: HoldRequest) -> Booking:
        """The hold, on a concrete practitioner. Raises `Refused`; `SlotTaken` carries the nearest free times."""
        if known := await self._asked_before(tenant, request):
            return known
        if renewed := await self._renewed(tenant, actor, patient, request):
            return renewed
        if not await request.may_hold():
            raise Refused(HoldLimit())
        offerings = await self._offerings(tenant, request)
        await self.adopt(tenant, patient, request.moving_booking_id, moving=True)
        moving = await self._moving(tenant, patient, request)
        rules = rules_of(tenant.rules, offerings[0].clinic.rules)
        self._check_rules(rules, offerings[0].clinic, request.slot, moving)
        candidates = await self._live(tenant, offerings, request, moving)
        held = await self._take(tenant, actor, patient, request, candidates, rules) if candidates else None
        if held is None:
            raise Refused(SlotTaken(await self.alternatives(tenant, request.slot, moving)))
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

    async def _asked_before(self, tenant: Tenant, request: HoldRequest) -> Booking | None:
        """Looked into before anything else, so that a repeat is answered even when the EHR is down by now."""
        async with self.start_work() as work:  # never committed: only looks
            now, any_id = self.clock.now(), Remembered(input_hash=request.input_hash, booking_id=uuid4())
            known = await work.idempotency.remember(tenant.id, request.scope, "holdSlot", request.key, any_id, now)
            return await _same_answer(work, tenant, request, known, now) if known else None

    async def _renewed(
        self, tenant: Tenant, actor: Actor, patient: Patient | None, request: HoldRequest
    ) -> Booking | None:
        """Holding one's own slot again after login is how an app renews a hold."""
        if request.replaces is None:
            return None
        async with self.start_work() as work:
            own = await work.bookings.get(tenant.id, request.replaces, lock=True)
            if own is None or not is_hold_of(own, patient):
                raise Refused(HoldNotFound())
            now = self.clock.now()
            same = own.slot.span == request.slot.span and own.slot.offer_id == request.slot.offer_id
            if not same or own.lapsed(now) or own.status is not BookingStatus.HELD:
                return None
            mine = Remembered(input_hash=request.input_hash, booking_id=own.id)
            await work.idempotency.remember(tenant.id, request.scope, "holdSlot", request.key, mine, now)
            kept = await extend(work, own, patient, actor, now, self.timing)
            await work.commit()
            return kept

    async def _offerings(self, tenant: Tenant, request: HoldRequest) -> list[Offering]:
        """The slot's own offer first; with any practitioner, the clinic's other offers of that treatment too."""
        slot = request.slot
        where = OfferFilter(clinic_ids=(slot.clinic_id,), treatment_ids=(slot.treatment_id,))
        found = await self.catalogue.offerings(tenant.id, where)
        own = next((o for o in found if o.offer.id == slot.offer_id), None)
        if own is None:
            raise Refused(TreatmentNotOffered())
        if own.clinic.booking is not ClinicBooking.ONLINE:
            raise Refused(ClinicClosed())
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

    def _check_rules(self, rules: BookingRules, clinic: Clinic, slot: Slot, moving: Booking | None) -> None:
        now = self.clock.now()
        if moving is not None:
            if not is_movable(moving, slot.endpoint_id, slot.treatment_id):
                raise Refused(ChangeNotAllowed(ChangeRefusal.NOT_ALLOWED, clinic.phone))
            right = rescheduling_right(moving, rules, now)
            if right.refusal:
                raise Refused(ChangeNotAllowed(right.refusal, clinic.phone))
        proposal = Proposal(start=slot.start, time_zone=clinic.time_zone, rules=rules, now=now)
        if found := refusals(proposal, BEFORE_HOLD):
            raise Refused(*found)

    async def _live(
        self, tenant: Tenant, offerings: Sequence[Offering], request: HoldRequest, moving: Booking | None
    ) -> list[Slot]:
        """The EHR's own word, now. Raises `UpstreamUnavailable` when it cannot be had."""
        slot = request.slot
        endpoints = await self.catalogue.endpoints(tenant.id)
        endpoint = next(e for e in endpoints if e.id == slot.endpoint_id)
        visit = await self.visits.moving(moving) if moving else None
        found = await self.ehrs.at(endpoint).find(
            [wanted_of(o) for o in offerings], slot.span, self.timing.find, moving=visit
        )
        by_role = {o.practitioner.ehr_id: o for o in offerings}
        times = [t for t in found.times if t.start == slot.span.start and t.practitioner_ehr_id in by_role]
        if not times and found.trouble:
            raise Refused(UpstreamUnavailable(found.trouble.retry_after))
        return [slot_of(by_role[t.practitioner_ehr_id], t) for t in times]

    async def _take(
        self,
        tenant: Tenant,
        actor: Actor,
        patient: Patient | None,
        request: HoldRequest,
        candidates: Sequence[Slot],
        rules: BookingRules,
    ) -> Booking | None:
        """The first of the candidates, fairest first, that the database's guard lets us have."""
        ordered = await self._fairest_first(tenant, candidates)
        hold = self._new(tenant, patient, request, ordered[0], rules)
        now = hold.created_at
        async with self.start_work() as work:
            mine = Remembered(input_hash=request.input_hash, booking_id=hold.id)
            known = await work.idempotency.remember(tenant.id, request.scope, "holdSlot", request.key, mine, now)
            if known:
                return await _same_answer(work, tenant, request, known, now)
            old = await self._old(work, tenant, patient, request)
            for slot in ordered:
                if held := await self._swapped(work, actor, replace(hold, slot=slot), old):
                    await work.commit()
                    return held
        return None

    async def _swapped(self, work: UnitOfWork, actor: Actor, hold: Booking, old: Booking | None) -> Booking | None:
        """The new hold first and the old one after: visitors who swap into each other's times never wait in a ring.

        Until the old one is gone, the new one counts as its move, which the guard lets overlap it.
        """
        now = hold.created_at
        beside = replace(hold, moves_booking_id=old.moves_booking_id or old.id) if old else hold
        if not await record(work, beside, actor, now, action="booking.hold", is_new=True):
            return None
        if old is None:
            return hold
        await record(work, old.becomes(BookingStatus.RELEASED), actor, now, action="booking.release")
        alone = replace(hold, version=beside.version + 1)
        if not await work.bookings.save(alone):
            raise Refused(SlotTaken())  # by the visit that the old hold was to move: nothing of this is kept
        return alone

    def _new(
        self, tenant: Tenant, patient: Patient | None, request: HoldRequest, slot: Slot, rules: BookingRules
    ) -> Booking:
        now = self.clock.now()
        return Booking(
            tenant_id=tenant.id,
            id=uuid4(),
            reference="".join(choice(SPOKEN) for _ in range(8)),
            slot=slot,
            status=BookingStatus.HELD,
            created_at=now,
            expires_at=now + self.timing.hold_lifetime,
            rules=rules,
            patient_id=patient.id if patient else None,
            moves_booking_id=request.moving_booking_id,
            any_practitioner=request.any_practitioner,
        )

    async def _fairest_first(self, tenant: Tenant, candidates: Sequence[Slot]) -> list[Slot]:
        if len(candidates) == 1:
            return list(candidates)
        midnight = candidates[0].start.replace(hour=0, minute=0, second=0, microsecond=0)
        day = Span(start=midnight, end=midnight + timedelta(days=1))
        ids = [slot.practitioner_id for slot in candidates]
        turns = await self.reads.turns(tenant.id, ids, day)
        never = datetime(1970, 1, 1, tzinfo=UTC)

        def turn(slot: Slot) -> tuple[int, datetime, str]:
            own = turns.get(slot.practitioner_id, Turn())
            return own.bookings_that_day, own.last_given_at or never, str(slot.practitioner_id)

        return sorted(candidates, key=turn)

    async def _old(
        self, work: UnitOfWork, tenant: Tenant, patient: Patient | None, request: HoldRequest
    ) -> Booking | None:
        """The visitor's present hold, in the same transaction as the new one: nobody ends up with none."""
        if request.replaces is None:
            return None
        own = await work.bookings.get(tenant.id, request.replaces, lock=True)
        return own if own and is_hold_of(own, patient) and own.status is BookingStatus.HELD else None


async def _same_answer(
    work: UnitOfWork, tenant: Tenant, request: HoldRequest, known: Remembered, now: datetime
) -> Booking:
    """The hold that the key was first used for, while there is one to go on with."""
    if known.input_hash != request.input_hash:
        raise Refused(IdempotencyKeyReused())
    hold = await work.bookings.get(tenant.id, known.booking_id)
    if hold is None or hold.status is BookingStatus.RELEASED:
        raise Refused(HoldNotFound())
    if hold.status is BookingStatus.EXPIRED or hold.lapsed(now):
        raise Refused(HoldExpired())
    return hold
