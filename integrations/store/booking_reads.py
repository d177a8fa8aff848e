"""Bookings read outside a unit of work: one statement each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import ASKING, OCCUPYING, ONLY_HELD, Booking, BookingStatus, BookingStep
from domain.pages import Page, PageRequest
from domain.ports import EVERY_TENANT, Turn
from domain.slot import Span
from integrations.store.booking_rows import OpenedRows, step_of
from integrations.store.engine import Reads
from integrations.store.paging import Order, page_of, paged
from integrations.store.sealing import Sealing
from integrations.store.tables_bookings import BOOKING, BOOKING_STEP, IS_HELD
from integrations.store.tenant_keys import ReadSealing

C = BOOKING.c
B = BookingStatus

COUNTED = (*OCCUPYING, B.FULFILLED)
"""What a practitioner has been given to do."""

EXPECTED = (B.CONFIRMING, B.UNKNOWN, B.BOOKED, B.CANCELLING)

OPEN_QUESTION = or_(
    C.status.in_(ASKING),
    and_(C.status == B.BOOKED, C.asked.is_not(None)),
)


class SqlBookingReads:
    def __init__(self, engine: AsyncEngine, sealing: Sealing | None = None) -> None:
        """Without `sealing` nothing can be read that has something private in it: for those who only count."""
        self._reads = Reads(engine)
        self._opened = OpenedRows(ReadSealing(self._reads, sealing) if sealing else None)

    async def occupied(
        self,
        tenant_id: str,
        practitioner_ids: Sequence[UUID],
        span: Span,
        now: datetime,
        *,
        except_ids: Sequence[UUID] = (),
    ) -> Mapping[UUID, list[Span]]:
        taken: dict[UUID, list[Span]] = {id: [] for id in practitioner_ids}
        if not taken:
            return taken
        statement = select(C.practitioner_id, C.starts_at, C.ends_at).where(
            *(C.tenant_id == tenant_id, C.practitioner_id.in_(taken)),
            *(C.starts_at < span.end, C.ends_at > span.start),
            *(C.status.in_(OCCUPYING), or_(C.status != B.HELD, C.expires_at > now)),
        )
        if except_ids:
            moves_one = and_(C.moves_booking_id.is_not(None), C.moves_booking_id.in_(except_ids))
            statement = statement.where(C.id.not_in(except_ids), not_(moves_one))
        for row in await self._reads.rows(tenant_id, statement.order_by(C.starts_at, C.id)):
            taken[row.practitioner_id].append(Span(start=row.starts_at, end=row.ends_at))
        return taken

    async def turns(self, tenant_id: str, practitioner_ids: Sequence[UUID], day: Span) -> Mapping[UUID, Turn]:
        turns = dict.fromkeys(practitioner_ids, Turn())
        if not turns:
            return turns
        that_day = and_(C.starts_at >= day.start, C.starts_at < day.end, C.status.in_(COUNTED))
        statement = (
            select(
                C.practitioner_id,
                func.count(case((that_day, 1))).label("count"),
                func.max(C.created_at).label("latest"),
            )
            .where(C.tenant_id == tenant_id, C.practitioner_id.in_(turns))
            .group_by(C.practitioner_id)
        )
        for id, count, latest in await self._reads.rows(tenant_id, statement):
            turns[id] = Turn(bookings_that_day=count, last_given_at=latest)
        return turns

    async def get(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Booking]:
        if not ids:
            return {}
        rows = await self._reads.rows(tenant_id, select(BOOKING).where(C.tenant_id == tenant_id, C.id.in_(set(ids))))
        return {each.id: each for each in await self._opened.all(rows)}

    async def by_ehr_ids(self, tenant_id: str, endpoint_id: str, ehr_ids: Sequence[str]) -> Mapping[str, Booking]:
        if not ehr_ids:
            return {}
        known = *(C.tenant_id == tenant_id, C.endpoint_id == endpoint_id), C.ehr_id.in_(set(ehr_ids))
        rows = await self._reads.rows(tenant_id, select(BOOKING).where(*known))
        return {str(each.ehr_id): each for each in await self._opened.all(rows)}

    async def of_patient(
        self, tenant_id: str, patient_id: UUID, now: datetime, period: str, page: PageRequest
    ) -> Page[Booking]:
        order = Order((C.starts_at, C.id), descending=period != "UPCOMING")
        statement = select(BOOKING).where(
            *(C.tenant_id == tenant_id, C.patient_id == patient_id),
            *(C.status.not_in(ONLY_HELD), C.moves_booking_id.is_(None)),
            *_in_period(period, now),
        )
        rows = await self._reads.rows(tenant_id, paged(statement, order, page))
        opened = {each.id: each for each in await self._opened.all(rows)}
        return page_of(rows, lambda row: opened[row.id], order, page)

    async def known_of_patient(
        self, tenant_id: str, patient_id: UUID, ids: Sequence[UUID], ehr_ids: Sequence[str]
    ) -> Sequence[Booking]:
        if not ids and not ehr_ids:
            return []
        known = or_(C.id.in_(set(ids)), C.ehr_id.in_(set(ehr_ids)))
        rows = await self._reads.rows(
            tenant_id, select(BOOKING).where(C.tenant_id == tenant_id, C.patient_id == patient_id, known)
        )
        return await self._opened.all(rows)

    async def steps(self, tenant_id: str, booking_ids: Sequence[UUID]) -> Mapping[UUID, list[BookingStep]]:
        steps: dict[UUID, list[BookingStep]] = {id: [] for id in booking_ids}
        if not steps:
            return steps
        S = BOOKING_STEP.c
        statement = select(BOOKING_STEP).where(S.tenant_id == tenant_id, S.booking_id.in_(steps)).order_by(S.number)
        for row in await self._reads.rows(tenant_id, statement):
            steps[row.booking_id].append(step_of(row))
        return steps

    async def due(self, now: datetime, limit: int) -> Sequence[tuple[str, UUID]]:
        """Asked of all tenants at once: the worker serves them all."""
        statement = (
            select(C.tenant_id, C.id)
            .where(C.check_at.is_not(None), C.check_at <= now, OPEN_QUESTION)
            .order_by(C.check_at, C.tenant_id, C.id)
            .limit(limit)
        )
        return [(row.tenant_id, row.id) for row in await self._reads.rows(EVERY_TENANT, statement)]

    async def any_lapsed(self, now: datetime) -> bool:
        lapsed = select(C.id).where(IS_HELD, C.expires_at <= now).limit(1)
        return bool(await self._reads.rows(EVERY_TENANT, lapsed))

    async def lapsed_in(self, now: datetime) -> Sequence[str]:
        lapsed = select(C.tenant_id).where(IS_HELD, C.expires_at <= now).distinct().order_by(C.tenant_id)
        return [row.tenant_id for row in await self._reads.rows(EVERY_TENANT, lapsed)]

    async def unknown(self) -> tuple[int, datetime | None]:
        """A booking that is being moved is looked into through its own row, and not through the hold's as well."""
        open_questions = C.check_at.is_not(None), C.status == B.UNKNOWN
        [(count, oldest)] = await self._reads.rows(
            EVERY_TENANT, select(func.count(), func.min(C.asked_at)).where(*open_questions)
        )
        return count, oldest


def _in_period(period: str, now: datetime) -> list[ColumnElement[Any]]:
    upcoming = and_(C.ends_at > now, C.status.in_(EXPECTED))
    match period:
        case "UPCOMING":
            return [upcoming]
        case "PREVIOUS":
            return [not_(upcoming)]
        case "ALL":
            return []
    raise ValueError(f"no such period: {period}")
