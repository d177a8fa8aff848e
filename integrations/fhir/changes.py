"""What record systems tell of their changes: searches by `_lastUpdated`, Subscriptions, and what these send.

R4 rest-hooks send the bare resource; topics (the Subscriptions R5 Backport guide) send a Bundle that begins with a
status, as `Parameters` in R4 and as `SubscriptionStatus` from R4B on.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from msgspec import Raw

from domain.endpoint import Endpoint, News
from domain.ports import EhrChange, Hook, Notification, NotificationUnreadable
from integrations.fhir import reading
from integrations.fhir.client import FhirClient, asking, path_to
from integrations.fhir.failures import FhirFailure
from integrations.fhir.notices import Notice, status_in
from integrations.fhir.paging import pages
from integrations.fhir.wire import Appointment, Resource, Slot, Unreadable, decode, id_in, type_of, within
from integrations.fhir.writing import in_utc

log = logging.getLogger(__name__)

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
SECRET = "https://www.medplum.com/fhir/StructureDefinition/subscription-secret"
"""Where a server that signs what it sends (HMAC-SHA256 of the body in `X-Signature`) takes the secret from."""

TOPICS: Mapping[type[Resource], str] = {Appointment: "appointments", Slot: "slots"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """`kinds`: what a system of this dialect has that changes: Appointments, and Slots where it has them."""

    client: FhirClient
    endpoint: Endpoint
    kinds: Sequence[type[Resource]]

    async def changes(self, since: datetime, deadline: float) -> Sequence[EhrChange]:
        with asking(deadline):
            told = await asyncio.gather(*(self._changed(kind, since) for kind in self.kinds))
        return [change for changes in told for change in changes]

    async def _changed(self, kind: type[Resource], since: datetime) -> list[EhrChange]:
        asked = {"_lastUpdated": f"ge{in_utc(since)}", "_count": self.endpoint.page_size}
        found: dict[str, EhrChange] = {}
        try:
            async for page in pages(self.client, kind.__name__, asked):
                for each in within(page, kind):
                    if not isinstance(each, Unreadable) and (change := self._change(each)):
                        found[change.key] = change
        except FhirFailure as refused:
            log.info("%s cannot be asked for changed %ss: %s", self.endpoint.id, kind.__name__, refused)
        return list(found.values())

    def _change(self, resource: Resource) -> EhrChange | None:
        if isinstance(resource, Appointment):
            return self._of_appointment(resource)
        return self._of_slot(resource) if isinstance(resource, Slot) else None

    def _of_appointment(self, found: Appointment) -> EhrChange | None:
        try:
            held = reading.appointment_of(found)
        except Unreadable:
            return None
        number = reading.value_of(found.identifier, self.endpoint.booking_system)
        return EhrChange(
            key=_key(found),
            at=_updated(found),
            practitioner_ehr_id=reading.role_of(found),
            span=reading.span_of(found),
            appointment=held,
            booking_id=_uuid(number),
            reference=reading.first_id(found.slot, "Slot") or reading.value_of(found.identifier, reading.SLOT_ID) or "",
        )

    def _of_slot(self, found: Slot) -> EhrChange:
        return EhrChange(
            key=_key(found),
            at=_updated(found),
            schedule_id=id_in(found.schedule.reference, "Schedule"),
            span=reading.span_of(found),
        )

    async def hook_up(self, hook: Hook, known: Mapping[str, str], deadline: float) -> Mapping[str, str]:
        hooks: dict[str, str] = {}
        with asking(deadline):
            for kind in self.kinds:
                if id := await self._hooked(kind, hook, known.get(kind.__name__)):
                    hooks[kind.__name__] = id
        return hooks

    async def _hooked(self, kind: type[Resource], hook: Hook, known: str | None) -> str | None:
        wanted = self._subscription(kind, hook)
        try:
            if known:
                await self.client.send("PUT", path_to("Subscription", known), data=wanted | {"id": known})
                return known
        except FhirFailure as failure:
            log.info("Subscription %s at %s is gone: %s", known, self.endpoint.id, failure)
        try:
            answer = await self.client.send("POST", "Subscription", data=wanted)
        except FhirFailure as failure:
            log.info("%s takes no Subscription for %s: %s", self.endpoint.id, kind.__name__, failure)
            return None
        made = decode(answer.body, Resource) if answer.body else Resource()
        return made.id or id_in(answer.headers.get("Location", ""), "Subscription")

    def _subscription(self, kind: type[Resource], hook: Hook) -> dict[str, Any]:
        by_topic = self.endpoint.news is News.TOPICS
        channel: dict[str, Any] = {
            "type": "rest-hook",
            "endpoint": hook.url,
            "payload": "application/fhir+json",
            "header": [f"Authorization: Bearer {hook.secret}"],
        }
        if by_topic:
            content = {"url": f"{BACKPORT}/backport-payload-content", "valueCode": "full-resource"}
            channel["_payload"] = {"extension": [content]}
        profile = {"meta": {"profile": [f"{BACKPORT}/backport-subscription"]}} if by_topic else {}
        signed = {"extension": [{"url": SECRET, "valueString": hook.secret}]} if self.endpoint.signs_news else {}
        return {
            "resourceType": "Subscription",
            **profile,
            **signed,
            "status": "requested",
            "reason": "Free times and bookings on patients' screens",
            "criteria": f"{self.endpoint.topics}/{TOPICS[kind]}" if by_topic else kind.__name__,
            "end": hook.until.astimezone(UTC).isoformat(timespec="seconds"),
            "channel": channel,
        }

    def notification(self, body: bytes) -> Notification:
        try:
            kind = type_of(body)
            if kind == "Bundle":
                return self._from_bundle(decode(body, Notice))
            change = self._bare(body, kind)
        except Unreadable as unreadable:
            raise NotificationUnreadable(str(unreadable)) from unreadable
        if change is None:
            raise NotificationUnreadable(f"nothing that is known of a {kind or 'nameless thing'}")
        return Notification(changes=(change,), events=1)

    def _bare(self, body: bytes | Raw, kind: str | None) -> EhrChange | None:
        known = next((each for each in self.kinds if each.__name__ == kind), None)
        return self._change(decode(body, known)) if known else None

    def _from_bundle(self, notice: Notice) -> Notification:
        if notice.type not in ("history", "subscription-notification") or not notice.entry:
            raise Unreadable("a Bundle that is no notification")
        status = status_in(notice.entry[0].resource)
        bodies = [entry.resource for entry in notice.entry[1:]]
        changes = [change for each in bodies if (change := self._bare(each, type_of(each)))]
        return Notification(
            changes=tuple(changes), subscription=status.subscription, number=status.number, events=status.events
        )


def _key(found: Resource) -> str:
    meta = found.meta
    return f"{found.resourceType}/{found.id}/{(meta.versionId or meta.lastUpdated) if meta else ''}"


def _updated(found: Resource) -> datetime | None:
    try:
        moment = datetime.fromisoformat(found.meta.lastUpdated) if found.meta else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
