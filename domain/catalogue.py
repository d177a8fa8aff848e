"""What can be booked where and with whom: as an EHR tells it, as a seed enriches it, and as it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from domain.clinic import Address, Area, Clinic, ClinicBooking, GeoPoint, OpeningHours
from domain.endpoint import Endpoint
from domain.offer import Offer
from domain.practitioner import Practitioner
from domain.tenant import Tenant
from domain.treatment import Treatment


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrClinic:
    """A HealthcareService with its Location."""

    ehr_id: str
    name: str
    phone: str | None = None
    address: Address | None = None
    position: GeoPoint | None = None
    opening_hours: tuple[OpeningHours, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrTreatment:
    """An ActivityDefinition: the shared service code, the EHR's own words, and how long it takes."""

    code: str
    title: str
    description: str | None
    duration: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrPractitioner:
    """A PractitionerRole with its Practitioner and Schedules."""

    ehr_id: str
    clinic_ehr_id: str
    name: str
    title: str | None = None
    photo_url: str | None = None
    schedule_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrOffer:
    clinic_ehr_id: str
    practitioner_ehr_id: str
    treatment_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrCatalogue:
    """All that one endpoint says about who does what where."""

    language: str
    clinics: Sequence[EhrClinic]
    treatments: Sequence[EhrTreatment]
    practitioners: Sequence[EhrPractitioner]
    offers: Sequence[EhrOffer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What a tenant says beside its EHRs.

    The mappings hold field values by the entities' own field names: `clinics` by (endpoint id, HealthcareService id),
    `treatments` by code, `prices` by (endpoint id, treatment code).
    """

    tenant: Tenant
    endpoints: Sequence[Endpoint] = ()
    areas: Sequence[Area] = ()
    clinics: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    treatments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prices: Mapping[tuple[str, str], Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueImport:
    """The whole of one endpoint's catalogue, enriched and ready to be merged into the store."""

    endpoint_id: str
    clinics: Sequence[Clinic]
    treatments: Sequence[Treatment]
    practitioners: Sequence[Practitioner]
    offers: Sequence[Offer]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicFilter:
    """An empty tuple filters nothing. `search` looks in name, street and town, in any case."""

    search: str | None = None
    area_ids: tuple[UUID, ...] = ()
    treatment_ids: tuple[UUID, ...] = ()
    booking: tuple[ClinicBooking, ...] = ()
    near: GeoPoint | None = None
    """Nearest first, and clinics without a position last; else by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentFilter:
    """`search` looks in the titles and subtitles of every language."""

    search: str | None = None
    clinic_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PractitionerFilter:
    clinic_ids: tuple[UUID, ...] = ()
    treatment_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferFilter:
    clinic_ids: tuple[UUID, ...] = ()
    treatment_ids: tuple[UUID, ...] = ()
    practitioner_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicTreatment:
    """A treatment at one clinic: the shortest duration and the lowest price, where practitioners differ."""

    treatment: Treatment
    duration: timedelta
    cheapest: Offer
