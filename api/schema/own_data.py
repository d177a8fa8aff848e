"""The patient's own data: all of it to take along, or gone."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

import strawberry

from api.messages import local_time, message
from api.schema.allowed import ForOwnFrontends
from api.schema.errors import Refusable, UserError
from api.schema.fields import Info
from api.schema.hold import checked_key, input_hash
from api.schema.scalars import URL
from api.schema.signed_in import FRESH_MINUTES, ForPatients, signed_in
from api.scopes import scope_of
from domain.booking import Booking
from domain.usecases.prepare_export import ExportRequest

if TYPE_CHECKING:
    from api.context import Context


FOR_GOOD = "The wish, which cannot be taken back."


@strawberry.input(description="A wish for everything that is kept of the patient.")
class RequestDataExportInput:
    idempotency_key: strawberry.ID = strawberry.field(
        description="A new UUID for each wish. Sent again it gives the same file, for as long as that is kept."
    )


@strawberry.type(description="What came of `requestDataExport`.")
class RequestDataExportPayload:
    download_url: URL | None = strawberry.field(
        default=None,
        description="A JSON file, fetched by GET with the patient's own sign-in and by nobody else, for 24 hours. The "
        "login must be as fresh as for asking: later it is 403, and a line for each way to sign in anew.",
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why nothing was prepared; empty when it was."
    )


@strawberry.input(description="A wish to be forgotten.")
class EraseMyDataInput:
    idempotency_key: strawberry.ID = strawberry.field(
        description="A new UUID. It is not remembered: once it is done nobody is signed in who could repeat it."
    )


@strawberry.type(description="What came of `eraseMyData`.")
class EraseMyDataPayload:
    erased: bool = strawberry.field(
        default=False,
        description="True: the patient is gone, and so is every sign-in of theirs. Whoever signs in again is new here.",
    )
    not_erased: list[str] = strawberry.field(
        default_factory=list,
        description="What is left and why, for the patient, in the reader's language. Empty when nothing was erased.",
    )
    errors: list[UserError] = strawberry.field(
        default_factory=list,
        description="Why nothing was erased: IN_PROGRESS while a record system owes an answer about a booking.",
    )


@strawberry.type
class OwnDataMutations:
    @strawberry.mutation(
        extensions=[Refusable(), ForPatients(FRESH_MINUTES), ForOwnFrontends()],
        description="Prepare everything that is kept of the patient here, machine-readable. What clinics have in "
        "their own records is told by them.",
    )
    async def request_data_export(
        self,
        info: Info,
        input: Annotated[RequestDataExportInput, strawberry.argument(description="The wish, named by its key.")],
    ) -> RequestDataExportPayload | None:
        context, viewer = info.context, await signed_in(info)
        key = checked_key(input.idempotency_key)
        request = ExportRequest(
            scope=await scope_of(context, key),
            key=key,
            input_hash=input_hash(input),
            notes=[message("EXPORT_WITHOUT_RECORDS", context.languages)],
        )
        export = await context.use.prepare_export(context.tenant, await context.actor(), viewer.patient, request)
        return RequestDataExportPayload(download_url=export_url(context, export.id))

    @strawberry.mutation(
        extensions=[Refusable(), ForPatients(FRESH_MINUTES), ForOwnFrontends()],
        description="Erase the patient: who they are, what they agreed to, what they held and wrote, and every "
        "sign-in. Bookings stay as times that were used, nobody's. Visits still to come are not cancelled by it.",
    )
    async def erase_my_data(
        self,
        info: Info,
        input: Annotated[EraseMyDataInput, strawberry.argument(description=FOR_GOOD)],
    ) -> EraseMyDataPayload | None:
        context, viewer = info.context, await signed_in(info)
        checked_key(input.idempotency_key)
        erased = await context.use.erase_patient(context.tenant, await context.actor(), viewer.patient)
        told = [
            message(code, context.languages) for code in ("LEFT_IN_RECORDS", "LEFT_IN_THE_TRAIL", "LEFT_FOR_A_MONTH")
        ]
        standing = [await _visit_that_stands(each, context) for each in erased.standing]
        return EraseMyDataPayload(erased=True, not_erased=[*standing, *told])


async def _visit_that_stands(booking: Booking, context: "Context") -> str:
    slot = booking.slot
    clinic = await context.loaders.clinic.load(slot.clinic_id)
    when = local_time(slot.start, ZoneInfo(slot.time_zone), context.languages)
    if clinic is None:
        return message("LEFT_STANDING", context.languages, when=when)
    return message("LEFT_STANDING_AT", context.languages, when=when, clinic=clinic.name)


def export_url(context: "Context", id: UUID) -> URL:
    """It names nobody, and opens for nobody but who asked for it."""
    return URL(f"{context.public_url}/exports/{id}.json?tenant={context.tenant.slug}")
