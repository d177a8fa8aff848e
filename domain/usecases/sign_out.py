"""End a sign-in: in this browser, everywhere, or because the identity provider says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from domain.audit import SYSTEM, Actor, ActorKind, AuditEntry
from domain.patient import LogoutToken, ProviderLogin
from domain.ports import Clock, StartWork
from domain.tenant import Tenant
from domain.usecases.sign_in import session_id

ACTION = "patient.sign_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOut:
    """Ends a browser's session; asked again it does nothing."""

    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant: Tenant, secret: str, request_id: str) -> ProviderLogin | None:
        """What is needed to end it at the provider, too; None where that is not known."""
        async with self.start_work(tenant.id) as work:
            ended = await work.sessions.end(tenant.id, session_id(secret))
            if ended is None:
                return None
            actor = Actor(kind=ActorKind.PATIENT, id=str(ended.patient_id), request_id=request_id)
            await work.audit(_entry(tenant, self.clock, actor, ended.patient_id, {"where": "browser"}))
            await work.commit()
        return ended.login


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOutEverywhere:
    """Ends all of a patient's sessions, and what apps were given at logins before now."""

    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant: Tenant, actor: Actor, patient_id: UUID) -> None:
        async with self.start_work(tenant.id) as work:
            await work.patients.sign_out(tenant.id, patient_id, self.clock.now())
            await work.sessions.end_all(tenant.id, patient_id)
            await work.audit(_entry(tenant, self.clock, actor, patient_id, {"where": "everywhere"}))
            await work.commit()


@dataclass(frozen=True, slots=True, kw_only=True)
class HearLogout:
    """Ends what a provider's logout token is about (OpenID Connect Back-Channel Logout 1.0)."""

    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant: Tenant, token: LogoutToken) -> bool:
        """False when the very same token was heard before: then nothing is done."""
        async with self.start_work(tenant.id) as work:
            if not await work.sessions.remember(tenant.id, token):
                return False
            for patient_id in await work.sessions.end_told(tenant.id, token):
                await work.audit(_entry(tenant, self.clock, SYSTEM, patient_id, {"where": "provider"}))
            await work.commit()
        return True


def _entry(tenant: Tenant, clock: Clock, actor: Actor, patient_id: UUID, details: Mapping[str, str]) -> AuditEntry:
    return AuditEntry(
        tenant_id=tenant.id,
        at=clock.now(),
        actor=actor,
        action=ACTION,
        target="patient",
        target_id=patient_id,
        details=details,
    )
