"""A browser sends a visitor's cookie along with whatever any page asks for: who may use it, and how that is told.

A request counts as the visitor's own when a script of ours made it. Pages elsewhere cannot add a header of their own to
a request without asking first (the Fetch standard's preflight), which `cors` answers for listed pages only; a form or
an image can add none. So a request that brings the session's cookie must carry one of `HEADERS`, and where the browser
tells more, `Origin` and `Sec-Fetch-Site` must fit. Whatever else it brings is refused, not taken for somebody unnamed:
a page that forgot the header would show a signed-in patient as signed out.

Three ways in are looked at by other rules, and say so in the scope (`COMES_BY`): a socket, whose handshake no script
can add headers to, by its `Origin`; a link that is followed, which only reads; and a bearer token, which no browser
sends by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request

from api.errors import Forbidden
from api.messages import message
from api.origins import Origins
from domain.tenant import Tenant

HEADERS = ("graphql-require-preflight", "apollo-require-preflight", "x-apollo-operation-name")
"""What Apollo's clients send by themselves, and others are told to; any value but an empty one."""

COMES_BY = "itb.comes_by"
SOCKET, LINK = "socket", "link"


def is_made_by_a_script(headers: Headers) -> bool:
    return any(headers.get(name) for name in HEADERS)


def followed(request: Request) -> Request:
    """For routes that people come to by a link, and that only read."""
    request.scope[COMES_BY] = LINK
    return request


def is_cross_site(headers: Headers) -> bool:
    """What current browsers say of every request. For routes that a link may not change anything by."""
    return headers.get("sec-fetch-site") == "cross-site"


@dataclass(frozen=True, kw_only=True)
class CrossSite:
    """`cookie` is the name of the session's."""

    origins: Origins
    cookie: str

    async def check(self, request: Request, tenant: Tenant, languages: Sequence[str]) -> None:
        """Raises `Forbidden` with a `reason`. Takes the cookies off a socket that an agency's page has opened."""
        comes_by = request.scope.get(COMES_BY)
        if comes_by == SOCKET:
            return await self._check_socket(request, tenant, languages)
        if comes_by != LINK and self._brings_session(request):
            self._check_script(request, tenant, languages)
        return None

    def _brings_session(self, request: Request) -> bool:
        """Where a bearer token is brought too, it alone counts."""
        scheme = request.headers.get("authorization", "").partition(" ")[0]
        return not scheme and bool(request.cookies.get(self.cookie))

    def _check_script(self, request: Request, tenant: Tenant, languages: Sequence[str]) -> None:
        headers, origin = request.headers, request.headers.get("origin")
        if is_cross_site(headers):
            raise _forbidden("CROSS_SITE", languages)
        if origin is not None and not self.origins.are_ours(origin, headers.get("host"), tenant):
            raise _forbidden("FOREIGN_ORIGIN", languages)
        if not is_made_by_a_script(headers):
            raise _forbidden("NO_PREFLIGHT_HEADER", languages)

    async def _check_socket(self, request: Request, tenant: Tenant, languages: Sequence[str]) -> None:
        """Once more for the tenant that was named after the handshake."""
        origin = request.headers.get("origin")
        if origin is None or self.origins.are_ours(origin, request.headers.get("host"), tenant):
            return
        if not await self.origins.are_an_agencys(origin, tenant):
            raise _forbidden("FOREIGN_ORIGIN", languages)
        take_off_cookies(request)


def take_off_cookies(connection: HTTPConnection) -> None:
    headers: list[tuple[bytes, bytes]] = connection.scope["headers"]
    headers[:] = [(name, value) for name, value in headers if name != b"cookie"]


def _forbidden(reason: str, languages: Sequence[str]) -> Forbidden:
    told: dict[str, Any] = {"reason": reason}
    return Forbidden(message("NOT_FROM_OUR_PAGES", languages), **told)
