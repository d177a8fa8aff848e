"""Fill the catalogue from the EHRs, enriched by what the tenant says beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from domain.catalogue import CatalogueImport, EhrCatalogue, EhrClinic, EhrOffer, EhrPractitioner, EhrTreatment, Seed
from domain.clinic import Clinic, Image
from domain.endpoint import Endpoint
from domain.offer import Offer
from domain.ports import Ehrs, EhrUnavailable, StartWork
from domain.practitioner import Practitioner
from domain.timing import Timing
from domain.treatment import Treatment

CATALOGUE = UUID("5c1f0a0e-7f0b-4d3a-9a55-0c6f6f1d7b11")
"""Namespace of the catalogue's ids: made of what the EHR calls things, so that a second import finds them again."""

ZONES = {"NO": "Europe/Oslo", "SE": "Europe/Stockholm", "DK": "Europe/Copenhagen", "FI": "Europe/Helsinki"}

PHOTO_SIDE = 160
"""CSS pixels: photos from EHRs come without a size and are shown as small squares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCatalogue:
    start_work: StartWork
    ehrs: Ehrs
    timing: Timing

    async def __call__(self, seed: Seed) -> dict[str, str]:
        """Import every endpoint; returns why not, by id, for those whose part stays as it was."""
        async with self.start_work(seed.tenant.id) as work:
            await work.catalogue.put_seed(seed)
            await work.commit()
        silent: dict[str, str] = {}
        for endpoint in seed.endpoints:
            try:
                told = await self.ehrs.at(endpoint).catalogue(self.timing.catalogue)
            except EhrUnavailable as why:
                silent[endpoint.id] = why.reason
                continue
            async with self.start_work(seed.tenant.id) as work:
                await work.catalogue.merge(seed.tenant.id, enriched(endpoint, told, seed))
                await work.commit()
        return silent


def enriched(endpoint: Endpoint, told: EhrCatalogue, seed: Seed) -> CatalogueImport:
    """The EHR's facts under our ids, with the seed's values over them."""
    tenant_id = seed.tenant.id
    durations = {t.code: t.duration for t in told.treatments}
    known = {c.ehr_id for c in told.clinics}, {p.ehr_id for p in told.practitioners}
    return CatalogueImport(
        endpoint_id=endpoint.id,
        clinics=[_clinic(tenant_id, endpoint, c, seed.clinics.get((endpoint.id, c.ehr_id), {})) for c in told.clinics],
        treatments=[_treatment(tenant_id, told.language, t, seed.treatments.get(t.code, {})) for t in told.treatments],
        practitioners=[_practitioner(tenant_id, endpoint, told.language, p) for p in told.practitioners],
        offers=[
            _offer(tenant_id, endpoint, o, durations, seed)
            for o in told.offers
            if o.treatment_code in durations and o.clinic_ehr_id in known[0] and o.practitioner_ehr_id in known[1]
        ],
    )


def _clinic(tenant_id: str, endpoint: Endpoint, told: EhrClinic, said: Mapping[str, Any]) -> Clinic:
    country = told.address.country_code if told.address else ""
    facts: dict[str, Any] = {
        "tenant_id": tenant_id,
        "id": _id("clinic", endpoint.id, told.ehr_id),
        "endpoint_id": endpoint.id,
        "ehr_id": told.ehr_id,
        "slug": told.ehr_id.lower(),
        "name": told.name,
        "time_zone": ZONES.get(country, "UTC"),
        "address": told.address,
        "position": told.position,
        "phone": told.phone,
        "opening_hours": told.opening_hours,
    }
    return Clinic(**{**facts, **said})


def _treatment(tenant_id: str, language: str, told: EhrTreatment, said: Mapping[str, Any]) -> Treatment:
    facts: dict[str, Any] = {
        "tenant_id": tenant_id,
        "id": _id("treatment", told.code),
        "code": told.code,
        "title": {language: told.title},
        "description": {language: told.description} if told.description else {},
    }
    return Treatment(**{**facts, **said})


def _practitioner(tenant_id: str, endpoint: Endpoint, language: str, told: EhrPractitioner) -> Practitioner:
    photo = told.photo_url and Image(url=told.photo_url, width=PHOTO_SIDE, height=PHOTO_SIDE, alt_text={"": told.name})
    return Practitioner(
        tenant_id=tenant_id,
        id=_id("practitioner", endpoint.id, told.ehr_id),
        endpoint_id=endpoint.id,
        ehr_id=told.ehr_id,
        clinic_id=_id("clinic", endpoint.id, told.clinic_ehr_id),
        name=told.name,
        title={language: told.title} if told.title else {},
        role=told.title,
        photo=photo or None,
        schedule_ids=told.schedule_ids,
    )


def _offer(tenant_id: str, endpoint: Endpoint, told: EhrOffer, durations: Mapping[str, Any], seed: Seed) -> Offer:
    return Offer(
        tenant_id=tenant_id,
        id=_id("offer", endpoint.id, told.practitioner_ehr_id, told.clinic_ehr_id, told.treatment_code),
        endpoint_id=endpoint.id,
        clinic_id=_id("clinic", endpoint.id, told.clinic_ehr_id),
        treatment_id=_id("treatment", told.treatment_code),
        practitioner_id=_id("practitioner", endpoint.id, told.practitioner_ehr_id),
        duration=durations[told.treatment_code],
        price=seed.prices.get((endpoint.id, told.treatment_code)),
    )


def _id(kind: str, *parts: str) -> UUID:
    return uuid5(CATALOGUE, "\x1f".join((kind, *parts)))
