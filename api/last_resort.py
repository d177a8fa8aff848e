"""What nobody has foreseen while a request is answered: a coded answer all the same, and a log without its words."""

import logging
from contextlib import suppress
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.cross_site import COMES_BY, LINK
from api.errors import Unforeseen
from api.http import plain_refusal, refusal
from api.languages import wanted_languages
from api.messages import message
from domain.text import LANGUAGES

log = logging.getLogger(__name__)

INTERNAL_ERROR = 1011
"""A WebSocket's code for it (RFC 6455, §7.4.1)."""


class LastResort:
    """The server below would answer with two bare words, and write the exception's text into the log.

    Where an answer has begun, all that is left is to break off: the server then closes the connection. A WebSocket is
    closed, which is how one that is not open yet is refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await self._converse(scope, receive, send)
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        has_begun = False

        async def send_on(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except ClientDisconnect:
            return
        except Exception as failure:
            request_id = uuid4().hex
            log.error("request %s failed", request_id, exc_info=failure)
            if not has_begun:
                await _answer(Request(scope), request_id)(scope, receive, send)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as failure:
            log.error("a websocket failed", exc_info=failure)
            with suppress(OSError, RuntimeError):  # it may be closed already
                await send({"type": "websocket.close", "code": INTERNAL_ERROR, "reason": ""})


def _answer(request: Request, request_id: str) -> Response:
    languages = wanted_languages(request.headers.get("accept-language"), LANGUAGES, LANGUAGES[0])
    told = Unforeseen(message(Unforeseen.code, languages))
    response = plain_refusal(told) if request.scope.get(COMES_BY) == LINK else refusal(told, request_id)
    response.headers["X-Request-Id"] = request_id
    return response
