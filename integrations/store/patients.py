"""Patients, recognised by their national number or by whoever vouches for them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import Actor, ActorKind, AuditEntry
from domain.client import ClientKey
from domain.national_id import NationalId
from domain.patient import Identity, Patient
from domain.ports import Clock
from integrations.store.audit import MERGED, add_audit
from integrations.store.joining import join
from integrations.store.patient_rows import NATIONAL_ID, numbered, patient_of, values_of
from integrations.store.sealing import place
from integrations.store.tables import PATIENT, PATIENT_IDENTITY
from integrations.store.tenant_keys import WorkSealing

P, I = PATIENT.c, PATIENT_IDENTITY.c  # noqa: E741

Found = tuple[Patient | None, Patient | None]
"""Who the sign-in is linked to, and whose it is by all that is told: both of them one, or two, or nobody yet."""

Note = Callable[..., Awaitable[None]]
"""Writes a line into the trail, for whoever asks."""


class SqlPatients:
    def __init__(self, connection: AsyncConnection, sealing: WorkSealing, clock: Clock) -> None:
        self._connection = connection
        self._sealing = sealing
        self._clock = clock

    async def get(self, tenant_id: str, id: UUID) -> Patient | None:
        return await self._find(tenant_id, select(PATIENT).where(P.tenant_id == tenant_id, P.id == id))

    async def sign_out(self, tenant_id: str, id: UUID, now: datetime) -> None:
        here = (P.tenant_id == tenant_id, P.id == id)
        await self._connection.execute(update(PATIENT).where(*here).values(signed_out_at=now))

    async def left_at(self, tenant_id: str, identity: Identity) -> datetime | None:
        linked = await self._vouched_for(tenant_id, identity)
        return linked.signed_out_at if linked else None

    async def known(self, tenant_id: str, identity: Identity) -> Patient | None:
        """Whom `recognise` would answer without writing anything, else None."""
        patient = await self._vouched_for(tenant_id, identity)
        if patient is None or _brought_up_to_date(patient, identity) != patient:
            return None
        told = identity.national_id
        return patient if told is None or told == patient.national_id else None

    async def recognise(
        self,
        tenant_id: str,
        identity: Identity,
        new_id: UUID,
        request_id: str | None = None,
        through: ClientKey | None = None,
    ) -> Patient:
        """One person stays one patient, whoever they sign in through; two numbers are never made one patient."""
        linked, patient = await self._found(tenant_id, identity)
        if patient and patient == linked == _brought_up_to_date(patient, identity):
            return patient
        note: Note = partial(self._note, request_id=request_id, through=through)
        linked, patient = await self._locked(tenant_id, identity)
        patient = patient or await self._create(_new(tenant_id, new_id, identity))
        if linked is None or linked.id != patient.id:
            await self._link(patient, identity, relink=linked is not None)
            action = "patient.registered" if patient.id == new_id else "patient.sign_in_linked"
            await note(action, patient)
        if linked and linked.id != patient.id:
            patient = await self._take_over(linked, patient, note)
        return await self._bring_up_to_date(patient, identity, note)

    async def _bring_up_to_date(self, patient: Patient, identity: Identity, note: Note) -> Patient:
        """The patient is locked by then, or new: else what was typed meanwhile would be written over."""
        current = _brought_up_to_date(patient, identity)
        if current != patient:
            await self.save(current)
            changed = (
                each.name for each in fields(current) if getattr(current, each.name) != getattr(patient, each.name)
            )
            await note("patient.brought_up_to_date", current, {"fields": " ".join(changed)})
        return current

    async def _take_over(self, former: Patient, patient: Patient, note: Note) -> Patient:
        """Once nobody can be recognised as the `former` patient, nobody could see or erase what is theirs, either."""
        if former.national_id or await self._signs_in(former):
            return patient
        await join(self._connection, patient.tenant_id, former.id, patient.id)
        joined = _joined(patient, former)
        await self.save(joined)
        if joined.signed_out_at and joined.signed_out_at != patient.signed_out_at:
            await self.sign_out(joined.tenant_id, joined.id, joined.signed_out_at)
        await note(MERGED, patient, {"into": str(patient.id)}, target_id=former.id)
        return joined

    async def _signs_in(self, patient: Patient) -> bool:
        own = select(I.subject).where(I.tenant_id == patient.tenant_id, I.patient_id == patient.id)
        return (await self._connection.execute(own.limit(1))).first() is not None

    async def save(self, patient: Patient) -> None:
        own = P.tenant_id == patient.tenant_id, P.id == patient.id
        values = values_of(await self._sealing.keys(patient.tenant_id), patient)
        await self._connection.execute(update(PATIENT).where(*own).values(values))

    async def _note(
        self,
        action: str,
        patient: Patient,
        details: Mapping[str, str] | None = None,
        target_id: UUID | None = None,
        *,
        request_id: str | None,
        through: ClientKey | None,
    ) -> None:
        """By the patient themselves, who signed in; what is told are names of fields, and never what is in them."""
        entry = AuditEntry(
            tenant_id=patient.tenant_id,
            at=self._clock.now(),
            actor=Actor(kind=ActorKind.PATIENT, id=str(patient.id), request_id=request_id, through=through),
            action=action,
            target="patient",
            target_id=target_id or patient.id,
            details=details or {},
        )
        await add_audit(self._connection, entry)

    async def _found(self, tenant_id: str, identity: Identity) -> Found:
        linked = await self._vouched_for(tenant_id, identity)
        return linked, await self._numbered(tenant_id, identity.national_id) or _unless_another(linked, identity)

    async def _locked(self, tenant_id: str, identity: Identity) -> Found:
        """Looks once nobody else can change the answer. All locks are taken in one order: two logins that find the same
        two patients would else wait for each other.

        What is told is locked first. From then on no other login links this sign-in or gives anybody this number, and
        none joins with another who has a number or a sign-in left. So whoever is found may be erased until the rows are
        locked, but nobody else can come in their place.
        """
        await self._lock_told(tenant_id, identity)
        found = await self._found(tenant_id, identity)
        if ids := {each.id for each in found if each}:
            rows = select(P.id).where(P.tenant_id == tenant_id, P.id.in_(ids)).order_by(P.id)
            await self._connection.execute(rows.with_for_update())
            found = await self._found(tenant_id, identity)
        return found

    async def _vouched_for(self, tenant_id: str, identity: Identity) -> Patient | None:
        return await self._find(
            tenant_id,
            select(PATIENT)
            .join(PATIENT_IDENTITY, (I.tenant_id == P.tenant_id) & (I.patient_id == P.id))
            .where(I.tenant_id == tenant_id, I.issuer == identity.issuer, I.subject == identity.subject),
        )

    async def _numbered(self, tenant_id: str, number: NationalId | None) -> Patient | None:
        if number is None:
            return None
        indexes = (await self._sealing.keys(tenant_id)).indexes(NATIONAL_ID, numbered(number))
        return await self._find(
            tenant_id, select(PATIENT).where(P.tenant_id == tenant_id, P.national_index.in_(indexes))
        )

    async def _lock_told(self, tenant_id: str, identity: Identity) -> None:
        """The sign-in, and the number by each key that anybody may look it up by: two processes that know different
        ones meet at what both know. SQLite has one writer at a time anyway.

        The tenant's keys are asked for first: who makes them is waited for, and must not wait for us.
        """
        if self._connection.dialect.name != "postgresql":
            return
        keys, number = await self._sealing.keys(tenant_id), identity.national_id
        told = keys.indexes(NATIONAL_ID, numbered(number)) if number else []
        told.append(sha256(place("patient_identity", tenant_id, identity.issuer, identity.subject)).digest())
        for each in sorted({int.from_bytes(digest[:8], "big", signed=True) for digest in told}):
            await self._connection.execute(select(func.pg_advisory_xact_lock(each)))

    async def _create(self, patient: Patient) -> Patient:
        keys = await self._sealing.keys(patient.tenant_id)
        await self._connection.execute(insert(PATIENT).values(values_of(keys, patient)))
        return patient

    async def _link(self, patient: Patient, identity: Identity, *, relink: bool) -> None:
        sign_in = {"tenant_id": patient.tenant_id, "issuer": identity.issuer, "subject": identity.subject}
        if relink:
            here = [I[name] == part for name, part in sign_in.items()]
            await self._connection.execute(update(PATIENT_IDENTITY).where(*here).values(patient_id=patient.id))
        else:
            await self._connection.execute(insert(PATIENT_IDENTITY).values(**sign_in, patient_id=patient.id))

    async def _find(self, tenant_id: str, statement: Any) -> Patient | None:
        row = (await self._connection.execute(statement)).first()
        return patient_of(await self._sealing.known(tenant_id), row) if row else None


def _unless_another(linked: Patient | None, identity: Identity) -> Patient | None:
    """An issuer's subject who now comes with another number is another person."""
    if linked is None or linked.national_id is None or identity.national_id is None:
        return linked
    return linked if linked.national_id == identity.national_id else None


def _new(tenant_id: str, id: UUID, identity: Identity) -> Patient:
    return Patient(
        tenant_id=tenant_id,
        id=id,
        name=identity.name,
        birth_date=identity.birth_date,
        national_id=identity.national_id,
        phone=identity.phone,
        email=identity.email,
        language=identity.language,
    )


def _brought_up_to_date(patient: Patient, identity: Identity) -> Patient:
    """What the issuer does not tell stays as it was, and so does what the patient typed."""
    told = {"phone": identity.phone, "email": identity.email, "language": identity.language}
    return replace(
        patient,
        name=identity.name or patient.name,
        birth_date=identity.birth_date or patient.birth_date,
        national_id=patient.national_id or identity.national_id,
        **{name: value for name, value in told.items() if value and name not in patient.edited},  # type: ignore[arg-type]
    )


def _joined(patient: Patient, former: Patient) -> Patient:
    """With what they typed as the one and not as the other, and signed out of what they signed out of as either."""
    typed = [name for name in former.edited if name not in patient.edited]
    return replace(
        patient,
        edited=(*patient.edited, *typed),
        signed_out_at=max(filter(None, (patient.signed_out_at, former.signed_out_at)), default=None),
        **{name: getattr(former, name) for name in typed},
    )
