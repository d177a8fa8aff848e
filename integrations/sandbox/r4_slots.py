"""Slots of the R4 dialect: computed from the calendar, one for each service type and quarter of an hour."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from integrations.sandbox.calendar import CLOSED, Calendar
from integrations.sandbox.catalogue import coding
from integrations.sandbox.hours import minute_of
from integrations.sandbox.taken import Taken, TimeTakenError
from integrations.sandbox.wire import FhirError, Resource
from integrations.sandbox.world import Role, Treatment

_ID = re.compile(r"(sk\d+)-([a-z-]+)-(\d{8}T\d{4}Z)", re.ASCII)
BUSY = ("busy", "busy-tentative")
_FIRST_DAY = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Slot:
    """A start a visit of one treatment could have with one practitioner."""

    start: int
    role: Role
    treatment: Treatment

    @property
    def id(self) -> str:
        """Schedule, treatment and start in UTC."""
        return f"{self.role.schedule}-{self.treatment.code}-{_stamp(self.start)}"

    @property
    def end(self) -> int:
        """The treatment's length later."""
        return self.start + self.treatment.minutes


@lru_cache(maxsize=65_536)
def _stamp(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y%m%dT%H%MZ}"


@lru_cache(maxsize=65_536)
def _instant(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%dT%H:%M:%SZ}"


@lru_cache(maxsize=4_096)
def _exact(at: int) -> str:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1000:03}Z"


def sharing_time(calendar: Calendar, role_id: str, start: int, end: int) -> list[Slot]:
    """Every published Slot of a role, for whatever treatment, that shares time with the interval; by start."""
    role = calendar.world.role_by_id.get(role_id)
    if role is None:
        return []
    performed = [calendar.world.treatment_by_code[code] for code in role.treatments]
    slots = (
        Slot(minute, role, treatment)
        for day in calendar.dates(start, end)
        for treatment in performed
        for minute in calendar.starts(role_id, day, treatment.minutes)
        if minute < end and start < minute + treatment.minutes
    )
    return sorted(slots, key=by_start)


def by_start(slot: Slot) -> tuple[int, str, str]:
    """The order Slots are listed in."""
    return slot.start, slot.role.schedule, slot.treatment.code


def slot_of(calendar: Calendar, slot_id: str) -> Slot:
    """The Slot with that id; 404 where the calendar has none."""
    parts = _ID.fullmatch(slot_id)
    role = calendar.world.role_by_schedule.get(parts[1]) if parts else None
    if parts and role and parts[2] in role.treatments:
        try:
            moment = datetime.strptime(parts[3], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
        except ValueError:
            moment = datetime(1971, 1, 1, tzinfo=UTC)
        slot = Slot(minute_of(moment), role, calendar.world.treatment_by_code[parts[2]])
        if _exists(calendar, slot):
            return slot
    raise FhirError(404, "not-found", f"No Slot {slot_id}")


def slot_or_none(calendar: Calendar, slot_id: str) -> Slot | None:
    """The Slot with that id, if there is one."""
    try:
        return slot_of(calendar, slot_id)
    except FhirError:
        return None


def _exists(calendar: Calendar, slot: Slot) -> bool:
    if slot.start < 0:
        return False
    days = calendar.dates(slot.start, slot.start + 1)
    on_grid = any(slot.start in calendar.starts(slot.role.id, day, slot.treatment.minutes) for day in days)
    return on_grid or calendar.taken(slot.id) is not None


def status_of(calendar: Calendar, slot: Slot) -> str:
    """Free, or busy by itself, by an overlapping time, or because it has begun."""
    own = calendar.taken(slot.id)
    if own is not None:
        return own.status
    role, start, end = slot.role.id, slot.start, slot.end
    others = calendar.occupants(role, start, end)
    if calendar.booked_before(role, start, end) or any(each.status != CLOSED for each in others):
        return "busy"
    return CLOSED if others or calendar.is_past(start) else "free"


def updated_at(calendar: Calendar, slot: Slot) -> int:
    """When the Slot changed last, in milliseconds since 1970; the sandbox's first day when nobody remembers."""
    return calendar.changed_at(slot.role.id, slot.start, slot.end) or _FIRST_DAY


def resource_of(calendar: Calendar, slot: Slot) -> Resource:
    """The Slot as a resource, with whoever took it."""
    own = calendar.taken(slot.id)
    described: Resource = {
        "resourceType": "Slot",
        "id": slot.id,
        "meta": {
            "versionId": str(calendar.version(slot.role.id, slot.start, slot.end)),
            "lastUpdated": _exact(updated_at(calendar, slot)),
        },
        "serviceType": [{"coding": [coding(slot.treatment)]}],
        "schedule": {"reference": f"Schedule/{slot.role.schedule}", "display": slot.role.name},
        "status": status_of(calendar, slot),
        "start": _instant(slot.start),
        "end": _instant(slot.end),
    }
    if own is not None and own.identifier:
        described["identifier"] = list(own.identifier)
    if comment := calendar.comments.get(slot.id):
        described["comment"] = comment
    return described


def slots_between(
    calendar: Calendar, roles: list[Role], codes: set[str] | None, start: int, end: int, statuses: set[str] | None
) -> list[Slot]:
    """Every Slot that starts in the window with one of the statuses, by start."""
    only_free = statuses == {"free"}
    found = []
    for role in roles:
        wanted = [calendar.world.treatment_by_code[code] for code in role.treatments if not codes or code in codes]
        for day in calendar.dates(start, end):
            for treatment in wanted:
                look = calendar.free_starts if only_free else calendar.starts
                found += [
                    Slot(minute, role, treatment)
                    for minute in look(role.id, day, treatment.minutes)
                    if start <= minute < end and not (only_free and calendar.is_past(minute))
                ]
    if statuses and not only_free:
        found = [each for each in found if status_of(calendar, each) in statuses]
    return sorted(found, key=by_start)


def take(calendar: Calendar, slot: Slot, status: str, identifier: tuple[Resource, ...]) -> None:
    """Occupy the Slot; beside another Slot only when that one was taken under the same booking number."""
    time = Taken(key=slot.id, role=slot.role.id, start=slot.start, end=slot.end, status=status, identifier=identifier)
    own = calendar.taken(slot.id)
    if own is not None and (own.visit is None or own.visit != time.visit):
        raise FhirError(409, "conflict", "The Slot is taken by somebody else")
    try:
        if own is not None and calendar.is_past(slot.start):
            calendar.restate(slot.id, status=status, identifier=identifier)
        else:
            calendar.take(time, beside=lambda other: time.visit is not None and other.visit == time.visit)
    except TimeTakenError as error:
        raise FhirError(409, "conflict", "The time is taken by somebody else") from error


def release(calendar: Calendar, slot: Slot) -> None:
    """Free the Slot and forget its identifier; what somebody else occupies stays occupied."""
    if calendar.taken(slot.id) is not None:
        calendar.release(slot.id)
    elif _occupied(calendar, slot):
        raise FhirError(409, "conflict", "Somebody else has the time, by another Slot or by telephone")
    else:
        calendar.touch(slot.role.id, slot.start, slot.end)


def _occupied(calendar: Calendar, slot: Slot) -> bool:
    time = (slot.role.id, slot.start, slot.end)
    return bool(calendar.occupants(*time)) or calendar.booked_before(*time)
