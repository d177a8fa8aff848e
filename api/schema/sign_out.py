"""Signing out: in this browser, or everywhere at once."""

from typing import Annotated

import strawberry

from api.schema.allowed import ForOwnFrontends
from api.schema.errors import Refusable, UserError
from api.schema.fields import Info
from api.schema.signed_in import ForPatients, signed_in


@strawberry.input(description="Whether only this browser is meant, or everything the patient is signed in with.")
class SignOutInput:
    everywhere: bool | None = strawberry.field(
        default=False,
        description="True: every browser, and every app until it logs in anew. Otherwise this browser alone; an app "
        "then only has to forget its token.",
    )


@strawberry.type(description="What came of `signOut`.")
class SignOutPayload:
    errors: list[UserError] = strawberry.field(default_factory=list, description="Why it was not done; none so far.")


@strawberry.type
class SignOutMutations:
    @strawberry.mutation(
        extensions=[ForPatients(), Refusable(), ForOwnFrontends()],
        description="End the session of this browser, whose cookie goes with the answer. The identity provider is not "
        "told: to sign out there, too, send the browser to `/logout?tenant=&returnTo=` instead.",
    )
    async def sign_out(
        self, info: Info, input: Annotated[SignOutInput, strawberry.argument(description="How far it goes.")]
    ) -> SignOutPayload | None:
        context, viewer = info.context, await signed_in(info)
        if input.everywhere:
            await context.use.sign_out_everywhere(context.tenant, await context.actor(), viewer.patient.id)
        elif context.leaving.secret:
            await context.use.sign_out(context.tenant, context.leaving.secret, context.request_id)
        context.leaving.forget()
        return SignOutPayload()
