"""Logins that are under way in a browser, each in a signed cookie of its own.

In one cookie for all of them, of two answers that cross on the way the later one would write over what the other has
begun or used up.
"""

import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import cookie_name
from api.signing import Signer, Tampered

ATTEMPT_SECONDS = 900
"""How long a login may take; the attempt's cookie lives as long."""

NAME = "login-"


class AttemptCookies:
    """The request's `session` holds the attempts that the browser brought, by what stands behind `login-` in the name
    of the cookie. Of what is changed in it, each goes back by itself; the others are not touched.

    The name is signed along: nobody can plant what was signed for a login of theirs in another's place.
    """

    def __init__(self, app: ASGIApp, *, signer: Signer, https: bool) -> None:
        self._app = app
        self._signer = signer
        self._https = https
        self._prefix = cookie_name(https, NAME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        brought = self._read(HTTPConnection(scope).cookies)
        scope["session"] = kept = dict(brought)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                for line in self._changes(brought, kept):
                    headers.append("Set-Cookie", line)
            await send(message)

        await self._app(scope, receive, send_on)

    def _read(self, cookies: Mapping[str, str]) -> dict[str, Any]:
        """What is not signed by us is none."""
        read = {}
        for name in [name for name in cookies if name.startswith(self._prefix)]:
            key = name.removeprefix(self._prefix)
            try:
                read[key] = json.loads(self._signer.open(NAME + key, cookies[name]))
            except Tampered:
                continue
        return read

    def _changes(self, brought: Mapping[str, Any], kept: Mapping[str, Any]) -> list[str]:
        jar = Response()
        bound: dict[str, Any] = {"path": "/", "secure": self._https, "httponly": True, "samesite": "lax"}
        for key in brought.keys() - kept.keys():
            jar.delete_cookie(self._prefix + key, **bound)
        for key in [key for key in kept if key not in brought]:
            sealed = self._signer.seal(NAME + key, json.dumps(kept[key]).encode())
            jar.set_cookie(self._prefix + key, sealed, max_age=ATTEMPT_SECONDS, **bound)
        return jar.headers.getlist("set-cookie")
