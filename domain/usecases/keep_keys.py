"""Agencies' keys as operators keep them: made, replaced and ended, with an audit row each."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

from domain.api_key import ApiKey, KeyKind, KeyText, Peppers
from domain.audit import SYSTEM, Actor, AuditEntry
from domain.client import Scope
from domain.ports import Clock, FoundKey, KeyReads, StartWork, UnitOfWork

OVERLAP = timedelta(days=7)
"""How long a key that is replaced goes on opening what it opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What is agreed on with an agency."""

    tenant_id: str
    agency: str
    kind: KeyKind
    scopes: frozenset[Scope]
    origins: tuple[str, ...]
    rate_per_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MintKey:
    start_work: StartWork
    clock: Clock
    peppers: Peppers

    async def __call__(self, wanted: NewKey, actor: Actor = SYSTEM) -> KeyText:
        """The key, to be shown once: nobody can tell it again."""
        async with self.start_work(wanted.tenant_id) as work:
            text, _ = await self.within(work, wanted, actor)
            await work.commit()
        return text

    async def within(self, work: UnitOfWork, wanted: NewKey, actor: Actor) -> tuple[KeyText, ApiKey]:
        text = KeyText.new(wanted.kind)
        pepper, digest = self.peppers.digest(text)
        key = ApiKey(
            id=uuid4(),
            key_id=text.key_id,
            last_four=text.last_four,
            pepper=pepper,
            digest=digest,
            created_at=self.clock.now(),
            **{name: getattr(wanted, name) for name in NewKey.__dataclass_fields__},
        )
        await work.api_keys.add(key)
        await work.audit(_entry("api_key.minted", key, self.clock.now(), actor, scopes=" ".join(sorted(key.scopes))))
        return text, key


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey:
    """The new key has what the old one has, which expires after `OVERLAP`, or earlier where that was said before."""

    keys: KeyReads
    mint: MintKey

    async def __call__(self, key_id: str, actor: Actor = SYSTEM) -> tuple[KeyText, datetime] | None:
        """The new key, and when the old one expires; None when there is none, or it has ended."""
        found = await self.keys.find(key_id)
        if found is None:
            return None
        now = self.mint.clock.now()
        async with self.mint.start_work(found.key.tenant_id) as work:
            old = await work.api_keys.get(found.key.tenant_id, key_id)
            if old is None or not old.stands(now):
                return None
            like_it = NewKey(**{name: getattr(old, name) for name in NewKey.__dataclass_fields__})
            text, new = await self.mint.within(work, like_it, actor)
            until = min(old.expires_at or now + OVERLAP, now + OVERLAP)
            await work.api_keys.end(old.tenant_id, key_id, expires_at=until)
            await work.audit(_entry("api_key.rotated", old, now, actor, replaced_by=new.key_id))
            await work.commit()
        return text, until


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKey:
    keys: KeyReads
    start_work: StartWork
    clock: Clock

    async def __call__(self, key_id: str, actor: Actor = SYSTEM) -> FoundKey | None:
        """The key as it was; None when there is none, or it is revoked already."""
        found, now = await self.keys.find(key_id), self.clock.now()
        if found is None:
            return None
        async with self.start_work(found.key.tenant_id) as work:
            key = await work.api_keys.get(found.key.tenant_id, key_id)
            if key is None or key.revoked_at is not None:
                return None
            await work.api_keys.end(key.tenant_id, key_id, revoked_at=now)
            await work.audit(_entry("api_key.revoked", key, now, actor))
            await work.commit()
        return replace(found, key=key)


def _entry(action: str, key: ApiKey, now: datetime, actor: Actor, **details: str) -> AuditEntry:
    return AuditEntry(
        tenant_id=key.tenant_id,
        at=now,
        actor=actor,
        action=action,
        target="api_key",
        target_id=key.id,
        details={"key_id": key.key_id, "agency": key.agency, **details},
    )
