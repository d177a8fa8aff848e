"""What the rules are asked about, looked up: the clinic, the patient's other visits, the booking that is to change."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.booking import Booking
from domain.clinic import Clinic
from domain.patient import Patient
from domain.ports import UnitOfWork
from domain.rules import Change, Proposal, proposed, rules_of
from domain.slot import Slot
from domain.tenant import Tenant
from domain.usecases.find_slots import is_movable


class Clinics(Protocol):
    """Whoever can tell a clinic: inside a unit of work that is the work itself, which must not wait for a second
    connection while others wait for the one that it has."""

    async def clinics_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Clinic]: ...


async def change_of_booking(clinics: Clinics, tenant: Tenant, booking: Booking, to: Slot) -> Change:
    """To move the booking there; whether it may be moved at all is for the clinic to say where it is now."""
    return _change(tenant, await _clinic(clinics, tenant, booking.slot), booking, to)


async def to_cancel(clinics: Clinics, tenant: Tenant, booking: Booking, now: datetime) -> Proposal:
    clinic = await _clinic(clinics, tenant, booking.slot)
    change = _change(tenant, clinic, booking, booking.slot)
    return proposed(tenant, clinic, booking.slot.start, now, change=change)


async def _clinic(clinics: Clinics, tenant: Tenant, slot: Slot) -> Clinic:
    return (await clinics.clinics_by_id(tenant.id, [slot.clinic_id]))[slot.clinic_id]


def _change(tenant: Tenant, clinic: Clinic, booking: Booking, to: Slot) -> Change:
    return Change(
        booking=booking,
        rules=rules_of(tenant.rules, clinic.rules),
        clinic_phone=clinic.phone,
        stays=is_movable(booking, to.endpoint_id, to.treatment_id),
    )


async def of_patient(
    work: UnitOfWork,
    tenant: Tenant,
    patient: Patient,
    claim: Booking,
    now: datetime,
    **more: object,
) -> Proposal:
    """That patient at the claim's time. Neither the claim nor what it is to move is in its own way."""
    slot = claim.slot
    clinic = await _clinic(work.catalogue, tenant, slot)
    overlapping = await work.bookings.of_patient_in(tenant.id, patient.id, slot.span)
    others = [b for b in overlapping if b.id not in (claim.id, claim.moves_booking_id)]
    others = [b for b in others if claim.moves_booking_id is None or b.moves_booking_id != claim.moves_booking_id]
    return proposed(
        tenant,
        clinic,
        slot.start,
        now,
        birth_date=patient.birth_date,
        has_national_id=patient.national_id is not None,
        overlapping=others[0] if others else None,
        **more,
    )
