"""Whether this process is alive, and whether it should be sent requests."""

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

log = logging.getLogger(__name__)


def health_routes(
    database_ready: Callable[[], Awaitable[bool]], redis_ready: Callable[[], Awaitable[bool | None]]
) -> list[Route]:
    """`/health/ready` fails with the database or its migrations only: without Redis limits are counted apart."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        try:
            database = await database_ready()
        except Exception:
            log.exception("the database cannot be asked")
            database = False
        redis = await redis_ready()
        told = {True: "ok", False: "down", None: "off"}
        body = {"status": "ok" if database else "down", "database": told[database], "redis": told[redis]}
        return JSONResponse(body, status_code=200 if database else 503)

    return [Route("/health/live", live), Route("/health/ready", ready)]
