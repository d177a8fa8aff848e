"""Resources as bytes: answers, OperationOutcomes, bodies that must be checked, Bundles with pages."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

Resource = dict[str, Any]
Pairs = list[tuple[str, str]]
FHIR_JSON = "application/fhir+json"
LAST_OFFSET = 10_000

_LISTS = frozenset({"coding", "extension", "parameter", "participant", "serviceType", "slot", "supportingInformation"})
_OBJECTS = frozenset({"actor", "resource", "schedule", "valueIdentifier", "valueReference"})
_TEXTS = frozenset({"comment", "end", "id", "reference", "resourceType", "start", "status", "system", "url"})


class FhirError(Exception):
    """A request that is refused: HTTP status, issue code, and words for a developer."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.outcome = outcome(code, text)


def outcome(code: str, text: str, severity: str = "error") -> Resource:
    """An OperationOutcome with one issue."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "details": {"text": text}, "diagnostics": text}],
    }


def fhir(resource: Resource, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A resource as a response; a version it carries becomes the ETag."""
    sent = dict(headers or {})
    if version := resource.get("meta", {}).get("versionId"):
        sent["ETag"] = f'W/"{version}"'
    return Response(orjson.dumps(resource), status, sent, FHIR_JSON)


async def refused(_: Request, error: Exception) -> Response:
    """The answer to a request that raised FhirError."""
    assert isinstance(error, FhirError)
    return fhir(error.outcome, error.status)


async def not_found(request: Request, error: Exception) -> Response:
    """No such path, or not with this method: an OperationOutcome like every other refusal."""
    status = getattr(error, "status_code", 404)
    code = "not-supported" if status == 405 else "not-found"
    return fhir(outcome(code, f"{request.method} {request.url.path} is not here"), status)


async def resource_in(request: Request, kind: str) -> Resource:
    """The JSON body, which must be a resource of that type and sound in the parts that are read here."""
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise FhirError(400, "structure", f"The body is not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("resourceType") != kind:
        raise FhirError(400, "structure", f"The body must be a {kind}")
    _check_sound(body)
    return body


def _check_sound(body: Resource) -> None:
    waiting: list[Any] = [body]
    while waiting:
        part = waiting.pop()
        for name, value in part.items() if isinstance(part, dict) else enumerate(part):
            if name in _LISTS and not (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
                raise FhirError(400, "structure", f"{name} must be a list of objects")
            if (name in _OBJECTS and not isinstance(value, dict)) or (name in _TEXTS and not isinstance(value, str)):
                raise FhirError(400, "structure", f"{name} has the wrong type")
            if isinstance(value, dict | list):
                waiting.append(value)


def if_match(request: Request) -> int | None:
    """The version a write was made for, where it says."""
    given = request.headers.get("if-match")
    if given is None:
        return None
    # Without the quotes some servers ignore the header in silence; this one says so.
    match = re.fullmatch(r'W/"(\d{1,9})"', given, re.ASCII)
    if match is None:
        raise FhirError(400, "value", f'If-Match must look like W/"1", not {given}')
    return int(match[1])


def base_of(request: Request) -> str:
    """The address of this server: as configured, or as the caller wrote it."""
    configured: str | None = request.app.state.sandbox.base_url
    # Not `request.base_url`: that is the outermost application's, even when this one is mounted under a path.
    return configured or f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}"


def page_size(pairs: Pairs, default: int, most: int) -> tuple[int, int]:
    """`_count` (clamped in silence, as servers do) and `_offset`."""
    count = min(_number(pairs, "_count", default), most)
    offset = _number(pairs, "_offset", 0)
    if offset > LAST_OFFSET:
        raise FhirError(400, "too-costly", f"_offset goes up to {LAST_OFFSET}")
    return count, offset


def _number(pairs: Pairs, name: str, default: int) -> int:
    text = next((value for key, value in pairs if key == name), str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise FhirError(400, "value", f"{name} is not a whole number")
    return int(text)


def searchset(
    request: Request,
    path: str,
    pairs: Pairs,
    found: Sequence[Any],
    *,
    default: int = 20,
    most: int = 1000,
    render: Callable[[Any], Resource] = lambda each: each,
) -> Response:
    """One page of what was found, with links to itself and to the next page."""
    count, offset = page_size(pairs, default, most)
    base = base_of(request)
    links = [{"relation": "self", "url": _address(base, path, pairs)}]
    if count and offset + count < len(found):
        follow = [(key, value) for key, value in pairs if key not in ("_offset", "_count")]
        follow += [("_count", str(count)), ("_offset", str(offset + count))]
        links.append({"relation": "next", "url": _address(base, path, follow)})
    resources = [render(each) for each in found[offset : offset + count]]
    return fhir(bundle(base, resources, total=len(found), link=links))


def bundle(base: str, resources: Iterable[Resource], **more: Any) -> Resource:
    """A searchset; one without resources has no `entry` at all."""
    entries = [
        {"fullUrl": f"{base}/{each['resourceType']}/{quote(each['id'], safe=':')}", "resource": each}
        | {"search": {"mode": "match"}}
        for each in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", **more} | ({"entry": entries} if entries else {})


def _address(base: str, path: str, pairs: Pairs) -> str:
    return f"{base}{path}?{urlencode(pairs)}" if pairs else f"{base}{path}"
