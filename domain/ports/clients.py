"""API keys and the system tokens that are given for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from domain.api_key import ApiKey
from domain.client import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    key: ApiKey
    tenant_slug: str


class KeyReads(Protocol):
    """Keys outside a unit of work."""

    async def find(self, key_id: str) -> FoundKey | None:
        """One key of whichever tenant: the one look-up that comes before the tenant is known. Also one that has ended;
        none of a tenant that is not served."""
        ...

    async def of_tenant(self, tenant_id: str) -> Sequence[ApiKey]:
        """All that were ever made, by agency, the oldest first."""
        ...


class ApiKeys(Protocol):
    """Keys within a unit of work."""

    async def add(self, key: ApiKey) -> None: ...

    async def end(
        self,
        tenant_id: str,
        key_id: str,
        *,
        expires_at: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> None:
        """Sets what is given."""
        ...

    async def get(self, tenant_id: str, key_id: str) -> ApiKey | None:
        """Nobody else changes it before this work is over."""
        ...

    async def used(self, key: ApiKey, now: datetime, since: datetime, pepper: int, digest: bytes) -> None:
        """Notes the use, unless one after `since` is noted already, and what the key's digest is from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemToken:
    """What a system token says. `tenant` is the slug; `agency` and `key_id` are whom it was given to, and for what."""

    agency: str
    key_id: str
    tenant: str
    scopes: frozenset[Scope]
    issued_at: datetime
    expires_at: datetime


class TokenUnreadable(Exception):
    """Not a token of ours, or not one that counts now. The message holds nothing out of it."""


class SystemTokens(Protocol):
    """Signs system tokens and reads them again, in every process alike."""

    def sign(self, token: SystemToken) -> str: ...

    def read(self, text: str) -> SystemToken:
        """Raises `TokenUnreadable`."""
        ...

    def is_ours(self, text: str) -> bool:
        """Whether its header names a key of ours, and nothing more: a patient's token is for others to read."""
        ...

    def public_keys(self) -> Mapping[str, Any]:
        """A JSON Web Key Set (RFC 7517)."""
        ...
