"""`$hold` of the IHE dialect: a pending Appointment keeps a time, until it is booked, let go of, or over."""

from dataclasses import dataclass

from domain.endpoint import Endpoint
from domain.ports import Visit
from domain.refusals import Refused
from integrations.fhir import writing
from integrations.fhir.client import FhirClient
from integrations.fhir.existing import Existing
from integrations.fhir.failures import FhirFailure
from integrations.fhir.wire import Appointment, Unreadable, bundle, within


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    client: FhirClient
    endpoint: Endpoint

    async def hold(self, visit: Visit) -> str:
        """The pending Appointment's id. Raises `Refused`: the guide's own word for a time that is gone is not-found."""
        asked = writing.parameters(writing.held(visit, self.endpoint), self.endpoint)
        try:
            answer = await self.client.send("POST", "Appointment/$hold", data=asked)
        except FhirFailure as failure:
            if refusal := failure.as_refusal(missing_is_taken=True):
                raise Refused(refusal) from failure
            raise
        return _pending(answer.body)

    async def let_go(self, visit: Visit, ehr_id: str) -> None:
        """What can be read and is more than pending is left alone; what the server refuses to cancel is gone."""
        if await Existing(client=self.client, endpoint=self.endpoint).read(ehr_id):
            return
        given_up = writing.held(visit, self.endpoint) | {"id": ehr_id, "status": "cancelled"}
        try:
            await self.client.send("POST", "Appointment/$book", data=writing.parameters(given_up, self.endpoint))
        except FhirFailure as failure:
            if failure.as_refusal(missing_is_taken=False) is None:
                raise


def _pending(body: bytes) -> str:
    """Exactly one Appointment that is pending. Anything else leaves it open what is kept there."""
    found = list(within(bundle(body), Appointment))
    if len(found) != 1 or isinstance(found[0], Unreadable):
        raise Unreadable(f"{len(found)} Appointments where one was expected")
    if found[0].status != "pending" or not found[0].id:
        raise Unreadable(f"an Appointment that is {found[0].status}, where a pending one was expected")
    return found[0].id
