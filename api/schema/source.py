"""How much a record system's part of an answer can be trusted."""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from api.schema.allowed import enters
from api.schema.fields import Info, described_enum
from api.schema.node import find
from domain import availability as domain

if TYPE_CHECKING:
    from api.schema.clinic import Clinic

described_enum(
    domain.SourceState,
    description="Whether a record system answered.",
    OK="It answered just now, and what is shown is all it has.",
    STALE="What is shown is what it said at `asOf`, and all of that; a newer answer is being asked for.",
    TIMEOUT="It did not answer within the deadline: there may be more than is shown.",
    OFFLINE="It could not be reached, or said that it cannot answer: there may be more than is shown.",
)


@strawberry.type(description="One record system's part in an answer, told by the clinics whose calendars it keeps.")
class SourceStatus:
    state: domain.SourceState = strawberry.field(description="Whether it answered, and how freshly.")
    as_of: datetime | None = strawberry.field(description="When it last said what is shown; null when it said nothing.")
    reason: str | None = strawberry.field(
        description="Why it did not answer, as a stable word: TIMEOUT, OFFLINE, BUSY (too many calls of ours), "
        "RATE_LIMITED or CIRCUIT_OPEN (left alone after it failed again and again); null when it did. More may come."
    )
    retry_after: timedelta | None = strawberry.field(
        description="How long it is left alone, since it asked for that or failed too often; null when nobody can say."
    )
    clinic_ids: strawberry.Private[tuple[UUID, ...]]

    @classmethod
    def of(cls, status: domain.SourceStatus) -> "SourceStatus":
        return cls(
            state=status.state,
            as_of=status.as_of,
            reason=status.reason,
            retry_after=status.retry_after,
            clinic_ids=status.clinic_ids,
        )

    @strawberry.field(
        extensions=[enters("Clinic")], description="The clinics of the question whose calendars this system keeps."
    )
    async def clinics(self, info: Info) -> list[Annotated["Clinic", strawberry.lazy("api.schema.clinic")]]:
        found = await asyncio.gather(*(find("Clinic", info.context, id) for id in self.clinic_ids))
        return [clinic for clinic in found if clinic is not None]
