"""Pages of a list that lies partly in the store, and partly elsewhere, by start and id."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from domain.pages import Key, Page, PageRequest

T = TypeVar("T")


class Place(NamedTuple):
    """As the store sorts: by instant, then by id as it is written."""

    start: datetime
    id: str

    @classmethod
    def at(cls, start: datetime, id: UUID) -> "Place":
        return cls(start.astimezone(UTC), str(id))

    @classmethod
    def of(cls, key: Key) -> "Place":
        start, id = key
        return cls(datetime.fromisoformat(str(start)), str(id))

    @property
    def key(self) -> Key:
        return self.start.isoformat(), self.id


def merged(page: Page[T], others: Mapping[Place, T], request: PageRequest, *, descending: bool) -> Page[T]:
    """The page that the store would have found, had it had the others too.

    What it left out for want of room lies beyond its own items, so nothing of that can belong here.
    """
    places = {Place.of(key): item for key, item in zip(page.keys, page.items, strict=True)}
    places |= {place: item for place, item in others.items() if _within(place, request, descending)}
    order = sorted(places, reverse=descending)
    first = max(len(order) - request.size, 0) if request.backward else 0
    taken = order[first : first + request.size]
    more = len(taken) < len(order)
    return replace(
        page,
        items=[places[place] for place in taken],
        keys=[place.key for place in taken],
        has_next=page.has_next or (more and not request.backward),
        has_previous=page.has_previous or (more and request.backward),
    )


def _within(place: Place, request: PageRequest, descending: bool) -> bool:
    """Only what lies after `after` and before `before`."""
    after = Place.of(request.after) if request.after else None
    before = Place.of(request.before) if request.before else None
    if descending:
        after, before = before, after
    return (after is None or place > after) and (before is None or place < before)
