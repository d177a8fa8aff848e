"""Free times that EHRs told a moment ago, kept so that equal questions are one question to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from domain.slot import FoundTime


class Shelf(NamedTuple):
    """Where the times of one offer, with its practitioner, are kept day by day. A day is the clinic's own."""

    tenant_id: str
    endpoint_id: str
    practitioner_id: UUID
    offer_id: UUID


@dataclass(slots=True, eq=False)
class DayTimes:
    """All that is free on one day, empty where nothing is, and when the EHR was asked.

    `made` keeps what was made of it, for as long as it is kept itself.
    """

    times: tuple[FoundTime, ...]
    as_of: datetime
    made: dict[Any, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """`stamps` go back with what is put on a shelf: what was dropped meanwhile is not put there again."""

    days: Mapping[Shelf, Mapping[date, DayTimes]]
    stamps: Mapping[Shelf, str]


class TimesCache(Protocol):
    """Bounded, shared by all processes where Redis is configured, and free to forget. Never raises."""

    async def get(self, wanted: Mapping[Shelf, Sequence[date]]) -> Shelved: ...

    async def put(self, shelf: Shelf, days: Mapping[date, DayTimes], stamp: str, keep: timedelta) -> None:
        """Unless the shelf was dropped after the stamp was given out."""
        ...

    async def drop(self, tenant_id: str, endpoint_id: str, practitioner_id: UUID | None) -> None:
        """Whatever is kept of that practitioner, or of everybody at that endpoint, is not believed any more."""
        ...
