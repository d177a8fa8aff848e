"""The record systems that can be spoken to, by dialect; one client for each endpoint."""

from collections.abc import Callable, Mapping

from domain.endpoint import Dialect, Endpoint
from domain.ports import Ehr
from integrations.fhir.client import NO_SECRETS, FhirClient
from integrations.fhir.ihe import Ihe
from integrations.fhir.r4 import R4

ADAPTERS: Mapping[Dialect, Callable[[FhirClient, Endpoint], Ehr]] = {
    Dialect.IHE: lambda client, endpoint: Ihe(client=client, endpoint=endpoint),
    Dialect.R4: lambda client, endpoint: R4(client=client, endpoint=endpoint),
}


class FhirEhrs:
    """An endpoint whose settings change is another one: it gets connections of its own."""

    def __init__(self, secrets: Mapping[str, str] = NO_SECRETS) -> None:
        """`secrets`: the variables that endpoints name as their `authorization_variable`; the process's environment."""
        self._secrets = secrets
        self._clients: list[FhirClient] = []
        self._ehrs: dict[Endpoint, Ehr] = {}

    def at(self, endpoint: Endpoint) -> Ehr:
        if endpoint not in self._ehrs:
            client = FhirClient(endpoint, self._secrets)
            self._clients.append(client)
            self._ehrs[endpoint] = ADAPTERS[endpoint.dialect](client, endpoint)
        return self._ehrs[endpoint]

    async def close(self) -> None:
        clients, self._clients = self._clients, []
        self._ehrs.clear()
        for client in clients:
            await client.close()
