"""Reading what can be booked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.catalogue import (
    ClinicFilter,
    ClinicTreatment,
    OfferFilter,
    PractitionerFilter,
    TreatmentFilter,
)
from domain.clinic import Area, Clinic
from domain.endpoint import Endpoint
from domain.offer import Offer
from domain.pages import Page, PageRequest
from domain.practitioner import Practitioner
from domain.tenant import Tenant
from domain.treatment import Treatment


@dataclass(frozen=True, slots=True, kw_only=True)
class Offering:
    """An offer with all that finding and booking it needs, from one statement."""

    offer: Offer
    clinic: Clinic
    practitioner: Practitioner
    treatment: Treatment


class Catalogue(Protocol):
    """Reading what can be booked: each method is one statement, and shows what is active only.

    But for endpoints, areas, clinics, treatments and practitioners by id: bookings refer to what was withdrawn since.

    List methods sort by name or sort key and then id; `near` sorts by distance. Batch methods leave out ids that do
    not exist in the tenant.
    """

    async def tenant(self, *, slug: str) -> Tenant | None: ...
    async def tenants(self) -> Sequence[Tenant]: ...
    async def endpoints(self, tenant_id: str) -> Sequence[Endpoint]: ...
    async def endpoints_of_all(self) -> Sequence[Endpoint]:
        """Those of every tenant that is served, for work that is nobody's in particular."""
        ...

    async def endpoints_by_id(self, tenant_id: str, ids: Sequence[str]) -> Mapping[str, Endpoint]:
        """Also those that were switched off: what was booked there is still changed, cancelled and looked up there."""
        ...

    async def areas(self, tenant_id: str) -> Sequence[Area]: ...
    async def areas_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Area]: ...

    async def clinics(self, tenant_id: str, where: ClinicFilter, page: PageRequest) -> Page[Clinic]: ...
    async def count_clinics(self, tenant_id: str, where: ClinicFilter) -> int: ...
    async def clinics_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Clinic]: ...
    async def clinics_by_slug(self, tenant_id: str, slugs: Sequence[str]) -> Mapping[str, Clinic]: ...

    async def treatments(self, tenant_id: str, where: TreatmentFilter, page: PageRequest) -> Page[Treatment]:
        """Treatments that somebody offers somewhere."""
        ...

    async def count_treatments(self, tenant_id: str, where: TreatmentFilter) -> int: ...
    async def treatments_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Treatment]: ...
    async def treatments_by_code(self, tenant_id: str, codes: Sequence[str]) -> Mapping[str, Treatment]: ...

    async def practitioners(self, tenant_id: str, where: PractitionerFilter, page: PageRequest) -> Page[Practitioner]:
        """`clinic_ids` and `treatment_ids` together: those who offer one of the treatments at one of the clinics."""
        ...

    async def practitioners_at(self, tenant_id: str, endpoint_id: str) -> Sequence[Practitioner]:
        """Everybody that an endpoint has ever told of."""
        ...

    async def practitioners_by_ehr_ids(
        self, tenant_id: str, endpoint_ids: Sequence[str], ehr_ids: Sequence[str]
    ) -> Sequence[Practitioner]:
        """Those whom any of the endpoints names so; also those who were withdrawn."""
        ...

    async def count_practitioners(self, tenant_id: str, where: PractitionerFilter) -> int: ...
    async def practitioners_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Practitioner]: ...

    async def offers(self, tenant_id: str, where: OfferFilter, page: PageRequest) -> Page[Offer]: ...
    async def count_offers(self, tenant_id: str, where: OfferFilter) -> int: ...
    async def offers_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Offer]: ...

    async def treatments_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], page: PageRequest
    ) -> Mapping[UUID, Page[ClinicTreatment]]:
        """A page for each clinic, all in one statement."""
        ...

    async def count_treatments_of_clinics(self, tenant_id: str, clinic_ids: Sequence[UUID]) -> Mapping[UUID, int]: ...

    async def practitioners_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None, page: PageRequest
    ) -> Mapping[UUID, Page[Practitioner]]: ...

    async def count_practitioners_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None
    ) -> Mapping[UUID, int]: ...

    async def offers_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None, page: PageRequest
    ) -> Mapping[UUID, Page[Offer]]: ...

    async def count_offers_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None
    ) -> Mapping[UUID, int]: ...

    async def offerings(self, tenant_id: str, where: OfferFilter, *, area_ids: Sequence[UUID] = ()) -> list[Offering]:
        """Offers with their clinic, practitioner and treatment; at most 2,000, by clinic name and practitioner name."""
        ...
