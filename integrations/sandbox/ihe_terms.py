"""Names and extensions that only the IHE dialect uses."""

from integrations.sandbox.wire import Resource
from integrations.sandbox.world import Role

CONNECT = "http://canonical.fhir.link/servicewell/wof-connect"
PORTAL = "https://canonical.fhir.link/servicewell/wof-portal"
SLOT_ID = f"{CONNECT}/identifiercodesystem/slot-id"
SOURCE_SYSTEM = f"{PORTAL}/identifier-system/endpoint-identifier-system-for-appointment"
DEVICE_SYSTEM = "https://sandbox.example/devices"


def device_of(role: Role) -> Resource:
    """The chair or device a role's visits need."""
    return {"system": DEVICE_SYSTEM, "value": role.device}


def characteristic() -> Resource:
    """What this endpoint allows patients to do by themselves."""
    parts = {
        "scheduling": [
            {"url": "minChangeHours", "valueInteger": 24},
            {"url": "webReschedulingCountAllowed", "valueInteger": 2},
            {"url": "childPatientThreshold", "valueInteger": 16},
            {"url": "schedulingAvailability", "valueBoolean": True},
            {"url": "bookingConfirmation", "valueBoolean": True},
        ],
        "workflow": [
            {"url": "deviceBookingAvailable", "valueBoolean": True},
            {"url": "healthcareServiceAvailable", "valueBoolean": True},
        ],
        "security": [{"url": "requiresNativeIdPLogin", "valueBoolean": False}],
    }
    return {
        "url": f"{CONNECT}/StructureDefinition/wofconnect-characteristic",
        "extension": [{"url": name, "extension": inner} for name, inner in parts.items()],
    }


def update_extension(moves: int, *, changeable: bool) -> Resource:
    """How often an Appointment was moved, and whether a patient may still change it."""
    return {
        "url": f"{CONNECT}/StructureDefinition/wofconnect-appointment-update",
        "extension": [
            {"url": "webReschedulingCount", "valueInteger": moves},
            {"url": "canBeRescheduled", "valueBoolean": changeable},
            {"url": "canBeCancelled", "valueBoolean": changeable},
        ],
    }


def with_extensions(appointment: Resource, *, moves: int) -> Resource:
    """The Appointment with both extensions as they stand now, besides those of its own."""
    others = [each for each in appointment.get("extension", ()) if not str(each.get("url", "")).startswith(CONNECT)]
    update = update_extension(moves, changeable=appointment["status"] == "booked")
    return appointment | {"extension": [*others, characteristic(), update]}


def moves_of(appointment: Resource) -> int:
    """How often an Appointment this server wrote was moved so far."""
    update = appointment["extension"][-1]
    moves: int = update["extension"][0]["valueInteger"]
    return moves
