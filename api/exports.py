"""The file of a patient's own data, for that patient alone."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.context import Context
from api.cross_site import followed
from api.errors import CodedError, StepUpRequired
from api.http import plain_refusal
from api.messages import message
from api.return_to import login_url, return_to_allowed
from api.schema.own_data import export_url
from api.schema.signed_in import check_fresh
from domain.text import said_in

NEVER_KEPT = {"Cache-Control": "no-store"}
NOT_FOUND = PlainTextResponse("There is no such file of yours, or not any more.\n", 404, NEVER_KEPT)


def export_route(make_context: Callable[[Request, Response, str], Awaitable[Context]]) -> Route:
    """`/exports/{id}.json`, by the session or token of the patient who asked for it, with a login as fresh as asking
    for it takes; for others it is not there, nor for an agency."""

    async def download(request: Request) -> Response:
        try:
            context = await make_context(followed(request), Response(), uuid4().hex)
        except CodedError as refused:
            return plain_refusal(refused)
        viewer = await context.viewer() if context.caller.is_own else None
        if viewer is None:
            return NOT_FOUND
        actor, id = await context.actor(), request.path_params["id"]
        try:
            check_fresh(context, viewer)
        except StepUpRequired as stale:
            return plain_refusal(_with_a_way_on(stale, context, id))
        content = await context.use.prepare_export.download(context.tenant, actor, viewer.patient, id)
        if content is None:
            return NOT_FOUND
        headers = {"Content-Disposition": 'attachment; filename="my-data.json"', **NEVER_KEPT}
        return Response(content, media_type="application/json", headers=headers)

    return Route("/exports/{id:uuid}.json", download)


def _with_a_way_on(stale: StepUpRequired, context: Context, id: UUID) -> StepUpRequired:
    """The code and its words, and a line for each way to sign in, which leads back to the file where it may."""
    tenant, languages, file = context.tenant, context.languages, export_url(context, id)
    back = file if return_to_allowed(tenant, file) else next(iter(tenant.return_to), "")
    ways = [
        f"{said_in(each.name, languages) or each.id}: {login_url(context.public_url, tenant, each.id, back)}"
        for each in (tenant.identity_providers if back else ())
    ]
    return StepUpRequired("\n".join([f"{stale.code}: {message(stale.code, languages)}", *ways]))
