"""What an EHR tells of its changes, when it is asked and by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.endpoint import Endpoint
from domain.ports.ehr import EhrAppointment
from domain.slot import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrChange:
    """One resource of an EHR that has changed: `key` is its `Type/id/version`, `at` its `lastUpdated`.

    Whose time it is about is told by PractitionerRole, by Schedule or not at all; `span` is when. An Appointment comes
    with what it holds now, and with our number where it carries one; `reference` is the Slot it has.
    """

    key: str
    at: datetime | None = None
    practitioner_ehr_id: str | None = None
    schedule_id: str | None = None
    span: Span | None = None
    appointment: EhrAppointment | None = None
    booking_id: UUID | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EhrNews:
    """What an EHR told when it was asked for its changes, oldest first where it can be asked for them in that order.

    Not `whole` where there was more than it told in time: then every change up to `until` is among them. `until` is
    None where nothing of the kind can be relied on, since the order is not known.
    """

    changes: Sequence[EhrChange] = ()
    whole: bool = True
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Where an EHR is to send its news, what it must send along to be believed, and until when."""

    url: str
    secret: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What an EHR has sent: hints, never data. `number` is the last event's, where events are numbered.

    `events` is how many came with it. A handshake or heartbeat brings none, and says how many there have been.
    """

    changes: Sequence[EhrChange] = ()
    subscription: str | None = None
    number: int | None = None
    events: int = 0


class NotificationUnreadable(Exception):
    """What was sent is no notification; the message says why, without repeating it."""


class EhrListening(Protocol):
    """How an EHR is listened to. Methods that ask it may raise `EhrUnavailable`; deadlines are in seconds."""

    async def changes(self, since: datetime, deadline: float) -> EhrNews:
        """Appointments and times that were changed at `since` or later, or the part of them that was told in time.

        What an EHR cannot be asked for so is left out, and the rest is whole without it: its times are looked at by
        whoever watches them. Raises `EhrUnavailable` where nothing was told.
        """
        ...

    async def hook_up(self, hook: Hook, known: Mapping[str, str], deadline: float) -> Mapping[str, str]:
        """Subscriptions there that send us news until `hook.until`: made, or renewed where they are `known`.

        What they are about → their ids. Empty where the EHR has no such thing.
        """
        ...

    def notification(self, body: bytes) -> Notification:
        """Raises `NotificationUnreadable`."""
        ...


class EhrsListening(Protocol):
    def listening(self, endpoint: Endpoint) -> EhrListening:
        """How that endpoint is listened to, over the same connections."""
        ...
