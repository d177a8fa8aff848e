"""The file of a patient's own data, for that patient alone."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.context import Context
from api.links import NEVER_KEPT, MakeContext, link
from api.schema.signed_in import check_fresh
from domain.usecases.sign_in import Viewer


def export_route(make_context: MakeContext) -> Route:
    """`/exports/{id}.json`, by the session or token of the patient who asked for it, with a login as fresh as asking
    for it takes; for others it is not there, nor for an agency."""

    async def download(request: Request, context: Context, viewer: Viewer) -> Response | None:
        if not context.caller.is_own:
            return None
        actor, id = await context.actor(), request.path_params["id"]
        check_fresh(context, viewer)
        content = await context.use.prepare_export.download(context.tenant, actor, viewer.patient, id)
        if content is None:
            return None
        headers = {"Content-Disposition": 'attachment; filename="my-data.json"', **NEVER_KEPT}
        return Response(content, media_type="application/json", headers=headers)

    return link("/exports/{id:uuid}.json", make_context, download)
