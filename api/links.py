"""What people follow a link to: a file of their own, or plain words in their language and a way on."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.context import Context
from api.cross_site import followed
from api.errors import CodedError, StepUpRequired, Unauthenticated
from api.http import plain_refusal
from api.messages import message
from api.return_to import first_home, login_url, return_to_allowed
from domain.text import said_in
from domain.usecases.sign_in import Viewer

MakeContext = Callable[[Request, Response, str], Awaitable[Context]]
Answer = Callable[[Request, Context, Viewer], Awaitable[Response | None]]

NEVER_KEPT = {"Cache-Control": "no-store"}


def link(path: str, make_context: MakeContext, answer: Answer) -> Route:
    """For whoever is signed in. `answer` gives None for what is not there, or is somebody else's."""

    async def follow(request: Request) -> Response:
        try:
            context = await make_context(followed(request), Response(), uuid4().hex)
        except CodedError as refused:
            return plain_refusal(refused)
        try:
            viewer = await context.viewer()
            if viewer is None:
                raise Unauthenticated
            found = await answer(request, context, viewer)
        except (StepUpRequired, Unauthenticated) as refused:
            return plain_refusal(_with_a_way_on(refused, context, request.url.path))
        except CodedError as refused:
            return plain_refusal(refused)
        return found or PlainTextResponse(f"{message('NOT_FOUND', context.languages)}\n", 404, NEVER_KEPT)

    return Route(path, follow)


def _with_a_way_on(refused: CodedError, context: Context, path: str) -> CodedError:
    """The code and its words, and a line for each way to sign in, which leads back to the file where it may."""
    tenant, languages = context.tenant, context.languages
    file = f"{context.public_url}{path}?tenant={tenant.slug}"
    back = file if return_to_allowed(tenant, file) else first_home(tenant)
    ways = [
        f"{said_in(each.name, languages) or each.id}: {login_url(context.public_url, tenant, each.id, back)}"
        for each in tenant.identity_providers
        if back
    ]
    return type(refused)("\n".join([f"{refused.code}: {message(refused.code, languages)}", *ways]))
