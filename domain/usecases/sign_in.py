"""Recognise who an identity provider vouches for, and remember a browser that signed in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from uuid import uuid4

from domain.audit import Actor, ActorKind, AuditEntry
from domain.patient import Identity, Patient
from domain.ports import Clock, Session, StartWork
from domain.tenant import Tenant

IDLE = timedelta(minutes=20)
ABSOLUTE = timedelta(hours=8)
TOUCH_EVERY = timedelta(minutes=1)
"""The last sight of a session is written at most once a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A signed-in patient, when they last proved who they are, and until when that counts."""

    patient: Patient
    authenticated_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    start_work: StartWork
    clock: Clock
    new_secret: Callable[[], str] = token_urlsafe

    async def recognise(self, tenant: Tenant, identity: Identity) -> Viewer:
        """The patient behind an identity, made known to the tenant at first sight."""
        async with self.start_work(tenant.id) as work:
            patient = await work.patients.recognise(tenant.id, identity, uuid4())
            await work.commit()
        return _viewer(patient, identity)

    async def of_token(self, tenant: Tenant, identity: Identity) -> Viewer | None:
        """As above for a token, which may be older than it looks: None for one from before its patient was erased.

        It is good until it expires, and must not bring them back.
        """
        new_id = uuid4()
        async with self.start_work(tenant.id) as work:
            patient = await work.patients.recognise(tenant.id, identity, new_id)
            if patient.id == new_id and await work.traces.is_erased(tenant.id, identity):
                return None
            await work.commit()
        return _viewer(patient, identity)

    async def is_erased(self, tenant: Tenant, identity: Identity) -> bool:
        """Whether a token is from before its patient was erased."""
        async with self.start_work(tenant.id) as work:
            return await work.traces.is_erased(tenant.id, identity)

    async def open_session(self, tenant: Tenant, identity: Identity, request_id: str) -> tuple[str, Viewer]:
        """A new session's secret, for the cookie; only its hash is kept."""
        viewer = await self.recognise(tenant, identity)
        secret, now = self.new_secret(), self.clock.now()
        session = Session(
            tenant_id=tenant.id,
            id=_hash(secret),
            patient_id=viewer.patient.id,
            authenticated_at=identity.authenticated_at,
            created_at=now,
            last_seen_at=now,
            expires_at=now + ABSOLUTE,
        )
        async with self.start_work(tenant.id) as work:
            await work.sessions.add(session)
            await work.audit(
                AuditEntry(
                    tenant_id=tenant.id,
                    at=now,
                    actor=Actor(kind=ActorKind.PATIENT, id=str(viewer.patient.id), request_id=request_id),
                    action="patient.sign_in",
                    target="patient",
                    target_id=viewer.patient.id,
                )
            )
            await work.commit()
        return secret, replace(viewer, expires_at=session.expires_at)

    async def viewer(self, tenant: Tenant, secret: str, *, touch: bool = True) -> Viewer | None:
        """Who a cookie stands for; None when it stands for nobody any more, or for another tenant's patient.

        With `touch` it is a sign of life, from which the session lives on. Without, nothing is written: who only leaves
        a page open is as idle as who closes it.
        """
        now = self.clock.now()
        async with self.start_work(tenant.id) as work:
            session = await work.sessions.get(tenant.id, _hash(secret))
            if session is None or now >= session.expires_at or now >= session.last_seen_at + IDLE:
                return None
            patient = await work.patients.get(tenant.id, session.patient_id)
            if patient is None:
                return None
            if touch and now >= session.last_seen_at + TOUCH_EVERY:
                await work.sessions.touch(tenant.id, session.id, now)
                await work.commit()
        expires_at = min(session.expires_at, (now if touch else session.last_seen_at) + IDLE)
        return Viewer(patient=patient, authenticated_at=session.authenticated_at, expires_at=expires_at)


def _viewer(patient: Patient, identity: Identity) -> Viewer:
    return Viewer(patient=patient, authenticated_at=identity.authenticated_at, expires_at=identity.expires_at)


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
