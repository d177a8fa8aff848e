"""What the patient has agreed to, each kind by itself."""

from datetime import datetime
from typing import Annotated
from uuid import uuid5

import strawberry

from api.schema.allowed import ForOwnFrontends, owned
from api.schema.errors import Refusable, UserError
from api.schema.fields import Info, described_enum
from api.schema.ids import global_id
from api.schema.signed_in import ForPatients, RequiresPatient, signed_in
from domain import consent as domain
from domain.consent import ConsentKind

WHICH_WAY = "Which kind, and which way the patient decided."

described_enum(
    ConsentKind,
    description="What a consent is about; none includes another.",
    TERMS="The tenant's terms, without which nothing is booked. `confirmBooking` notes it, too.",
    PRIVACY="That the privacy notice was read.",
    SMS="Text messages about one's own visits. `confirmBooking` with `smsConfirmation` gives it, too.",
    MARKETING="News and offers.",
)


@strawberry.type(
    description="One kind of consent as it stands. Every answer ever given is kept behind it.",
    directives=[owned("Consent"), RequiresPatient()],
)
class Consent:
    id: strawberry.ID = strawberry.field(description="Opaque; for caches only. The same for each answer of its kind.")
    kind: ConsentKind = strawberry.field(description="What it is about.")
    given: bool = strawberry.field(description="False also where the patient was never asked; `at` is null then.")
    document_version: str | None = strawberry.field(
        description="Of the document that was read; null where there is none, or none was named."
    )
    at: datetime | None = strawberry.field(description="When it was given or withdrawn; null when never asked for.")

    @classmethod
    def of(cls, consent: domain.Consent) -> "Consent":
        return cls(
            id=global_id("Consent", uuid5(consent.patient_id, consent.kind)),
            kind=consent.kind,
            given=consent.given,
            document_version=consent.document_version,
            at=consent.at,
        )


@strawberry.input(description="Yes or no to one kind.")
class SetConsentInput:
    kind: ConsentKind = strawberry.field(description="What it is about.")
    given: bool = strawberry.field(description="True gives it, false withdraws it; either may be said at any time.")
    document_version: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Of what the patient has read. For TERMS the tenant's `termsVersion`, and no other is accepted.",
    )


@strawberry.type(description="What came of `setConsent`.")
class SetConsentPayload:
    consent: Consent | None = strawberry.field(default=None, description="As it stands now; null when it was refused.")
    errors: list[UserError] = strawberry.field(
        default_factory=list, description="Why nothing was noted; empty when it was."
    )


@strawberry.type
class ConsentMutations:
    @strawberry.mutation(
        extensions=[Refusable(), ForPatients(), ForOwnFrontends()],
        description="Give or withdraw one consent. Said again it changes nothing.",
    )
    async def set_consent(
        self,
        info: Info,
        input: Annotated[SetConsentInput, strawberry.argument(description=WHICH_WAY)],
    ) -> SetConsentPayload | None:
        context, viewer = info.context, await signed_in(info)
        said = domain.Consent(
            tenant_id=context.tenant.id,
            patient_id=viewer.patient.id,
            kind=input.kind,
            given=input.given,
            document_version=input.document_version or None,
            language=context.languages[0],
        )
        stands = await context.use.set_consent(context.tenant, await context.actor(), said)
        return SetConsentPayload(consent=Consent.of(stands))
