"""A page for each of many clinics, in one statement: rows are numbered within their clinic by the database."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select

from domain.catalogue import ClinicTreatment
from domain.pages import Page, PageRequest
from integrations.store.catalogue_rows import columns, offer_of, treatment_of
from integrations.store.catalogue_selects import BY_TREATMENT, live
from integrations.store.paging import Order, page_of
from integrations.store.tables_catalogue import OFFER, TREATMENT
from integrations.store.types import AnyRow

T = TypeVar("T")


def paged_by_clinic(statement: Select[Any], clinic: ColumnElement[Any], order: Order, page: PageRequest) -> Select[Any]:
    """The first rows of each clinic's own stretch, one more than asked for; `clinic` is what to number within."""
    numbered = (
        statement.add_columns(
            clinic.label("in_clinic"),
            func.row_number().over(partition_by=clinic, order_by=order.sorting(page)).label("nth"),
            *order.places(),
        )
        .where(*order.within(page))
        .subquery()
    )
    return select(numbered).where(numbered.c.nth <= page.size + 1).order_by(numbered.c.in_clinic, numbered.c.nth)


def pages_of(
    rows: Sequence[AnyRow],
    clinic_ids: Sequence[UUID],
    entity: Callable[[AnyRow], T],
    order: Order,
    page: PageRequest,
) -> Mapping[UUID, Page[T]]:
    own: dict[UUID, list[AnyRow]] = {id: [] for id in clinic_ids}
    for row in rows:
        own[row.in_clinic].append(row)
    return {id: page_of(its, entity, order, page) for id, its in own.items()}


def clinic_treatments(tenant_id: str, clinic_ids: Sequence[UUID], page: PageRequest) -> Select[Any]:
    """One row for each treatment of each clinic: its cheapest offer, and the shortest duration of any."""
    same = (OFFER.c.clinic_id, OFFER.c.treatment_id)
    cheapest_first = (OFFER.c.price_amount.is_(None), OFFER.c.price_amount, OFFER.c.duration, OFFER.c.id)
    offers = (
        live(tenant_id, *columns(OFFER), *columns(TREATMENT), *BY_TREATMENT.places())
        .add_columns(
            func.min(OFFER.c.duration).over(partition_by=same).label("shortest"),
            func.row_number().over(partition_by=same, order_by=cheapest_first).label("cheapness"),
        )
        .where(OFFER.c.clinic_id.in_(clinic_ids), *BY_TREATMENT.within(page))
        .subquery()
    )
    shown = [column for column in offers.c if not column.name.startswith("place_")]
    one_each = select(*shown).where(offers.c.cheapness == 1)
    # The keys were applied inside; here they only number the rows.
    order = Order((offers.c.place_0, offers.c.place_1))
    whole = PageRequest(size=page.size, backward=page.backward)
    return paged_by_clinic(one_each, offers.c.offer_clinic_id, order, whole)


def clinic_treatment_of(row: AnyRow) -> ClinicTreatment:
    return ClinicTreatment(treatment=treatment_of(row), duration=row.shortest, cheapest=offer_of(row))
