"""Where record systems send word that something has changed."""

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.errors import RateLimited
from api.limits import Limits
from domain.usecases import UseCases
from domain.usecases.hear_notification import Delivery, Verdict

MOST_BYTES = 1024 * 1024
"""Of one notification; a Bundle of a hundred changed Slots is a twentieth of it."""

PATH = "/webhooks/ehr/{tenant}/{endpoint}"

ANSWERS = {
    Verdict.TAKEN: (202, "TAKEN", "Thank you: it is being looked into."),
    Verdict.UNSIGNED: (401, "UNSIGNED", "No such endpoint, or without its secret or signature."),
    Verdict.UNREADABLE: (400, "UNREADABLE", "Not a notification that can be read."),
    Verdict.REPLAYED: (409, "REPLAYED", "It was sent before, or is too old to be news."),
}
TOO_LARGE = (413, "TOO_LARGE", f"A notification may have {MOST_BYTES} bytes.")


def hook_url(base_url: str, tenant_id: str, endpoint_id: str) -> str:
    return base_url + PATH.format(tenant=tenant_id, endpoint=endpoint_id)


def webhook_route(use: UseCases, limits: Limits) -> Route:
    """Looks into it after it has answered: what sends it waits for nobody."""

    async def hear(request: Request) -> Response:
        try:
            await limits.webhook(request)
        except RateLimited as refused:
            return _too_many(refused)
        body = await _body(request)
        if body is None:
            return _answer(TOO_LARGE)
        headers, place = request.headers, (request.path_params["tenant"], request.path_params["endpoint"])
        delivery = Delivery(
            authorization=headers.get("authorization", ""), signature=headers.get("x-signature", ""), body=body
        )
        verdict = await use.hear_notification(*place, delivery)
        response = _answer(ANSWERS[verdict])
        if verdict is Verdict.TAKEN:
            response.background = BackgroundTask(use.follow_ehrs, only=place)
        return response

    return Route(PATH, hear, methods=["POST"])


async def _body(request: Request) -> bytes | None:
    """None for more than may come; no more than that is ever kept."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BYTES:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def _too_many(refused: RateLimited) -> JSONResponse:
    """What was not taken is asked for when the time comes to ask anyway."""
    response = _answer((429, refused.code, "Too many notifications from there: send it again later."))
    response.headers["Retry-After"] = str((refused.extensions or {}).get("retryAfter"))
    return response


def _answer(answer: tuple[int, str, str]) -> JSONResponse:
    status, code, message = answer
    return JSONResponse({"code": code, "message": message}, status_code=status)
