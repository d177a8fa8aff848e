"""Whether this process is alive, and whether it should be sent requests."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

log = logging.getLogger(__name__)


class KeysOpen:
    """Whether every tenant's people can be read. Health is asked for often, so that what was found is remembered for
    `seconds`, as the keys themselves are."""

    def __init__(self, shut: Callable[[], Awaitable[Sequence[str]]], seconds: float) -> None:
        self._shut = shut
        self._seconds = seconds
        self._open = False
        self._until = 0.0

    async def __call__(self) -> bool:
        if monotonic() >= self._until:
            until, shut = monotonic() + self._seconds, await self._shut()
            for each in shut:
                log.error("%s", each)
            self._open, self._until = not shut, until
        return self._open


def health_routes(
    database_ready: Callable[[], Awaitable[bool]],
    keys_open: Callable[[], Awaitable[bool]],
    redis_ready: Callable[[], Awaitable[bool | None]],
    dead_jobs: Callable[[], Awaitable[int]],
) -> list[Route]:
    """`/health/ready` fails with the database, its migrations or the master keys: without Redis limits are
    counted apart.

    `/health` says the same, and how many jobs were given up: somebody should look, but requests may be sent.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    looked = partial(_looked, database_ready, keys_open, redis_ready)

    async def ready(_: Request) -> Response:
        return _answer(await looked())

    async def summary(_: Request) -> Response:
        found = await looked()
        jobs = {"jobs": {"dead": await dead_jobs()}} if found["status"] == "ok" else {}
        return _answer({**found, **jobs})

    return [Route("/health", summary), Route("/health/live", live), Route("/health/ready", ready)]


async def _looked(
    database_ready: Callable[[], Awaitable[bool]],
    keys_open: Callable[[], Awaitable[bool]],
    redis_ready: Callable[[], Awaitable[bool | None]],
) -> dict[str, str]:
    database, keys = False, None
    try:
        database = await database_ready()
        keys = await keys_open() if database else None
    except Exception:
        log.exception("the database cannot be asked")
        database = False
    redis = await redis_ready()
    told = {True: "ok", False: "down", None: "off"}
    return {
        "status": "ok" if database and keys else "down",
        "database": told[database],
        "keys": {True: "ok", False: "shut", None: "unknown"}[keys],
        "redis": told[redis],
    }


def _answer(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, status_code=200 if body["status"] == "ok" else 503)
