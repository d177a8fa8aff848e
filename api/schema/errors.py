"""Business refusals as patients and frontends see them: data beside the words, never an exception."""

from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import strawberry
from strawberry.extensions.field_extension import FieldExtension
from strawberry.types.base import StrawberryOptional
from strawberry.types.lazy_type import LazyType

from api.messages import local_time, message
from api.schema.allowed import enters
from api.schema.fields import Info, described_enum
from api.schema.scalars import PhoneNumber
from api.schema.signed_in import ForPatients
from domain.refusals import (
    ChangeNotAllowed,
    ChangeRefusal,
    InvalidInput,
    NotEnoughNotice,
    NotFound,
    PatientDoubleBooked,
    Refusal,
    RefusalCode,
    Refused,
    SlotTaken,
    StaleVersion,
    UpstreamUnavailable,
)

if TYPE_CHECKING:
    from api.schema.booking import Booking
    from api.schema.slot import Slot

described_enum(
    RefusalCode,
    name="UserErrorCode",
    description="Why something was not done. More will come: keep a default branch, and show `message` there.",
    SLOT_TAKEN="The time is gone: held or booked by somebody else, or no longer free in the record system.",
    HOLD_EXPIRED="The held time was kept too long without confirming, and is free for others again.",
    HOLD_NOT_FOUND="The token is of no hold of this tenant, or the hold is used or released.",
    HOLD_LIMIT="Too many times are held by this visitor, from this address or at this clinic.",
    NOT_ENOUGH_NOTICE="The time starts sooner than the clinic's minimum notice allows, or has started.",
    TOO_YOUNG="The patient has not reached the clinic's minimum age on the day of the visit.",
    AGE_UNKNOWN="The clinic has a minimum age, and the login vouches for no birth date.",
    PATIENT_DOUBLE_BOOKED="The patient has another visit at that time, at any clinic of the group.",
    CLINIC_CLOSED="The clinic takes no bookings here, now or at all.",
    TREATMENT_NOT_OFFERED="Nobody offers that treatment there, or with that practitioner, any more.",
    CAMPAIGN_INVALID="The code does not hold for this: unknown, not now, not here or used up.",
    CAMPAIGN_EXHAUSTED="The campaign's last use was taken while this one was on its way.",
    TERMS_NOT_ACCEPTED="The accepted version is not the tenant's `termsVersion`: show the terms and ask again.",
    NATIONAL_ID_REQUIRED="The login vouches for no national identity number, which the clinic needs.",
    CHANGE_NOT_ALLOWED="The booking cannot be moved or cancelled here; `refusal` tells why.",
    STALE_VERSION="The booking has changed since the version that was sent: show it anew.",
    UPSTREAM_UNAVAILABLE="The record system could not be reached, and surely nothing was changed there.",
    REJECTED_BY_EHR="The record system said no, for a reason of its own.",
    IDEMPOTENCY_KEY_REUSED="The key was used before with another input: make a new key for each new intent.",
    IN_PROGRESS="The same request is still being worked on: ask again with the same key shortly.",
    INVALID_INPUT="A value in the input cannot be used; `path` tells which.",
    NOT_FOUND="What the input refers to is not there, or not the viewer's.",
)
described_enum(
    ChangeRefusal,
    description="Why a booking cannot be moved or cancelled here. More will come: keep a default branch.",
    NOT_ALLOWED="The clinic never lets patients do this online, or the booking is in no state for it.",
    TOO_LATE="The visit is closer than the clinic's hours before start.",
    GRACE_OVER="The clinic's hours after booking have passed.",
    COUNT_EXCEEDED="The patient has moved it as often as the clinic allows.",
    ALREADY_STARTED="The visit's start has passed.",
    EHR_OFFLINE="The record system does not answer now: try again later.",
    MANAGED_EXTERNALLY="It was booked past this API, and is changed where it was made.",
)


@strawberry.interface(
    description="Why something was not done. Every implementation is named `…Error`; some carry more to go on with."
)
class UserError:
    code: RefusalCode = strawberry.field(description="Stable, for programs: what to do next depends on it.")
    message: str = strawberry.field(description="For the patient, in the reader's language; the wording may change.")
    path: list[str] | None = strawberry.field(
        default=None,
        description="Which value of the input it is about, outermost name first; null when about no single one.",
    )


@strawberry.type(description="A refusal that its code and message say all about.")
class SimpleError(UserError): ...


@strawberry.type(description="The time went to somebody else.")
class SlotTakenError(UserError):
    alternatives: list[Annotated["Slot", strawberry.lazy("api.schema.slot")]] = strawberry.field(
        description="The three nearest free times, each of which can be held; fewer when there are fewer."
    )


@strawberry.type(description="The clinic's rules do not let the patient change this booking here.")
class ChangeNotAllowedError(UserError):
    refusal: ChangeRefusal = strawberry.field(description="Which of the rules it was.")
    clinic_phone: PhoneNumber | None = strawberry.field(
        description="Where to call instead; null when the clinic has told no number."
    )


@strawberry.type(description="The patient is busy at that time.")
class PatientDoubleBookedError(UserError):
    other: Annotated["Booking", strawberry.lazy("api.schema.booking")] | None = strawberry.field(
        extensions=[ForPatients(), enters("Booking")],
        description="The patient's visit in the way; null when it cannot be shown.",
    )
    may_proceed: bool = strawberry.field(
        description="True: the tenant only warns, and `acceptDoubleBooking` goes on. False: it is final."
    )


@strawberry.type(description="The booking is not what the client believed it to be.")
class StaleVersionError(UserError):
    current: Annotated["Booking", strawberry.lazy("api.schema.booking")] | None = strawberry.field(
        extensions=[ForPatients(), enters("Booking")],
        description="As it is now, with the version to send next; null when it cannot be shown.",
    )


@strawberry.type(description="The clinic's record system gave no answer, and surely nothing was changed there.")
class UpstreamUnavailableError(UserError):
    retry_after: timedelta | None = strawberry.field(
        description="How long it asked to be left alone; null when it did not say."
    )


def user_error(refusal: Refusal, info: Info, *, zone: ZoneInfo | None = None) -> UserError:
    """`zone` is the clinic's, where it is known: a time in the message is on that clinic's wall."""
    told: dict[str, Any] = {"code": refusal.code, "message": _words(refusal, info.context.languages, zone)}
    match refusal:
        case SlotTaken():
            from api.schema.slot import Slot

            return SlotTakenError(**told, alternatives=[Slot.of(slot, info.context) for slot in refusal.alternatives])
        case PatientDoubleBooked():
            from api.schema.booking import Booking

            return PatientDoubleBookedError(
                **told, other=Booking.of(refusal.other, info.context), may_proceed=refusal.may_proceed
            )
        case StaleVersion():
            from api.schema.booking import Booking

            return StaleVersionError(**told, current=Booking.of(refusal.current, info.context))
        case ChangeNotAllowed():
            return ChangeNotAllowedError(**told, refusal=refusal.refusal, clinic_phone=refusal.clinic_phone)
        case UpstreamUnavailable():
            return UpstreamUnavailableError(**told, retry_after=refusal.retry_after)
        case InvalidInput() | NotFound():
            told["path"] = list(refusal.path) or None
    return SimpleError(**told)


def _words(refusal: Refusal, languages: tuple[str, ...], zone: ZoneInfo | None) -> str:
    match refusal:
        case ChangeNotAllowed(refusal=reason, clinic_phone=phone):
            call = f" {message('CALL_THE_CLINIC', languages, phone=phone)}" if phone else ""
            return message(reason, languages) + call
        case NotEnoughNotice(earliest=earliest) if zone:
            return message("NOT_ENOUGH_NOTICE_BEFORE", languages, earliest=local_time(earliest, zone, languages))
        case InvalidInput(hint=hint) if hint:
            return f"{message(refusal.code, languages)} ({hint})"
    return message(refusal.code, languages, **{f.name: getattr(refusal, f.name) for f in fields(refusal)})


class Refusable(FieldExtension):
    """Answers a mutation's payload with `errors` when the use case refuses.

    The payload is a type whose every other field has a default. An outage is not caught: it stays a top-level error.
    """

    async def resolve_async(
        self, next_: Callable[..., Awaitable[Any]], source: Any, info: Any, **arguments: Any
    ) -> Any:
        try:
            return await next_(source, info, **arguments)
        except Refused as refused:
            errors = [user_error(refusal, info) for refusal in refused.refusals]
            return _payload_type(info.return_type)(errors=errors)


def _payload_type(type_: Any) -> Any:
    while isinstance(type_, StrawberryOptional | LazyType):
        type_ = type_.of_type if isinstance(type_, StrawberryOptional) else type_.resolve_type()
    return type_


ERROR_TYPES = (
    SimpleError,
    SlotTakenError,
    ChangeNotAllowedError,
    PatientDoubleBookedError,
    StaleVersionError,
    UpstreamUnavailableError,
)
"""For `Schema(types=…)`: no field leads to them but by their interface."""
