"""Reading what can be booked: every method is one statement, straight from rows to entities."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.catalogue import ClinicFilter, ClinicTreatment, OfferFilter, PractitionerFilter, TreatmentFilter
from domain.clinic import Area, Clinic
from domain.endpoint import Endpoint
from domain.offer import Offer
from domain.pages import Page, PageRequest
from domain.ports import EVERY_TENANT, Offering
from domain.practitioner import Practitioner
from domain.tenant import Tenant
from domain.treatment import Treatment
from integrations.store import catalogue_selects as selects
from integrations.store.catalogue_groups import clinic_treatment_of, clinic_treatments, paged_by_clinic, pages_of
from integrations.store.catalogue_rows import (
    area_of,
    clinic_of,
    columns,
    endpoint_of,
    offer_of,
    practitioner_of,
    treatment_of,
)
from integrations.store.distance import nearest_first
from integrations.store.engine import Reads
from integrations.store.paging import Order, page_of, paged
from integrations.store.tables import TENANT
from integrations.store.tables_catalogue import AREA, CLINIC, ENDPOINT, OFFER, PRACTITIONER, TREATMENT
from integrations.store.tenant_rows import tenant_rows, tenants_of
from integrations.store.types import AnyRow

T = TypeVar("T")
K = TypeVar("K")

MOST_OFFERINGS = 2000


class SqlCatalogue:
    def __init__(self, engine: AsyncEngine) -> None:
        self._reads = Reads(engine)

    async def tenant(self, *, slug: str) -> Tenant | None:
        statement = tenant_rows().where(TENANT.c.active, TENANT.c.slug == slug)
        found = tenants_of(await self._reads.rows(EVERY_TENANT, statement))
        return found[0] if found else None

    async def tenants(self) -> Sequence[Tenant]:
        return tenants_of(await self._reads.rows(EVERY_TENANT, tenant_rows().where(TENANT.c.active)))

    async def endpoints(self, tenant_id: str) -> Sequence[Endpoint]:
        E = ENDPOINT.c
        statement = select(*columns(ENDPOINT)).where(E.tenant_id == tenant_id, E.active)
        return [endpoint_of(row) for row in await self._reads.rows(tenant_id, statement.order_by(E.id))]

    async def endpoints_of_all(self) -> Sequence[Endpoint]:
        E = ENDPOINT.c
        served = select(TENANT.c.tenant_id).where(TENANT.c.active)
        statement = select(*columns(ENDPOINT)).where(E.active, E.tenant_id.in_(served))
        return [endpoint_of(row) for row in await self._reads.rows(EVERY_TENANT, statement.order_by(E.tenant_id, E.id))]

    async def endpoints_by_id(self, tenant_id: str, ids: Sequence[str]) -> Mapping[str, Endpoint]:
        statement = select(*columns(ENDPOINT)).where(ENDPOINT.c.tenant_id == tenant_id)
        return await self._by(tenant_id, ENDPOINT.c.id, ids, statement, endpoint_of)

    async def areas(self, tenant_id: str) -> Sequence[Area]:
        statement = select(*columns(AREA)).where(AREA.c.tenant_id == tenant_id, AREA.c.active)
        return [
            area_of(row) for row in await self._reads.rows(tenant_id, statement.order_by(AREA.c.sort_key, AREA.c.id))
        ]

    async def areas_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Area]:
        statement = select(*columns(AREA)).where(AREA.c.tenant_id == tenant_id)
        return await self._by(tenant_id, AREA.c.id, ids, statement, area_of)

    async def clinics(self, tenant_id: str, where: ClinicFilter, page: PageRequest) -> Page[Clinic]:
        statement = select(*columns(CLINIC)).where(*selects.matching_clinics(tenant_id, where))
        if where.near:
            found = [clinic_of(row) for row in await self._reads.rows(tenant_id, statement)]
            return nearest_first(found, where.near, page)
        return await self._page(tenant_id, statement, clinic_of, selects.BY_CLINIC, page)

    async def count_clinics(self, tenant_id: str, where: ClinicFilter) -> int:
        return await self._count(tenant_id, select(CLINIC.c.id).where(*selects.matching_clinics(tenant_id, where)))

    async def clinics_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Clinic]:
        statement = select(*columns(CLINIC)).where(CLINIC.c.tenant_id == tenant_id)
        return await self._by(tenant_id, CLINIC.c.id, ids, statement, clinic_of)

    async def clinics_by_slug(self, tenant_id: str, slugs: Sequence[str]) -> Mapping[str, Clinic]:
        return await self._by(tenant_id, CLINIC.c.slug, slugs, _clinics(tenant_id), clinic_of)

    async def treatments(self, tenant_id: str, where: TreatmentFilter, page: PageRequest) -> Page[Treatment]:
        statement = select(*columns(TREATMENT)).where(*selects.matching_treatments(tenant_id, where))
        return await self._page(tenant_id, statement, treatment_of, selects.BY_TREATMENT, page)

    async def count_treatments(self, tenant_id: str, where: TreatmentFilter) -> int:
        return await self._count(
            tenant_id, select(TREATMENT.c.id).where(*selects.matching_treatments(tenant_id, where))
        )

    async def treatments_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Treatment]:
        statement = select(*columns(TREATMENT)).where(TREATMENT.c.tenant_id == tenant_id)
        return await self._by(tenant_id, TREATMENT.c.id, ids, statement, treatment_of)

    async def treatments_by_code(self, tenant_id: str, codes: Sequence[str]) -> Mapping[str, Treatment]:
        return await self._by(tenant_id, TREATMENT.c.code, codes, _treatments(tenant_id), treatment_of)

    async def practitioners(self, tenant_id: str, where: PractitionerFilter, page: PageRequest) -> Page[Practitioner]:
        statement = selects.working(tenant_id, *columns(PRACTITIONER))
        statement = statement.where(*selects.matching_practitioners(tenant_id, where))
        return await self._page(tenant_id, statement, practitioner_of, selects.BY_PRACTITIONER, page)

    async def practitioners_at(self, tenant_id: str, endpoint_id: str) -> Sequence[Practitioner]:
        here = PRACTITIONER.c.tenant_id == tenant_id, PRACTITIONER.c.endpoint_id == endpoint_id
        return [
            practitioner_of(row)
            for row in await self._reads.rows(tenant_id, select(*columns(PRACTITIONER)).where(*here))
        ]

    async def practitioners_by_ehr_ids(
        self, tenant_id: str, endpoint_ids: Sequence[str], ehr_ids: Sequence[str]
    ) -> Sequence[Practitioner]:
        P = PRACTITIONER.c
        named = *(P.tenant_id == tenant_id, P.endpoint_id.in_(set(endpoint_ids))), P.ehr_id.in_(set(ehr_ids))
        return [
            practitioner_of(row)
            for row in await self._reads.rows(tenant_id, select(*columns(PRACTITIONER)).where(*named))
        ]

    async def count_practitioners(self, tenant_id: str, where: PractitionerFilter) -> int:
        matching = selects.matching_practitioners(tenant_id, where)
        return await self._count(tenant_id, selects.working(tenant_id, PRACTITIONER.c.id).where(*matching))

    async def practitioners_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Practitioner]:
        statement = select(*columns(PRACTITIONER)).where(PRACTITIONER.c.tenant_id == tenant_id)
        return await self._by(tenant_id, PRACTITIONER.c.id, ids, statement, practitioner_of)

    async def offers(self, tenant_id: str, where: OfferFilter, page: PageRequest) -> Page[Offer]:
        statement = selects.live(tenant_id, *columns(OFFER)).where(*selects.matching_offers(where))
        return await self._page(tenant_id, statement, offer_of, selects.BY_OFFER, page)

    async def count_offers(self, tenant_id: str, where: OfferFilter) -> int:
        return await self._count(tenant_id, selects.live(tenant_id, OFFER.c.id).where(*selects.matching_offers(where)))

    async def offers_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Offer]:
        return await self._by(tenant_id, OFFER.c.id, ids, selects.live(tenant_id, *columns(OFFER)), offer_of)

    async def treatments_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], page: PageRequest
    ) -> Mapping[UUID, Page[ClinicTreatment]]:
        if not clinic_ids:
            return {}
        rows = await self._reads.rows(tenant_id, clinic_treatments(tenant_id, clinic_ids, page))
        return pages_of(rows, clinic_ids, clinic_treatment_of, selects.BY_TREATMENT, page)

    async def count_treatments_of_clinics(self, tenant_id: str, clinic_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        count = func.count(OFFER.c.treatment_id.distinct())
        statement = selects.live(tenant_id, OFFER.c.clinic_id, count)
        return await self._counts(tenant_id, statement, OFFER.c.clinic_id, clinic_ids)

    async def practitioners_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None, page: PageRequest
    ) -> Mapping[UUID, Page[Practitioner]]:
        statement = selects.working(tenant_id, *columns(PRACTITIONER))
        statement = statement.where(*selects.performing(tenant_id, clinic_ids, treatment_id))
        clinic = PRACTITIONER.c.clinic_id
        return await self._pages(
            tenant_id, statement, clinic, clinic_ids, practitioner_of, selects.BY_PRACTITIONER, page
        )

    async def count_practitioners_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None
    ) -> Mapping[UUID, int]:
        statement = selects.working(tenant_id, PRACTITIONER.c.clinic_id, func.count())
        statement = statement.where(*selects.performing(tenant_id, clinic_ids, treatment_id))
        return await self._counts(tenant_id, statement, PRACTITIONER.c.clinic_id, clinic_ids)

    async def offers_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None, page: PageRequest
    ) -> Mapping[UUID, Page[Offer]]:
        where = OfferFilter(clinic_ids=tuple(clinic_ids), treatment_ids=(treatment_id,) if treatment_id else ())
        statement = selects.live(tenant_id, *columns(OFFER)).where(*selects.matching_offers(where))
        clinic = OFFER.c.clinic_id
        return await self._pages(tenant_id, statement, clinic, clinic_ids, offer_of, selects.BY_OFFER_IN_CLINIC, page)

    async def count_offers_of_clinics(
        self, tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None
    ) -> Mapping[UUID, int]:
        where = OfferFilter(treatment_ids=(treatment_id,) if treatment_id else ())
        statement = selects.live(tenant_id, OFFER.c.clinic_id, func.count()).where(*selects.matching_offers(where))
        return await self._counts(tenant_id, statement, OFFER.c.clinic_id, clinic_ids)

    async def offerings(self, tenant_id: str, where: OfferFilter, *, area_ids: Sequence[UUID] = ()) -> list[Offering]:
        shown = (*columns(OFFER), *columns(CLINIC), *columns(PRACTITIONER), *columns(TREATMENT))
        statement = (
            selects.live(tenant_id, *shown)
            .where(*selects.matching_offers(where), *selects.among(CLINIC.c.area_id, area_ids))
            .order_by(CLINIC.c.sort_name, PRACTITIONER.c.sort_name, TREATMENT.c.sort_key, OFFER.c.id)
            .limit(MOST_OFFERINGS)
        )
        return _offerings(await self._reads.rows(tenant_id, statement))

    async def _page(
        self, tenant_id: str, statement: Select[Any], entity: Callable[[AnyRow], T], order: Order, page: PageRequest
    ) -> Page[T]:
        return page_of(await self._reads.rows(tenant_id, paged(statement, order, page)), entity, order, page)

    async def _pages(
        self,
        tenant_id: str,
        statement: Select[Any],
        clinic: ColumnElement[Any],
        clinic_ids: Sequence[UUID],
        entity: Callable[[AnyRow], T],
        order: Order,
        page: PageRequest,
    ) -> Mapping[UUID, Page[T]]:
        if not clinic_ids:
            return {}
        rows = await self._reads.rows(tenant_id, paged_by_clinic(statement, clinic, order, page))
        return pages_of(rows, clinic_ids, entity, order, page)

    async def _count(self, tenant_id: str, statement: Select[Any]) -> int:
        rows = await self._reads.rows(tenant_id, select(func.count()).select_from(statement.subquery()))
        return int(rows[0][0])

    async def _counts(
        self, tenant_id: str, statement: Select[Any], clinic: ColumnElement[Any], clinic_ids: Sequence[UUID]
    ) -> Mapping[UUID, int]:
        counts = dict.fromkeys(clinic_ids, 0)
        if counts:
            found = await self._reads.rows(tenant_id, statement.where(clinic.in_(clinic_ids)).group_by(clinic))
            counts.update((id, count) for id, count in found)
        return counts

    async def _by(
        self,
        tenant_id: str,
        column: ColumnElement[Any],
        keys: Sequence[K],
        statement: Select[Any],
        entity: Callable[[AnyRow], T],
    ) -> Mapping[K, T]:
        if not keys:
            return {}
        rows = await self._reads.rows(
            tenant_id, statement.where(column.in_(set(keys))).add_columns(column.label("asked_by"))
        )
        return {row.asked_by: entity(row) for row in rows}


def _clinics(tenant_id: str) -> Select[Any]:
    return select(*columns(CLINIC)).where(CLINIC.c.tenant_id == tenant_id, CLINIC.c.active)


def _treatments(tenant_id: str) -> Select[Any]:
    return select(*columns(TREATMENT)).where(TREATMENT.c.tenant_id == tenant_id, TREATMENT.c.active)


def _offerings(rows: Sequence[AnyRow]) -> list[Offering]:
    """Each clinic, practitioner and treatment is made once, however many offers name it."""
    clinics: dict[UUID, Clinic] = {}
    practitioners: dict[UUID, Practitioner] = {}
    treatments: dict[UUID, Treatment] = {}

    def once(made: dict[UUID, T], id: UUID, entity: Callable[[AnyRow], T], row: AnyRow) -> T:
        if id not in made:
            made[id] = entity(row)
        return made[id]

    return [
        Offering(
            offer=offer_of(row),
            clinic=once(clinics, row.clinic_id, clinic_of, row),
            practitioner=once(practitioners, row.practitioner_id, practitioner_of, row),
            treatment=once(treatments, row.treatment_id, treatment_of, row),
        )
        for row in rows
    ]
