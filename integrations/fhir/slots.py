"""Slots of plain R4: taken before an Appointment is made and freed after it is gone, always under their version."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.endpoint import Endpoint
from domain.ports import EhrUnavailable, Visit
from domain.refusals import Refused, RejectedByEhr, SlotTaken
from domain.slot import Span, freed_by_moving
from integrations.fhir.client import FhirClient, only_reading, path_to, token
from integrations.fhir.existing import version
from integrations.fhir.failures import FhirFailure
from integrations.fhir.paging import every
from integrations.fhir.reading import around, is_of, span_of
from integrations.fhir.wire import Appointment, Slot, Unreadable, decode, id_in
from integrations.fhir.writing import booking_identifier, in_utc

log = logging.getLogger(__name__)
ANSWER_IN_FULL = {"Prefer": "return=representation"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A Slot as it stood when it was read."""

    resource: dict[str, Any]
    slot: Slot
    version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    client: FhirClient
    endpoint: Endpoint

    async def take(self, visit: Visit, *, moving: Visit | None = None) -> None:
        """Make the visit's Slot ours; also when it was already. Raises `Refused` when it is somebody else's.

        `moving`: the visit as it was, whose own time may be all that makes the Slot busy.
        """
        with only_reading():
            seen = await self._read(visit.reference) if visit.reference else None
            if seen is None or span_of(seen.slot) != Span(start=visit.start, end=visit.end):
                raise Refused(SlotTaken())
            if self._is_ours(seen.slot, visit):
                return
            if seen.slot.status != "free" and not (moving and await self._opens_up(seen.slot, moving)):
                raise Refused(SlotTaken())
        await self._occupy(seen, visit)

    async def free(self, id: str, visit: Visit) -> None:
        """Give the Slot back, if it is ours. Once more where it changed in between."""
        for last in (False, True):
            seen = await self._read(id)
            if seen is None or not self._is_ours(seen.slot, visit):
                return
            try:
                return await self._put(seen, self._freed(seen, visit))
            except FhirFailure as failure:
                if last or failure.status not in (409, 412):
                    raise

    async def let_go(self, id: str, visit: Visit) -> bool:
        """`free`, for when the deed is done and an outage can change nothing about it."""
        try:
            await self.free(id, visit)
        except (EhrUnavailable, FhirFailure, Unreadable, Refused) as error:
            log.warning("Slot of booking %s at %s was not freed: %s", visit.booking_id, self.endpoint.id, error)
            return False
        return True

    async def opened_up(self, moving: Visit, schedule_ids: Sequence[str]) -> list[Slot]:
        """Slots of its service, of any status, that only the visit itself is in the way of."""
        length = moving.end - moving.start
        service = token(self.endpoint.service_system, moving.service_code)
        near = Span(start=moving.start - length, end=moving.end)
        same = await self._search(schedule_ids, near, **{"service-type": service})
        own = next((slot for slot in same if slot.id == moving.reference), None)
        if own is None:
            return []
        free = await self._search(schedule_ids, around(moving), status="free")
        spans = [span for slot in free if slot.schedule == own.schedule and (span := span_of(slot))]
        freed = freed_by_moving(Span(start=moving.start, end=moving.end), spans)
        return [slot for slot in same if slot.schedule == own.schedule and span_of(slot) in freed]

    async def _search(self, schedule_ids: Sequence[str], span: Span, **more: str) -> list[Slot]:
        asked = question(schedule_ids, span, self.endpoint.page_size, **more)
        return [slot async for slot in every(self.client, "Slot", asked, Slot)]

    async def _opens_up(self, target: Slot, moving: Visit) -> bool:
        """Busy because of the visit alone: a server that does not see to that itself would let us take any Slot."""
        schedule = id_in(target.schedule.reference, "Schedule")
        if target.identifier or target.comment or schedule is None:
            return False
        if target.id not in [slot.id for slot in await self.opened_up(moving, [schedule])]:
            return False
        asked = {"slot": f"Slot/{target.id}"}
        others = [each async for each in every(self.client, "Appointment", asked, Appointment)]
        return not any(each.status in ("booked", "arrived", "checked-in", "pending") for each in others)

    async def _occupy(self, seen: Seen, visit: Visit) -> None:
        """After a no, or no answer, the Slot itself says who has it."""
        try:
            return await self._put(seen, self._taken(seen, visit))
        except FhirFailure as failure:
            refusal = failure.as_refusal(missing_is_taken=True)
            if refusal is None:
                raise
            if not isinstance(refusal, SlotTaken):
                raise Refused(refusal) from failure
            unanswered = None
        except EhrUnavailable as outage:
            if not outage.sent:
                raise
            unanswered = outage
        await self._see_who_has_it(visit, unanswered)

    async def _see_who_has_it(self, visit: Visit, unanswered: EhrUnavailable | None) -> None:
        try:
            seen = await self._read(visit.reference)
        except (EhrUnavailable, FhirFailure, Unreadable) as error:
            raise unanswered or EhrUnavailable(f"the Slot could not be read again: {error}") from error
        if seen and self._is_ours(seen.slot, visit):
            return
        if unanswered and seen and seen.slot.status == "free":
            raise unanswered  # what we sent may still arrive
        raise Refused(SlotTaken())

    async def _read(self, id: str) -> Seen | None:
        try:
            answer = await self.client.send("GET", path_to("Slot", id))
        except FhirFailure as failure:
            if failure.status in (404, 410):
                return None
            raise
        slot = decode(answer.body, Slot)
        if slot.resourceType != "Slot":
            raise Unreadable("not a Slot")
        known = version(slot.meta.versionId if slot.meta else "", answer.headers.get("ETag", ""))
        return Seen(answer.resource(), slot, known)

    async def _put(self, seen: Seen, resource: dict[str, Any]) -> None:
        if seen.version is None:
            raise Refused(RejectedByEhr("a Slot without a version cannot be taken or freed safely"))
        headers = {"If-Match": seen.version, **ANSWER_IN_FULL}
        await self.client.send("PUT", path_to("Slot", seen.slot.id), data=resource, headers=headers)

    def _is_ours(self, slot: Slot, visit: Visit) -> bool:
        """By identifier; by comment where a server keeps no identifier of a Slot."""
        marked = is_of(visit, self.endpoint, slot.identifier) or slot.comment == self._mark(visit)
        return marked and slot.status in ("busy", "busy-tentative")

    def _taken(self, seen: Seen, visit: Visit) -> dict[str, Any]:
        identifiers = [*seen.resource.get("identifier", ()), booking_identifier(visit, self.endpoint)]
        comment = seen.slot.comment or self._mark(visit)
        return seen.resource | {"status": "busy", "identifier": identifiers, "comment": comment}

    def _freed(self, seen: Seen, visit: Visit) -> dict[str, Any]:
        ours = booking_identifier(visit, self.endpoint)
        others = [
            each
            for each in seen.resource.get("identifier", ())
            if (each.get("system"), each.get("value")) != (ours["system"], ours["value"])
        ]
        freed = {name: value for name, value in seen.resource.items() if name != "identifier"} | {"status": "free"}
        if seen.slot.comment == self._mark(visit):
            freed.pop("comment", None)
        return freed | ({"identifier": others} if others else {})

    def _mark(self, visit: Visit) -> str:
        return f"{self.endpoint.booking_system}|{visit.booking_id}"


def question(schedule_ids: Sequence[str], span: Span, page_size: int, **more: str) -> dict[str, Any]:
    """A search for Slots of all those Schedules together that start within the span."""
    return {
        "schedule": ",".join(f"Schedule/{id}" for id in schedule_ids),
        "start": [f"ge{in_utc(span.start)}", f"lt{in_utc(span.end)}"],
        **more,
        "_sort": "start",
        "_count": page_size,
    }
