"""A deadline on reading a request's body: who sends a byte now and then would keep a request open for ever."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyTooSlow(HTTPException):
    """408, and the connection is closed: what is still to come of the body would stand before the next request."""

    def __init__(self) -> None:
        super().__init__(408, "The request did not come in time.\n", {"Connection": "close"})


class SlowBodies:
    """Whoever reads a body gets `BodyTooSlow` when it is not whole `seconds` after the first look for it.

    Starlette answers it where an endpoint does not. What is received after a body is no part of it.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, self._timed(receive) if scope["type"] == "http" else receive, send)

    def _timed(self, receive: Receive) -> Receive:
        until: float | None = None
        is_whole = False

        async def timed() -> Message:
            nonlocal until, is_whole
            if is_whole:
                return await receive()
            until = until or asyncio.get_running_loop().time() + self._seconds
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow from None
            is_whole = not message.get("more_body", False)
            return message

        return timed
