"""Say yes or no to one thing, as often as a patient changes their mind; every answer is kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from domain.audit import Actor, AuditEntry
from domain.consent import DOCUMENT_VERSION, Consent, ConsentKind
from domain.patient import Patient
from domain.ports import Clock, StartWork, UnitOfWork
from domain.refusals import InvalidInput, NotFound, Refused, TermsNotAccepted
from domain.tenant import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConsent:
    start_work: StartWork
    clock: Clock

    async def __call__(self, tenant: Tenant, actor: Actor, consent: Consent) -> Consent:
        """As it now stands; saying the same again changes nothing. Raises `Refused`."""
        _check(tenant, consent)
        async with self.start_work(tenant.id) as work:
            await work.bookings.queue_for_patient(tenant.id, consent.patient_id)
            if await work.patients.get(tenant.id, consent.patient_id) is None:
                raise Refused(NotFound())  # erased by another of their windows meanwhile
            said = replace(consent, at=self.clock.now())
            [stands] = await note_consents(work, actor, [said])
            await work.commit()
        return stands

    async def all_of(self, tenant: Tenant, patient: Patient) -> Mapping[ConsentKind, Consent]:
        """One of each kind, also those never asked for."""
        async with self.start_work(tenant.id) as work:
            said = await work.consents.of_patient(tenant.id, patient.id)
        return {
            kind: said.get(kind) or Consent(tenant_id=tenant.id, patient_id=patient.id, kind=kind)
            for kind in ConsentKind
        }


async def note_consents(work: UnitOfWork, actor: Actor, said: Iterable[Consent]) -> list[Consent]:
    """In the caller's transaction, which has the patient locked; returns what stands of each kind then.

    A no where nothing was ever said is news all the same: nobody need ask again.
    """
    said = list(said)
    before = await work.consents.of_patient(said[0].tenant_id, said[0].patient_id)
    return [await _noted(work, actor, each, before.get(each.kind)) for each in said]


async def _noted(work: UnitOfWork, actor: Actor, said: Consent, before: Consent | None) -> Consent:
    if before and said.says_the_same_as(before):
        return before
    said = replace(said, actor=actor.kind)
    await work.consents.add(said)
    assert said.at is not None
    await work.audit(_entry(said, actor, said.at))
    return said


def _entry(said: Consent, actor: Actor, at: datetime) -> AuditEntry:
    version = {"document_version": said.document_version} if said.document_version else {}
    return AuditEntry(
        tenant_id=said.tenant_id,
        at=at,
        actor=actor,
        action="consent.given" if said.given else "consent.withdrawn",
        target="patient",
        target_id=said.patient_id,
        details={"kind": said.kind.value, **version},
    )


def _check(tenant: Tenant, consent: Consent) -> None:
    """Terms have a version in force, and an agreement to any other is to nothing; for other kinds the front knows."""
    version = consent.document_version
    if version is not None and not DOCUMENT_VERSION.fullmatch(version):
        hint = "at most 100 letters, digits and . _ : -"
        raise Refused(InvalidInput(("input", "documentVersion"), hint))
    if consent.kind is ConsentKind.TERMS and consent.given and version != tenant.terms_version:
        raise Refused(TermsNotAccepted(tenant.terms_version))
