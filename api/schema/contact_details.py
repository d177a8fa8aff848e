"""How the patient wants to be reached."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import strawberry

from api.schema.allowed import ForOwnFrontends
from api.schema.errors import Refusable, UserError
from api.schema.fields import Info
from api.schema.scalars import LanguageTag, PhoneNumber
from api.schema.signed_in import ForPatients, signed_in
from api.schema.viewer import Patient
from domain.refusals import InvalidInput, Refusal, Refused

if TYPE_CHECKING:
    from api.context import Context

EMAIL = re.compile(r"[^\s@\x00-\x1f\x7f<>(),;:\\\"]{1,64}@[^\s@\x00-\x20\x7f<>(),;:\\\"_]+\.[^\s@.\x00-\x20]{2,63}")
LONGEST_EMAIL = 254
"""Characters, by RFC 5321. Whether anybody reads it only a message would tell."""

E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
"""At most fifteen digits, and none that no network could have given out."""


@strawberry.input(
    description="What the patient types. What is absent stays as it is; null takes away, and no login brings it back."
)
class UpdateContactDetailsInput:
    phone: PhoneNumber | None = strawberry.field(
        default=strawberry.UNSET, description="With the country's code, by E.164."
    )
    email: str | None = strawberry.field(default=strawberry.UNSET, description="One address, without a name.")
    language: LanguageTag | None = strawberry.field(
        default=strawberry.UNSET, description="What to write to the patient in: one of the tenant's `languages`."
    )


@strawberry.type(description="What came of `updateContactDetails`.")
class UpdateContactDetailsPayload:
    patient: Patient | None = strawberry.field(default=None, description="As they stand now; null when refused.")
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Everything that must be put right; nothing is changed meanwhile."
    )


def _typed(given: UpdateContactDetailsInput, context: "Context") -> Mapping[str, str | None]:
    """Raises `Refused`."""
    said = {name: getattr(given, name) for name in ("phone", "email", "language")}
    typed = {
        name: (str(value).strip() or None) if value else None
        for name, value in said.items()
        if value is not strawberry.UNSET
    }
    wrong: list[Refusal] = []
    if (phone := typed.get("phone")) and not E164.fullmatch(phone):
        wrong.append(InvalidInput(("input", "phone"), "between 7 and 15 digits after the plus sign"))
    if (email := typed.get("email")) and not (len(email) <= LONGEST_EMAIL and EMAIL.fullmatch(email)):
        wrong.append(InvalidInput(("input", "email"), "an address such as kari@example.org"))
    if (language := typed.get("language")) and language not in context.tenant.languages:
        wrong.append(InvalidInput(("input", "language"), f"one of {', '.join(context.tenant.languages)}"))
    if wrong:
        raise Refused(*wrong)
    return typed


@strawberry.type
class ContactMutations:
    @strawberry.mutation(
        extensions=[Refusable(), ForPatients(), ForOwnFrontends()],
        description="Change how the patient is reached. Name, birth date and number stay as the login vouches for "
        "them. What the clinic has in its own records is not changed.",
    )
    async def update_contact_details(
        self,
        info: Info,
        input: Annotated[UpdateContactDetailsInput, strawberry.argument(description="What is different now.")],
    ) -> UpdateContactDetailsPayload | None:
        context, viewer = info.context, await signed_in(info)
        typed = _typed(input, context)
        patient = await context.use.update_contact_details(context.tenant, await context.actor(), viewer.patient, typed)
        return UpdateContactDetailsPayload(patient=Patient.of(patient))
