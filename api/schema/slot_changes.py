"""Free times on an open screen: first the whole picture, then what opened and what was taken."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import strawberry

from api.connections import COME_BACK_SECONDS
from api.errors import RateLimited
from api.schema.allowed import enters, owned
from api.schema.availability import Availability, AvailabilitySearch, searched_for
from api.schema.cursors import digest_of_cursor, picture_cursor
from api.schema.fields import Info, list_size
from api.schema.slot import Slot, slot_id
from domain.availability import Search
from domain.usecases.watch_slots import TooManyWatches
from domain.watch import MOST_SLOTS, Step

if TYPE_CHECKING:
    from api.context import Context

AfterCursor = Annotated[
    str | None,
    strawberry.argument(
        description="Where to go on from: the last event's `cursor`, or that of an `availability` for the same search. "
        "What was missed since comes first; where it cannot be told, everything comes anew."
    ),
]


@dataclass(frozen=True, slots=True)
class Shown:
    """One step of a watched search, to be put into an answer for everybody who watches it."""

    step: Step
    search: Search


@strawberry.type(
    description="What is different among the free times that a search finds.", directives=[owned("SlotChanges")]
)
class SlotChanges:
    cursor: str = strawberry.field(description="Give it as `after` to go on from here.")
    resync: bool = strawberry.field(
        description="True: forget what you have, `opened` is everything. So it is at the beginning, after a gap, and "
        "when a record system fell silent, whose times are then unknown rather than taken."
    )
    step: strawberry.Private[Step]
    search: strawberry.Private[Search]

    @classmethod
    def of(cls, shown: Shown, context: "Context") -> "SlotChanges":
        step = shown.step
        cursor = picture_cursor(context, step.digest)
        return cls(cursor=cursor, resync=step.resync, step=step, search=shown.search)

    @strawberry.field(
        description=f"Times that can be held now and could not before. The soonest {MOST_SLOTS} are watched.",
        directives=[list_size(assumed_size=100, slicing_arguments=[], sized_fields=[])],
    )
    def opened(self, info: Info) -> list[Slot]:
        found, context = self.step.found, info.context
        return [Slot.of(each, context, found.told_at.get(each.endpoint_id, found.as_of)) for each in self.step.opened]

    @strawberry.field(
        description="The ids of times that can no longer be held.",
        directives=[list_size(assumed_size=100, slicing_arguments=[], sized_fields=[])],
    )
    def taken(self, info: Info) -> list[strawberry.ID]:
        context = info.context
        return [slot_id(context.signer, context.tenant.id, each) for each in self.step.taken]

    @strawberry.field(description="The same search now: `days`, `complete`, `sources`.")
    def availability(self) -> Availability:
        return Availability.of(self.step.found, self.search)


@strawberry.type
class SlotSubscriptions:
    @strawberry.subscription(
        extensions=[enters("SlotChanges")],
        description="Free times as they come and go in every record system: what opened and what was taken among the "
        "times that the search finds. Without `after` the first event is the whole picture.",
    )
    async def slot_changes(
        self,
        info: Info,
        search: Annotated[AvailabilitySearch, strawberry.argument(description="Which times to watch.")],
        after: AfterCursor = strawberry.UNSET,
    ) -> AsyncGenerator[SlotChanges, None]:
        context = info.context
        if context.shown is not None:
            yield SlotChanges.of(context.shown, context)
            return
        wanted = await searched_for(context, search, None)
        digest = digest_of_cursor(context, after) if after else None
        try:
            async with context.use.watch_slots(context.tenant, wanted, context.owner) as watch:
                context.watches(wanted)
                step: Step | None = watch.begin(digest)
                while step is not None:
                    context.renew_loaders()
                    yield SlotChanges.of(Shown(step, wanted), context)
                    step = await watch.following(step.revision)
                    if step is not None and context.is_behind:
                        step = watch.whole()
        except TooManyWatches:
            told = "Too many different searches are watched: ask again in a while."
            raise RateLimited(told, retryAfter=COME_BACK_SECONDS) from None
