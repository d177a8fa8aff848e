"""A patient's own booking as it is shown: one of ours, or a visit that so far only its record system knows of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from domain.booking import LONG_AGO, Booking, BookingStatus
from domain.clinic import Clinic, ClinicBooking
from domain.endpoint import Endpoint
from domain.offer import Offer
from domain.patient import Patient
from domain.ports import AppointmentState, EhrVisit
from domain.practitioner import Practitioner
from domain.refusals import ChangeRefusal
from domain.rules import BookingRules, RuleValues, rules_of
from domain.slot import Slot
from domain.tenant import Tenant
from domain.treatment import Treatment
from domain.windows import ChangeRight, cancellation_right, rescheduling_right

NOT_IN_CATALOGUE = UUID(int=0)
"""For a clinic, treatment, practitioner or offer that the catalogue does not have: nothing is found by it."""

MADE_ELSEWHERE = UUID("5b0f5d5e-9d1c-4f0a-8d5e-6d0c3b1f7a52")
"""Where the ids of visits that others made come from."""

ID_VERSION = 5
"""Of such ids; bookings made here have random ones (4)."""

STATUSES: Mapping[AppointmentState, BookingStatus] = {
    AppointmentState.BOOKED: BookingStatus.BOOKED,
    AppointmentState.CANCELLED: BookingStatus.CANCELLED,
    AppointmentState.FULFILLED: BookingStatus.FULFILLED,
    AppointmentState.NO_SHOW: BookingStatus.NO_SHOW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What its record system says of a visit that is not in our store: `title` in its own words.

    `is_managed`: only the clinic can change it, since something of it is not in our catalogue, or the clinic is not
    booked online.
    """

    title: str
    is_managed: bool
    can_be_cancelled: bool
    can_be_rescheduled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBooking:
    """`elsewhere` is None for one of ours. `is_silent`: its record system has not answered just now."""

    booking: Booking
    elsewhere: Elsewhere | None = None
    is_silent: bool = False

    def cancellation(self, current: BookingRules, now: datetime) -> ChangeRight:
        return self._right(cancellation_right, current, now, self.elsewhere is None or self.elsewhere.can_be_cancelled)

    def rescheduling(self, current: BookingRules, now: datetime) -> ChangeRight:
        return self._right(
            rescheduling_right, current, now, self.elsewhere is None or self.elsewhere.can_be_rescheduled
        )

    def _right(
        self,
        by_rules: Callable[[Booking, BookingRules, datetime], ChangeRight],
        current: BookingRules,
        now: datetime,
        ehr_allows: bool,
    ) -> ChangeRight:
        right = by_rules(self.booking, current, now)
        stands = self.booking.status is BookingStatus.BOOKED
        if stands and self.elsewhere and self.elsewhere.is_managed:
            return ChangeRight(allowed=False, refusal=ChangeRefusal.MANAGED_EXTERNALLY)
        if right.allowed and not ehr_allows:
            return ChangeRight(allowed=False, refusal=ChangeRefusal.NOT_ALLOWED)
        if right.allowed and self.is_silent:
            return replace(right, allowed=False, refusal=ChangeRefusal.EHR_OFFLINE)
        return right


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A visit that our store does not know, at one endpoint of a tenant."""

    endpoint: Endpoint
    visit: EhrVisit

    @property
    def id(self) -> UUID:
        """Always the same for the same visit, so that it keeps its id when it becomes a booking of ours."""
        name = "\n".join((self.endpoint.tenant_id, self.endpoint.id, self.visit.held.ehr_id))
        return uuid5(MADE_ELSEWHERE, name)

    def is_upcoming(self, now: datetime) -> bool:
        return self.visit.held.state is AppointmentState.BOOKED and self.visit.held.end > now


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What our catalogue has of the places, people and treatments that visits made elsewhere speak of."""

    clinics: Sequence[Clinic]
    practitioners: Sequence[Practitioner]
    treatments: Mapping[str, Treatment]
    offers: Sequence[Offer]

    def shown(self, stranger: Stranger, tenant: Tenant, patient: Patient) -> OwnBooking:
        """With all of it that is known. Its rules are those in force, for it was made under none of ours."""
        visit, practitioner = stranger.visit, self._practitioner(stranger)
        clinic = self._clinic(stranger, practitioner)
        treatment = self.treatments.get(visit.service_code or "")
        ids = [each.id if each else NOT_IN_CATALOGUE for each in (clinic, treatment, practitioner)]
        offer = next((o for o in self.offers if [o.clinic_id, o.treatment_id, o.practitioner_id] == ids), None)
        slot = Slot(
            endpoint_id=stranger.endpoint.id,
            offer_id=offer.id if offer else NOT_IN_CATALOGUE,
            clinic_id=ids[0],
            treatment_id=ids[1],
            practitioner_id=ids[2],
            reference=visit.reference,
            start=_on_the_wall(visit.held.start, clinic),
            end=_on_the_wall(visit.held.end, clinic),
            time_zone=clinic.time_zone if clinic else "UTC",
            resources=visit.resources,
        )
        rules = rules_of(tenant.rules, clinic.rules if clinic else RuleValues())
        is_managed = offer is None or clinic is None or clinic.booking is not ClinicBooking.ONLINE
        return OwnBooking(booking=_booking(stranger, patient, slot, rules), elsewhere=_elsewhere(visit, is_managed))

    def _practitioner(self, stranger: Stranger) -> Practitioner | None:
        name = (stranger.endpoint.id, stranger.visit.held.practitioner_ehr_id)
        return next((each for each in self.practitioners if (each.endpoint_id, each.ehr_id) == name), None)

    def _clinic(self, stranger: Stranger, practitioner: Practitioner | None) -> Clinic | None:
        """The one that is named, else where its practitioner works."""
        name = (stranger.endpoint.id, stranger.visit.clinic_ehr_id)
        named = next((each for each in self.clinics if (each.endpoint_id, each.ehr_id) == name), None)
        return named or next(
            (each for each in self.clinics if practitioner and each.id == practitioner.clinic_id), None
        )


def _booking(stranger: Stranger, patient: Patient, slot: Slot, rules: BookingRules) -> Booking:
    visit, made_at = stranger.visit, stranger.visit.created or LONG_AGO
    return Booking(
        tenant_id=stranger.endpoint.tenant_id,
        id=stranger.id,
        reference=stranger.id.hex,
        slot=slot,
        status=STATUSES[visit.held.state],
        created_at=made_at,
        expires_at=made_at,
        booked_at=visit.created,
        rules=rules,
        patient_id=patient.id,
        ehr_id=visit.held.ehr_id,
        made_elsewhere=True,
        no_change_within=max(stranger.endpoint.no_change_within, visit.no_change_within),
    )


def _elsewhere(visit: EhrVisit, is_managed: bool) -> Elsewhere:
    return Elsewhere(
        title=visit.title,
        is_managed=is_managed,
        can_be_cancelled=visit.can_be_cancelled,
        can_be_rescheduled=visit.can_be_rescheduled,
    )


def _on_the_wall(moment: datetime, clinic: Clinic | None) -> datetime:
    return moment.astimezone(UTC).astimezone(ZoneInfo(clinic.time_zone)) if clinic else moment
