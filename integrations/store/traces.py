"""All that is one patient's, in whichever table: told whole, and erased whole.

`whose` is the list of it; a test holds it against the tables, so that none that names a patient is forgotten.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, LargeBinary, Table, and_, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.booking import NOBODYS, Booking, BookingStatus
from domain.idempotency import scopes_end
from domain.patient import Identity
from domain.ports import Belongings
from domain.usecases.sweep import SWEEP, looks_start
from integrations.store import booking_rows
from integrations.store.audit import MERGED
from integrations.store.booking_rows import OpenedRows
from integrations.store.sealing import Sealing, TenantKeys
from integrations.store.tables import AUDIT, IDEMPOTENCY, OUTBOX, PATIENT, PATIENT_IDENTITY, SESSION
from integrations.store.tables_bookings import BOOKING, BOOKING_STEP
from integrations.store.tables_jobs import JOB
from integrations.store.tables_news import CHANGE
from integrations.store.tables_rights import CONSENT, DATA_EXPORT, ERASED_SIGN_IN
from integrations.store.tenant_keys import WorkSealing
from integrations.store.types import AnyRow
from integrations.store.upserts import insert_for

B, E = BOOKING.c, ERASED_SIGN_IN.c

MOST_ROWS = 10_000
"""Of one table in an export: more than a patient can have made, and little enough to be held at once."""

SECRET = {(SESSION.name, "id"), (IDEMPOTENCY.name, "input_hash")}
"""What proves who somebody is, told to nobody; so is every sealed value, which is told by what it says."""

DELETED = (DATA_EXPORT, CONSENT, SESSION, PATIENT_IDENTITY, IDEMPOTENCY)


def without_person(now: datetime) -> Mapping[str, Any]:
    """The row of a booking that becomes nobody's. A visit still to come is found in its EHR by `ehr_id`, so that its
    time is free again when the clinic cancels it; of one that is over, that would only lead to the person."""
    return {
        **NOBODYS,
        **dict.fromkeys(booking_rows.SEALED),
        "ehr_id": case((and_(B.status == BookingStatus.BOOKED, B.ends_at > now), B.ehr_id)),
        "version": B.version + 1,
    }


def whose(
    tenant_id: str, patient_id: UUID, *, let_go: Collection[UUID] = (), formers: Collection[UUID] = ()
) -> Mapping[Table, ColumnElement[bool]]:
    """How the patient's rows are found in each table that has some, within the tenant's.

    `let_go`: bookings that were the patient's until a moment ago. `formers`: whom the trail knew the patient as, too.
    """
    bookings = select(B.id).where(B.tenant_id == tenant_id, or_(B.patient_id == patient_id, B.id.in_(let_go)))
    known_as = (patient_id, *formers)
    return {
        PATIENT_IDENTITY: PATIENT_IDENTITY.c.patient_id == patient_id,
        SESSION: SESSION.c.patient_id == patient_id,
        CONSENT: CONSENT.c.patient_id == patient_id,
        DATA_EXPORT: DATA_EXPORT.c.patient_id == patient_id,
        BOOKING: B.patient_id == patient_id,
        BOOKING_STEP: BOOKING_STEP.c.booking_id.in_(bookings),
        OUTBOX: OUTBOX.c.booking_id.in_(bookings),
        CHANGE: CHANGE.c.patient_id == patient_id,
        IDEMPOTENCY: or_(
            IDEMPOTENCY.c.scope.endswith(scopes_end(patient_id), autoescape=True),
            IDEMPOTENCY.c.booking_id.in_(bookings),  # of a time that was chosen before the login
        ),
        AUDIT: or_(
            AUDIT.c.actor_id.in_([str(each) for each in known_as]),
            AUDIT.c.target_id.in_(known_as),
            AUDIT.c.target_id.in_(bookings),
        ),
    }


class SqlTraces:
    def __init__(self, connection: AsyncConnection, sealing: Sealing, work: WorkSealing) -> None:
        self._connection = connection
        self._sealing = sealing
        self._work = work

    async def of_patient(self, tenant_id: str, patient_id: UUID) -> Belongings:
        tables: dict[str, Sequence[Mapping[str, Any]]] = {}
        complete, keys = True, await self._work.known(tenant_id)
        formers = await self._formers(tenant_id, patient_id)
        known_as = {str(patient_id), *map(str, formers)}
        for table, own in whose(tenant_id, patient_id, formers=formers).items():
            found = select(*_told(table), *(B[name] for name in booking_rows.SEALED if table is BOOKING)).where(
                table.c.tenant_id == tenant_id, own
            )
            rows = (await self._connection.execute(found.limit(MOST_ROWS + 1))).all()
            complete = complete and len(rows) <= MOST_ROWS
            tables[table.name] = [_plain(table, _opened(table, row, keys), known_as) for row in rows[:MOST_ROWS]]
        return Belongings(tables=tables, complete=complete)

    async def _formers(self, tenant_id: str, patient_id: UUID) -> Sequence[UUID]:
        """Whom they were before they were joined with them. Once is enough: who has a number is joined with nobody."""
        A = AUDIT.c
        merged = A.tenant_id == tenant_id, A.actor_id == str(patient_id), A.action == MERGED
        return (await self._connection.execute(select(A.target_id).where(*merged))).scalars().all()

    async def bookings(self, tenant_id: str, patient_id: UUID) -> Sequence[Booking]:
        own = B.tenant_id == tenant_id, B.patient_id == patient_id
        found = await self._connection.execute(select(BOOKING).where(*own).order_by(B.id).with_for_update())
        return await OpenedRows(self._work).all(found.all())

    async def erase(self, tenant_id: str, patient_id: UUID, now: datetime, let_go: Collection[UUID] = ()) -> None:
        own = whose(tenant_id, patient_id, let_go=let_go)
        await self._remember_sign_ins(tenant_id, patient_id, now)
        await self._forget_looks(tenant_id, patient_id)
        for table in DELETED:  # while the bookings by which some rows are found are still the patient's
            await self._connection.execute(delete(table).where(table.c.tenant_id == tenant_id, own[table]))
        for table, values in ((CHANGE, {"patient_id": None}), (BOOKING, without_person(now))):
            await self._connection.execute(
                update(table).where(table.c.tenant_id == tenant_id, own[table]).values(values)
            )
        person = PATIENT.c.tenant_id == tenant_id, PATIENT.c.id == patient_id
        await self._connection.execute(delete(PATIENT).where(*person))

    async def erased_at(self, tenant_id: str, identity: Identity) -> datetime | None:
        digest = self._digest(tenant_id, identity.issuer, identity.subject)
        found = await self._connection.execute(select(E.at).where(E.tenant_id == tenant_id, E.digest == digest))
        return found.scalar()

    async def _remember_sign_ins(self, tenant_id: str, patient_id: UUID, now: datetime) -> None:
        C = PATIENT_IDENTITY.c
        known = select(C.issuer, C.subject).where(C.tenant_id == tenant_id, C.patient_id == patient_id)
        for issuer, subject in (await self._connection.execute(known)).all():
            row = {"tenant_id": tenant_id, "digest": self._digest(tenant_id, issuer, subject)}
            await self._connection.execute(
                insert_for(self._connection, ERASED_SIGN_IN)
                .values(**row, at=now)
                .on_conflict_do_update(index_elements=list(row), set_={"at": now})
            )

    async def _forget_looks(self, tenant_id: str, patient_id: UUID) -> None:
        """For what may surface in an EHR: without the person nobody can say that it is theirs."""
        own = select(B.id).where(B.tenant_id == tenant_id, B.patient_id == patient_id)
        starts = [looks_start(row.id) for row in await self._connection.execute(own)]
        about = func.substr(JOB.c.dedupe, 1, len(looks_start(patient_id))).in_(starts)
        await self._connection.execute(delete(JOB).where(JOB.c.tenant_id == tenant_id, JOB.c.kind == SWEEP, about))

    def _digest(self, tenant_id: str, issuer: str, subject: str) -> bytes:
        return self._sealing.digest(tenant_id, "erased_sign_in.digest", f"{len(issuer)}:{issuer}{subject}".encode())


def _told(table: Table) -> list[ColumnElement[Any]]:
    return [
        column
        for column in table.c
        if column.name != "tenant_id"
        and not isinstance(column.type, LargeBinary)
        and (table.name, column.name) not in SECRET
    ]


def _opened(table: Table, row: AnyRow, keys: TenantKeys) -> Mapping[str, Any]:
    if table is not BOOKING:
        return row._asdict()
    shown = {name: value for name, value in row._asdict().items() if name not in booking_rows.SEALED}
    return shown | booking_rows.private_of(row, keys)


def _plain(table: Table, row: Mapping[str, Any], known_as: Collection[str]) -> Mapping[str, Any]:
    """Who among others did something is told by their kind, and not by name."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    if table is AUDIT and values["actor_id"] not in known_as:
        del values["actor_id"]
    return values
