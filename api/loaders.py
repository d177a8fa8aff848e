"""Look-ups of one operation, collected and asked for in one statement each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

from aiodataloader import DataLoader

from domain.availability import SourceStatus
from domain.booking import Booking, BookingStep
from domain.catalogue import ClinicTreatment
from domain.clinic import Area, Clinic
from domain.offer import Offer
from domain.pages import Page, PageRequest
from domain.ports import BookingReads, Catalogue
from domain.practitioner import Practitioner
from domain.treatment import Treatment
from domain.usecases.see_sources import SeeSources

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicList:
    """One clinic's list, as one field asks for it; the same question for other clinics is the same statement.

    `page` is None where the number of items is asked for.
    """

    clinic_id: UUID
    treatment_id: UUID | None = None
    page: PageRequest | None = None

    @property
    def question(self) -> tuple[UUID | None, PageRequest | None]:
        return self.treatment_id, self.page

    def at(self, page: PageRequest) -> "ClinicList":
        return replace(self, page=page)


class ByKeyLoader(DataLoader[K, V | None], Generic[K, V]):
    """Things by key; None for a key that finds nothing."""

    def __init__(self, find: Callable[[list[K]], Awaitable[Mapping[K, V]]]) -> None:
        super().__init__()
        self._find = find

    async def batch_load_fn(self, keys: list[K]) -> list[V | None]:
        found = await self._find(keys)
        return [found.get(key) for key in keys]


class ClinicListLoader(DataLoader[ClinicList, V], Generic[V]):
    """Lists of many clinics: one statement for each question that is asked, all of them at once."""

    def __init__(
        self,
        find: Callable[[Sequence[UUID], UUID | None, PageRequest | None], Awaitable[Mapping[UUID, V]]],
        empty: Callable[[], V],
    ) -> None:
        super().__init__()
        self._find = find
        self._empty = empty

    async def batch_load_fn(self, keys: list[ClinicList]) -> list[V]:
        questions = _grouped(keys)
        answers = await asyncio.gather(
            *(self._find(clinic_ids, *question) for question, clinic_ids in questions.items())
        )
        found = dict(zip(questions, answers, strict=True))
        return [found[key.question].get(key.clinic_id) or self._empty() for key in keys]


def _grouped(keys: Iterable[ClinicList]) -> dict[tuple[UUID | None, PageRequest | None], list[UUID]]:
    questions: dict[tuple[UUID | None, PageRequest | None], list[UUID]] = {}
    for key in keys:
        questions.setdefault(key.question, []).append(key.clinic_id)
    return questions


def _no_page() -> Page[Any]:
    return Page(items=(), keys=())


class Loaders:
    """Made anew for every operation, so nothing is ever remembered past it, nor shared between viewers.

    Each loader is made when first asked for. `shown` keeps what has been built for the answer, by type and id: a
    clinic that a thousand offers lead to is built once.
    """

    def __init__(
        self, catalogue: Catalogue, booking_reads: BookingReads, see_sources: SeeSources, tenant_id: str
    ) -> None:
        self._catalogue = catalogue
        self._see_sources = see_sources
        self._booking_reads = booking_reads
        self._tenant_id = tenant_id
        self.shown: dict[tuple[type, UUID], Any] = {}

    def anew(self) -> "Loaders":
        """The same look-ups, with nothing remembered."""
        return Loaders(self._catalogue, self._booking_reads, self._see_sources, self._tenant_id)

    @cached_property
    def area(self) -> ByKeyLoader[UUID, Area]:
        return ByKeyLoader(lambda ids: self._catalogue.areas_by_id(self._tenant_id, ids))

    @cached_property
    def clinic(self) -> ByKeyLoader[UUID, Clinic]:
        return ByKeyLoader(lambda ids: self._catalogue.clinics_by_id(self._tenant_id, ids))

    @cached_property
    def clinic_by_slug(self) -> ByKeyLoader[str, Clinic]:
        return ByKeyLoader(lambda slugs: self._catalogue.clinics_by_slug(self._tenant_id, slugs))

    @cached_property
    def treatment(self) -> ByKeyLoader[UUID, Treatment]:
        return ByKeyLoader(lambda ids: self._catalogue.treatments_by_id(self._tenant_id, ids))

    @cached_property
    def treatment_by_code(self) -> ByKeyLoader[str, Treatment]:
        return ByKeyLoader(lambda codes: self._catalogue.treatments_by_code(self._tenant_id, codes))

    @cached_property
    def practitioner(self) -> ByKeyLoader[UUID, Practitioner]:
        return ByKeyLoader(lambda ids: self._catalogue.practitioners_by_id(self._tenant_id, ids))

    @cached_property
    def offer(self) -> ByKeyLoader[UUID, Offer]:
        return ByKeyLoader(lambda ids: self._catalogue.offers_by_id(self._tenant_id, ids))

    @cached_property
    def booking(self) -> ByKeyLoader[UUID, Booking]:
        return ByKeyLoader(lambda ids: self._booking_reads.get(self._tenant_id, ids))

    @cached_property
    def steps(self) -> ByKeyLoader[UUID, list[BookingStep]]:
        """The history of each booking; None for one without."""
        return ByKeyLoader(lambda ids: self._booking_reads.steps(self._tenant_id, ids))

    @cached_property
    def source(self) -> ByKeyLoader[str, SourceStatus]:
        """Whether a record system answers now, by endpoint id; all of them asked at once."""
        return ByKeyLoader(lambda ids: self._see_sources(self._tenant_id, ids))

    @cached_property
    def treatments_of_clinic(self) -> ClinicListLoader[Page[ClinicTreatment]]:
        return ClinicListLoader(
            lambda ids, _, page: self._catalogue.treatments_of_clinics(self._tenant_id, ids, _asked(page)), _no_page
        )

    @cached_property
    def treatment_count_of_clinic(self) -> ClinicListLoader[int]:
        return ClinicListLoader(
            lambda ids, _treatment, _page: self._catalogue.count_treatments_of_clinics(self._tenant_id, ids), int
        )

    @cached_property
    def practitioners_of_clinic(self) -> ClinicListLoader[Page[Practitioner]]:
        return ClinicListLoader(
            lambda ids, treatment_id, page: self._catalogue.practitioners_of_clinics(
                self._tenant_id, ids, treatment_id, _asked(page)
            ),
            _no_page,
        )

    @cached_property
    def practitioner_count_of_clinic(self) -> ClinicListLoader[int]:
        return ClinicListLoader(
            lambda ids, treatment_id, _: self._catalogue.count_practitioners_of_clinics(
                self._tenant_id, ids, treatment_id
            ),
            int,
        )

    @cached_property
    def offers_of_clinic(self) -> ClinicListLoader[Page[Offer]]:
        return ClinicListLoader(
            lambda ids, treatment_id, page: self._catalogue.offers_of_clinics(
                self._tenant_id, ids, treatment_id, _asked(page)
            ),
            _no_page,
        )

    @cached_property
    def offer_count_of_clinic(self) -> ClinicListLoader[int]:
        return ClinicListLoader(
            lambda ids, treatment_id, _: self._catalogue.count_offers_of_clinics(self._tenant_id, ids, treatment_id),
            int,
        )


def _asked(page: PageRequest | None) -> PageRequest:
    if page is None:
        raise ValueError("a list is asked for by the page")
    return page
