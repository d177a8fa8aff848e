"""Turn a hold into a booking that the EHR has agreed to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain.audit import Actor
from domain.booking import Asked, Booking, BookingStatus
from domain.bypass import Bypass, admitted, check_bypass
from domain.consent import Consent, ConsentKind
from domain.events import EventKind
from domain.patient import Patient, masked_phone
from domain.ports import (
    AppointmentState,
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
    NotFound,
    Refusal,
    RefusalCode,
    Refused,
    RejectedByEhr,
    SlotTaken,
    UpstreamUnavailable,
)
from domain.rules import BEFORE_CONFIRM
from domain.tenant import Tenant
from domain.timing import Timing
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.proposals import of_patient
from domain.usecases.record import record
from domain.usecases.set_consent import note_consents
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
    """`scope` is whose `key` it is. The terms were read in `language`."""

    hold_id: UUID
    scope: str
    key: str
    input_hash: str
    terms_version: str
    sms: bool
    comment: str | None = None
    language: str | None = None
    accept_double_booking: bool = False
    bypass: Bypass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmBooking:
    """Write down the intent, ask the EHR, write down the answer.

    Two transactions with the EHR's call between them: no connection waits for a remote system, and a crash in between
    leaves a CONFIRMING booking for `reconcile` to settle.
    """

    start_work: StartWork
    visits: Visits
    hold_slot: HoldSlot
    clock: Clock
    timing: Timing

    async def __call__(self, tenant: Tenant, actor: Actor, patient: Patient, request: ConfirmRequest) -> Booking:
        """BOOKED, or UNKNOWN without an answer. Raises `Refused`; the hold stays while it can be put right."""
        check_bypass(actor, request.bypass)
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
        async with self.start_work(tenant.id) as work:
            now = self.clock.now()
            hold = await self._hold(work, tenant, patient, request)
            if hold.status in ANSWERED or hold.status is BookingStatus.FAILED:
                return hold
            _check_alive(hold, hold.lapsed(now))
            passed = await self._admitted(work, tenant, patient, hold, request)
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
            await record(work, booking, actor, now, action="booking.confirm", details=passed)
            await _note_consents(work, actor, patient, request, now)
            await work.commit()
        return booking

    async def _hold(self, work: UnitOfWork, tenant: Tenant, patient: Patient, request: ConfirmRequest) -> Booking:
        """The patient's hold, locked; pressed twice, the second waits here and then sees what became of it."""
        if not await work.bookings.queue_for_patient(tenant.id, patient.id):
            raise Refused(NotFound())  # erased by another of their windows meanwhile
        remembered = Remembered(input_hash=request.input_hash, booking_id=request.hold_id)
        known = await work.idempotency.remember(
            tenant.id, request.scope, "confirmBooking", request.key, remembered, self.clock.now()
        )
        if known and known.input_hash != request.input_hash:
            raise Refused(IdempotencyKeyReused())
        hold = await work.bookings.get(tenant.id, request.hold_id, lock=True)
        if hold is None or hold.moves_booking_id or hold.patient_id not in (None, patient.id) or _is_nobodys(hold):
            raise Refused(HoldNotFound())
        return hold

    async def _admitted(
        self, work: UnitOfWork, tenant: Tenant, patient: Patient, hold: Booking, request: ConfirmRequest
    ) -> Mapping[str, str]:
        """What staff passed over. Raises `Refused` with all that an anonymous hold could not know."""
        proposal = await of_patient(
            *(work, tenant, patient, hold, self.clock.now()),
            accepted_terms=request.terms_version,
            overlap_accepted=request.accept_double_booking,
        )
        return admitted(proposal, BEFORE_CONFIRM, request.bypass)

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
            async with self.start_work(booking.tenant_id) as work:
                action = f"booking.{booking.status.lower()}"
                await record(work, booking, actor, self.clock.now(), action=action, event=events.get(booking.status))
                await work.commit()
            return booking
        except StaleBooking:
            async with self.start_work(booking.tenant_id) as work:
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
        raise outage.as_if(sent=True) from outage


def check_after(now: datetime, timing: Timing) -> datetime:
    """When somebody else may look into a question to an EHR: not while whoever asked may still get to an answer.

    That is the write itself, a second look after a no, and the number to tell.
    """
    return now + timedelta(seconds=timing.book + 2 * timing.look_up) + timing.patience


def _is_nobodys(hold: Booking) -> bool:
    """Its patient was erased; a token that is still about shows it to nobody."""
    return hold.patient_id is None and (hold.status in ANSWERED or hold.status is BookingStatus.FAILED)


async def _note_consents(
    work: UnitOfWork, actor: Actor, patient: Patient, request: ConfirmRequest, now: datetime
) -> None:
    """The terms, and text messages where they are wished for.

    Not to want one for this visit withdraws nothing: who has said yes to messages says no to them by `SetConsent`.
    """
    said = {"tenant_id": patient.tenant_id, "patient_id": patient.id, "given": True, "language": request.language}
    terms = Consent(kind=ConsentKind.TERMS, document_version=request.terms_version, at=now, **said)  # type: ignore[arg-type]
    sms = Consent(kind=ConsentKind.SMS, at=now, **said)  # type: ignore[arg-type]
    await note_consents(work, actor, [terms, sms] if request.sms else [terms])


def _check_alive(hold: Booking, lapsed: bool) -> None:
    if hold.status is BookingStatus.CONFIRMING:
        raise Refused(InProgress())
    if lapsed or hold.status is BookingStatus.EXPIRED:
        raise Refused(HoldExpired())
    if hold.status is not BookingStatus.HELD:
        raise Refused(HoldNotFound())
