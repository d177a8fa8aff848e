"""The keys that people's data is sealed by, and what is sealed by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

Place = tuple[int, UUID | str]
"""How far one has come through all that is sealed: which of its lists, and where in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """One version of a tenant's key; `values` is how much is sealed by it, None for what cannot be counted by key."""

    purpose: str
    version: int
    state: str
    master: int
    values: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resealed:
    """How many rows were sealed anew, how many of which table do not open and stay as they are, and where to go on,
    None at the end."""

    done: int
    lost: Mapping[str, int]
    next: Place | None


class Unsealable(Exception):
    """Sealed elsewhere, with another key, or changed since."""


class KeyShut(Unsealable):
    """A tenant's key does not open; `why` goes on after the tenant's name, and tells nothing of any key."""

    def __init__(self, tenant_id: str, why: str) -> None:
        super().__init__(f"the keys of {tenant_id} {why}")
        self.why = why


class MasterKeyMissing(KeyShut):
    """It is wrapped by a master key that this process has not been given."""


class Keys(Protocol):
    """Part of a unit of work. A key that is to be used is first read by every process, and one that is no longer used
    opens what it sealed until nothing is left of it."""

    async def begin(self, tenant_id: str) -> None:
        """Make the next keys, unless a rotation is under way already."""
        ...

    async def switch(self, tenant_id: str) -> None:
        """Seal by the next keys from now on; to be called once every process has read them."""
        ...

    async def reseal(self, tenant_id: str, limit: int, after: Place | None = None) -> Resealed:
        """Seal anew what is in the clear or sealed by a former key, looking at so many rows at most.

        What somebody else is just writing is left out. What a provider gave at login is let go of where it does not
        open. Raises `Unsealable` where the tenant's keys do not.
        """
        ...

    async def remaining(self, tenant_id: str) -> int:
        """How many rows are still in the clear or sealed by a former key, those that do not open among them."""
        ...

    async def retire(self, tenant_id: str) -> None:
        """End the former keys; to be called once every process uses the current ones and nothing is `remaining`."""
        ...

    async def rewrap(self, tenant_id: str) -> int:
        """Wrap the keys by the newest master key; returns how many were not.

        Raises `KeyShut`, also for one that another key of the same number has wrapped, and then changes nothing.
        """
        ...

    async def sealed_rows(self, tenant_id: str) -> Mapping[str, int]:
        """How many rows of which tables have something in them that the tenant's keys have sealed."""
        ...

    async def forget(self, tenant_id: str) -> int:
        """Delete all keys, retired ones too, what they sealed, and every sign-in. Returns how many keys there were."""
        ...

    async def report(self, tenant_id: str) -> list[KeyReport]: ...
