"""Whether this process is alive, and whether it should be sent requests."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

log = logging.getLogger(__name__)


def health_routes(
    database_ready: Callable[[], Awaitable[bool]],
    redis_ready: Callable[[], Awaitable[bool | None]],
    dead_jobs: Callable[[], Awaitable[int]],
) -> list[Route]:
    """`/health/ready` fails with the database or its migrations only: without Redis limits are counted apart.

    `/health` says the same, and how many jobs were given up: somebody should look, but requests may be sent.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def looked() -> dict[str, str]:
        try:
            database = await database_ready()
        except Exception:
            log.exception("the database cannot be asked")
            database = False
        redis = await redis_ready()
        told = {True: "ok", False: "down", None: "off"}
        return {"status": "ok" if database else "down", "database": told[database], "redis": told[redis]}

    async def ready(_: Request) -> Response:
        return _answer(await looked())

    async def summary(_: Request) -> Response:
        found = await looked()
        jobs = {"jobs": {"dead": await dead_jobs()}} if found["status"] == "ok" else {}
        return _answer({**found, **jobs})

    return [Route("/health", summary), Route("/health/live", live), Route("/health/ready", ready)]


def _answer(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, status_code=200 if body["status"] == "ok" else 503)
