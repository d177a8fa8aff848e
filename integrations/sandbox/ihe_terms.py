"""Names and extensions that only the IHE dialect uses."""

from dataclasses import dataclass

from integrations.sandbox.wire import Resource
from integrations.sandbox.world import Role

CONNECT = "http://canonical.fhir.link/servicewell/wof-connect"
PORTAL = "https://canonical.fhir.link/servicewell/wof-portal"
SLOT_ID = f"{CONNECT}/identifiercodesystem/slot-id"
SOURCE_SYSTEM = f"{PORTAL}/identifier-system/endpoint-identifier-system-for-appointment"
DEVICE_SYSTEM = "https://sandbox.example/devices"


@dataclass(frozen=True, slots=True)
class Terms:
    """How often a patient moved an Appointment, and what they may still do with it while it is booked."""

    moves: int = 0
    min_change_hours: int = 24
    can_be_rescheduled: bool = True
    can_be_cancelled: bool = True


USUAL = Terms()


def device_of(role: Role) -> Resource:
    """The chair or device a role's visits need."""
    return {"system": DEVICE_SYSTEM, "value": role.device}


def characteristic(min_change_hours: int = USUAL.min_change_hours) -> Resource:
    """What this endpoint allows patients to do by themselves."""
    parts = {
        "scheduling": [
            {"url": "minChangeHours", "valueInteger": min_change_hours},
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


def with_extensions(appointment: Resource, terms: Terms = USUAL) -> Resource:
    """The Appointment with both extensions as they stand now, besides those of its own."""
    others = [each for each in appointment.get("extension", ()) if not str(each.get("url", "")).startswith(CONNECT)]
    booked = appointment["status"] == "booked"
    update = {
        "url": f"{CONNECT}/StructureDefinition/wofconnect-appointment-update",
        "extension": [
            {"url": "webReschedulingCount", "valueInteger": terms.moves},
            {"url": "canBeRescheduled", "valueBoolean": booked and terms.can_be_rescheduled},
            {"url": "canBeCancelled", "valueBoolean": booked and terms.can_be_cancelled},
        ],
    }
    return appointment | {"extension": [*others, characteristic(terms.min_change_hours), update]}


def terms_of(appointment: Resource) -> Terms:
    """The terms an Appointment this server wrote stands under so far."""
    allowed, update = appointment["extension"][-2:]
    moves, reschedule, cancel = update["extension"]
    hours = allowed["extension"][0]["extension"][0]["valueInteger"]
    return Terms(moves["valueInteger"], hours, reschedule["valueBoolean"], cancel["valueBoolean"])
