"""Turn a hold into a booking that the EHR has agreed to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain.audit import Actor
from domain.booking import Asked, Booking, BookingStatus
from domain.events import EventKind
from domain.patient import Patient, masked_phone
from domain.ports import (
    AppointmentState,
    Catalogue,
    Clock,
    Ehr,
    EhrAppointment,
    EhrUnavailable,
    Remembered,
    StaleBooking,
    StartWork,
    UnitOfWork,
    Visit,
)
from domain.refusals import (
    HoldExpired,
    HoldNotFound,
    IdempotencyKeyReused,
    InProgress,
    NationalIdRequired,
    PatientDoubleBooked,
    Refusal,
    RefusalCode,
    Refused,
    RejectedByEhr,
    SlotTaken,
    TermsNotAccepted,
    UpstreamUnavailable,
)
from domain.rules import BEFORE_CONFIRM, Proposal, refusals, rules_of
from domain.tenant import DoubleBooking, Tenant
from domain.timing import Timing
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.record import record
from domain.usecases.visits import Visits

ANSWERED = frozenset(BookingStatus) - {
    BookingStatus.HELD,
    BookingStatus.CONFIRMING,
    BookingStatus.FAILED,
    BookingStatus.EXPIRED,
    BookingStatus.RELEASED,
}
"""Confirmed before: asked twice, the first answer stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRequest:
    hold_id: UUID
    key: str
    input_hash: str
    terms_version: str
    sms: bool
    comment: str | None = None
    accept_double_booking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmBooking:
    """Write down the intent, ask the EHR, write down the answer.

    Two transactions with the EHR's call between them: no connection waits for a remote system, and a crash in between
    leaves a CONFIRMING booking for `reconcile` to settle.
    """

    catalogue: Catalogue
    start_work: StartWork
    visits: Visits
    hold_slot: HoldSlot
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, request: ConfirmRequest) -> Booking:
        """BOOKED, or UNKNOWN without an answer. Raises `Refused`; the hold stays while it can be put right."""
        booking = await self._intend(tenant, actor, patient, request)
        if booking.status is not BookingStatus.CONFIRMING:
            if booking.failure:
                raise Refused(await self._refusal(tenant, booking))
            return booking
        return await self._ask(tenant, actor, patient, booking)

    async def _ask(self, tenant: Tenant, actor: Actor, patient: Patient, booking: Booking) -> Booking:
        visit = await self.visits.of(booking, patient)
        _, ehr = await self.visits.ehr_of(booking)
        try:
            appointment = await book_once(ehr, visit, self.timing)
        except Refused as refused:
            failure = refused.refusals[0].code.value
            failed = await self._settle(booking.answered(BookingStatus.FAILED, failure=failure), actor)
            if failed.status is not BookingStatus.FAILED:
                return failed  # reconcile found it booked meanwhile
            raise Refused(await self._refusal(tenant, failed)) from refused
        except EhrUnavailable as outage:
            return await self._unanswered(booking, outage, actor)
        sms_to = await number_to_tell(ehr, patient, self.timing) if booking.sms_confirmation else None
        booked = booking.answered(
            BookingStatus.BOOKED, ehr_id=appointment.ehr_id, booked_at=self.clock.now(), sms_to=sms_to
        )
        return await self._settle(booked, actor)

    async def _intend(self, tenant: Tenant, actor: Actor, patient: Patient, request: ConfirmRequest) -> Booking:
        async with self.start_work() as work:
            now = self.clock.now()
            hold = await self._hold(work, tenant, patient, request)
            if hold.status in ANSWERED or hold.status is BookingStatus.FAILED:
                return hold
            _check_alive(hold, hold.lapsed(now))
            if found := await self._objections(work, tenant, patient, hold, request):
                raise Refused(*found)
            booking = hold.asking(
                BookingStatus.CONFIRMING,
                Asked.CONFIRM,
                now,
                check_after(now, self.timing),
                patient_id=patient.id,
                terms_version=request.terms_version,
                sms_confirmation=request.sms,
                comment=request.comment,
            )
            await record(work, booking, actor, now, action="booking.confirm")
            await work.commit()
        return booking

    async def _hold(self, work: UnitOfWork, tenant: Tenant, patient: Patient, request: ConfirmRequest) -> Booking:
        """The patient's hold, locked; pressed twice, the second waits here and then sees what became of it."""
        remembered = Remembered(input_hash=request.input_hash, booking_id=request.hold_id)
        known = await work.idempotency.remember(
            tenant.id, str(patient.id), "confirmBooking", request.key, remembered, self.clock.now()
        )
        if known and known.input_hash != request.input_hash:
            raise Refused(IdempotencyKeyReused())
        hold = await work.bookings.get(tenant.id, request.hold_id, lock=True)
        if hold is None or hold.moves_booking_id or hold.patient_id not in (None, patient.id):
            raise Refused(HoldNotFound())
        return hold

    async def _objections(
        self, work: UnitOfWork, tenant: Tenant, patient: Patient, hold: Booking, request: ConfirmRequest
    ) -> Sequence[Refusal]:
        """What an anonymous hold could not know; all of it, so that the patient can put it right at once."""
        found: list[Refusal] = []
        if patient.national_id is None:
            found.append(NationalIdRequired())
        if request.terms_version != tenant.terms_version:
            found.append(TermsNotAccepted(tenant.terms_version))
        found += await patient_objections(
            work, self.catalogue, self.clock, tenant, patient, hold, request.accept_double_booking
        )
        return found

    async def _refusal(self, tenant: Tenant, failed: Booking) -> Refusal:
        if failed.failure == RefusalCode.SLOT_TAKEN:
            return SlotTaken(await self.hold_slot.alternatives(tenant, failed.slot))
        return RejectedByEhr()

    async def _unanswered(self, booking: Booking, outage: EhrUnavailable, actor: Actor) -> Booking:
        if outage.sent:
            check_at = self.clock.now() + self.timing.check_interval
            return await self._settle(booking.becomes(BookingStatus.UNKNOWN, check_at=check_at), actor)
        # surely not asked: the time is still the patient's, to be tried again
        await self._settle(booking.answered(BookingStatus.HELD), actor)
        raise Refused(UpstreamUnavailable(outage.retry_after))

    async def _settle(self, booking: Booking, actor: Actor) -> Booking:
        """Write the answer, unless `reconcile` was first; then what it wrote stands."""
        events = {BookingStatus.BOOKED: EventKind.BOOKED, BookingStatus.FAILED: EventKind.FAILED}
        try:
            async with self.start_work() as work:
                action = f"booking.{booking.status.lower()}"
                await record(work, booking, actor, self.clock.now(), action=action, event=events.get(booking.status))
                await work.commit()
            return booking
        except StaleBooking:
            async with self.start_work() as work:
                return await work.bookings.get(booking.tenant_id, booking.id) or booking


async def number_to_tell(ehr: Ehr, patient: Patient, timing: Timing) -> str | None:
    """Masked: the number registered at the clinic, and only where there is none the one from the login."""
    try:
        registered = await ehr.registered_phone(patient, timing.look_up)
    except EhrUnavailable:
        registered = None
    return masked_phone(registered or patient.phone)


async def book_once(ehr: Ehr, visit: Visit, timing: Timing) -> EhrAppointment:
    """A refusal may be the echo of our own success: it is believed only when the EHR does not hold our booking.

    Raises `Refused`, or `EhrUnavailable` when there is no telling.
    """
    try:
        return await ehr.book(visit, timing.book)
    except Refused:
        ours = await look_again(ehr, visit, timing)
        if ours and ours.state is AppointmentState.BOOKED and ours.start == visit.start:
            return ours
        raise


async def look_again(ehr: Ehr, visit: Visit, timing: Timing) -> EhrAppointment | None:
    """What the EHR holds after a write. That it cannot be reached by now says nothing about the write itself."""
    try:
        return await ehr.look_up(visit, timing.look_up)
    except EhrUnavailable as outage:
        raise EhrUnavailable(
            outage.reason, outage=outage.outage, retry_after=outage.retry_after, word=outage.word
        ) from outage


async def patient_objections(
    work: UnitOfWork,
    catalogue: Catalogue,
    clock: Clock,
    tenant: Tenant,
    patient: Patient,
    claim: Booking,
    accept_double_booking: bool,
) -> list[Refusal]:
    """Age on the day, and the patient's other bookings at that time; the booking being moved is not another."""
    slot = claim.slot
    clinic = (await catalogue.clinics_by_id(tenant.id, [slot.clinic_id]))[slot.clinic_id]
    proposal = Proposal(
        start=slot.start,
        time_zone=clinic.time_zone,
        rules=rules_of(tenant.rules, clinic.rules),
        now=clock.now(),
        birth_date=patient.birth_date,
    )
    found = list(refusals(proposal, BEFORE_CONFIRM))
    overlapping = await work.bookings.of_patient_in(tenant.id, patient.id, slot.span)
    others = [b for b in overlapping if b.id not in (claim.id, claim.moves_booking_id)]
    others = [b for b in others if claim.moves_booking_id is None or b.moves_booking_id != claim.moves_booking_id]
    warns = tenant.double_booking is DoubleBooking.WARN
    if others and not (warns and accept_double_booking):
        found.append(PatientDoubleBooked(others[0], warns))
    return found


def check_after(now: datetime, timing: Timing) -> datetime:
    """When somebody else may look into a question to an EHR: not while whoever asked may still get to an answer.

    That is the write itself, a second look after a no, and the number to tell.
    """
    return now + timedelta(seconds=timing.book + 2 * timing.look_up) + timing.patience


def _check_alive(hold: Booking, lapsed: bool) -> None:
    if hold.status is BookingStatus.CONFIRMING:
        raise Refused(InProgress())
    if lapsed or hold.status is BookingStatus.EXPIRED:
        raise Refused(HoldExpired())
    if hold.status is not BookingStatus.HELD:
        raise Refused(HoldNotFound())
