"""Who speaks for a visitor: our own frontends, or an agency by its API key."""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Scope(StrEnum):
    """What a key may be used for, by the names of WOF Portal 1.0.1.

    `system/*` is the catalogue and free times, the same for everybody; `patient/*` is one patient's, who must be signed
    in as well.
    """

    ORGANIZATION_READ = "system/Organization.read"
    HEALTHCARE_SERVICE_READ = "system/HealthcareService.read"
    PRACTITIONER_ROLE_READ = "system/PractitionerRole.read"
    ACTIVITY_DEFINITION_READ = "system/ActivityDefinition.read"
    FIND = "system/$find.read"
    OFFERS = "system/$get-offers-context.read"
    PATIENT_READ = "patient/Patient.read"
    APPOINTMENT_READ = "patient/Appointment.read"
    APPOINTMENT_WRITE = "patient/Appointment.write"
    BOOK = "patient/$book.write"


SYSTEM_SCOPES = frozenset(scope for scope in Scope if scope.startswith("system/"))


class ClientKind(Enum):
    OWN = "OWN"
    AGENCY = "AGENCY"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKey:
    """Which client, and which of its keys by the key's id: enough to tell what was done with one, and no secret."""

    client_id: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """`id` is the same for all keys of an agency. `origins` are those whose pages may use the key; none means no limit
    here. `rate_per_minute` is None where nothing is agreed on. `is_system`: it came with a system token, and so never
    for a patient.
    """

    id: str
    kind: ClientKind
    scopes: frozenset[Scope]
    key_id: str | None = None
    rate_per_minute: int | None = None
    origins: tuple[str, ...] = ()
    is_system: bool = False

    @property
    def is_own(self) -> bool:
        return self.kind is ClientKind.OWN

    @property
    def key(self) -> ClientKey | None:
        """None for our own frontends, which come without one."""
        return ClientKey(client_id=self.id, key_id=self.key_id) if self.key_id else None

    @property
    def is_server(self) -> bool:
        """An agency's, whose key no page shows: many visitors are behind it, and all of them come from its address."""
        return self.key_id is not None and not self.origins

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


OWN_CLIENT = Client(id="itb", kind=ClientKind.OWN, scopes=frozenset(Scope))
"""Our own web and apps come without a key, and have what the public may have."""
