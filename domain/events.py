"""What happened, to be told to the world after the transaction that made it true."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid4


class EventKind(StrEnum):
    BOOKED = "booking.booked"
    RESCHEDULED = "booking.rescheduled"
    CANCELLED = "booking.cancelled"
    FAILED = "booking.failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`version` is the booking's: a receiver drops what is older than it has seen."""

    tenant_id: str
    kind: EventKind
    booking_id: UUID
    version: int
    at: datetime
    id: UUID = field(default_factory=uuid4)
