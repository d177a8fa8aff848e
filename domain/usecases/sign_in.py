"""Recognise who an identity provider vouches for, and remember a browser that signed in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import NamedTuple
from urllib.parse import quote, unquote
from uuid import UUID, uuid4

from domain.audit import Actor, ActorKind, AuditEntry
from domain.client import ClientKey
from domain.patient import Identity, Patient, ProviderLogin
from domain.ports import Clock, Session, SessionReads, StartWork, UnitOfWork
from domain.tenant import Tenant

IDLE = timedelta(minutes=20)
ABSOLUTE = timedelta(hours=8)
TOUCH_EVERY = timedelta(minutes=1)
"""The last sight of a session is written at most once a minute."""
UNTOLD = datetime.fromtimestamp(0, UTC)
"""When an identity's login was, where its provider does not tell."""


class SignedOut(Exception):
    """The login that this was given at was ended since, by signing out everywhere; `ago`, how long ago that was."""

    def __init__(self, ago: timedelta) -> None:
        super().__init__(ago)
        self.ago = ago


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A signed-in patient, when they last proved who they are, and until when that counts."""

    patient: Patient
    authenticated_at: datetime
    expires_at: datetime


class Standing(NamedTuple):
    """Until when a login counts, and as whose; None where that is found out only when somebody asks by it."""

    until: datetime
    patient_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    start_work: StartWork
    reads: SessionReads
    clock: Clock
    new_secret: Callable[[], str] = token_urlsafe

    async def recognise(self, tenant: Tenant, identity: Identity, request_id: str) -> Viewer:
        """The patient behind an identity, made known to the tenant at first sight; writes only what is new."""
        return _viewer(await self._patient(tenant, identity, request_id), identity)

    async def of_token(
        self, tenant: Tenant, identity: Identity, request_id: str, through: ClientKey | None = None
    ) -> Viewer | None:
        """As above for an app's token, which may be older than it looks, brought beside an agency's key or alone.

        None for one from before its patient was erased: it is good until it expires, and must not bring them back.
        Raises `SignedOut`.
        """
        known = await self.reads.known(tenant.id, identity)
        patient = known or await self._not_erased(tenant, identity, request_id, through)
        if patient:
            self._check_not_over(identity, patient)
        return _viewer(patient, identity) if patient else None

    async def standing(self, tenant: Tenant, identity: Identity) -> Standing | None:
        """A token's; None when its login was ended or its patient erased. Writes nothing."""
        if patient := await self.reads.known(tenant.id, identity):
            over = _is_over(identity, patient.signed_out_at)
            return None if over else Standing(identity.expires_at, patient.id)
        async with self.start_work(tenant.id) as work:  # what is told of the person may have changed since
            ended = await work.traces.erased_at(tenant.id, identity), await work.patients.left_at(tenant.id, identity)
        return None if any(_is_over(identity, at) for at in ended) else Standing(identity.expires_at, None)

    async def open_session(
        self,
        tenant: Tenant,
        identity: Identity,
        request_id: str,
        *,
        login: ProviderLogin | None = None,
        former: str | None = None,
    ) -> tuple[str, Viewer]:
        """A new session's secret, for the cookie; only its hash is kept. The browser's `former` session here ends.

        Raises `SignedOut` for a login that the provider remembers from before; then nothing is written. Where it does
        not tell when the login was, that is now: it was made before our eyes.
        """
        secret, now = f"{quote(tenant.slug, safe='')}.{self.new_secret()}", self.clock.now()
        async with self.start_work(tenant.id) as work:
            patient = await self._queued_for(work, tenant, identity, request_id)
            if identity.authenticated_at > UNTOLD:
                self._check_not_over(identity, patient)
            session = Session(
                tenant_id=tenant.id,
                id=session_id(secret),
                patient_id=patient.id,
                authenticated_at=identity.authenticated_at,
                created_at=now,
                last_seen_at=now,
                expires_at=now + ABSOLUTE,
            )
            if former:
                await work.sessions.end(tenant.id, session_id(former))
            await work.sessions.add(session, login)
            await work.audit(_signed_in(tenant, patient, now, request_id))
            await work.commit()
        return secret, replace(_viewer(patient, identity), expires_at=session.expires_at)

    async def end_former(self, tenant: Tenant, former: str) -> None:
        """Of a browser that signs in at another tenant now, where its one cookie is about to be overwritten."""
        async with self.start_work(tenant.id) as work:
            if await work.sessions.end(tenant.id, session_id(former)):
                await work.commit()

    async def viewer(self, tenant: Tenant, secret: str, *, touch: bool = True) -> Viewer | None:
        """Who a cookie stands for; None when it stands for nobody any more, or for another tenant's patient.

        With `touch` it is a sign of life, from which the session lives on. Without, nothing is written: who only leaves
        a page open is as idle as who closes it.
        """
        now = self.clock.now()
        found = await self.reads.session(tenant.id, session_id(secret))
        if found is None:
            return None
        session, patient = found
        if now >= session.expires_at or now >= session.last_seen_at + IDLE:
            return None
        if touch and now >= session.last_seen_at + TOUCH_EVERY:
            async with self.start_work(tenant.id) as work:
                await work.sessions.touch(tenant.id, session.id, now)
                await work.commit()
        expires_at = min(session.expires_at, (now if touch else session.last_seen_at) + IDLE)
        return Viewer(patient=patient, authenticated_at=session.authenticated_at, expires_at=expires_at)

    async def _queued_for(self, work: UnitOfWork, tenant: Tenant, identity: Identity, request_id: str) -> Patient:
        """As they are once nobody else signs them out, erases them or makes them one with another until this work is
        done: who does so at this moment comes before, and is seen, or after, and ends the session that is being opened.
        Who is gone by then is looked for again, and begins anew."""
        while True:
            patient, _ = await self._made_known(work, tenant, identity, request_id)
            await work.bookings.queue_for_patient(tenant.id, patient.id)
            if current := await work.patients.get(tenant.id, patient.id):
                return current

    def _check_not_over(self, identity: Identity, patient: Patient) -> None:
        """Raises `SignedOut`."""
        if patient.signed_out_at and _is_over(identity, patient.signed_out_at):
            raise SignedOut(self.clock.now() - patient.signed_out_at)

    async def _patient(self, tenant: Tenant, identity: Identity, request_id: str) -> Patient:
        if known := await self.reads.known(tenant.id, identity):
            return known
        async with self.start_work(tenant.id) as work:
            patient, _ = await self._made_known(work, tenant, identity, request_id)
            await work.commit()
        return patient

    async def _not_erased(
        self, tenant: Tenant, identity: Identity, request_id: str, through: ClientKey | None
    ) -> Patient | None:
        async with self.start_work(tenant.id) as work:
            if _is_over(identity, await work.traces.erased_at(tenant.id, identity)):
                return None
            patient, erased_at = await self._made_known(work, tenant, identity, request_id, through)
            if _is_over(identity, erased_at):
                return None  # at this very moment; what was written is not committed
            await work.commit()
        return patient

    async def _made_known(
        self,
        work: UnitOfWork,
        tenant: Tenant,
        identity: Identity,
        request_id: str,
        through: ClientKey | None = None,
    ) -> tuple[Patient, datetime | None]:
        """And when who signs in so was erased last: what is from before that counts no more than it did.

        Asked for once the sign-in is linked. No other login can link it from then on, and so an erasure that is not
        seen by then is of nobody who signed in so.
        """
        patient = await work.patients.recognise(tenant.id, identity, uuid4(), request_id, through)
        erased_at = await work.traces.erased_at(tenant.id, identity)
        if erased_at and (patient.signed_out_at is None or patient.signed_out_at < erased_at):
            await work.patients.sign_out(tenant.id, patient.id, erased_at)
        return patient, erased_at


def session_id(secret: str) -> str:
    """What a session is kept under: nobody can sign in with what stands in the database."""
    return sha256(secret.encode()).hexdigest()


def tenant_of(secret: str) -> str:
    """The slug of the tenant that a session's secret says it was made for; "" when it says none.

    Whoever asks may say anything: it only tells where to look for the session, which takes the whole secret.
    """
    return unquote(secret.rpartition(".")[0])


def _viewer(patient: Patient, identity: Identity) -> Viewer:
    return Viewer(patient=patient, authenticated_at=identity.authenticated_at, expires_at=identity.expires_at)


def _is_over(identity: Identity, signed_out_at: datetime | None) -> bool:
    """A login of unknown age counts as long ago: by its token's age, a lost phone could refresh its way past this."""
    return signed_out_at is not None and identity.authenticated_at <= signed_out_at


def _signed_in(tenant: Tenant, patient: Patient, now: datetime, request_id: str) -> AuditEntry:
    return AuditEntry(
        tenant_id=tenant.id,
        at=now,
        actor=Actor(kind=ActorKind.PATIENT, id=str(patient.id), request_id=request_id),
        action="patient.sign_in",
        target="patient",
        target_id=patient.id,
    )
