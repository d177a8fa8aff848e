"""Give a system token for an API key."""

from dataclasses import dataclass
from datetime import timedelta

from domain.client import SYSTEM_SCOPES, Client
from domain.ports import Clock, SystemToken, SystemTokens

LIFETIME = timedelta(hours=1)


class NothingToGrant(Exception):
    """The key has no system scope: a token could open nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    text: str
    scopes: frozenset[str]
    lifetime: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueToken:
    tokens: SystemTokens
    clock: Clock

    def __call__(self, client: Client, tenant_slug: str) -> IssuedToken:
        """For a client that its key has named. Raises `NothingToGrant`."""
        scopes = client.scopes & SYSTEM_SCOPES
        if not scopes or client.key_id is None:
            raise NothingToGrant
        now = self.clock.now()
        token = SystemToken(
            agency=client.id.removeprefix("agency:"),
            key_id=client.key_id,
            tenant=tenant_slug,
            scopes=scopes,
            issued_at=now,
            expires_at=now + LIFETIME,
        )
        return IssuedToken(text=self.tokens.sign(token), scopes=scopes, lifetime=LIFETIME)
