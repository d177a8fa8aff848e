"""Clinic staff move a visit: its time, the Slot taken under its number, and who it is with."""

from dataclasses import replace

from integrations.sandbox import r4_slots
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.catalogue import taking_part
from integrations.sandbox.hours import local, minute_of
from integrations.sandbox.ihe_terms import DEVICE_SYSTEM, device_of
from integrations.sandbox.searching import instant, references
from integrations.sandbox.taken import Taken, TimeTakenError
from integrations.sandbox.wire import FhirError, Resource
from integrations.sandbox.world import TREATMENTS_SYSTEM, Role

_STAFF = ("PractitionerRole/", "Practitioner/", "HealthcareService/", "Location/")


def slots_held(calendar: Calendar, appointment: Resource) -> list[Taken]:
    """The Slots an Appointment refers to that were taken under its own number."""
    numbers = {each["value"] for each in appointment.get("identifier", ())}
    times = (calendar.taken(each.removeprefix("Slot/")) for each in references(appointment, "slot"))
    return [time for time in times if time is not None and time.visit in numbers]


def moved(calendar: Calendar, appointment: Resource, start: int, role: Role | None) -> Resource:
    """Occupy the new time, free the old one, and give the Appointment as it now reads; it is not kept yet.

    Raises TimeTakenError when the new time is not free, or when no Slot begins then.
    """
    held = slots_held(calendar, appointment)
    before = _role_of(calendar, appointment, held)
    after = role or before
    if not _codes(appointment) <= set(after.treatments):
        raise FhirError(400, "business-rule", f"{after.name} does not perform that")
    begins, ends = (minute_of(instant(appointment[name], name)) for name in ("start", "end"))
    time = Taken(key=appointment["id"], role=after.id, start=start, end=start + ends - begins)
    if held:
        time = _take_slot(calendar, held, after, start)
        appointment = appointment | {"slot": [{"reference": f"Slot/{time.key}"}]}
    else:
        calendar.take(time)
    zone = calendar.world.zone
    span = {"start": local(time.start, zone).isoformat(), "end": local(time.end, zone).isoformat()}
    return (_with(calendar, appointment, after) if after != before else appointment) | span


def _take_slot(calendar: Calendar, held: list[Taken], role: Role, start: int) -> Taken:
    old = r4_slots.slot_of(calendar, held[0].key)
    new = r4_slots.slot_or_none(calendar, r4_slots.Slot(start, role, old.treatment).id)
    if new is None or new.treatment.code not in role.treatments:
        raise TimeTakenError
    time = replace(held[0], key=new.id, role=role.id, start=new.start, end=new.end)
    calendar.take(time, beside=lambda other: other.key in {each.key for each in held})
    for each in held:
        if each.key != time.key:
            calendar.release(each.key)
    return time


def _role_of(calendar: Calendar, appointment: Resource, held: list[Taken]) -> Role:
    own = calendar.taken(appointment["id"])
    named = [each.role for each in (*held, *([own] if own else []))]
    actors = (each["actor"].get("reference", "") for each in appointment["participant"])
    named += [each.removeprefix("PractitionerRole/") for each in actors]
    found = next((calendar.world.role_by_id[each] for each in named if each in calendar.world.role_by_id), None)
    if found is None:
        raise FhirError(409, "business-rule", "Nobody knows who the Appointment is with")
    return found


def _codes(appointment: Resource) -> set[str]:
    codings = [each for kind in appointment.get("serviceType", ()) for each in kind.get("coding", ())]
    return {each["code"] for each in codings if each.get("system") == TREATMENTS_SYSTEM and "code" in each}


def _with(calendar: Calendar, appointment: Resource, role: Role) -> Resource:
    others = [each for each in appointment["participant"] if not each["actor"].get("reference", "").startswith(_STAFF)]
    needed = appointment.get("supportingInformation", ())
    needed = [each for each in needed if each.get("identifier", {}).get("system") != DEVICE_SYSTEM]
    needed += [{"identifier": device_of(role)}] if role.device else []
    changed = {name: value for name, value in appointment.items() if name != "supportingInformation"}
    changed["participant"] = taking_part(calendar.world, role) + others
    return changed | ({"supportingInformation": needed} if needed else {})
