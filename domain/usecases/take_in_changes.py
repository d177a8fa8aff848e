"""Take in what an EHR says has changed there: bookings of ours brought in line, and everybody told who watches."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from domain.audit import Actor, ActorKind
from domain.booking import Booking, BookingStatus
from domain.catalogue import OfferFilter
from domain.changes import Change
from domain.endpoint import Endpoint
from domain.events import EventKind
from domain.ports import (
    AppointmentState,
    BookingReads,
    Catalogue,
    Clock,
    EhrChange,
    Offering,
    StaleBooking,
    StartWork,
    UnitOfWork,
)
from domain.slot import Slot, Span
from domain.usecases.record import record

log = logging.getLogger(__name__)

EHR = Actor(kind=ActorKind.EHR)

ENDS = {
    AppointmentState.CANCELLED: BookingStatus.CANCELLED,
    AppointmentState.FULFILLED: BookingStatus.FULFILLED,
    AppointmentState.NO_SHOW: BookingStatus.NO_SHOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Who works at one endpoint, by the names that the EHR has for them and their calendars."""

    by_role: Mapping[str, UUID]
    by_schedule: Mapping[str, UUID]

    def of(self, change: EhrChange) -> UUID | None:
        by_role = self.by_role.get(change.practitioner_ehr_id or "")
        return by_role or self.by_schedule.get(change.schedule_id or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeInChanges:
    catalogue: Catalogue
    reads: BookingReads
    start_work: StartWork
    clock: Clock

    async def __call__(self, endpoint: Endpoint, changes: Sequence[EhrChange]) -> Sequence[EhrChange]:
        """Bring ours in line and tell of all times that changed; returns those that could not be settled yet."""
        if not changes:
            return ()
        staff = await self._staff(endpoint)
        ours = await self._ours(endpoint, changes)
        await self._tell(endpoint, staff, [c for c in changes if not self._is_echo(c, ours, staff)])
        left = [change for change in changes if change.key in ours]
        while left:  # what moved away may have made room for another
            later = [c for c in left if not await self._brought_in_line(endpoint, staff, [c], ours)]
            if len(later) == len(left):
                break
            left = later
        if len(left) > 1 and await self._brought_in_line(endpoint, staff, left, ours):
            return ()
        if left:
            log.warning("%d changes at %s find their time occupied here", len(left), endpoint.id)
        return left

    async def look_at(self, endpoint: Endpoint) -> None:
        """Something changed there, and there is no telling what: everybody looks again."""
        change = Change(tenant_id=endpoint.tenant_id, endpoint_id=endpoint.id, at=self.clock.now())
        async with self.start_work() as work:
            work.hint(change)
            await work.commit()

    async def hint(self, endpoint: Endpoint, changes: Sequence[EhrChange]) -> None:
        """Whose times may be different; what is said of them is not believed."""
        if changes:
            await self._tell(endpoint, await self._staff(endpoint), changes)

    async def _tell(self, endpoint: Endpoint, staff: Staff, changes: Sequence[EhrChange]) -> None:
        if not changes:
            return
        now = self.clock.now()
        async with self.start_work() as work:
            for change in changes:
                practitioner_id = staff.of(change)
                work.hint(
                    Change(
                        tenant_id=endpoint.tenant_id,
                        endpoint_id=endpoint.id,
                        at=now,
                        practitioner_id=practitioner_id,
                        span=change.span if practitioner_id and change.appointment is None else None,
                    )
                )
            await work.commit()

    async def _staff(self, endpoint: Endpoint) -> Staff:
        found = await self.catalogue.practitioners_at(endpoint.tenant_id, endpoint.id)
        schedules = {id: each.id for each in found for id in each.schedule_ids}
        return Staff(by_role={each.ehr_id: each.id for each in found}, by_schedule=schedules)

    async def _ours(self, endpoint: Endpoint, changes: Sequence[EhrChange]) -> Mapping[str, Booking]:
        """By the change's key: found by our number, else by the EHR's own id of what was booked."""
        tenant = endpoint.tenant_id
        numbers = [c.booking_id for c in changes if c.appointment and c.booking_id]
        ids = [c.appointment.ehr_id for c in changes if c.appointment and not c.booking_id]
        by_number = await self.reads.get(tenant, numbers)
        by_id = await self.reads.by_ehr_ids(tenant, endpoint.id, ids)
        pairs = (
            (c.key, by_number.get(c.booking_id) if c.booking_id else by_id.get(c.appointment.ehr_id))
            for c in changes
            if c.appointment
        )
        return {key: b for key, b in pairs if b and b.slot.endpoint_id == endpoint.id and not b.moves_booking_id}

    def _is_echo(self, change: EhrChange, ours: Mapping[str, Booking], staff: Staff) -> bool:
        """Our own doing come back to us: nobody need hear of it a second time."""
        booking = ours.get(change.key)
        return booking is not None and (booking.asked is not None or _agrees(booking, change, staff))

    async def _brought_in_line(
        self, endpoint: Endpoint, staff: Staff, changes: Sequence[EhrChange], ours: Mapping[str, Booking]
    ) -> bool:
        """All or none; False when they are to be tried again. An open question of ours is `reconcile`'s to settle."""
        try:
            async with self.start_work() as work:
                found = [(c, await work.bookings.get(endpoint.tenant_id, ours[c.key].id, lock=True)) for c in changes]
                open_to_it = [
                    (c, b)
                    for c, b in found
                    if b and b.status is BookingStatus.BOOKED and not b.asked and not _agrees(b, c, staff)
                ]
                ends = [(c, b) for c, b in open_to_it if c.appointment and c.appointment.state in ENDS]
                for change, booking in ends:
                    await self._end(work, booking, change)
                await self._move(work, endpoint, staff, [pair for pair in open_to_it if pair not in ends])
                await work.commit()
        except StaleBooking:
            return False
        return True

    async def _end(self, work: UnitOfWork, booking: Booking, change: EhrChange) -> None:
        held = change.appointment
        assert held
        status = ENDS[held.state]
        event = EventKind.CANCELLED if status is BookingStatus.CANCELLED else None
        ended = booking.becomes(status, ehr_id=held.ehr_id)
        await record(work, ended, EHR, self.clock.now(), action=f"booking.{status.lower()}", event=event)

    async def _move(
        self, work: UnitOfWork, endpoint: Endpoint, staff: Staff, claims: Sequence[tuple[EhrChange, Booking]]
    ) -> None:
        """Raises `StaleBooking` where a time that one of them moved to is still somebody else's here.

        Visits that change places each find the other in their way. For this work they count as moves of one booking,
        which the database's guard lets overlap, until each is alone in its new place.
        """
        one = claims[0][1].id if len(claims) > 1 else None
        for _, booking in claims if one else ():
            await work.bookings.save(replace(booking, moves_booking_id=one, version=booking.version + 1))
        moved = [await self._given(work, endpoint, staff, c, b, one) for c, b in claims]
        for each in moved if one else ():
            if not await work.bookings.save(each):
                raise StaleBooking(each.id)
        for each in moved:
            alone = each.becomes(BookingStatus.BOOKED, moves_booking_id=None) if one else each
            action, event = "booking.rescheduled", EventKind.RESCHEDULED
            await record(work, alone, EHR, self.clock.now(), action=action, event=event)

    async def _given(
        self,
        work: UnitOfWork,
        endpoint: Endpoint,
        staff: Staff,
        change: EhrChange,
        booking: Booking,
        one: UUID | None,
    ) -> Booking:
        """The booking at the time that it has now; holds in its way are let go, for the clinic has given that time."""
        held = change.appointment
        assert held
        slot = await self._moved(endpoint, staff, booking, change)
        for hold in await work.bookings.holds_in(booking.tenant_id, slot):
            if hold.moves_booking_id != booking.id:
                released = hold.becomes(BookingStatus.RELEASED)
                await record(work, released, EHR, self.clock.now(), action="booking.release")
        current = replace(booking, moves_booking_id=one, version=booking.version + 1) if one else booking
        return current.becomes(BookingStatus.BOOKED, slot=slot, ehr_id=held.ehr_id)

    async def _moved(self, endpoint: Endpoint, staff: Staff, booking: Booking, change: EhrChange) -> Slot:
        """The time it has now, with another practitioner's offer where the clinic gave it to somebody else."""
        held, slot = change.appointment, booking.slot
        assert held
        span = Span(start=held.start, end=held.end)
        start, end = span.start.astimezone(slot.start.tzinfo), span.end.astimezone(slot.start.tzinfo)
        moved = replace(slot, start=start, end=end, reference=change.reference)
        practitioner_id = staff.of(change)
        if practitioner_id in (None, slot.practitioner_id):
            return moved
        offering = await self._offering(endpoint, slot, practitioner_id)
        if offering is None:
            return replace(moved, practitioner_id=practitioner_id)
        return replace(moved, practitioner_id=practitioner_id, offer_id=offering.offer.id, clinic_id=offering.clinic.id)

    async def _offering(self, endpoint: Endpoint, slot: Slot, practitioner_id: UUID) -> Offering | None:
        where = OfferFilter(treatment_ids=(slot.treatment_id,), practitioner_ids=(practitioner_id,))
        return next(iter(await self.catalogue.offerings(endpoint.tenant_id, where)), None)


def _agrees(booking: Booking, change: EhrChange, staff: Staff) -> bool:
    """Whether ours says what the EHR says."""
    held = change.appointment
    if held is None:
        return True
    if held.state is not AppointmentState.BOOKED:
        return booking.status is ENDS[held.state]
    span = Span(start=held.start, end=held.end)
    same_practitioner = staff.of(change) in (None, booking.slot.practitioner_id)
    return booking.status is BookingStatus.BOOKED and booking.slot.span == span and same_practitioner
