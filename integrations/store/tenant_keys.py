"""Each tenant's own keys, kept wrapped: read once in a while by each process, and made by whoever needs them first."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import LargeBinary, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.ports import KeyShut
from integrations.store.engine import Reads
from integrations.store.sealing import KEY_BYTES, KeyState, Purpose, Sealing, TenantKey, TenantKeys
from integrations.store.tables import PATIENT
from integrations.store.tables_keys import TENANT_KEY
from integrations.store.types import AnyRow
from integrations.store.upserts import insert_for

K = TENANT_KEY.c


class WorkSealing:
    """Seals and opens within one unit of work, on its own connection.

    Keys that it has made are told to the process only once they are committed.
    """

    def __init__(self, connection: AsyncConnection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing
        self._made: dict[str, TenantKeys] = {}

    async def seal(self, tenant_id: str, column: str, row_id: str, plain: bytes) -> bytes:
        return (await self.keys(tenant_id)).seal(column, row_id, plain)

    async def open(self, tenant_id: str, column: str, row_id: str, sealed: bytes) -> bytes:
        """Raises `Unsealable` unless it was sealed for this very place."""
        return (await self.known(tenant_id)).open(column, row_id, sealed)

    async def keys(self, tenant_id: str) -> TenantKeys:
        """To seal with; made where the tenant has none."""
        known = await self.known(tenant_id)
        if known.complete:
            return known
        for purpose in Purpose:
            await self._make(tenant_id, purpose)
        # Another process may have been first: what it has committed is what is read here.
        self._made[tenant_id] = made = await self.read(tenant_id)
        return made

    async def known(self, tenant_id: str) -> TenantKeys:
        """To open with; perhaps none at all."""
        kept = self._made.get(tenant_id) or self._sealing.known(tenant_id)
        if kept:
            return kept
        read = await self.read(tenant_id)
        return self._sealing.remember(read) if read.complete else read

    async def read(self, tenant_id: str) -> TenantKeys:
        """As the database has them at this moment."""
        return unwrapped(self._sealing, tenant_id, await self._connection.execute(keys_of(tenant_id)))

    async def _make(self, tenant_id: str, purpose: Purpose) -> None:
        secret = secrets.token_bytes(KEY_BYTES)
        if purpose is Purpose.INDEX and await self._has_derived(tenant_id):
            secret = self._sealing.derived_index(tenant_id)
        await add_key(self._connection, self._sealing, tenant_id, purpose, 1, KeyState.CURRENT, secret)

    async def _has_derived(self, tenant_id: str) -> bool:
        """Whether people are found by the index key of versions before envelope keys."""
        first = func.substr(PATIENT.c.national_sealed, 1, 1, type_=LargeBinary)
        old = select(PATIENT.c.id).where(PATIENT.c.tenant_id == tenant_id, first == b"\x01").limit(1)
        return (await self._connection.execute(old)).first() is not None

    def committed(self) -> None:
        for keys in self._made.values():
            self._sealing.remember(keys)


class ReadSealing:
    """Opens what is read outside any unit of work."""

    def __init__(self, reads: Reads, sealing: Sealing) -> None:
        self._reads = reads
        self._sealing = sealing

    async def known(self, tenant_id: str) -> TenantKeys:
        if kept := self._sealing.known(tenant_id):
            return kept
        read = unwrapped(self._sealing, tenant_id, await self._reads.rows(tenant_id, keys_of(tenant_id)))
        return self._sealing.remember(read) if read.complete else read


class KeyProof:
    """Whether tenants' keys open by the master keys that this process has been given."""

    def __init__(self, engine: AsyncEngine, sealing: Sealing) -> None:
        self._reads = Reads(engine)
        self._sealing = sealing

    async def shut(self, tenant_ids: Iterable[str]) -> list[str]:
        """Whose keys do not open and why: a line for each reason, with nothing of any key in it."""
        whose: dict[str, list[str]] = {}
        for tenant_id in tenant_ids:
            try:
                unwrapped(self._sealing, tenant_id, await self._reads.rows(tenant_id, keys_of(tenant_id)))
            except KeyShut as shut:
                whose.setdefault(shut.why, []).append(tenant_id)
        return [f"the keys of {', '.join(tenants)} {why}" for why, tenants in whose.items()]


async def add_key(
    connection: AsyncConnection,
    sealing: Sealing,
    tenant_id: str,
    purpose: Purpose,
    version: int,
    state: KeyState,
    secret: bytes,
) -> None:
    """Unless another process was first, for whom this waits."""
    await connection.execute(
        insert_for(connection, TENANT_KEY)
        .values(
            tenant_id=tenant_id,
            purpose=purpose.value,
            version=version,
            state=state.value,
            master=sealing.master,
            wrapped=sealing.wrap(tenant_id, purpose, version, secret),
            created_at=datetime.now(UTC),
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "purpose", "version"])
    )


def keys_of(tenant_id: str) -> Select[tuple[str, int, str, int, bytes]]:
    return select(K.purpose, K.version, K.state, K.master, K.wrapped).where(
        K.tenant_id == tenant_id, K.state != KeyState.RETIRED
    )


def unwrapped(sealing: Sealing, tenant_id: str, rows: Iterable[AnyRow]) -> TenantKeys:
    """Raises `KeyShut`."""
    return sealing.keys_of(tenant_id, [_key(sealing, tenant_id, row) for row in rows])


def _key(sealing: Sealing, tenant_id: str, row: AnyRow) -> TenantKey:
    purpose = Purpose(row.purpose)
    secret = sealing.unwrap(tenant_id, purpose, row.version, row.master, row.wrapped)
    return TenantKey(purpose=purpose, version=row.version, state=KeyState(row.state), secret=secret)
