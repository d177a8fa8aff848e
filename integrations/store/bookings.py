"""Holding and changing bookings inside a unit of work, under the database's guard."""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.booking import OCCUPYING, Booking, BookingStatus, BookingStep
from domain.changes import Change, change_of
from domain.ports import Clock, Jobs, StaleBooking, let_go_later
from domain.slot import Slot, Span
from integrations.store.audit import add_audit
from integrations.store.booking_rows import OpenedRows, is_private, lapse_of, refused_by_guard, step_row, values_of
from integrations.store.idempotency import KEPT
from integrations.store.tables import PATIENT
from integrations.store.tables_bookings import BOOKING, BOOKING_STEP, GUARD, LAPSED
from integrations.store.tenant_keys import WorkSealing

C = BOOKING.c


class Queue(Enum):
    """What a practitioner's advisory lock is taken for; the value goes into its number."""

    MOVING = 0
    HOLDING = 1


class SqlBookings:
    def __init__(
        self,
        connection: AsyncConnection,
        clock: Clock,
        hint: Callable[[Change], None],
        jobs: Jobs,
        sealing: WorkSealing,
    ) -> None:
        """`hint` takes what callers cannot know to have changed: a lapsed hold let go, the place a booking left.

        `jobs` takes what is to be done for lapsed holds that an EHR keeps as well.
        """
        self._connection = connection
        self._clock = clock
        self._hint = hint
        self._jobs = jobs
        self._sealing, self._opened = sealing, OpenedRows(sealing)
        self._is_postgresql = connection.dialect.name == "postgresql"

    async def hold(self, booking: Booking, now: datetime) -> bool:
        await self._expire_lapsed(booking, now)
        if self._is_postgresql:
            return await self._hold_or_nothing(booking)
        try:
            await self._connection.execute(insert(BOOKING).values(await self._values(booking)))
        except IntegrityError as why:
            if not refused_by_guard(why):
                raise
            return False
        return True

    async def _hold_or_nothing(self, booking: Booking) -> bool:
        """Plain inserts that race each other deadlock under an exclusion constraint; with ON CONFLICT they queue.

        The constraint is named so that a clash of any other key does not pass for a taken time.
        """
        added = await self._connection.execute(
            postgresql.insert(BOOKING)
            .values(await self._values(booking))
            .on_conflict_do_nothing(constraint=GUARD)
            .returning(C.id)
        )
        return added.first() is not None

    async def make_way(self, booking: Booking, now: datetime) -> None:
        """Two of them queue here: else each would wait with its new hold for what the other has changed.

        Not in the queue of those who move, who come to that one with rows changed already.
        """
        if self._is_postgresql:
            await self._queue(booking, Queue.HOLDING)
        await self._expire_lapsed(booking, now)

    async def get(self, tenant_id: str, id: UUID, *, lock: bool = False) -> Booking | None:
        statement = select(BOOKING).where(C.tenant_id == tenant_id, C.id == id)
        found = await self._connection.execute(statement.with_for_update() if lock else statement)
        return await self._opened.one(found.first())

    async def save(self, booking: Booking) -> bool:
        if booking.status not in OCCUPYING:
            await self._write(booking)
            return True
        if await self._claim(booking):
            return True
        return await self._expire_lapsed(booking, self._clock.now()) and await self._claim(booking)

    async def _claim(self, booking: Booking) -> bool:
        left = await self._place_left(booking)
        if left:
            await self._queue_for_practitioner(booking)
        try:
            async with self._connection.begin_nested():
                await self._write(booking)
        except IntegrityError as why:
            if not refused_by_guard(why):
                raise
            return False
        if left:
            self._hint(left)
        return True

    async def _queue_for_practitioner(self, booking: Booking) -> None:
        """Two updates to one time would each wait for the other, and UPDATE has no ON CONFLICT: so movers queue.

        A booking that stays where it is must not queue: a move writes rows of two practitioners, and the opposite move
        writes the same two in the other order.
        """
        if self._is_postgresql:
            await self._queue(booking, Queue.MOVING)

    async def _queue(self, booking: Booking, queue: Queue) -> None:
        name = "|".join((booking.tenant_id, booking.slot.endpoint_id, str(booking.slot.practitioner_id)))
        await self._connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, queue.value))))

    async def _place_left(self, booking: Booking) -> Change | None:
        """The time it had until now; None for one that occupied that very time and stays where it is."""
        own = select(C.endpoint_id, C.practitioner_id, C.starts_at, C.ends_at, C.status)
        row = (await self._connection.execute(own.where(C.tenant_id == booking.tenant_id, C.id == booking.id))).first()
        if row is None:
            raise StaleBooking(booking.id)
        slot, span = booking.slot, Span(start=row.starts_at, end=row.ends_at)
        same = (row.endpoint_id, row.practitioner_id, span) == (slot.endpoint_id, slot.practitioner_id, slot.span)
        if same and row.status in OCCUPYING:
            return None
        return Change(
            tenant_id=booking.tenant_id,
            endpoint_id=row.endpoint_id,
            at=self._clock.now(),
            practitioner_id=row.practitioner_id,
            span=span,
        )

    async def _values(self, booking: Booking) -> dict[str, Any]:
        return values_of(booking, await self._sealing.keys(booking.tenant_id) if is_private(booking) else None)

    async def _write(self, booking: Booking) -> None:
        saved = await self._connection.execute(
            update(BOOKING)
            .where(C.tenant_id == booking.tenant_id, C.id == booking.id, C.version == booking.version - 1)
            .values(await self._values(booking))
        )
        if saved.rowcount != 1:
            raise StaleBooking(booking.id)

    async def queue_for_patient(self, tenant_id: str, patient_id: UUID) -> bool:
        # NO KEY UPDATE: keeps out every other such lock, but not the foreign keys of rows that name the patient.
        found = await self._connection.execute(
            select(PATIENT.c.id)
            .where(PATIENT.c.tenant_id == tenant_id, PATIENT.c.id == patient_id)
            .with_for_update(key_share=True)
        )
        return found.first() is not None

    async def live_holds_of(self, tenant_id: str, patient_id: UUID, now: datetime) -> Sequence[Booking]:
        found = await self._connection.execute(
            select(BOOKING)
            .where(*_live_holds(tenant_id, now), C.patient_id == patient_id)
            .order_by(C.id)
            .with_for_update()
        )
        return await self._opened.all(found.all())

    async def anonymous_holds_at(
        self, tenant_id: str, clinic_id: UUID, now: datetime, *, except_ids: Sequence[UUID] = ()
    ) -> int:
        counted = await self._connection.execute(
            select(func.count())
            .select_from(BOOKING)
            .where(
                *_live_holds(tenant_id, now),
                *(C.clinic_id == clinic_id, C.patient_id.is_(None), C.id.not_in(except_ids)),
            )
        )
        return int(counted.scalar_one())

    async def of_patient_in(self, tenant_id: str, patient_id: UUID, span: Span) -> Sequence[Booking]:
        await self.queue_for_patient(tenant_id, patient_id)
        found = await self._connection.execute(
            select(BOOKING)
            .where(
                *(C.tenant_id == tenant_id, C.patient_id == patient_id),
                *(C.starts_at < span.end, C.ends_at > span.start),
                C.status.in_([status for status in OCCUPYING if status is not BookingStatus.HELD]),
            )
            .order_by(C.starts_at, C.id)
        )
        return await self._opened.all(found.all())

    async def move_hold(self, tenant_id: str, booking_id: UUID) -> Booking | None:
        asked = (BookingStatus.CONFIRMING, BookingStatus.UNKNOWN)
        found = await self._connection.execute(
            select(BOOKING)
            .where(C.tenant_id == tenant_id, C.moves_booking_id == booking_id, C.status.in_(asked))
            .with_for_update()
        )
        return await self._opened.one(found.first())

    async def add_step(self, booking: Booking, step: BookingStep) -> None:
        S = BOOKING_STEP.c
        latest = select(func.max(S.number)).where(S.tenant_id == booking.tenant_id, S.booking_id == booking.id)
        await self._connection.execute(
            insert(BOOKING_STEP).values(
                **{"tenant_id": booking.tenant_id, "booking_id": booking.id, **step_row(step)},
                number=func.coalesce(latest.scalar_subquery(), 0) + 1,
            )
        )

    async def expire_lapsed(self, tenant_id: str, now: datetime, limit: int) -> int:
        own = C.tenant_id == tenant_id
        lapsed = select(C.id).where(own, C.status == BookingStatus.HELD, C.expires_at <= now)
        return await self._expire(tenant_id, lapsed.order_by(C.id).limit(limit).with_for_update(skip_locked=True), now)

    async def _expire_lapsed(self, booking: Booking, now: datetime) -> bool:
        """Let go of dead holds in the way; a constraint cannot ask what time it is.

        They are locked in one order, so that two who clear the same time wait for each other only one way.
        """
        slot = booking.slot
        in_the_way = (
            select(C.id)
            .where(
                *(C.tenant_id == booking.tenant_id, C.id != booking.id),
                *(C.endpoint_id == slot.endpoint_id, C.practitioner_id == slot.practitioner_id),
                *(C.starts_at < slot.end, C.ends_at > slot.start),
                *(C.status == BookingStatus.HELD, C.expires_at <= now),
            )
            .order_by(C.id)
            .with_for_update()
        )
        return bool(await self._expire(booking.tenant_id, in_the_way, now))

    async def _expire(self, tenant_id: str, lapsed: Select[tuple[UUID]], now: datetime) -> int:
        expired = await self._connection.execute(
            update(BOOKING)
            .where(C.tenant_id == tenant_id, C.id.in_(lapsed), C.status == BookingStatus.HELD)
            .values(status=BookingStatus.EXPIRED, version=C.version + 1)
            .returning(BOOKING)
        )
        gone = sorted(await self._opened.all(expired.all()), key=lambda each: each.id)
        for each in gone:
            step, entry = lapse_of(each, now)
            self._hint(change_of(each, now))
            await self.add_step(each, step)
            await add_audit(self._connection, entry)
            if each.held_in_ehr:
                await let_go_later(self._jobs, each, now)
        return len(gone)

    async def forget_lapsed(self, tenant_id: str, before: datetime, limit: int) -> int:
        moved_nothing = and_(C.moves_booking_id.is_(None), C.expires_at < before)
        old = (
            select(C.id)
            .where(C.tenant_id == tenant_id)
            .where(LAPSED, C.booked_at.is_(None), or_(C.ehr_id.is_(None), C.held_in_ehr), C.asked.is_(None))
            .where(or_(moved_nothing, C.expires_at < before - KEPT))
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        gone = list((await self._connection.execute(old)).scalars())
        if gone:
            steps = BOOKING_STEP.c.tenant_id == tenant_id, BOOKING_STEP.c.booking_id.in_(gone)
            await self._connection.execute(delete(BOOKING_STEP).where(*steps))
            await self._connection.execute(delete(BOOKING).where(C.tenant_id == tenant_id, C.id.in_(gone)))
        return len(gone)

    async def holds_in(self, tenant_id: str, slot: Slot) -> Sequence[Booking]:
        found = await self._connection.execute(
            select(BOOKING)
            .where(
                *(C.tenant_id == tenant_id, C.endpoint_id == slot.endpoint_id),
                *(C.practitioner_id == slot.practitioner_id, C.status == BookingStatus.HELD),
                *(C.starts_at < slot.span.end, C.ends_at > slot.span.start),
            )
            .order_by(C.id)
            .with_for_update()
        )
        return await self._opened.all(found.all())


def _live_holds(tenant_id: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return C.tenant_id == tenant_id, C.status == BookingStatus.HELD, C.expires_at > now
