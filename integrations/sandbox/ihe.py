"""The IHE Scheduling dialect: `$find`, the context, and searches; `$book` has a file of its own."""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.sandbox import appointments
from integrations.sandbox.appointments import checked_identifiers
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.catalogue import capability_statement, catalogue, coding, taking_part
from integrations.sandbox.hours import local, minute_of
from integrations.sandbox.ihe_booking import book
from integrations.sandbox.ihe_terms import PORTAL, SLOT_ID, SOURCE_SYSTEM, characteristic, device_of
from integrations.sandbox.reading import calendar_seen
from integrations.sandbox.searching import moment_or_day, pairs_of, references, values
from integrations.sandbox.wire import FhirError, Pairs, Resource, base_of, fhir, resource_in, searchset
from integrations.sandbox.world import TREATMENTS_SYSTEM, Role, Treatment, World

Proposal = tuple[int, Role, Treatment]


async def find(request: Request) -> Response:
    """`$find`: the free times of one practitioner (role), as proposed Appointments."""
    calendar = calendar_seen(request)
    pairs = _from_parameters(await resource_in(request, "Parameters")) if request.method == "POST" else None
    pairs = request.query_params.multi_items() if pairs is None else pairs
    world = calendar.world
    found = _proposals(calendar, pairs)
    return searchset(
        request, "/Appointment/$find", pairs, found, default=100, most=500, render=lambda each: proposed(world, *each)
    )


def _from_parameters(parameters: Resource) -> Pairs:
    pairs: Pairs = []
    for each in parameters.get("parameter", ()):
        value = next((found for key, found in each.items() if key.startswith("value")), None)
        if isinstance(value, dict):
            (identifier,) = checked_identifiers([value["identifier"]] if "identifier" in value else [], 400) or [{}]
            value = value.get("reference") or f"{identifier.get('system', '')}|{identifier.get('value', '')}"
        if value is None or not isinstance(each.get("name"), str):
            raise FhirError(400, "structure", "A parameter needs a name and a value")
        pairs.append((each["name"], str(value)))
    return pairs


def _proposals(calendar: Calendar, pairs: Pairs) -> list[Proposal]:
    start, end = _window(calendar, pairs)
    role = _role_asked(calendar.world, pairs)
    services = {each.removeprefix("HealthcareService/") for each in values(pairs, "healthcareService")}
    if role is None or (services and role.clinic not in services):
        return []
    wanted = [calendar.world.treatment_by_code[code] for code in _codes_asked(role, pairs)]
    return sorted(
        (
            (minute, role, treatment)
            for day in calendar.dates(start, end)
            for treatment in wanted
            for minute in calendar.free_starts(role.id, day, treatment.minutes)
            if start <= minute < end and not calendar.is_past(minute)
        ),
        key=lambda each: (each[0], each[2].code),
    )


def _window(calendar: Calendar, pairs: Pairs) -> tuple[int, int]:
    given = {name: values(pairs, name) for name in ("start", "end")}
    for name, found in given.items():
        if len(found) != 1:
            raise FhirError(400, "required", f"$find needs exactly one {name}")
    start = moment_or_day(given["start"][0], "start", calendar.world.zone)[0]
    end = moment_or_day(given["end"][0], "end", calendar.world.zone)[1]
    if start >= end:
        raise FhirError(400, "value", "end must be after start")
    return minute_of(start + timedelta(seconds=59)), minute_of(end)


def _role_asked(world: World, pairs: Pairs) -> Role | None:
    asked = values(pairs, "practitionerRole")
    if len(asked) != 1:
        raise FhirError(400, "required", "$find needs exactly one practitionerRole")
    return world.role_by_id.get(asked[0].removeprefix("PractitionerRole/"))


def _codes_asked(role: Role, pairs: Pairs) -> list[str]:
    asked = values(pairs, "visit-type")
    return [code for code in role.treatments if not asked or f"{TREATMENTS_SYSTEM}|{code}" in asked]


def proposed(world: World, minute: int, role: Role, treatment: Treatment) -> Resource:
    """One free time as the Appointment it would become."""
    start = local(minute, world.zone)
    slot_id = f"{world.endpoint_id}-{start:%Y-%m-%dT%H:%M:%S}-{role.id.replace(':', '-')}-R{treatment.id[-2:]}"
    span = {"start": start.isoformat(), "end": local(minute + treatment.minutes, world.zone).isoformat()}
    definition = {"reference": f"ActivityDefinition/{treatment.id}"}
    device = {"supportingInformation": [{"identifier": device_of(role)}]} if role.device else {}
    return {
        "resourceType": "Appointment",
        "id": slot_id,
        "extension": [
            {"url": f"{PORTAL}/StructureDefinition/activity-definition-reference", "valueReference": definition}
        ],
        "identifier": [{"system": SLOT_ID, "value": slot_id}, {"system": SOURCE_SYSTEM, "value": world.endpoint_id}],
        "status": "proposed",
        "serviceType": [{"coding": [coding(treatment)]}],
        **device,
        **span,
        "participant": taking_part(world, role),
        "requestedPeriod": [span],
    }


async def search(request: Request) -> Response:
    """Existing Appointments, by address or by form."""
    pairs = await pairs_of(request)
    return searchset(request, "/Appointment", pairs, appointments.search(calendar_seen(request), pairs), default=50)


async def context(request: Request) -> Response:
    """`$get-schedule-context`: the catalogue of who does what where, in one Bundle."""
    world: World = request.app.state.sandbox.calendar.world
    pairs = list(request.query_params.multi_items())
    for name in ("period-start", "period-end"):
        for text in values(pairs, name):
            moment_or_day(text, name, world.zone)
    clinics = {each.removeprefix("HealthcareService/") for each in values(pairs, "healthcare-service")}
    actors = set(values(pairs, "actor"))
    held = catalogue(world, base_of(request))
    schedules = [each for each in held["Schedule"] if _concerns(references(each, "actor"), clinics, actors)]
    found = _around(schedules, held)
    return searchset(request, "/Schedule/$get-schedule-context", pairs, found, default=1000)


def _around(schedules: list[Resource], held: dict[str, list[Resource]]) -> list[Resource]:
    """The Schedules and everything they speak of."""
    named = {name for each in schedules for name in references(each, "actor")}
    codes = {kind["coding"][0]["code"] for each in schedules for kind in each["serviceType"]}
    named |= {f"ActivityDefinition/{each['id']}" for each in held["ActivityDefinition"] if _code(each) in codes}
    roles = [each for each in held["PractitionerRole"] if f"PractitionerRole/{each['id']}" in named]
    named |= {name for each in roles for name in references(each, "practitioner", "organization")}
    kinds = ("PractitionerRole", "Practitioner", "HealthcareService", "Location", "ActivityDefinition", "Organization")
    return schedules + [each for kind in kinds for each in held[kind] if f"{kind}/{each['id']}" in named]


def _code(definition: Resource) -> str:
    code: str = definition["code"]["coding"][0]["code"]
    return code


def _concerns(schedule_actors: list[str], clinics: set[str], actors: set[str]) -> bool:
    at_clinic = not clinics or any(each.removeprefix("HealthcareService/") in clinics for each in schedule_actors)
    return at_clinic and (not actors or any(each in actors for each in schedule_actors))


async def capabilities(request: Request) -> Response:
    """`$wof-capabilities`: a Basic with the characteristic extension."""
    return fhir(
        {
            "resourceType": "Basic",
            "id": "capabilities",
            "extension": [characteristic()],
            "code": {"text": "capabilities"},
        }
    )


async def metadata(request: Request) -> Response:
    """The CapabilityStatement."""
    instantiates = ["https://profiles.ihe.net/ITI/Scheduling/CapabilityStatement/IHE.Scheduling.server|1.0.0"]
    sandbox = request.app.state.sandbox
    operations = ["find", "book", "get-schedule-context", "wof-capabilities", *(["hold"] if sandbox.holds else [])]
    world, base = sandbox.calendar.world, base_of(request)
    return fhir(capability_statement(world, base, instantiates, operations, subscriptions=sandbox.subscriptions))


def routes() -> list[Route]:
    """What only this dialect answers."""
    return [
        Route("/metadata", metadata),
        Route("/$wof-capabilities", capabilities),
        Route("/Schedule/$get-schedule-context", context),
        Route("/Appointment/$find", find, methods=["GET", "POST"]),
        Route("/Appointment/$book", book, methods=["POST"]),
        Route("/Appointment/_search", search, methods=["POST"]),
        Route("/Appointment", search, methods=["GET", "POST"]),
    ]
