"""What "bookable" means in SQL, and the filters of lists: the statements' parts that several of them share."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, select

from domain.catalogue import ClinicFilter, OfferFilter, PractitionerFilter, TreatmentFilter
from integrations.store.catalogue_rows import folded
from integrations.store.paging import Order
from integrations.store.tables_catalogue import CLINIC, ENDPOINT, OFFER, PRACTITIONER, TREATMENT

BY_CLINIC = Order((CLINIC.c.sort_name, CLINIC.c.id))
BY_TREATMENT = Order((TREATMENT.c.sort_key, TREATMENT.c.id))
BY_PRACTITIONER = Order((PRACTITIONER.c.sort_name, PRACTITIONER.c.id))
BY_OFFER = Order((CLINIC.c.sort_name, TREATMENT.c.sort_key, PRACTITIONER.c.sort_name, OFFER.c.id))
BY_OFFER_IN_CLINIC = Order((TREATMENT.c.sort_key, PRACTITIONER.c.sort_name, OFFER.c.id))


def _joined(table: Table, key: str, to: Table = OFFER) -> ColumnElement[bool]:
    return and_(table.c.tenant_id == to.c.tenant_id, table.c.id == to.c[key], table.c.active)


LIVE: FromClause = (
    OFFER.join(CLINIC, _joined(CLINIC, "clinic_id"))
    .join(TREATMENT, _joined(TREATMENT, "treatment_id"))
    .join(PRACTITIONER, _joined(PRACTITIONER, "practitioner_id"))
    .join(ENDPOINT, _joined(ENDPOINT, "endpoint_id"))
)
"""Offers of which nothing has been withdrawn: neither the offer nor its clinic, treatment, practitioner or EHR."""

WORKING: FromClause = PRACTITIONER.join(CLINIC, _joined(CLINIC, "clinic_id", to=PRACTITIONER)).join(
    ENDPOINT, _joined(ENDPOINT, "endpoint_id", to=PRACTITIONER)
)
"""Practitioners with the clinic they work at."""


def live(tenant_id: str, *shown: ColumnElement[Any]) -> Select[Any]:
    return select(*shown).select_from(LIVE).where(OFFER.c.tenant_id == tenant_id, OFFER.c.active)


def working(tenant_id: str, *shown: ColumnElement[Any]) -> Select[Any]:
    return select(*shown).select_from(WORKING).where(PRACTITIONER.c.tenant_id == tenant_id, PRACTITIONER.c.active)


def among(column: ColumnElement[Any], wanted: Sequence[Any]) -> list[ColumnElement[bool]]:
    """An empty filter filters nothing."""
    return [column.in_(wanted)] if wanted else []


def says(column: ColumnElement[Any], search: str | None) -> list[ColumnElement[bool]]:
    """Every word, in any order and any case."""
    return [column.contains(word, autoescape=True) for word in folded(search).split()]


def matching_clinics(tenant_id: str, where: ClinicFilter) -> list[ColumnElement[bool]]:
    conditions = [
        *(CLINIC.c.tenant_id == tenant_id, CLINIC.c.active),
        *says(CLINIC.c.search_text, where.search),
        *among(CLINIC.c.area_id, where.area_ids),
        *among(CLINIC.c.booking, where.booking),
    ]
    if where.treatment_ids:
        conditions.append(CLINIC.c.id.in_(_offered(tenant_id, OFFER.c.clinic_id, treatment_ids=where.treatment_ids)))
    return conditions


def matching_treatments(tenant_id: str, where: TreatmentFilter) -> list[ColumnElement[bool]]:
    somewhere = _offered(tenant_id, OFFER.c.treatment_id, clinic_ids=where.clinic_ids)
    return [
        *(TREATMENT.c.tenant_id == tenant_id, TREATMENT.c.active, TREATMENT.c.id.in_(somewhere)),
        *says(TREATMENT.c.search_text, where.search),
    ]


def matching_practitioners(tenant_id: str, where: PractitionerFilter) -> list[ColumnElement[bool]]:
    if not where.treatment_ids:
        return among(PRACTITIONER.c.clinic_id, where.clinic_ids)
    performs = _offered(
        tenant_id, OFFER.c.practitioner_id, clinic_ids=where.clinic_ids, treatment_ids=where.treatment_ids
    )
    return [PRACTITIONER.c.id.in_(performs)]


def performing(tenant_id: str, clinic_ids: Sequence[UUID], treatment_id: UUID | None) -> list[ColumnElement[bool]]:
    treatments = (treatment_id,) if treatment_id else ()
    return [
        PRACTITIONER.c.clinic_id.in_(clinic_ids),
        *matching_practitioners(tenant_id, PractitionerFilter(treatment_ids=treatments)),
    ]


def matching_offers(where: OfferFilter) -> list[ColumnElement[bool]]:
    return [
        *among(OFFER.c.clinic_id, where.clinic_ids),
        *among(OFFER.c.treatment_id, where.treatment_ids),
        *among(OFFER.c.practitioner_id, where.practitioner_ids),
    ]


def _offered(
    tenant_id: str,
    what: ColumnElement[Any],
    *,
    clinic_ids: Sequence[UUID] = (),
    treatment_ids: Sequence[UUID] = (),
) -> Select[Any]:
    """Correlated with nothing: the tables inside are not those of the statement around it."""
    where = OfferFilter(clinic_ids=tuple(clinic_ids), treatment_ids=tuple(treatment_ids))
    return live(tenant_id, what).where(*matching_offers(where)).correlate(None)
