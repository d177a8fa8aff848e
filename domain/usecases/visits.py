"""A booking put into an EHR's own terms."""

from dataclasses import dataclass, replace
from uuid import UUID

from domain.booking import Booking
from domain.catalogue import OfferFilter
from domain.endpoint import Endpoint
from domain.patient import Patient
from domain.ports import Catalogue, Ehr, Ehrs, Offering, StartWork, Visit, Wanted
from domain.text import said_in

NOBODY = Patient(
    tenant_id="",
    id=UUID(int=0),
    name="",
    birth_date=None,
    national_id=None,
    phone=None,
    email=None,
    language=None,
)


def wanted_of(offering: Offering) -> Wanted:
    """What to ask the EHR for, to find times for this offer."""
    return Wanted(
        practitioner_ehr_id=offering.practitioner.ehr_id,
        clinic_ehr_id=offering.clinic.ehr_id,
        schedule_ids=offering.practitioner.schedule_ids,
        service_code=offering.treatment.code,
        duration=offering.offer.duration,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """Looks up all that an adapter needs to know of a booking."""

    catalogue: Catalogue
    start_work: StartWork
    ehrs: Ehrs

    async def of(self, booking: Booking, patient: Patient | None = None) -> Visit:
        """Raises `LookupError` for a booking whose patient is not known yet, or whose catalogue is gone: a bug."""
        slot, tenant = booking.slot, booking.tenant_id
        clinic = (await self.catalogue.clinics_by_id(tenant, [slot.clinic_id]))[slot.clinic_id]
        practitioner = (await self.catalogue.practitioners_by_id(tenant, [slot.practitioner_id]))[slot.practitioner_id]
        treatment = (await self.catalogue.treatments_by_id(tenant, [slot.treatment_id]))[slot.treatment_id]
        return Visit(
            booking_id=booking.moves_booking_id or booking.id,
            ehr_id=booking.ehr_id,
            patient=patient or await self._patient(booking),
            practitioner_ehr_id=practitioner.ehr_id,
            practitioner_name=practitioner.name,
            clinic_ehr_id=clinic.ehr_id,
            clinic_name=clinic.name,
            service_code=treatment.code,
            service_title=said_in(treatment.title, ()) or treatment.code,
            reference=slot.reference,
            start=slot.span.start,
            end=slot.span.end,
            resources=slot.resources,
            comment=booking.comment,
        )

    async def kept(self, hold: Booking) -> Visit:
        """A time that is only kept: nobody is told for whom, and nobody may be known yet."""
        return await self.of(hold, replace(NOBODY, tenant_id=hold.tenant_id))

    async def as_it_stands(self, booking: Booking) -> Visit:
        """For looking it up, which needs no patient where we have erased or forgotten whose it is."""
        return await self.of(booking) if booking.patient_id else await self.kept(booking)

    async def moving(self, booking: Booking) -> Visit:
        """As above, for finding times to move it to: with its practitioner's other services."""
        slot = booking.slot
        where = OfferFilter(clinic_ids=(slot.clinic_id,), practitioner_ids=(slot.practitioner_id,))
        offered = await self.catalogue.offerings(booking.tenant_id, where)
        others = tuple(wanted_of(each) for each in offered if each.treatment.id != slot.treatment_id)
        return replace(await self.of(booking), other_services=others)

    async def ehr_of(self, booking: Booking) -> tuple[Endpoint, Ehr]:
        """Also of an endpoint that was switched off since: what is booked there can still be cancelled."""
        id = booking.slot.endpoint_id
        endpoint = (await self.catalogue.endpoints_by_id(booking.tenant_id, [id]))[id]
        return endpoint, self.ehrs.at(endpoint)

    async def _patient(self, booking: Booking) -> Patient:
        async with self.start_work(booking.tenant_id) as work:
            patient = booking.patient_id and await work.patients.get(booking.tenant_id, booking.patient_id)
        if not patient:
            raise LookupError(f"booking {booking.id} has no patient")
        return patient
