"""Which of many free times are shown, and in what order."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.availability import Availability
from domain.ports.bookings import Turn
from domain.slot import Slot, Span

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = 1_000_000


def place(slot: Slot) -> bytes:
    """Where a slot stands in every list: by start, then clinic, practitioner and offer. Compared byte by byte."""
    return place_at(slot.start.timestamp(), slot.clinic_id.bytes + slot.practitioner_id.bytes + slot.offer_id.bytes)


def place_at(start: float, ids: bytes) -> bytes:
    """The same, for those who make many: `start` in seconds since 1970, and the ids of clinic, practitioner, offer."""
    return round(start * _MICROSECOND).to_bytes(8, "big") + ids


def one_each(
    slots: Sequence[Slot],
    kept: Mapping[UUID, Sequence[Span]],
    turns: Mapping[UUID, Turn],
    zones: Mapping[UUID, str],
) -> list[Slot]:
    """One slot for each clinic and start: the practitioner with fewest bookings that day, then longest unused."""
    days: Counter[tuple[UUID, date]] = Counter()
    rank = {id: (turn.last_given_at or _EPOCH, str(id)) for id, turn in turns.items()}
    zone_of = {slot.practitioner_id: ZoneInfo(zones[slot.clinic_id]) for slot in slots}
    for practitioner_id, spans in kept.items():
        for span in spans:
            days[practitioner_id, span.start.astimezone(zone_of[practitioner_id]).date()] += 1
    best: dict[tuple[UUID, datetime], tuple[tuple[int, datetime, str], Slot]] = {}
    for slot in slots:
        id = slot.practitioner_id
        turn = (days[id, slot.start.astimezone(zone_of[id]).date()], *rank.get(id, (_EPOCH, str(id))))
        where = (slot.clinic_id, slot.span.start)
        if where not in best or turn < best[where][0]:
            best[where] = (turn, slot)
    return [slot for _, slot in best.values()]


def nearest(availability: Availability, wanted: Slot, count: int) -> tuple[Slot, ...]:
    """The free times nearest to a lost one, each at another start; the same practitioner's first."""
    by_start: dict[datetime, Slot] = {}
    for slot in availability.slots:
        start = slot.span.start
        if start not in by_start or slot.practitioner_id == wanted.practitioner_id:
            by_start[start] = slot
    nearest_first = sorted(by_start, key=lambda start: (abs(start - wanted.span.start), start))
    return tuple(by_start[start] for start in nearest_first[:count])
