"""Rotates a tenant's keys: makes new ones, seals anew what former ones have sealed, and ends those.

Every step finds out from the rows what is left to be done, so that any of them may be cut short and done again.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ColumnElement, LargeBinary, Table, and_, delete, false, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ports import KeyReport, Resealed, Unsealable
from domain.ports.keys import Place
from integrations.store import booking_rows, exports, patient_rows, sessions
from integrations.store.sealing import ENVELOPE, HEADER, KEY_BYTES, KeyState, Purpose, Sealing, TenantKeys, header_of
from integrations.store.tables import PATIENT, PATIENT_IDENTITY, SESSION
from integrations.store.tables_bookings import BOOKING
from integrations.store.tables_keys import TENANT_KEY
from integrations.store.tables_rights import DATA_EXPORT
from integrations.store.tenant_keys import K, WorkSealing, add_key, keys_of, unwrapped
from integrations.store.types import AnyRow

P, B = PATIENT.c, BOOKING.c
FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A table with something sealed in it. `anew` makes a row's values of what it holds now."""

    table: Table
    columns: tuple[Column[Any], ...]
    plain: ColumnElement[bool]
    anew: Callable[[TenantKeys, AnyRow], dict[str, Any]]
    before: UUID | str = FIRST_ID
    """Less than any id of a row."""

    def stale(self, keys: TenantKeys) -> ColumnElement[bool]:
        """In the clear, or sealed by a former key."""
        former = [and_(column.is_not(None), _header(column) != keys.header) for column in self.columns]
        return or_(self.plain, *former)


def _patient_anew(keys: TenantKeys, row: AnyRow) -> dict[str, Any]:
    return patient_rows.values_of(keys, patient_rows.patient_of(keys, row))


def _booking_anew(keys: TenantKeys, row: AnyRow) -> dict[str, Any]:
    values = booking_rows.values_of(booking_rows.booking_of(row, keys), keys)
    return {name: values[name] for name in (*booking_rows.SEALED, *booking_rows.IN_THE_CLEAR)}


def _export_anew(keys: TenantKeys, row: AnyRow) -> dict[str, Any]:
    content = keys.open(exports.SEALED, str(row.id), row.sealed)
    return {"sealed": keys.seal(exports.SEALED, str(row.id), content)}


def _session_anew(keys: TenantKeys, row: AnyRow) -> dict[str, Any]:
    """What does not open any more is of no use at logout, and is in no rotation's way."""
    try:
        login = keys.open(sessions.SEALED, row.id, row.login_sealed)
    except Unsealable:
        return {"login_sealed": None}
    return {"login_sealed": keys.seal(sessions.SEALED, row.id, login)}


SEALED = (
    Sealed(
        table=PATIENT,
        columns=(P.national_sealed, P.person_sealed),
        plain=P.person_sealed.is_(None),
        anew=_patient_anew,
    ),
    Sealed(
        table=BOOKING,
        columns=(B.words_sealed, B.sms_to_sealed),
        plain=or_(*(B[name].is_not(None) for name in booking_rows.IN_THE_CLEAR)),
        anew=_booking_anew,
    ),
    Sealed(table=DATA_EXPORT, columns=(DATA_EXPORT.c.sealed,), plain=false(), anew=_export_anew),
    Sealed(table=SESSION, columns=(SESSION.c.login_sealed,), plain=false(), anew=_session_anew, before=""),
)
"""All that is sealed in the database: what is not listed here is lost when its key is retired."""


class SqlKeys:
    def __init__(self, connection: AsyncConnection, sealing: Sealing, work: WorkSealing) -> None:
        self._connection = connection
        self._sealing = sealing
        self._work = work

    async def begin(self, tenant_id: str) -> None:
        await self._work.keys(tenant_id)
        known = await self._read(tenant_id)
        if any(row.state != KeyState.CURRENT for row in known):
            return
        for row in known:
            secret = secrets.token_bytes(KEY_BYTES)
            purpose, version = Purpose(row.purpose), row.version + 1
            await add_key(self._connection, self._sealing, tenant_id, purpose, version, KeyState.NEXT, secret)

    async def switch(self, tenant_id: str) -> None:
        known = await self._read(tenant_id)
        for purpose in {row.purpose for row in known if row.state == KeyState.NEXT}:
            await self._become(tenant_id, purpose, KeyState.CURRENT, KeyState.OLD)
            await self._become(tenant_id, purpose, KeyState.NEXT, KeyState.CURRENT)

    async def _become(self, tenant_id: str, purpose: str, state: KeyState, next: KeyState) -> None:
        here = K.tenant_id == tenant_id, K.purpose == purpose, K.state == state.value
        await self._connection.execute(update(TENANT_KEY).where(*here).values(state=next.value))

    async def reseal(self, tenant_id: str, limit: int, after: Place | None = None) -> Resealed:
        keys, (number, last) = await self._keys(tenant_id), after or (0, SEALED[0].before)
        sealed, lost = SEALED[number], Counter[str]()
        rows = await self._stale(sealed, keys, last, limit)
        for row in rows:
            try:
                values = sealed.anew(keys, row)
            except (Unsealable, ValueError):  # it does not open, or nothing is in it that can be read
                lost[sealed.table.name] += 1
                continue
            itself = sealed.table.c.tenant_id == tenant_id, sealed.table.c.id == row.id
            await self._connection.execute(update(sealed.table).where(*itself).values(values))
        on: Place | None = (number + 1, SEALED[number + 1].before) if number + 1 < len(SEALED) else None
        if len(rows) == limit:
            on = number, rows[-1].id
        return Resealed(done=len(rows) - lost.total(), lost=lost, next=on)

    async def _stale(self, sealed: Sealed, keys: TenantKeys, last: UUID | str, limit: int) -> Sequence[AnyRow]:
        """Rows that are being written are skipped: who waits for nobody is in nobody's way for long."""
        C = sealed.table.c
        here = C.tenant_id == keys.tenant_id, C.id > last, sealed.stale(keys)
        some = select(sealed.table).where(*here).order_by(C.id).limit(limit)
        return (await self._connection.execute(some.with_for_update(skip_locked=True))).all()

    async def remaining(self, tenant_id: str) -> int:
        keys, left = await self._keys(tenant_id), 0
        for each in SEALED:
            here = each.table.c.tenant_id == tenant_id, each.stale(keys)
            left += (
                await self._connection.execute(select(func.count()).select_from(each.table).where(*here))
            ).scalar_one()
        return left

    async def retire(self, tenant_id: str) -> None:
        if await self.remaining(tenant_id):
            raise ValueError("a key that something is sealed by is not retired")
        former = K.tenant_id == tenant_id, K.state == KeyState.OLD
        ended = {"state": KeyState.RETIRED.value, "retired_at": datetime.now(UTC)}
        await self._connection.execute(update(TENANT_KEY).where(*former).values(ended))

    async def rewrap(self, tenant_id: str) -> int:
        known = await self._read(tenant_id)
        unwrapped(self._sealing, tenant_id, known)  # those of the highest number, too: it may be another key by now
        rows = [row for row in known if row.master != self._sealing.master]
        for row in rows:
            purpose = Purpose(row.purpose)
            secret = self._sealing.unwrap(tenant_id, purpose, row.version, row.master, row.wrapped)
            wrapped = self._sealing.wrap(tenant_id, purpose, row.version, secret)
            itself = K.tenant_id == tenant_id, K.purpose == row.purpose, K.version == row.version
            values = {"wrapped": wrapped, "master": self._sealing.master}
            await self._connection.execute(update(TENANT_KEY).where(*itself).values(values))
        return len(rows)

    async def sealed_rows(self, tenant_id: str) -> dict[str, int]:
        return {each.table.name: await self._sealed_in(each, tenant_id) for each in SEALED}

    async def _sealed_in(self, sealed: Sealed, tenant_id: str) -> int:
        by_its_keys = or_(*(func.substr(column, 1, 1, type_=LargeBinary) == ENVELOPE for column in sealed.columns))
        here = sealed.table.c.tenant_id == tenant_id, by_its_keys
        found = await self._connection.execute(select(func.count()).select_from(sealed.table).where(*here))
        return found.scalar_one()

    async def forget(self, tenant_id: str) -> int:
        """What was sealed is emptied as well: new keys get the same numbers, and would seem to have sealed it."""
        for table in (SESSION, DATA_EXPORT, PATIENT_IDENTITY):
            await self._connection.execute(delete(table).where(table.c.tenant_id == tenant_id))
        nobody = {**patient_rows.IN_THE_CLEAR, "national_sealed": None, "national_index": None, "person_sealed": None}
        await self._connection.execute(update(PATIENT).where(P.tenant_id == tenant_id).values(nobody))
        said = {**booking_rows.IN_THE_CLEAR, **dict.fromkeys(booking_rows.SEALED), "version": B.version + 1}
        private = or_(*(column.is_not(None) for column in (B.words_sealed, B.sms_to_sealed)))
        await self._connection.execute(update(BOOKING).where(B.tenant_id == tenant_id, private).values(said))
        return (await self._connection.execute(delete(TENANT_KEY).where(K.tenant_id == tenant_id))).rowcount

    async def report(self, tenant_id: str) -> list[KeyReport]:
        rows = await self._read(tenant_id)
        return [
            KeyReport(
                purpose=row.purpose,
                version=row.version,
                state=row.state,
                master=row.master,
                values=await self._count(tenant_id, row.version) if row.purpose == Purpose.SEAL else None,
            )
            for row in sorted(rows, key=lambda row: (row.purpose, row.version))
        ]

    async def _count(self, tenant_id: str, version: int) -> int:
        count = 0
        for each in SEALED:
            for column in each.columns:
                here = each.table.c.tenant_id == tenant_id, _header(column) == header_of(version)
                found = await self._connection.execute(select(func.count()).select_from(each.table).where(*here))
                count += found.scalar_one()
        return count

    async def _read(self, tenant_id: str) -> list[AnyRow]:
        return list((await self._connection.execute(keys_of(tenant_id).with_for_update())).all())

    async def _keys(self, tenant_id: str) -> TenantKeys:
        """As they are now: what the process remembers may be older than the last step."""
        await self._work.keys(tenant_id)
        return await self._work.read(tenant_id)


def _header(column: Column[Any]) -> ColumnElement[bytes]:
    return func.substr(column, 1, HEADER, type_=LargeBinary)
