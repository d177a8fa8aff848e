"""Hints that something is different now: whoever cares looks again. A hint that is lost costs time, never truth."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.booking import Booking
from domain.slot import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What may have changed at one EHR: without a practitioner anybody's time, without a span any time.

    `booking_id` and `patient_id` are there when a patient's booking is what changed.
    """

    tenant_id: str
    endpoint_id: str
    at: datetime
    practitioner_id: UUID | None = None
    span: Span | None = None
    booking_id: UUID | None = None
    patient_id: UUID | None = None


class Mark(NamedTuple):
    """A place in the log of changes, in the order in which they were committed."""

    position: int
    id: int


START = Mark(0, 0)
"""Before the first change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A change and its place in the log."""

    mark: Mark
    change: Change


def change_of(booking: Booking, now: datetime) -> Change:
    """What others may want to look at again: the booking's time, and the booking itself."""
    return Change(
        tenant_id=booking.tenant_id,
        endpoint_id=booking.slot.endpoint_id,
        at=now,
        practitioner_id=booking.slot.practitioner_id,
        span=booking.slot.span,
        booking_id=booking.moves_booking_id or booking.id,
        patient_id=booking.patient_id,
    )
