"""A patient's own bookings, whole: ours, and what every record system of the tenant has under the national number."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from uuid import UUID

from domain.availability import SourceState, SourceStatus
from domain.booking import Booking
from domain.catalogue import ClinicFilter, OfferFilter
from domain.clinic import Clinic
from domain.endpoint import Endpoint
from domain.merging import Place, merged
from domain.own_booking import ID_VERSION, Known, OwnBooking, Stranger
from domain.pages import Page, PageRequest
from domain.patient import Patient
from domain.ports import BookingReads, Catalogue, Clock, Ehrs, EhrUnavailable, Outage
from domain.single_flight import SingleFlight
from domain.tenant import Tenant
from domain.timing import Timing

UPCOMING, ALL = "UPCOMING", "ALL"

HOW_FAR_BACK = timedelta(days=365)
"""Of what has been, record systems are asked for a year; what was booked here is shown for as long as it is kept."""

UNDER_WAY = timedelta(days=1)
"""What is still to come may have begun, and record systems look for visits by their start alone."""

MOST_CLINICS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the record systems said of one patient, and which of them said nothing."""

    visits: Sequence[Stranger] = ()
    sources: Sequence[SourceStatus] = ()
    clinics: Sequence[Clinic] = ()

    @property
    def silent(self) -> Sequence[SourceStatus]:
        return [source for source in self.sources if source.state is not SourceState.OK]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBookings:
    page: Page[OwnBooking]
    sources: Sequence[SourceStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindBookings:
    """The store is read after the record systems have answered: what was booked here meanwhile is then known to be."""

    catalogue: Catalogue
    reads: BookingReads
    ehrs: Ehrs
    clock: Clock
    timing: Timing
    _asking: SingleFlight[tuple[str, UUID, bool], Told] = field(default_factory=SingleFlight, init=False, compare=False)

    async def __call__(self, tenant: Tenant, patient: Patient, period: str, request: PageRequest) -> OwnBookings:
        """`period` and order as in `BookingReads.of_patient`."""
        told, now = await self._told(tenant, patient, past=period != UPCOMING), self.clock.now()
        ours, strangers = await asyncio.gather(
            self.reads.of_patient(tenant.id, patient.id, now, period, request),
            self._strangers(tenant, patient, told),
        )
        others: dict[Place, Booking | Stranger] = {
            Place.at(each.visit.held.start, each.id): each
            for each in strangers
            if period == ALL or each.is_upcoming(now) == (period == UPCOMING)
        }
        known: Page[Booking | Stranger] = Page(
            items=ours.items, keys=ours.keys, has_next=ours.has_next, has_previous=ours.has_previous
        )
        page = merged(known, others, request, descending=period != UPCOMING)
        return OwnBookings(page=await self._shown(tenant, patient, told, page), sources=told.sources)

    async def one(self, tenant: Tenant, patient: Patient, id: UUID) -> tuple[OwnBooking | None, Sequence[SourceStatus]]:
        """The patient's visit with that id, where our store does not know it; and who has not answered."""
        if id.version != ID_VERSION or patient.national_id is None:
            return None, ()
        told = await self._told(tenant, patient, past=True)
        found = [each for each in await self._strangers(tenant, patient, told) if each.id == id]
        shown = await self._in_catalogue(tenant, patient, told, found)
        return next(iter(shown.values()), None), told.silent

    async def _told(self, tenant: Tenant, patient: Patient, *, past: bool) -> Told:
        """Asked at the same time for the same patient, as the fields of one operation do, it is asked once."""
        if patient.national_id is None:
            return Told()
        return await self._asking((tenant.id, patient.id, past), lambda: self._ask_all(tenant, patient, past))

    async def _ask_all(self, tenant: Tenant, patient: Patient, past: bool) -> Told:
        everywhere = PageRequest(size=MOST_CLINICS)
        endpoints, clinics = await asyncio.gather(
            self.catalogue.endpoints(tenant.id), self.catalogue.clinics(tenant.id, ClinicFilter(), everywhere)
        )
        by_endpoint = {e.id: tuple(c.id for c in clinics.items if c.endpoint_id == e.id) for e in endpoints}
        asked = await asyncio.gather(*(self._ask(e, by_endpoint[e.id], patient, past) for e in endpoints))
        return Told(
            visits=list(chain.from_iterable(visits for visits, _ in asked)),
            sources=[source for _, source in asked],
            clinics=clinics.items,
        )

    async def _ask(
        self, endpoint: Endpoint, clinic_ids: tuple[UUID, ...], patient: Patient, past: bool
    ) -> tuple[list[Stranger], SourceStatus]:
        asked_at = self.clock.now()
        since = asked_at - (HOW_FAR_BACK if past else UNDER_WAY)
        try:
            visits = await self.ehrs.at(endpoint).visits_of(patient, since, self.timing.look_up)
        except EhrUnavailable as outage:
            return [], _silent(endpoint, clinic_ids, outage)
        status = SourceStatus(endpoint_id=endpoint.id, clinic_ids=clinic_ids, state=SourceState.OK, as_of=asked_at)
        return [Stranger(endpoint=endpoint, visit=visit) for visit in visits], status

    async def _strangers(self, tenant: Tenant, patient: Patient, told: Told) -> list[Stranger]:
        """Those that are none of the patient's bookings here: by our number, or by the EHR's own id."""
        numbers = [each.visit.booking_id for each in told.visits if each.visit.booking_id]
        ids = [*numbers, *(each.id for each in told.visits)]
        ehr_ids = [each.visit.held.ehr_id for each in told.visits]
        known = await self.reads.known_of_patient(tenant.id, patient.id, ids, ehr_ids)
        ours = {booking.id for booking in known}
        theirs = {(booking.slot.endpoint_id, booking.ehr_id) for booking in known}
        return [
            each
            for each in told.visits
            if not {each.id, each.visit.booking_id} & ours and (each.endpoint.id, each.visit.held.ehr_id) not in theirs
        ]

    async def _shown(
        self, tenant: Tenant, patient: Patient, told: Told, page: Page[Booking | Stranger]
    ) -> Page[OwnBooking]:
        silent = {source.endpoint_id for source in told.silent}
        strangers = [each for each in page.items if isinstance(each, Stranger)]
        shown = await self._in_catalogue(tenant, patient, told, strangers)
        items = [
            shown[each.id]
            if isinstance(each, Stranger)
            else OwnBooking(booking=each, is_silent=each.slot.endpoint_id in silent)
            for each in page.items
        ]
        return Page(items=items, keys=page.keys, has_next=page.has_next, has_previous=page.has_previous)

    async def _in_catalogue(
        self, tenant: Tenant, patient: Patient, told: Told, strangers: Sequence[Stranger]
    ) -> Mapping[UUID, OwnBooking]:
        """Three statements, however many they are, and none for nobody."""
        if not strangers:
            return {}
        endpoints = [each.endpoint.id for each in strangers]
        roles = [role for each in strangers if (role := each.visit.held.practitioner_ehr_id)]
        codes = [code for each in strangers if (code := each.visit.service_code)]
        practitioners, treatments = await asyncio.gather(
            self.catalogue.practitioners_by_ehr_ids(tenant.id, endpoints, roles),
            self.catalogue.treatments_by_code(tenant.id, codes),
        )
        where = OfferFilter(
            practitioner_ids=tuple(each.id for each in practitioners),
            treatment_ids=tuple(each.id for each in treatments.values()),
        )
        offered = await self.catalogue.offerings(tenant.id, where) if practitioners and treatments else []
        known = Known(
            clinics=told.clinics,
            practitioners=practitioners,
            treatments=treatments,
            offers=[each.offer for each in offered],
        )
        return {each.id: known.shown(each, tenant, patient) for each in strangers}


def _silent(endpoint: Endpoint, clinic_ids: tuple[UUID, ...], outage: EhrUnavailable) -> SourceStatus:
    return SourceStatus(
        endpoint_id=endpoint.id,
        clinic_ids=clinic_ids,
        state=SourceState.TIMEOUT if outage.outage is Outage.TIMEOUT else SourceState.OFFLINE,
        reason=outage.word.value,
        retry_after=outage.retry_after,
    )
