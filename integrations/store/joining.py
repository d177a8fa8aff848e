"""Two patients who turn out to be one person: what is the one's becomes the other's, and the one is gone.

`JOINED` says for each table that names a patient what becomes of its rows; a test holds it against `traces.whose`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from integrations.store.tables import AUDIT, IDEMPOTENCY, OUTBOX, PATIENT, PATIENT_IDENTITY, SESSION
from integrations.store.tables_bookings import BOOKING, BOOKING_STEP
from integrations.store.tables_news import CHANGE
from integrations.store.tables_rights import CONSENT, DATA_EXPORT
from integrations.store.traces import whose

B, C = BOOKING.c, CONSENT.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Those of one table that are the `former` patient's, to be the patient's with id `into`. Both are locked."""

    connection: AsyncConnection
    table: Table
    tenant_id: str
    own: ColumnElement[bool]
    former: UUID
    into: UUID

    async def write(self, statement: Any) -> None:
        await self.connection.execute(statement.where(self.table.c.tenant_id == self.tenant_id, self.own))


async def join(connection: AsyncConnection, tenant_id: str, former: UUID, into: UUID) -> None:
    """All but the person, and what they typed. Nobody signs in as the `former` patient any more."""
    for table, own in whose(tenant_id, former).items():
        rows = Rows(connection=connection, table=table, tenant_id=tenant_id, own=own, former=former, into=into)
        await JOINED[table](rows)
    await connection.execute(delete(PATIENT).where(PATIENT.c.tenant_id == tenant_id, PATIENT.c.id == former))


async def _stays(_: Rows) -> None:
    return


async def _goes(rows: Rows) -> None:
    await rows.write(delete(rows.table))


async def _changes_hands(rows: Rows) -> None:
    await rows.write(update(rows.table).values(patient_id=rows.into))


async def _bookings(rows: Rows) -> None:
    """What they are sealed by names no patient. Whoever is changing one at this moment finds out by its version.

    Two live holds may stand side by side for a while: whichever is renewed, swapped or confirmed ends the other.
    """
    own = select(B.id).where(B.tenant_id == rows.tenant_id, rows.own).order_by(B.id)
    await rows.connection.execute(own.with_for_update())  # in the order in which everybody locks
    await rows.write(update(BOOKING).values(patient_id=rows.into, version=B.version + 1))


async def _consents(rows: Rows) -> None:
    """Lines are numbered as they were said, since the last of a kind stands; and none is changed, but written anew."""
    both = C.tenant_id == rows.tenant_id, C.patient_id.in_((rows.former, rows.into))
    found = (await rows.connection.execute(select(CONSENT).where(*both))).all()
    if all(row.patient_id == rows.into for row in found):
        return
    found = sorted(found, key=lambda row: (row.kind, row.at, row.patient_id == rows.into, row.number))
    lines = [
        {**row._asdict(), "patient_id": rows.into, "number": number}
        for _, of_kind in groupby(found, key=lambda row: row.kind)
        for number, row in enumerate(of_kind, start=1)
    ]
    await rows.connection.execute(delete(CONSENT).where(*both))
    await rows.connection.execute(insert(CONSENT), lines)


JOINED: Mapping[Table, Callable[[Rows], Awaitable[None]]] = {
    PATIENT_IDENTITY: _stays,  # there is none left
    SESSION: _goes,  # of logins that told less of the person: who was there signs in again
    CONSENT: _consents,
    DATA_EXPORT: _goes,  # no longer everything that is kept of the person
    BOOKING: _bookings,
    BOOKING_STEP: _stays,  # a booking's, whosever that is
    OUTBOX: _stays,
    CHANGE: _changes_hands,
    IDEMPOTENCY: _goes,  # a repeat finds the hold itself, which is as much the patient's
    AUDIT: _stays,  # nobody writes it anew
}
