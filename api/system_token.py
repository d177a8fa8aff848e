"""System tokens over HTTP: given for an API key (WOF Portal 1.0.1), and the public keys to check them by."""

from collections.abc import Mapping, Sequence
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.callers import Caller, Callers
from api.cors import readable_by
from api.errors import BadInput, Forbidden, RateLimited, Unauthenticated
from api.limits import Limits
from domain.usecases import UseCases
from domain.usecases.issue_token import NothingToGrant

NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
FHIR = "application/fhir+json"
KEYS_KEPT = "public, max-age=300"

REFUSALS: Mapping[type[Exception], tuple[int, str, Mapping[str, str]]] = {
    Unauthenticated: (401, "login", {"WWW-Authenticate": "ApiKey"}),
    Forbidden: (403, "forbidden", {}),
    BadInput: (404, "not-found", {}),
    RateLimited: (429, "throttled", {}),
}
"""Status, FHIR issue type (http://hl7.org/fhir/issue-type) and headers. The only bad input is a tenant's name."""


def token_routes(callers: Callers, use: UseCases, limits: Limits) -> Sequence[Route]:
    async def issue(request: Request) -> Response:
        id = uuid4().hex
        try:
            caller = await _caller(request, callers, limits)
            issued = use.issue_token(caller.client, caller.tenant.slug)
        except NothingToGrant:
            return _outcome(Forbidden("The API key has no system scope, and a token is for nothing else."), id)
        except tuple(REFUSALS) as refused:
            return _outcome(refused, id)
        answer = {
            "access_token": issued.text,
            "token_type": "Bearer",
            "expires_in": int(issued.lifetime.total_seconds()),
            "scope": " ".join(sorted(issued.scopes)),
        }
        return _json(answer, 200, "application/json", {**NOT_STORED, "X-Request-Id": id})

    async def keys(_: Request) -> Response:
        return _json(use.know_client.tokens.public_keys(), 200, "application/json", {"Cache-Control": KEYS_KEPT})

    path = "/{tenant}/1.0/R4/auth/system-token"
    return Route(path, issue, methods=["POST"]), Route("/.well-known/jwks.json", keys)


async def _caller(request: Request, callers: Callers, limits: Limits) -> Caller:
    """Strict by address, whatever key comes along; then by the key's own rate. Raises as `Callers.by_key` does, and
    `RateLimited`."""
    await limits.system_token(request)
    caller = await callers.by_key(request, request.path_params["tenant"])
    readable_by(request.scope, caller.tenant, caller.client.origins)
    await limits.operation(request, caller.tenant.id, client=caller.client)
    return caller


def _outcome(refused: Exception, id: str) -> Response:
    """A FHIR OperationOutcome."""
    status, code, headers = REFUSALS[type(refused)]
    if wait := (getattr(refused, "extensions", None) or {}).get("retryAfter"):
        headers = {**headers, "Retry-After": str(wait)}
    issue = {"severity": "error", "code": code, "diagnostics": str(getattr(refused, "message", refused))}
    body = {"resourceType": "OperationOutcome", "issue": [issue]}
    return _json(body, status, FHIR, {**NOT_STORED, "X-Request-Id": id, **headers})


def _json(body: object, status: int, media_type: str, headers: Mapping[str, str]) -> Response:
    return Response(orjson.dumps(body), status, dict(headers), media_type)
