"""Free times over any number of clinics and record systems."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from api.errors import BadInput
from api.loaders import ByKeyLoader
from api.schema.allowed import enters, owned
from api.schema.booking import own_booking
from api.schema.cursors import picture_cursor
from api.schema.fields import After, CampaignCode, First, Info, list_size
from api.schema.hold import hold_id_of
from api.schema.ids import parse_id, parse_ids
from api.schema.pages import MOST_IN_CATALOGUE, Connection, Cursors, Edge
from api.schema.place import Weekday  # where it is described; must come before it is used
from api.schema.slot import Slot
from api.schema.source import SourceStatus
from domain import availability as domain
from domain.booking import Booking
from domain.choosing import place
from domain.pages import Page, PageRequest
from domain.rules import rules_of
from domain.slot import Slot as SlotEntity
from domain.watch import MOST_SLOTS, digest_of

if TYPE_CHECKING:
    from api.context import Context


@strawberry.input(description="Which times to look for. Lists that are empty or left out leave that side open.")
class AvailabilitySearch:
    treatment_id: strawberry.ID = strawberry.field(description="What is to be done at the visit.")
    first_day: date = strawberry.field(
        name="from", description="The first of the clinics' own days; what has passed by now is left out."
    )
    last_day: date = strawberry.field(
        name="to", description="The last of the clinics' own days, itself included: at most 31 days with `from`."
    )
    clinic_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only at these; else at every clinic that offers the treatment."
    )
    area_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only at clinics that are listed under one of these."
    )
    practitioner_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET, description="Only with these; else with anybody who offers the treatment."
    )
    weekdays: list[Weekday] | None = strawberry.field(
        default=strawberry.UNSET, description="Only on these days of the week, as they fall at the clinic."
    )
    not_before: time | None = strawberry.field(
        default=strawberry.UNSET, description="Only visits that begin at this time of the clinic's day or later."
    )
    not_after: time | None = strawberry.field(
        default=strawberry.UNSET, description="Only visits that begin at this time of the clinic's day or earlier."
    )
    campaign_code: CampaignCode = strawberry.field(
        default=strawberry.UNSET,
        description="A campaign's code as the patient typed it; one that does not hold changes nothing.",
    )
    any_practitioner: bool | None = strawberry.field(
        default=False,
        description="True leaves the practitioner open: one slot for each clinic and start, with the one whose turn "
        "it is. Give it to `holdSlot` as well.",
    )
    moving_booking_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="Looks for times to move this booking of the signed-in patient to: it does not stand in its own "
        "way, and only its own record system is asked.",
    )


def parsed(search: AvailabilitySearch, moving: Booking | None, own: UUID | None) -> domain.Search:
    """Raises `BadInput` for what cannot be meant."""
    if search.last_day < search.first_day:
        raise BadInput("`to` must not lie before `from`.")
    if search.last_day - search.first_day >= domain.LONGEST_SEARCH:
        raise BadInput(f"`from` and `to` may span at most {domain.LONGEST_SEARCH.days} days.")
    if search.first_day.year <= date.min.year:
        raise BadInput("`from` lies before the calendar.")
    if search.last_day.year >= date.max.year:
        raise BadInput("`to` lies beyond the calendar.")
    return domain.Search(
        treatment_id=parse_id(search.treatment_id, "Treatment"),
        first_day=search.first_day,
        last_day=search.last_day,
        clinic_ids=parse_ids(search.clinic_ids or (), "Clinic"),
        area_ids=parse_ids(search.area_ids or (), "Area"),
        practitioner_ids=parse_ids(search.practitioner_ids or (), "Practitioner"),
        weekdays=frozenset(search.weekdays or ()),
        not_before=search.not_before or None,
        not_after=search.not_after or None,
        any_practitioner=bool(search.any_practitioner),
        moving=moving,
        own_ids=(own,) if own else (),
    )


@strawberry.type(description="A free time's place in the list of free times.")
class SlotEdge(Edge[Slot]):
    pass


@strawberry.type(description="Free times, soonest first; at one instant by clinic, then by practitioner.")
class SlotConnection(Connection[Slot, SlotEdge]):
    def edge(self, item: Any, node: Any, cursor: str) -> SlotEdge:
        return SlotEdge(node=node, cursor=cursor)


@strawberry.type(description="A day with free times. Clinics in two zones each count their own day by this date.")
class AvailableDay:
    day: date = strawberry.field(name="date", description="The date on the clinics' walls.")
    slot_count: int = strawberry.field(description="How many times are free that day, over all clinics asked.")
    first: Slot = strawberry.field(description="The earliest of them.")


@strawberry.type(
    description="Free times, and how much of the truth they are: what no source told is never shown as none.",
    directives=[owned("Availability")],
)
class Availability:
    as_of: datetime = strawberry.field(description="When this answer was put together.")
    complete: bool = strawberry.field(
        description="False when a record system did not answer, and nothing that it told before is shown instead: "
        "what is shown is then not all there is. What is STALE is whole."
    )
    sources: list[SourceStatus] = strawberry.field(description="One entry for each record system that was asked.")
    found: strawberry.Private[domain.Availability]
    search: strawberry.Private[domain.Search]

    @classmethod
    def of(cls, found: domain.Availability, search: domain.Search) -> "Availability":
        return cls(
            as_of=found.as_of,
            complete=found.complete,
            sources=[SourceStatus.of(source) for source in found.sources],
            found=found,
            search=search,
        )

    @strawberry.field(
        description="The free times as a list, at most 500 a page.",
        directives=[list_size(assumed_size=100, slicing_arguments=["first"])],
    )
    def slots(self, info: Info, first: First = strawberry.UNSET, after: After = strawberry.UNSET) -> SlotConnection:
        cursors = Cursors.of(info.context, "slots", "start")
        page = _page(
            self.found.slots,
            cursors.request(first, after, strawberry.UNSET, strawberry.UNSET, most=MOST_IN_CATALOGUE),
        )
        built = [self._slot(slot, info.context) for slot in page.items]
        return SlotConnection(page=page, cursors=cursors, built=built)

    @strawberry.field(
        description="The days that have a free time, for a calendar to light up.",
        directives=[list_size(assumed_size=31, slicing_arguments=[], sized_fields=[])],
    )
    def days(self, info: Info) -> list[AvailableDay]:
        counts: dict[date, int] = {}
        firsts: dict[date, SlotEntity] = {}
        for slot in self.found.slots:
            day = slot.start.date()
            if day not in firsts:
                firsts[day], counts[day] = slot, 0
            counts[day] += 1
        return [
            AvailableDay(day=day, slot_count=counts[day], first=self._slot(firsts[day], info.context))
            for day in sorted(firsts)
        ]

    @strawberry.field(
        description="The first free time from the first day on, also beyond the last day of the search; null when none "
        "is known within about three months."
    )
    async def next_available(self, info: Info) -> Slot | None:
        slot = await info.context.use.find_slots.next(info.context.tenant, self.search, self.found)
        return self._slot(slot, info.context) if slot else None

    @strawberry.field(
        description="Which times these are: give it to `slotChanges` as `after`, to go on from here without a gap."
    )
    def cursor(self, info: Info) -> str:
        return picture_cursor(info.context, digest_of(self.found.slots[:MOST_SLOTS]))

    def _slot(self, slot: SlotEntity, context: "Context") -> Slot:
        return Slot.of(slot, context, self.found.told_at.get(slot.endpoint_id, self.as_of))


def _page(slots: Sequence[SlotEntity], request: PageRequest) -> Page[SlotEntity]:
    """Pages by a slot's own place, so that a time taken between two pages shifts nothing."""
    begin = bisect_right(slots, bytes.fromhex(str(request.after[0])), key=place) if request.after else 0
    shown = slots[begin : begin + request.size]
    return Page(
        items=shown,
        keys=[(place(slot).hex(),) for slot in shown],
        has_next=begin + len(shown) < len(slots),
        has_previous=begin > 0,
    )


async def search_availability(context: "Context", search: AvailabilitySearch, hold_token: str | None) -> Availability:
    """Raises `BadInput`; a booking to move that is not the viewer's is one of those."""
    wanted = await searched_for(context, search, hold_token)
    return Availability.of(await context.use.find_slots(context.tenant, wanted), wanted)


async def searched_for(context: "Context", search: AvailabilitySearch, hold_token: str | None) -> domain.Search:
    """What is meant, checked to be there. Raises `BadInput`."""
    own = hold_id_of(context, hold_token) if hold_token else None
    wanted = parsed(search, None, own)
    await _check_known(context, wanted)
    if not search.moving_booking_id:
        return wanted
    return replace(wanted, moving=await _movable(context, search.moving_booking_id, wanted.treatment_id))


async def _check_known(context: "Context", search: domain.Search) -> None:
    """What is asked for must exist: an empty answer would look like "no times"."""
    loaders = context.loaders
    asked: list[tuple[str, ByKeyLoader[UUID, Any], tuple[UUID, ...]]] = [
        ("treatmentId", loaders.treatment, (search.treatment_id,)),
        ("clinicIds", loaders.clinic, search.clinic_ids),
        ("areaIds", loaders.area, search.area_ids),
        ("practitionerIds", loaders.practitioner, search.practitioner_ids),
    ]
    found = await asyncio.gather(*(loader.load_many(list(ids)) for _, loader, ids in asked))
    for (name, _, _), things in zip(asked, found, strict=True):
        if None in things:
            raise BadInput(f"`{name}` names something that is not there.")


async def _movable(context: "Context", id: strawberry.ID, treatment_id: UUID) -> Booking:
    """Only times that can be held are offered: for a booking that may not be moved there are none."""
    own = await own_booking(context, parse_id(id, "Booking"))
    if own is None:
        raise BadInput("`movingBookingId` is not a booking of the signed-in patient that is known at this moment.")
    booking = own.booking
    clinic = await context.loaders.clinic.load(booking.slot.clinic_id)
    rules = rules_of(context.tenant.rules, clinic.rules) if clinic else booking.rules
    if booking.slot.treatment_id != treatment_id:
        raise BadInput("`movingBookingId` is a booking of another treatment.")
    if refusal := own.rescheduling(rules, context.clock.now()).refusal:
        raise BadInput(f"The booking of `movingBookingId` cannot be moved: {refusal}.")
    return booking


HoldTokenArgument = Annotated[
    str | None,
    strawberry.argument(description="The visitor's present hold, whose time is shown as free."),
]


@strawberry.type
class AvailabilityQueries:
    @strawberry.field(
        extensions=[enters("Availability")],
        description="Free times at any clinics, in any record systems, in one question. Each system has a deadline; "
        "one that misses it is told in `sources` and delays nobody. Null only beside an error.",
    )
    async def availability(
        self,
        info: Info,
        search: Annotated[AvailabilitySearch, strawberry.argument(description="Which times to look for.")],
        hold_token: HoldTokenArgument = strawberry.UNSET,
    ) -> Availability | None:
        return await search_availability(info.context, search, hold_token or None)
