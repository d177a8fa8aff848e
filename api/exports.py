"""The file of a patient's own data, for that patient alone."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.context import Context
from api.cross_site import followed
from api.errors import CodedError
from api.http import plain_refusal

NEVER_KEPT = {"Cache-Control": "no-store"}
NOT_FOUND = PlainTextResponse("There is no such file of yours, or not any more.\n", 404, NEVER_KEPT)


def export_route(make_context: Callable[[Request, Response, str], Awaitable[Context]]) -> Route:
    """`/exports/{id}.json`, by the session or token of the patient who asked for it; for others it is not there, nor
    for an agency."""

    async def download(request: Request) -> Response:
        try:
            context = await make_context(followed(request), Response(), uuid4().hex)
        except CodedError as refused:
            return plain_refusal(refused)
        viewer = await context.viewer() if context.caller.is_own else None
        if viewer is None:
            return NOT_FOUND
        actor, id = await context.actor(), request.path_params["id"]
        content = await context.use.prepare_export.download(context.tenant, actor, viewer.patient, id)
        if content is None:
            return NOT_FOUND
        headers = {"Content-Disposition": 'attachment; filename="my-data.json"', **NEVER_KEPT}
        return Response(content, media_type="application/json", headers=headers)

    return Route("/exports/{id:uuid}.json", download)
