"""The record systems that can be spoken to, by dialect; one client for each endpoint."""

from collections.abc import Callable, Mapping
from datetime import datetime

from domain.endpoint import Dialect, Endpoint
from domain.ports import Ehr, EhrListening, Pace
from integrations.fhir.changes import Changes
from integrations.fhir.client import NO_SECRETS, FhirClient
from integrations.fhir.ihe import Ihe
from integrations.fhir.protection import Protection
from integrations.fhir.r4 import R4
from integrations.fhir.wire import Appointment, Resource, Slot

CHANGING: Mapping[Dialect, tuple[type[Resource], ...]] = {
    Dialect.IHE: (Appointment,),
    Dialect.R4: (Appointment, Slot),
}
"""What systems of a dialect have that changes."""

ADAPTERS: Mapping[Dialect, Callable[[FhirClient, Endpoint], Ehr]] = {
    Dialect.IHE: lambda client, endpoint: Ihe(client=client, endpoint=endpoint),
    Dialect.R4: lambda client, endpoint: R4(client=client, endpoint=endpoint),
}


class FhirEhrs:
    """An endpoint whose settings change is another one: it gets connections of its own, and a clean record."""

    def __init__(self, secrets: Mapping[str, str] = NO_SECRETS, pace: Pace | None = None) -> None:
        """`secrets`: the variables that endpoints name as their `authorization_variable`; the process's environment.

        `pace` keeps what endpoints set as `calls_per_second`; without it nothing does.
        """
        self._secrets = secrets
        self._pace = pace
        self._clients: dict[Endpoint, FhirClient] = {}
        self._ehrs: dict[Endpoint, Ehr] = {}

    def at(self, endpoint: Endpoint) -> Ehr:
        if endpoint not in self._ehrs:
            self._ehrs[endpoint] = ADAPTERS[endpoint.dialect](self._client(endpoint), endpoint)
        return self._ehrs[endpoint]

    def listening(self, endpoint: Endpoint) -> EhrListening:
        return Changes(client=self._client(endpoint), endpoint=endpoint, kinds=CHANGING[endpoint.dialect])

    def _client(self, endpoint: Endpoint) -> FhirClient:
        if endpoint not in self._clients:
            self._clients[endpoint] = FhirClient(endpoint, self._secrets, Protection(endpoint, self._pace))
        return self._clients[endpoint]

    def last_answer(self, endpoint: Endpoint) -> datetime | None:
        client = self._clients.get(endpoint)
        return client.last_answer if client else None

    def has_failed_since(self, endpoint: Endpoint) -> bool:
        client = self._clients.get(endpoint)
        return client is not None and client.has_failed_since

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        self._ehrs.clear()
        for client in clients.values():
            await client.close()
