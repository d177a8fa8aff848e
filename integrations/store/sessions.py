"""Browsers that are signed in, and what their providers gave them at login, sealed."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, delete, false, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.patient import Identity, LogoutToken, Patient, ProviderLogin
from domain.ports import Clock, EndedSession, Session, Unsealable
from integrations.store.engine import Reads
from integrations.store.patients import SqlPatients
from integrations.store.sealing import Sealing
from integrations.store.tables import LOGOUT_TOKEN, SESSION
from integrations.store.tenant_keys import WorkSealing
from integrations.store.types import AnyRow
from integrations.store.upserts import insert_for

C, T = SESSION.c, LOGOUT_TOKEN.c

SEALED, SID, SUBJECT = "session.login", "session.sid", "session.subject"
FIELDS = [field.name for field in fields(Session)]


class SqlSessions:
    """Sessions are found by digests, which no rotation of keys changes: none lives longer than eight hours."""

    def __init__(self, connection: AsyncConnection, digests: Sealing, sealing: WorkSealing) -> None:
        self._connection = connection
        self._digests = digests
        self._sealing = sealing

    async def add(self, session: Session, login: ProviderLogin | None = None) -> None:
        values = {**asdict(session), **(await self._kept(session, login) if login else {})}
        await self._connection.execute(insert(SESSION).values(values))

    async def get(self, tenant_id: str, id: str) -> Session | None:
        row = (await self._connection.execute(_one(tenant_id, id))).first()
        return Session(**row._mapping) if row else None

    async def touch(self, tenant_id: str, id: str, now: datetime) -> None:
        await self._connection.execute(
            update(SESSION).where(C.tenant_id == tenant_id, C.id == id).values(last_seen_at=now)
        )

    async def end(self, tenant_id: str, id: str) -> EndedSession | None:
        gone = delete(SESSION).where(C.tenant_id == tenant_id, C.id == id).returning(C.patient_id, C.login_sealed)
        row = (await self._connection.execute(gone)).first()
        if row is None:
            return None
        return EndedSession(patient_id=row.patient_id, login=await self._opened(tenant_id, id, row))

    async def end_all(self, tenant_id: str, patient_id: UUID) -> int:
        gone = delete(SESSION).where(C.tenant_id == tenant_id, C.patient_id == patient_id)
        return (await self._connection.execute(gone)).rowcount

    async def end_told(self, tenant_id: str, token: LogoutToken) -> Sequence[UUID]:
        gone = delete(SESSION).where(C.tenant_id == tenant_id, self._is_told(tenant_id, token)).returning(C.patient_id)
        return list(dict.fromkeys((await self._connection.execute(gone)).scalars()))

    async def remember(self, tenant_id: str, token: LogoutToken) -> bool:
        id = sha256(_joined(token.issuer, token.jti)).hexdigest()
        added = await self._connection.execute(
            insert_for(self._connection, LOGOUT_TOKEN)
            .values(tenant_id=tenant_id, id=id, expires_at=token.expires_at)
            .on_conflict_do_nothing(index_elements=["tenant_id", "id"])
            .returning(T.id)
        )
        return added.first() is not None

    async def forget_tokens(self, tenant_id: str, now: datetime, limit: int) -> int:
        own = T.tenant_id == tenant_id
        over = select(T.id).where(own, T.expires_at <= now).limit(limit)
        return (await self._connection.execute(delete(LOGOUT_TOKEN).where(own, T.id.in_(over)))).rowcount

    async def forget(self, tenant_id: str, now: datetime, limit: int) -> int:
        own = C.tenant_id == tenant_id
        ended = select(C.id).where(own, C.expires_at <= now).limit(limit).with_for_update(skip_locked=True)
        return (await self._connection.execute(delete(SESSION).where(own, C.id.in_(ended)))).rowcount

    async def _kept(self, session: Session, login: ProviderLogin) -> dict[str, Any]:
        place, plain = session.tenant_id, msgspec.json.encode(login)
        return {
            "login_sealed": await self._sealing.seal(place, SEALED, session.id, plain),
            "sid_index": self._index(place, SID, login.issuer, login.sid) if login.sid else None,
            "subject_index": self._index(place, SUBJECT, login.issuer, login.subject),
        }

    async def _opened(self, tenant_id: str, id: str, row: AnyRow) -> ProviderLogin | None:
        """None also for one that was sealed with a secret we have no more: the session ends all the same."""
        if row.login_sealed is None:
            return None
        try:
            plain = await self._sealing.open(tenant_id, SEALED, id, row.login_sealed)
        except Unsealable:
            return None
        return msgspec.json.decode(plain, type=ProviderLogin)

    def _is_told(self, tenant_id: str, token: LogoutToken) -> ColumnElement[bool]:
        """One whose login told no `sid` may be the one that is named: it ends with any of its subject's."""
        of_subject: ColumnElement[bool] = false()
        if token.subject is not None:
            of_subject = C.subject_index == self._index(tenant_id, SUBJECT, token.issuer, token.subject)
        if token.sid is None:
            return of_subject
        named = C.sid_index == self._index(tenant_id, SID, token.issuer, token.sid)
        return or_(named, and_(C.sid_index.is_(None), of_subject))

    def _index(self, tenant_id: str, column: str, issuer: str, value: str) -> bytes:
        return self._digests.digest(tenant_id, column, _joined(issuer, value))


class SqlSessionReads:
    """Without a unit of work, so that nobody who only looks waits for a writer's turn."""

    def __init__(self, engine: AsyncEngine, sealing: Sealing, clock: Clock) -> None:
        self._reads = Reads(engine)
        self._sealing = sealing
        self._clock = clock

    async def session(self, tenant_id: str, id: str) -> tuple[Session, Patient] | None:
        async def ask(connection: AsyncConnection) -> tuple[Session, Patient] | None:
            session = await self._sessions(connection).get(tenant_id, id)
            patient = session and await self._patients(connection).get(tenant_id, session.patient_id)
            return (session, patient) if session and patient else None

        return await self._reads.ask(tenant_id, ask)

    async def known(self, tenant_id: str, identity: Identity) -> Patient | None:
        return await self._reads.ask(tenant_id, lambda on: self._patients(on).known(tenant_id, identity))

    def _patients(self, connection: AsyncConnection) -> SqlPatients:
        return SqlPatients(connection, WorkSealing(connection, self._sealing), self._clock)

    def _sessions(self, connection: AsyncConnection) -> SqlSessions:
        return SqlSessions(connection, self._sealing, WorkSealing(connection, self._sealing))


def _one(tenant_id: str, id: str) -> Select[Any]:
    return select(*(C[name] for name in FIELDS)).where(C.tenant_id == tenant_id, C.id == id)


def _joined(issuer: str, value: str) -> bytes:
    """No two pairs make the same bytes: an issuer is a URL, and has no NUL."""
    return issuer.encode() + b"\x00" + value.encode()
