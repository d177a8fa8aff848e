"""Reads and searches that both dialects answer: the catalogue, Patients, single Appointments, photos."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox.calendar import Calendar
from integrations.sandbox.catalogue import catalogue, photo
from integrations.sandbox.searching import CATALOGUE, catalogue_search, known_only, pairs_of, token_matches, values
from integrations.sandbox.wire import FhirError, Resource, base_of, fhir, searchset


def _calendar(request: Request) -> Calendar:
    calendar: Calendar = request.app.state.sandbox.calendar
    return calendar


def calendar_seen(request: Request) -> Calendar:
    """The calendar as a reader sees it: the truth, or what a replica that lags behind still shows."""
    past: Calendar | None = request.scope.get("sandbox.past")
    return past or _calendar(request)


def _held(request: Request) -> list[Resource]:
    kind, world = request.path_params["kind"], _calendar(request).world
    # A Practitioner cannot be read in the IHE dialect: it is only ever part of the context.
    if kind not in CATALOGUE or (kind == "Practitioner" and world.dialect == "ihe"):
        raise FhirError(404, "not-found", f"No {kind} here")
    return catalogue(world, base_of(request))[kind]


async def search(request: Request) -> Response:
    """The catalogue resources of a type."""
    held, kind = _held(request), request.path_params["kind"]
    pairs = await pairs_of(request)
    return searchset(request, f"/{kind}", pairs, catalogue_search(kind, held, pairs))


async def read(request: Request) -> Response:
    """One catalogue resource."""
    wanted = request.path_params["id"]
    for each in _held(request):
        if each["id"] == wanted:
            return fhir(each)
    raise FhirError(404, "not-found", f"No {request.path_params['kind']} {wanted}")


async def patients(request: Request) -> Response:
    """Patients by identifier or id; a list of everybody is not given."""
    pairs = await pairs_of(request)
    known_only(pairs, ("identifier", "_id"))
    asked, ids = values(pairs, "identifier"), values(pairs, "_id")
    if not asked and not ids:
        raise FhirError(400, "required", "Patients are found by identifier")
    found = [
        each
        for each in _calendar(request).patients.values()
        if all(token_matches(one, each["identifier"]) for one in asked)
        and all(each["id"] in one.split(",") for one in ids)
    ]
    return searchset(request, "/Patient", pairs, found)


async def patient(request: Request) -> Response:
    """One Patient."""
    return fhir(_one(_calendar(request).patients, "Patient", request.path_params["id"]))


async def appointment(request: Request) -> Response:
    """One Appointment; its id may hold anything."""
    return fhir(_one(calendar_seen(request).appointments, "Appointment", request.path_params["id"]))


def _one(kept: dict[str, Resource], kind: str, wanted: str) -> Resource:
    if wanted not in kept:
        raise FhirError(404, "not-found", f"No {kind} {wanted}")
    return kept[wanted]


async def portrait(request: Request) -> Response:
    """The photo of a practitioner."""
    for role in _calendar(request).world.roles:
        if role.practitioner == request.path_params["practitioner"]:
            return Response(photo(role), media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})
    raise FhirError(404, "not-found", "No such photo")


def routes() -> list[Route]:
    """What every dialect answers; these come last, because `{kind}` is anything."""
    return [
        Route("/photos/{practitioner}.svg", portrait),
        Route("/Patient/_search", patients, methods=["POST"]),
        Route("/Patient", patients),
        Route("/Patient/{id}", patient),
        Route("/Appointment/{id:path}", appointment),
        Route("/{kind}/_search", search, methods=["POST"]),
        Route("/{kind}", search),
        Route("/{kind}/{id:path}", read),
    ]
