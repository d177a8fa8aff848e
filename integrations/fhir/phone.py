"""The telephone number that a clinic has for a patient."""

from domain.patient import Patient as Person
from integrations.fhir.client import FhirClient, token
from integrations.fhir.failures import FhirFailure
from integrations.fhir.paging import every
from integrations.fhir.reading import phone_in
from integrations.fhir.wire import Identifier, Patient


async def registered_phone(client: FhirClient, person: Person) -> str | None:
    """None where the clinic does not know the person, has no number, or tells nobody (WOF Connect: 404)."""
    number = person.national_id
    if number is None:
        return None
    own = Identifier(number.system, number.number)
    asked = {"identifier": token(number.system, number.number)}
    try:
        found = every(client, "Patient", asked, Patient, person="identifier")
        known = [each async for each in found if own in each.identifier]
    except FhirFailure:
        return None
    return next((phone for each in known if (phone := phone_in(each.telecom, number.country))), None)
