"""Who is told what: changes of one stretch of work, matched with the Subscriptions and put on their way."""

import asyncio
from collections.abc import Callable, Sequence

import orjson

from integrations.sandbox import appointments, r4_search, r4_slots
from integrations.sandbox.calendar import Calendar
from integrations.sandbox.changes import Change
from integrations.sandbox.delivery import Deliveries, Message
from integrations.sandbox.subscriber import Resource, Subscriber
from integrations.sandbox.topics import notification

MOST_SLOTS = 50
SLOT_CRITERIA = ("schedule", "service-type", "start", "status")


class Notices:
    """Hears every change of a calendar and tells those who asked."""

    def __init__(self, calendar: Calendar, deliveries: Deliveries) -> None:
        self._calendar = calendar
        self._deliveries = deliveries
        self._heard: list[Change | Resource] = []

    def start(self) -> None:
        """After a restart: whoever was never asked, or whose answer was lost, is asked again."""
        self._heard.clear()
        for each in self._calendar.subscribers.values():
            if each.status(self._calendar.now()) == "requested":
                self.shake_hands(each)

    def hear(self, news: Change | Resource) -> None:
        """A time changed hands, or an Appointment was written; told once the request that did it is through."""
        if not self._calendar.subscribers:
            return
        if not self._heard:
            asyncio.get_running_loop().call_soon(self._tell)
        self._heard.append(news)

    def shake_hands(self, subscriber: Subscriber) -> None:
        """Ask the endpoint of a topic Subscription whether it is there."""
        body = orjson.dumps(notification(subscriber, "handshake", self._calendar.now()))
        self._deliveries.send(subscriber, Message(body, is_handshake=True))

    def _tell(self) -> None:
        heard, self._heard = self._heard, []
        written = [each for each in heard if isinstance(each, dict)]
        times = [each for each in heard if isinstance(each, Change)]
        now, counted = self._calendar.now(), False
        for subscriber in list(self._calendar.subscribers.values()):
            # Events from before the handshake was answered wait behind it.
            if subscriber.status(now) not in ("active", "requested"):
                continue
            resources = self._slots(subscriber, times) if subscriber.about == "Slot" else self._of(subscriber, written)
            counted |= bool(resources) and subscriber.by_topic
            self._send(subscriber, resources)
        if counted:
            self._calendar.write()

    def _send(self, subscriber: Subscriber, resources: Sequence[Resource]) -> None:
        if not resources:
            return
        first = subscriber.events + 1
        subscriber.events += len(resources)
        if subscriber.by_topic:
            events = list(enumerate(resources, start=first))
            bundle = notification(subscriber, "event-notification", self._calendar.now(), events)
            return self._deliveries.send(subscriber, Message(orjson.dumps(bundle)))
        for each in resources:
            body = orjson.dumps(each) if subscriber.content == "full-resource" else b""
            self._deliveries.send(subscriber, Message(body))

    def _of(self, subscriber: Subscriber, written: Sequence[Resource]) -> list[Resource]:
        matches = matching_appointments(self._calendar, subscriber)
        return [each for each in written if matches(each)]

    def _slots(self, subscriber: Subscriber, times: Sequence[Change]) -> list[Resource]:
        matches = matching_slots(self._calendar, subscriber)
        touched = {
            slot.id: slot
            for each in times
            for slot in r4_slots.sharing_time(self._calendar, each.role, each.start, each.end)[:MOST_SLOTS]
        }
        return [r4_slots.resource_of(self._calendar, each) for each in touched.values() if matches(each)]


def matching_appointments(calendar: Calendar, subscriber: Subscriber) -> Callable[[Resource], bool]:
    """Whether an Appointment concerns the Subscription; 400 for criteria that nobody understands."""
    return appointments.matching(calendar, subscriber.pairs)


def matching_slots(calendar: Calendar, subscriber: Subscriber) -> Callable[[r4_slots.Slot], bool]:
    """Whether a Slot, as it is now, concerns the Subscription; 400 for criteria that nobody understands."""
    wanted = r4_search.wanted(calendar, subscriber.pairs, SLOT_CRITERIA)
    return lambda slot: wanted is not None and wanted.admits(calendar, slot)
