"""Whose visit an Appointment is: nobody is believed to be the patient whom it does not name."""

import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from msgspec import Struct, field

from domain.national_id import SYSTEMS
from integrations.fhir.client import FhirClient, token, under
from integrations.fhir.failures import FhirFailure
from integrations.fhir.paging import every
from integrations.fhir.wire import Identifier, Patient, Reference, id_in

log = logging.getLogger(__name__)

OTHERS = ("Practitioner", "PractitionerRole", "HealthcareService", "Location", "Device", "RelatedPerson")
"""Who and what takes part beside the patient; they may be named by a national number, too."""


class Actor(Reference):
    type: str = ""


class Taking(Struct):
    actor: Actor = field(default_factory=Actor)


class Participants(Struct):
    participant: list[Taking] = []


class Whose:
    """One person's, by national number. A server may ignore what it was asked for, so each Appointment is looked at."""

    def __init__(self, client: FhirClient, own: Identifier) -> None:
        self._client = client
        self._own = own
        self._ids: set[str] | None = None

    async def takes_part(self, participants: Sequence[Taking]) -> bool:
        """As the patient, and as the only one. Asks the server at most once who has the number, and only if it must."""
        patients = [each.actor for each in participants if _is_patient(each.actor)]
        if self._ids is None and any(actor.identifier != self._own and actor.reference for actor in patients):
            self._ids = await self._known_as()
        return bool(patients) and all(map(self._is, patients))

    def _is(self, actor: Actor) -> bool:
        """By number; by reference only where the server says that its Patient has that number."""
        if actor.identifier and actor.identifier.system in SYSTEMS.values():
            return actor.identifier == self._own
        here = not urlsplit(actor.reference).scheme or under(self._client.url, actor.reference)
        return here and id_in(actor.reference, "Patient") in (self._ids or ())

    async def _known_as(self) -> set[str]:
        """The server's Patients with that number, which each of them must show."""
        try:
            asked = {"identifier": token(self._own.system, self._own.value)}
            found = every(self._client, "Patient", asked, Patient, person="identifier")
            return {each.id async for each in found if self._own in each.identifier}
        except FhirFailure as failure:
            log.info("%s tells nobody which Patient has a number: %s", self._client.url, failure)
            return set()


def _is_patient(actor: Actor) -> bool:
    """Whether it names a patient; one of whom neither type nor reference tells is one by a national number."""
    if id_in(actor.reference, "Patient") or actor.type == "Patient":
        return True
    if actor.type or any(id_in(actor.reference, kind) for kind in OTHERS):
        return False
    return actor.identifier is not None and actor.identifier.system in SYSTEMS.values()
