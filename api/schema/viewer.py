"""The signed-in patient: who they are, and what they have booked."""

from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from api.schema.allowed import enters, owned
from api.schema.booking import Booking, PatientBookingConnection
from api.schema.consent import Consent
from api.schema.fields import After, Before, First, Info, Last, described_enum, list_size
from api.schema.ids import global_id
from api.schema.pages import MOST_OF_PATIENT, Cursors
from api.schema.scalars import LanguageTag
from api.schema.signed_in import RequiresPatient
from api.schema.source import SourceStatus
from domain import patient as domain
from domain.consent import ConsentKind
from domain.patient import masked_phone
from domain.usecases import sign_in

if TYPE_CHECKING:
    pass


class BookingPeriod(Enum):
    UPCOMING = "UPCOMING"
    PREVIOUS = "PREVIOUS"
    ALL = "ALL"


described_enum(
    BookingPeriod,
    description="Which of the patient's bookings.",
    UPCOMING="Those still to come and still standing, soonest first.",
    PREVIOUS="Those that are over, cancelled or refused, latest first.",
    ALL="Every one of them, latest first.",
)


@strawberry.type(
    description="Who is treated, as the identity provider vouches for them.",
    directives=[owned("Patient"), RequiresPatient()],
)
class Patient:
    id: strawberry.ID = strawberry.field(description="Opaque; for caches only, a patient cannot be fetched by it.")
    name: str = strawberry.field(description="The full name, as it stands with the identity provider.")
    birth_date: date | None = strawberry.field(description="Null when nobody vouches for one; ages are then unknown.")
    masked_national_number: str | None = strawberry.field(
        description="The end of the national number, enough to recognise one's own; null without one, and then nothing "
        "can be booked."
    )
    masked_phone: str | None = strawberry.field(
        description="The end of the number that the patient typed, else of the one given at login, or null."
    )
    email: str | None = strawberry.field(description="As the patient typed it, else as given at login, or null.")
    language: LanguageTag | None = strawberry.field(description="What the patient prefers to read, or null.")

    @classmethod
    def of(cls, patient: domain.Patient) -> "Patient":
        return cls(
            id=global_id("Patient", patient.id),
            name=patient.name,
            birth_date=patient.birth_date,
            masked_national_number=patient.national_id.masked if patient.national_id else None,
            masked_phone=masked_phone(patient.phone),
            email=patient.email,
            language=LanguageTag(patient.language) if patient.language else None,
        )


@strawberry.type(
    description="The signed-in patient's own corner. Nobody else's is ever shown.",
    directives=[owned("Viewer"), RequiresPatient()],
)
class Viewer:
    id: strawberry.ID = strawberry.field(description="Opaque; for caches only.")
    session_expires_at: datetime = strawberry.field(
        description="When the sign-in ends by itself; being active keeps a browser's session up to eight hours."
    )
    source: strawberry.Private[sign_in.Viewer]

    @classmethod
    def of(cls, viewer: sign_in.Viewer) -> "Viewer":
        return cls(
            id=global_id("Viewer", viewer.patient.id),
            session_expires_at=viewer.expires_at,
            source=viewer,
        )

    @strawberry.field(extensions=[enters("Patient")], description="Who is signed in.")
    async def patient(self) -> Patient:
        return Patient.of(self.source.patient)

    @strawberry.field(
        extensions=[enters("Booking")],
        description="What the patient has booked, holds left out: through this service, and whatever else the record "
        "systems have under the national number, by phone say, for a year back. A record system that does not answer "
        "hides nothing that was booked here. At most 50 a page.",
        directives=[list_size()],
    )
    async def bookings(
        self,
        info: Info,
        when: Annotated[
            BookingPeriod | None, strawberry.argument(description="Those to come, those that are over, or all.")
        ] = BookingPeriod.UPCOMING,
        first: First = strawberry.UNSET,
        after: After = strawberry.UNSET,
        last: Last = strawberry.UNSET,
        before: Before = strawberry.UNSET,
    ) -> PatientBookingConnection:
        context, period = info.context, (when or BookingPeriod.UPCOMING).value
        cursors = Cursors.of(context, f"bookings:{self.source.patient.id}", period)
        request = cursors.request(first, after, last, before, most=MOST_OF_PATIENT)
        found = await context.use.find_bookings(context.tenant, self.source.patient, period, request)
        built = [Booking.of_own(own, context) for own in found.page.items]
        sources = [SourceStatus.of(source) for source in found.sources]
        return PatientBookingConnection(page=found.page, cursors=cursors, built=built, sources=sources)

    @strawberry.field(
        extensions=[enters("Consent")],
        description="One of each kind, also those never asked for.",
        directives=[list_size(assumed_size=len(ConsentKind), slicing_arguments=[], sized_fields=[])],
    )
    async def consents(self, info: Info) -> list[Consent]:
        said = await info.context.use.set_consent.all_of(info.context.tenant, self.source.patient)
        return [Consent.of(each) for each in said.values()]


@strawberry.type
class ViewerQueries:
    @strawberry.field(
        extensions=[enters("Viewer")], description="The signed-in patient; null when nobody is signed in."
    )
    async def viewer(self, info: Info) -> Viewer | None:
        viewer = await info.context.viewer()
        return Viewer.of(viewer) if viewer else None
