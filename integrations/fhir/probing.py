"""Whether a server answers at all: every FHIR server tells what it can do."""

from integrations.fhir.client import FhirClient
from integrations.fhir.failures import FhirFailure, outage_of


async def probe(client: FhirClient) -> None:
    """Raises `EhrUnavailable`. A server that refuses even this cannot be booked at either."""
    try:
        await client.read_bytes("metadata")
    except FhirFailure as failure:
        raise outage_of(failure) from failure
