"""Take in what an EHR says has changed there: bookings of ours brought in line, and everybody told who watches."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from uuid import UUID

from domain.audit import EHR
from domain.booking import ENDED_UNBOOKED, Booking, BookingStatus
from domain.catalogue import OfferFilter
from domain.changes import Change
from domain.endpoint import Endpoint
from domain.events import EventKind
from domain.ports import (
    AppointmentState,
    BookingReads,
    Catalogue,
    Clock,
    EhrAppointment,
    EhrChange,
    EhrUnavailable,
    Offering,
    StaleBooking,
    StartWork,
    UnitOfWork,
)
from domain.slot import Slot, Span
from domain.timing import Timing
from domain.usecases.hints import Staff, hints_of
from domain.usecases.keep_hold import release
from domain.usecases.record import record
from domain.usecases.sweep import Sweep, tidy_later
from domain.usecases.visits import Visits

log = logging.getLogger(__name__)

AT_ONCE = 8
NO_NUMBER = UUID(int=0)

ENDS = {
    AppointmentState.CANCELLED: BookingStatus.CANCELLED,
    AppointmentState.FULFILLED: BookingStatus.FULFILLED,
    AppointmentState.NO_SHOW: BookingStatus.NO_SHOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A booking as it was when its Appointment was read, and what the EHR held then."""

    booking: Booking
    held: EhrAppointment
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInChanges:
    """What a poll tells is a hint like any other: it may be seconds old, and a copy may carry our number.

    So the Appointment of a booking that seems to differ is read anew, and what it says counts only if nobody has
    written the booking meanwhile.
    """

    catalogue: Catalogue
    reads: BookingReads
    start_work: StartWork
    visits: Visits
    sweep: Sweep
    clock: Clock
    timing: Timing

    async def __call__(
        self, endpoint: Endpoint, changes: Sequence[EhrChange], pending: Sequence[UUID] = ()
    ) -> Sequence[UUID]:
        """Tell of all times that changed, and bring ours in line; returns the bookings to be looked at once more."""
        if not changes and not pending:
            return ()
        staff = await self._staff(endpoint)
        ours = await self._ours(endpoint, changes)
        news = [c for c in changes if not self._is_echo(c, ours, staff)]
        await self._tell(endpoint, staff, news)
        waiting = (await self.reads.get(endpoint.tenant_id, pending)).values()
        changed = (ours[c.key] for c in news if c.key in ours)
        asked = (booking for booking in ours.values() if booking.asked)
        bookings = {booking.id: booking for booking in (*waiting, *changed, *asked)}
        told = {ours[c.key].id: c for c in changes if c.key in ours}
        looked = await self._looked_at_all(endpoint, list(bookings.values()), told)
        claims = [each for each in looked if isinstance(each, Claim) and not _agrees(each, staff)]
        left = await self._brought_in_line(endpoint, staff, claims)
        return [*(each for each in looked if isinstance(each, UUID)), *(each.booking.id for each in left)]

    async def _looked_at_all(
        self, endpoint: Endpoint, bookings: Sequence[Booking], told: Mapping[UUID, EhrChange]
    ) -> "list[Claim | UUID | None]":
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(booking: Booking) -> "Claim | UUID | None":
            async with turns:
                return await self._looked_at(endpoint, booking, told.get(booking.id))

        return await asyncio.gather(*(in_turn(booking) for booking in bookings))

    async def _looked_at(self, endpoint: Endpoint, booking: Booking, told: EhrChange | None) -> "Claim | UUID | None":
        """None for one that is over; its id where there is no telling yet: open questions are `reconcile`'s."""
        if booking.asked or booking.status is BookingStatus.UNKNOWN:
            return booking.id
        if booking.status in ENDED_UNBOOKED:
            return await self._swept(booking)
        if booking.status is not BookingStatus.BOOKED or booking.slot.endpoint_id != endpoint.id:
            return None
        try:
            _, ehr = await self.visits.ehr_of(booking)
            held = await ehr.look_up(await self.visits.as_it_stands(booking), self.timing.look_up)
        except EhrUnavailable:
            return booking.id
        if held is None:
            return None
        same_time = told is not None and told.span == Span(start=held.start, end=held.end)
        return Claim(booking=booking, held=held, reference=told.reference if told and same_time else "")

    async def _swept(self, booking: Booking) -> UUID | None:
        """What surfaces under the number of a booking that was given up is nobody's: its patient was told so."""
        try:
            await self.sweep(booking.tenant_id, booking.id)
        except EhrUnavailable:
            return booking.id
        return None

    async def _brought_in_line(self, endpoint: Endpoint, staff: Staff, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Those that could not be: what moved away may make room for another, or several change places."""
        left = list(claims)
        while left:
            later = [claim for claim in left if not await self._written(endpoint, staff, [claim])]
            if len(later) == len(left):
                break
            left = later
        if len(left) > 1 and await self._written(endpoint, staff, left):
            return ()
        if left:
            log.warning("%d changes at %s find their time occupied here", len(left), endpoint.id)
        return left

    async def look_at(self, endpoint: Endpoint) -> None:
        """Something changed there, and there is no telling what: everybody looks again."""
        change = Change(tenant_id=endpoint.tenant_id, endpoint_id=endpoint.id, at=self.clock.now())
        async with self.start_work(change.tenant_id) as work:
            work.hint(change)
            await work.commit()

    async def hint(self, endpoint: Endpoint, changes: Sequence[EhrChange]) -> None:
        """Whose times may be different; what is said of them is not believed."""
        if changes:
            await self._tell(endpoint, await self._staff(endpoint), changes)

    async def _tell(self, endpoint: Endpoint, staff: Staff, changes: Sequence[EhrChange]) -> None:
        hints = hints_of(
            endpoint, [(staff.of(c), None if c.appointment else c.span) for c in changes], self.clock.now()
        )
        if hints:
            async with self.start_work(endpoint.tenant_id) as work:
                for hint in hints:
                    work.hint(hint)
                await work.commit()

    async def _staff(self, endpoint: Endpoint) -> Staff:
        found = await self.catalogue.practitioners_at(endpoint.tenant_id, endpoint.id)
        schedules = {id: each.id for each in found for id in each.schedule_ids}
        return Staff(by_role={each.ehr_id: each.id for each in found}, by_schedule=schedules)

    async def _ours(self, endpoint: Endpoint, changes: Sequence[EhrChange]) -> Mapping[str, Booking]:
        """By the change's key: found by our number, else by the EHR's own id of what was booked.

        A visit made elsewhere may carry a number that is none of this tenant's.
        """
        tenant = endpoint.tenant_id
        numbers = [c.booking_id for c in changes if c.appointment and c.booking_id]
        by_number = await self.reads.get(tenant, numbers)
        ids = [c.appointment.ehr_id for c in changes if c.appointment and c.booking_id not in by_number]
        by_id = await self.reads.by_ehr_ids(tenant, endpoint.id, ids)
        pairs = (
            (c.key, by_number.get(c.booking_id or NO_NUMBER) or by_id.get(c.appointment.ehr_id))
            for c in changes
            if c.appointment
        )
        return {key: b for key, b in pairs if b and b.slot.endpoint_id == endpoint.id and not b.moves_booking_id}

    def _is_echo(self, change: EhrChange, ours: Mapping[str, Booking], staff: Staff) -> bool:
        """Our own doing come back to us: nobody need hear of it a second time."""
        booking = ours.get(change.key)
        if booking is None or change.appointment is None:
            return False
        return booking.asked is not None or _agrees(Claim(booking=booking, held=change.appointment), staff)

    async def _written(self, endpoint: Endpoint, staff: Staff, claims: Sequence[Claim]) -> bool:
        """All or none; False when they are to be tried again: a time is occupied, or somebody wrote one meanwhile."""
        try:
            async with self.start_work(endpoint.tenant_id) as work:
                ends = [claim for claim in claims if claim.held.state in ENDS]
                for claim in ends:
                    await self._end(work, claim)
                await self._move(work, endpoint, staff, [claim for claim in claims if claim not in ends])
                await work.commit()
        except StaleBooking:
            return False
        return True

    async def _end(self, work: UnitOfWork, claim: Claim) -> None:
        status = ENDS[claim.held.state]
        event = EventKind.CANCELLED if status is BookingStatus.CANCELLED else None
        ended, now = claim.booking.becomes(status, ehr_id=claim.held.ehr_id), self.clock.now()
        await record(work, ended, EHR, now, action=f"booking.{status.lower()}", event=event)
        if event:  # what staff cancel is off; a time that carries our number they may not have freed
            await tidy_later(work.jobs, ended, [ended.slot.reference], now)

    async def _move(self, work: UnitOfWork, endpoint: Endpoint, staff: Staff, claims: Sequence[Claim]) -> None:
        """Raises `StaleBooking` where a time that one of them moved to is still somebody else's here.

        Visits that change places each find the other in their way. For this work they count as moves of one booking,
        which the database's guard lets overlap, until each is alone in its new place.
        """
        one = claims[0].booking.id if len(claims) > 1 else None
        if one:
            claims = [replace(c, booking=_as_move_of(one, c.booking)) for c in claims]
            for claim in claims:
                await work.bookings.save(claim.booking)
        moved = [await self._given(work, endpoint, staff, claim) for claim in claims]
        for each in moved if one else ():
            if not await work.bookings.save(each):
                raise StaleBooking(each.id)
        for each in moved:
            alone = each.becomes(BookingStatus.BOOKED, moves_booking_id=None) if one else each
            action, event = "booking.rescheduled", EventKind.RESCHEDULED
            await record(work, alone, EHR, self.clock.now(), action=action, event=event)

    async def _given(self, work: UnitOfWork, endpoint: Endpoint, staff: Staff, claim: Claim) -> Booking:
        """The booking at the time that it has now; holds in its way are let go, for the clinic has given that time."""
        booking, slot = claim.booking, await self._slot_now(endpoint, staff, claim)
        for hold in await work.bookings.holds_in(booking.tenant_id, slot):
            if hold.moves_booking_id != booking.id:
                await release(work, hold, EHR, self.clock.now())
        given = booking.becomes(BookingStatus.BOOKED, slot=slot, ehr_id=claim.held.ehr_id)
        await tidy_later(work.jobs, given, [booking.slot.reference], self.clock.now())
        return given

    async def _slot_now(self, endpoint: Endpoint, staff: Staff, claim: Claim) -> Slot:
        """The time it has now, with another practitioner's offer where the clinic gave it to somebody else."""
        held, slot = claim.held, claim.booking.slot
        zone = slot.start.tzinfo
        start, end = held.start.astimezone(UTC).astimezone(zone), held.end.astimezone(UTC).astimezone(zone)
        moved = replace(slot, start=start, end=end, reference=claim.reference)
        practitioner_id = staff.by_role.get(held.practitioner_ehr_id or "")
        if practitioner_id in (None, slot.practitioner_id):
            return moved
        offering = await self._offering(endpoint, slot, practitioner_id)
        if offering is None:
            return replace(moved, practitioner_id=practitioner_id)
        return replace(moved, practitioner_id=practitioner_id, offer_id=offering.offer.id, clinic_id=offering.clinic.id)

    async def _offering(self, endpoint: Endpoint, slot: Slot, practitioner_id: UUID) -> Offering | None:
        where = OfferFilter(treatment_ids=(slot.treatment_id,), practitioner_ids=(practitioner_id,))
        return next(iter(await self.catalogue.offerings(endpoint.tenant_id, where)), None)


def _as_move_of(one: UUID, booking: Booking) -> Booking:
    return replace(booking, moves_booking_id=one, version=booking.version + 1)


def _agrees(claim: Claim, staff: Staff) -> bool:
    """Whether ours says what the EHR says."""
    booking, held = claim.booking, claim.held
    if held.state is not AppointmentState.BOOKED:
        return booking.status is ENDS[held.state]
    span = Span(start=held.start, end=held.end)
    practitioner_id = staff.by_role.get(held.practitioner_ehr_id or "")
    same_practitioner = practitioner_id in (None, booking.slot.practitioner_id)
    return booking.status is BookingStatus.BOOKED and booking.slot.span == span and same_practitioner
