"""Bookable time: as an EHR tells it, and as it is offered to a patient."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from math import gcd
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open stretch of time."""

    start: datetime
    end: datetime

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTime:
    """A free time in an EHR: `practitioner_ehr_id` is a PractitionerRole, `reference` the EHR's name for the time."""

    practitioner_ehr_id: str
    service_code: str
    reference: str
    start: datetime
    end: datetime
    resources: tuple[str, ...] = ()
    """A chair or device that must be used, to be carried through untouched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A time on offer: one treatment with one practitioner at one clinic.

    Deterministic: the same time has the same fields whoever asks and whenever.
    """

    endpoint_id: str
    offer_id: UUID
    clinic_id: UUID
    treatment_id: UUID
    practitioner_id: UUID
    reference: str
    start: datetime
    end: datetime
    time_zone: str = "UTC"
    """The clinic's, IANA. `start` and `end` are on its wall."""
    resources: tuple[str, ...] = ()

    @property
    def span(self) -> Span:
        """In UTC: two times of one zone are compared by their walls, which go back an hour in autumn."""
        return Span(start=self.start.astimezone(UTC), end=self.end.astimezone(UTC))


def freed_by_moving(own: Span, free: Sequence[Span]) -> list[Span]:
    """Times of the same length that open up for the booking that occupies `own`, beside those in `free`.

    An EHR never offers a time that overlaps a booked one. But what it calls free, together with the booking's own
    time, is all the practitioner's to give to that booking, so a visit can move by a quarter of an hour. Starts follow
    the grid of the free ones; with nothing free nearby nothing opens up.
    """
    step = _grid(own, free)
    if not step:
        return []
    length, usable = own.end - own.start, _joined([own, *free])
    reach = int((length - timedelta(seconds=1)) // step)
    moved = (Span(start=own.start + n * step, end=own.end + n * step) for n in range(-reach, reach + 1) if n)
    return [s for s in moved if any(u.start <= s.start and s.end <= u.end for u in usable) and s not in free]


def _grid(own: Span, free: Iterable[Span]) -> timedelta | None:
    seconds = reduce(gcd, (int((s.start - own.start).total_seconds()) for s in free), 0)
    return timedelta(seconds=seconds) if seconds else None


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Overlapping and adjoining spans as one."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: s.start):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(start=joined[-1].start, end=max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined
