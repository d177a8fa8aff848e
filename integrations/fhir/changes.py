"""What record systems tell of their changes: searches by `_lastUpdated`, Subscriptions, and what these send.

R4 rest-hooks send the bare resource; topics (the Subscriptions R5 Backport guide) send a Bundle that begins with a
status, as `Parameters` in R4 and as `SubscriptionStatus` from R4B on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise
from typing import Any

from msgspec import Raw

from domain.endpoint import Endpoint, News
from domain.ports import EhrChange, EhrNews, EhrUnavailable, Hook, Notification, NotificationUnreadable
from integrations.fhir import reading
from integrations.fhir.client import FhirClient, asking, path_to
from integrations.fhir.failures import FhirFailure
from integrations.fhir.notices import Notice, status_in
from integrations.fhir.paging import pages
from integrations.fhir.wire import Appointment, Bundle, Resource, Slot, Unreadable, decode, id_in, type_of, within
from integrations.fhir.writing import in_utc

log = logging.getLogger(__name__)

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
SECRET = "https://www.medplum.com/fhir/StructureDefinition/subscription-secret"
"""Where a server that signs what it sends (HMAC-SHA256 of the body in `X-Signature`) takes the secret from."""

BY_AGE: Mapping[str, str] = {"_sort": "_lastUpdated"}
"""Oldest first, so that what was told before a server stopped can be counted on."""

TOPICS: Mapping[type[Resource], str] = {Appointment: "appointments", Slot: "slots"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """`kinds`: what a system of this dialect has that changes: Appointments, and Slots where it has them."""

    client: FhirClient
    endpoint: Endpoint
    kinds: Sequence[type[Resource]]

    async def changes(self, since: datetime, deadline: float) -> EhrNews:
        with asking(deadline):
            told = await asyncio.gather(*(self._changed(kind, since) for kind in self.kinds))
        cut = [news.until for news in told if not news.whole]
        known = [until for until in cut if until]
        return EhrNews(
            changes=sorted(chain.from_iterable(news.changes for news in told), key=_age),
            whole=not cut,
            until=min(known) if known and len(known) == len(cut) else None,
        )

    async def _changed(self, kind: type[Resource], since: datetime) -> EhrNews:
        """Some servers cannot be asked in order. One that refuses without it, too, has nothing to tell of that kind."""
        asked = {"_lastUpdated": f"ge{in_utc(since)}", "_count": self.endpoint.page_size}
        for order in (BY_AGE, {}):
            rest = pages(self.client, kind.__name__, {**asked, **order})
            try:
                first = await anext(rest)
            except FhirFailure as refused:
                how = " by age" if order else ""
                log.info("%s cannot be asked for changed %ss%s: %s", self.endpoint.id, kind.__name__, how, refused)
                continue
            return await self._told(kind, first, rest, in_order=bool(order))
        return EhrNews()

    async def _told(
        self, kind: type[Resource], first: Bundle, rest: AsyncIterator[Bundle], *, in_order: bool
    ) -> EhrNews:
        found = self._on(first, kind)
        try:
            async for page in rest:
                found |= self._on(page, kind)
        except (EhrUnavailable, FhirFailure, Unreadable) as cut:
            if not found:
                raise
            log.info("%s tells no more of its changed %ss: %s", self.endpoint.id, kind.__name__, cut)
            changes = list(found.values())
            return EhrNews(changes=changes, whole=False, until=_until(changes) if in_order else None)
        return EhrNews(changes=list(found.values()))

    def _on(self, page: Bundle, kind: type[Resource]) -> dict[str, EhrChange]:
        own = (self._change(each) for each in within(page, kind) if not isinstance(each, Unreadable))
        return {change.key: change for change in own if change}

    def _change(self, resource: Resource) -> EhrChange | None:
        if isinstance(resource, Appointment):
            return self._of_appointment(resource)
        return self._of_slot(resource) if isinstance(resource, Slot) else None

    def _of_appointment(self, found: Appointment) -> EhrChange | None:
        try:
            held = reading.appointment_of(found)
        except Unreadable:
            return None
        return EhrChange(
            key=_key(found),
            at=_updated(found),
            practitioner_ehr_id=reading.role_of(found),
            span=reading.span_of(found),
            appointment=held,
            booking_id=reading.number_in(found.identifier, self.endpoint),
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
                try:
                    id = await self._hooked(kind, hook, known.get(kind.__name__))
                except EhrUnavailable:
                    if not hooks:
                        raise
                    break  # what was made is kept; for the rest it is asked for its changes
                hooks.update({kind.__name__: id} if id else {})
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


def _age(change: EhrChange) -> tuple[bool, datetime]:
    return change.at is None, change.at or datetime.max.replace(tzinfo=UTC)


def _until(changes: Sequence[EhrChange]) -> datetime | None:
    """A server may ignore the order it was asked for: then what it left out may be older than what it told."""
    told = [change.at for change in changes if change.at]
    rises = all(one <= other for one, other in pairwise(told))
    return told[-1] if told and rises and told[0] < told[-1] else None


def _key(found: Resource) -> str:
    meta = found.meta
    return f"{found.resourceType}/{found.id}/{(meta.versionId or meta.lastUpdated) if meta else ''}"


def _updated(found: Resource) -> datetime | None:
    try:
        moment = datetime.fromisoformat(found.meta.lastUpdated) if found.meta else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None
