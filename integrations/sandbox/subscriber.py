"""Who wants to be told of changes, as their Subscription says it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

Resource = dict[str, Any]

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
SECRET = "https://www.medplum.com/fhir/StructureDefinition/subscription-secret"
TOPICS = {
    "https://sandbox.example/topics/appointments": "Appointment",
    "https://sandbox.example/topics/slots": "Slot",
}


def by_topic(resource: Resource) -> bool:
    """Is it a Subscription to a topic, as the R5 backport writes it in R4?"""
    return f"{BACKPORT}/backport-subscription" in resource.get("meta", {}).get("profile", ())


def extension(element: Resource, url: str) -> Any:
    """The value of the first extension with that address, if there is one."""
    for each in element.get("extension", ()):
        if each.get("url") == url:
            return next((value for name, value in each.items() if name.startswith("value")), None)
    return None


@dataclass(slots=True)
class Subscriber:
    """A Subscription, the address of the server it was sent to, and how many events it has had."""

    resource: Resource
    base: str
    events: int = 0

    @property
    def id(self) -> str:
        """The id of the Subscription."""
        found: str = self.resource["id"]
        return found

    @property
    def channel(self) -> Resource:
        """Where and how to tell."""
        found: Resource = self.resource["channel"]
        return found

    @property
    def by_topic(self) -> bool:
        """Is it told in Bundles with numbered events, or in bare resources?"""
        return by_topic(self.resource)

    @property
    def about(self) -> str:
        """The type of resource it is told of."""
        criteria: str = self.resource["criteria"]
        return TOPICS[criteria] if self.by_topic else criteria.partition("?")[0]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The search that a resource must match; none for a topic."""
        query = "" if self.by_topic else self.resource["criteria"].partition("?")[2]
        return parse_qsl(query, keep_blank_values=True)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What is sent along with every message."""
        split = (each.partition(":") for each in self.channel.get("header", ()))
        return [(name.strip(), value.strip()) for name, _, value in split]

    @property
    def secret(self) -> str | None:
        """What messages are signed with."""
        found: str | None = extension(self.resource, SECRET)
        return found

    @property
    def content(self) -> str:
        """How much is told: `full-resource`, `id-only` or `empty`, in the words of the backport."""
        if "payload" not in self.channel:
            return "id-only" if self.by_topic else "empty"
        asked = extension(self.channel.get("_payload", {}), f"{BACKPORT}/backport-payload-content")
        return str(asked) if asked and self.by_topic else "full-resource"

    @property
    def heartbeat(self) -> float | None:
        """After how many seconds of silence a sign of life is sent, if at all."""
        return extension(self.channel, f"{BACKPORT}/backport-heartbeat-period") if self.by_topic else None

    def status(self, now: datetime) -> str:
        """The status as it is now: nothing tells a Subscription that its end has come."""
        end = self.resource.get("end")
        if end is not None and datetime.fromisoformat(end) <= now:
            return "off"
        found: str = self.resource["status"]
        return found

    def told(self, now: datetime) -> Resource:
        """The Subscription as a reader gets it."""
        return self.resource | {"status": self.status(now)}
