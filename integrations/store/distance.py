"""Clinics by distance: a group has too few of them for the database to need to know geometry."""

from collections.abc import Sequence

from domain.clinic import Clinic, GeoPoint
from domain.pages import Key, Page, PageRequest
from integrations.store.paging import NoSuchPlace

NOWHERE_M = 10**9
"""Farther than any place on Earth: where clinics without a position are sorted."""


def nearest_first(clinics: Sequence[Clinic], near: GeoPoint, page: PageRequest) -> Page[Clinic]:
    def key(clinic: Clinic) -> Key:
        metres = clinic.position.metres_to(near) if clinic.position else NOWHERE_M
        return metres, str(clinic.id)

    placed = sorted(((key(clinic), clinic) for clinic in clinics), key=lambda each: each[0])
    after, before = page.after and _place(page.after), page.before and _place(page.before)
    within = [each for each in placed if (not after or each[0] > after) and (not before or each[0] < before)]
    first = max(len(within) - page.size, 0) if page.backward else 0
    shown = within[first : first + page.size]
    return Page(
        items=[clinic for _, clinic in shown],
        keys=[place for place, _ in shown],
        has_next=before is not None if page.backward else len(within) > page.size,
        has_previous=first > 0 if page.backward else after is not None,
    )


def _place(key: Key) -> Key:
    if len(key) != 2 or not isinstance(key[0], int) or not isinstance(key[1], str):
        raise NoSuchPlace("a place in another list")
    return tuple(key)
