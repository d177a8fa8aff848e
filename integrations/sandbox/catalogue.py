"""A world as FHIR resources: who does what, where, and when the door is open."""

from urllib.parse import quote

from integrations.sandbox.subscriber import BACKPORT, TOPICS
from integrations.sandbox.wire import Resource
from integrations.sandbox.world import TREATMENTS_SYSTEM, Clinic, Role, Treatment, World

ENDPOINT_SYSTEM = "https://canonical.fhir.link/servicewell/wof-portal/identifier-system/endpoint-id"


def coding(treatment: Treatment) -> Resource:
    """The coding that books a treatment."""
    return {"system": TREATMENTS_SYSTEM, "code": treatment.code, "display": treatment.title}


def taking_part(world: World, role: Role) -> list[Resource]:
    """The clinic and the practitioner as participants of an Appointment, without their type."""
    clinic = world.clinic_by_id[role.clinic]
    actors = (
        _reference("HealthcareService", clinic.id, clinic.name),
        _reference("PractitionerRole", role.id, role.name),
    )
    return [{"actor": each, "status": "accepted"} for each in actors]


def organization(world: World) -> Resource:
    """The owner of every clinic in the world."""
    return {
        "resourceType": "Organization",
        "id": world.organization_id,
        "active": True,
        "name": world.organization,
        "telecom": [{"system": "phone", "value": world.clinics[0].phone, "use": "work"}],
    }


def location(world: World, clinic: Clinic) -> Resource:
    """Where a clinic is."""
    return {
        "resourceType": "Location",
        "id": clinic.location_id,
        "status": "active",
        "name": clinic.name,
        "telecom": [{"system": "phone", "value": clinic.phone, "use": "work"}],
        "address": {
            "use": "work",
            "line": [clinic.street],
            "city": clinic.city,
            "postalCode": clinic.postal_code,
            "country": world.country,
        },
        "position": {"longitude": clinic.longitude, "latitude": clinic.latitude},
        "managingOrganization": _reference("Organization", world.organization_id, world.organization),
    }


def healthcare_service(world: World, clinic: Clinic) -> Resource:
    """A clinic, with its telephone and opening hours."""
    return {
        "resourceType": "HealthcareService",
        "id": clinic.id,
        "active": True,
        "providedBy": _reference("Organization", world.organization_id, world.organization),
        "location": [_reference("Location", clinic.location_id, clinic.name)],
        "name": clinic.name,
        "telecom": [{"system": "phone", "value": clinic.phone, "use": "work"}],
        "availableTime": [
            {
                "daysOfWeek": list(each.days),
                "availableStartTime": f"{each.opens}:00",
                "availableEndTime": f"{each.closes}:00",
            }
            for each in clinic.openings
        ],
    }


def practitioner(world: World, role: Role, base: str) -> Resource:
    """A person who treats patients; the photo is a full address."""
    return {
        "resourceType": "Practitioner",
        "id": role.practitioner,
        "active": True,
        "identifier": [{"system": world.practitioner_system, "value": f"99{_digits(role):0>5}"}],
        "name": [{"use": "official", "text": role.name, "family": role.family, "given": role.given.split()}],
        "gender": role.gender,
        "photo": [{"contentType": "image/svg+xml", "url": f"{base}/photos/{quote(role.practitioner)}.svg"}],
        "qualification": [{"code": {"text": role.title}}],
        "communication": [{"coding": [{"system": "urn:ietf:bcp:47", "code": each}]} for each in role.languages],
    }


def practitioner_role(world: World, role: Role) -> Resource:
    """A practitioner at a clinic, and which treatments they perform."""
    clinic = world.clinic_by_id[role.clinic]
    return {
        "resourceType": "PractitionerRole",
        "id": role.id,
        "active": True,
        "practitioner": _reference("Practitioner", role.practitioner, role.name),
        "organization": _reference("Organization", world.organization_id, world.organization),
        "code": [{"text": role.title}],
        "specialty": [{"coding": [coding(world.treatment_by_code[code])]} for code in role.treatments],
        "location": [_reference("Location", clinic.location_id, clinic.name)],
        "healthcareService": [_reference("HealthcareService", clinic.id, clinic.name)],
    }


def activity_definition(world: World, treatment: Treatment) -> Resource:
    """A treatment: what it is called and how long it takes."""
    return {
        "resourceType": "ActivityDefinition",
        "id": treatment.id,
        "status": "active",
        "name": treatment.code.title().replace("-", ""),
        "title": treatment.title,
        "description": treatment.description,
        "kind": "Appointment",
        "code": {"coding": [coding(treatment)], "text": treatment.title},
        "timingDuration": {
            "value": treatment.minutes,
            "unit": "min",
            "system": "http://unitsofmeasure.org",
            "code": "min",
        },
    }


def schedule(world: World, role: Role) -> Resource:
    """What a role does where; in the IHE dialect each service type names the endpoint as well."""
    clinic = world.clinic_by_id[role.clinic]
    endpoint = [{"system": ENDPOINT_SYSTEM, "code": world.endpoint_id}] if world.dialect == "ihe" else []
    return {
        "resourceType": "Schedule",
        "id": role.schedule,
        "active": True,
        "serviceType": [{"coding": [coding(world.treatment_by_code[code]), *endpoint]} for code in role.treatments],
        "actor": [
            _reference("PractitionerRole", role.id, role.name),
            _reference("HealthcareService", clinic.id, clinic.name),
            _reference("Location", clinic.location_id, clinic.name),
        ],
    }


def catalogue(world: World, base: str) -> dict[str, list[Resource]]:
    """Every resource that does not change, by type."""
    return {
        "Organization": [organization(world)],
        "Location": [location(world, each) for each in world.clinics],
        "HealthcareService": [healthcare_service(world, each) for each in world.clinics],
        "PractitionerRole": [practitioner_role(world, each) for each in world.roles],
        "Practitioner": [practitioner(world, each, base) for each in world.roles],
        "ActivityDefinition": [activity_definition(world, each) for each in world.treatments],
        "Schedule": [schedule(world, each) for each in world.roles],
    }


def capability_statement(
    world: World, base: str, instantiates: list[str], operations: list[str], *, subscriptions: bool
) -> Resource:
    """What `/metadata` answers."""
    written = ["Appointment"] if world.dialect == "ihe" else ["Appointment", "Slot", "Patient"]
    readable = [kind for kind in catalogue(world, base) if world.dialect == "r4" or kind != "Practitioner"]
    reads = [{"type": kind, "interaction": _interactions("read", "search-type")} for kind in readable]
    codes = ["read", "search-type"] + (["create", "update"] if world.dialect == "r4" else [])
    writes = [{"type": kind, "interaction": _interactions(*codes)} for kind in written]
    writes += [_subscription_capability(world)] if subscriptions else []
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "software": {"name": "Sandbox EHR"},
        "implementation": {"description": f"{world.organization} (made up)", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "instantiates": instantiates,
        "rest": [{"mode": "server", "resource": reads + writes, "operation": [{"name": each} for each in operations]}],
    }


def _subscription_capability(world: World) -> Resource:
    topics = [topic for topic, kind in TOPICS.items() if kind == "Appointment" or world.dialect == "r4"]
    url = f"{BACKPORT}/capabilitystatement-subscriptiontopic-canonical"
    return {
        "extension": [{"url": url, "valueCanonical": each} for each in topics],
        "type": "Subscription",
        "interaction": _interactions("read", "search-type", "create", "update", "delete"),
    }


def photo(role: Role) -> str:
    """A small portrait: initials on a colour of their own."""
    initials = role.given[0] + role.family[0]
    hue = sum(role.id.encode()) * 47 % 360
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96" viewBox="0 0 96 96">'
        f'<rect width="96" height="96" fill="hsl({hue} 45% 42%)"/>'
        '<text x="48" y="60" font-family="sans-serif" font-size="36" fill="#fff" text-anchor="middle">'
        f"{initials}</text></svg>"
    )


def _interactions(*codes: str) -> list[Resource]:
    return [{"code": code} for code in codes]


def _reference(kind: str, identifier: str, display: str) -> Resource:
    return {"reference": f"{kind}/{identifier}", "display": display}


def _digits(role: Role) -> str:
    return "".join(each for each in role.id if each.isdigit())[-5:]
