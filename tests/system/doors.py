"""Every door that anybody may knock at, with what is planted there, and an app that writes down all that comes in."""

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.planted import pattern_of
from tests.system.journey import CONFIRM

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmVk"
NIN, KEY, SID = "13116900216", "itb_live_pl4nt3d0_0123456789abcdefghij", "f00dbabef00dbabe"
MAIL, PHONE = "planted.person@post.example", "+4793331722"
PLANTED = (*(NIN, "197010632391", "701063-2391", "131169 00216", MAIL, PHONE), *(JWT, KEY, SID))
TEXT = " ".join((*PLANTED[:6], JWT, KEY, f"__Host-sid={SID}"))
KNOWN = pattern_of(PLANTED)
READ = "{ clinics(first: 1) { nodes { name } } }"
TENANT, ENDPOINT = "nordhelse", "fjord"
ALL = f"nin={NIN}&mail={quote(MAIL)}&phone={quote(PHONE)}&token={JWT}"

HEADERS = {
    "Authorization": (f"Bearer {JWT}", 401),
    "Authorization, of another scheme": (f"Basic {JWT}", 401),
    "Cookie": (f"__Host-sid={SID}; sid={SID}", 200),
    "X-ApiKey": (KEY, 401),
    "X-ApiKey, a system token": (JWT, 401),
    "X-Tenant": (NIN, 400),
    "X-Request-Id": (NIN, 200),
    "User-Agent": (MAIL, 200),
    "Accept-Language": (NIN, 200),
    "Referer": (f"https://planted.example/?nin={NIN}", 200),
    "Origin": (f"https://planted.example/{NIN}", 200),
    "traceparent": (NIN, 200),
    "tracestate": (f"nin={NIN}", 200),
}
"""Each in a request of its own, with the status of its answer: one that is refused hides what is behind it."""

Knock = Callable[[httpx2.AsyncClient], Awaitable[httpx2.Response]]


def _header(name: str, value: str) -> Knock:
    return lambda http: http.post("/graphql", json={"query": READ}, headers={name.partition(",")[0]: value})


DOORS: dict[str, tuple[Knock, int]] = {
    **{f"the header {name}": (_header(name, value), status) for name, (value, status) in HEADERS.items()},
    "a query in the address": (lambda http: http.get(f"/graphql?query={quote(READ)}&variables={quote(TEXT)}"), 400),
    "a body that is no JSON": (lambda http: http.post("/graphql", content=TEXT.encode(), headers=_JSON), 400),
    "a login that failed": (
        lambda http: http.get(
            f"/login/callback/bankid-no?error=access_denied&error_description={quote(TEXT)}&state={quote(TEXT)}"
        ),
        303,
    ),
    "an unknown provider": (lambda http: http.get(f"/login/{NIN}?returnTo={quote(TEXT)}"), 404),
    "a foreign page to go back to": (
        lambda http: http.get(f"/login/bankid-no?returnTo=https://x.example/{NIN}"),
        400,
    ),
    "a logout": (lambda http: http.get(f"/logout?returnTo=https://x.example/{NIN}"), 400),
    "a logout told by a provider": (
        lambda http: http.post(f"/logout/backchannel/{TENANT}", data={"logout_token": JWT}),
        400,
    ),
    "a logout told to an unknown tenant": (
        lambda http: http.post(f"/logout/backchannel/{NIN}", data={"logout_token": TEXT}),
        400,
    ),
    "a webhook": (
        lambda http: http.post(
            f"/webhooks/ehr/{TENANT}/{ENDPOINT}",
            content=TEXT.encode(),
            headers={"Authorization": f"Bearer {JWT}", "X-Signature": NIN},
        ),
        401,
    ),
    "a webhook of nobody": (lambda http: http.post(f"/webhooks/ehr/{NIN}/{PLANTED[1]}", content=TEXT.encode()), 401),
    "a system token": (
        lambda http: http.post(f"/{TENANT}/1.0/R4/auth/system-token", content=TEXT.encode(), headers={"X-ApiKey": KEY}),
        401,
    ),
    "a system token of an unknown tenant": (
        lambda http: http.post(f"/{NIN}/1.0/R4/auth/system-token", headers={"X-ApiKey": KEY}),
        401,
    ),
    "a calendar": (lambda http: http.get(f"/bookings/{uuid4()}.ics?{ALL}"), 401),
    "a calendar with a token": (lambda http: http.get(f"/bookings/{uuid4()}.ics?{ALL}", headers=_BEARER), 401),
    "a calendar of an unknown tenant": (lambda http: http.get(f"/bookings/{uuid4()}.ics?tenant={NIN}"), 400),
    "an export": (lambda http: http.get(f"/exports/{uuid4()}.json?{ALL}"), 401),
    "an export with a token": (lambda http: http.get(f"/exports/{uuid4()}.json?{ALL}", headers=_BEARER), 401),
    "an export of an unknown tenant": (lambda http: http.get(f"/exports/{uuid4()}.json?tenant={NIN}"), 400),
    "an unknown path": (lambda http: http.get(f"/{NIN}?{quote(TEXT)}"), 404),
}
"""Knocks, and the status that shows that what is behind that door was reached."""

_JSON = {"Content-Type": "application/json"}
_BEARER = {"Authorization": f"Bearer {JWT}"}
_FORM = {"holdToken": NIN, "acceptedTermsVersion": "2026-01", "idempotencyKey": "k", "smsConfirmation": True}

OPERATIONS: dict[str, dict[str, Any]] = {
    "a variable": {"query": "query ($w: Boolean!) { __typename @skip(if: $w) }", "variables": {"w": TEXT}},
    "a list where none may be": {
        "query": "query ($x: String!) { clinic(slug: $x) { id } }",
        "variables": {"x": [TEXT]},
    },
    "a form with a field misspelt": {
        "query": CONFIRM,
        "variables": {"input": {**_FORM, "comment": TEXT, "fone": PHONE, "smsTo": PHONE}},
    },
    "a form with a key that is no name": {"query": CONFIRM, "variables": {"input": {**_FORM, MAIL: 1, NIN: 2}}},
    "a form with one field missing": {"query": CONFIRM, "variables": {"input": {"comment": TEXT}}},
    "a literal": {"query": f'{{ __typename @skip(if: "{TEXT}") }}'},
    "a literal in a form": {
        "query": f'mutation {{ confirmBooking(input: {{comment: "{TEXT}", fone: "{PHONE}"}}) {{ errors {{ code }} }} }}'
    },
    "a scalar of ours": {
        "query": "query ($d: LocalDate!, $t: ID!) { availability(search: {treatmentId: $t, from: $d}) { complete } }",
        "variables": {"d": NIN, "t": MAIL},
    },
    "an id": {"query": "query ($i: ID!) { node(id: $i) { id } }", "variables": {"i": TEXT}},
    "a field's name": {"query": f"{{ n{NIN} }}"},
    "an argument's name": {"query": f"{{ clinics(n{NIN}: 1) {{ totalCount }} }}"},
    "no document": {"query": TEXT},
    "a text without its end": {"query": f'{{ clinic(slug: "{TEXT}) {{ id }} }}'},
    "an operation's name": {"query": "query a { __typename }", "operationName": MAIL},
    "a subscription's variable": {
        "query": "subscription ($a: String) { bookingChanges(after: $a) { resync } }",
        "variables": {"a": [TEXT]},
    },
}
"""Operations that are refused, with what is planted in variables, literals and names."""

PAYLOADS: dict[str, dict[str, Any]] = {
    "authorization": {"Authorization": f"Bearer {JWT}"},
    "a key": {"X-ApiKey": KEY},
    "a tenant": {"X-Tenant": NIN},
    "no text": {"X-Tenant": [TEXT]},
    "no header": {"Accept-Language": f"{MAIL}\n{NIN}"},
}
"""Payloads of `connection_init` that are refused."""


@dataclass(frozen=True)
class Careless:
    """Writes down whatever comes in: without the scrubber, what is planted is found in that."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        log = logging.getLogger("careless")
        if scope["type"] in ("http", "websocket"):
            query, headers = scope["query_string"].decode(), [(n.decode(), v.decode()) for n, v in scope["headers"]]
            log.warning("%s?%s %s", scope["path"], query, "; ".join(": ".join(pair) for pair in headers))

        async def noted() -> Message:
            message = await receive()
            if told := message.get("text") or (message.get("body") or b"").decode():
                log.warning("came: %s", told)
            return message

        await self.app(scope, noted, send)


def text_of(message: object) -> str:
    """As people read it: JSON writes letters beyond ASCII otherwise."""
    return json.dumps(message, ensure_ascii=False)
