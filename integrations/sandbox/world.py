"""The words a made-up health service is described in: clinics, roles, treatments."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

Dialect = Literal["ihe", "r4"]

TREATMENTS_SYSTEM = "https://sandbox.example/treatments"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
WEEKEND = ("sat", "sun")
DAYS = (*WEEKDAYS, *WEEKEND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """What a patient can come for; `minutes` is how long it takes."""

    id: str
    code: str
    title: str
    minutes: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Opening hours by the clinic's own clock, as `08:00`."""

    days: tuple[str, ...]
    opens: str
    closes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinic:
    """A place with a name, an address, a telephone and opening hours."""

    id: str
    name: str
    phone: str
    street: str
    postal_code: str
    city: str
    latitude: float
    longitude: float
    openings: tuple[Opening, ...]

    @property
    def location_id(self) -> str:
        """The id of the Location of this clinic."""
        return "loc-" + self.id.removeprefix("hs-")

    def hours(self, weekday: int) -> Opening | None:
        """The opening hours on a weekday (0 is Monday), or nothing when closed."""
        return next((each for each in self.openings if DAYS[weekday] in each.days), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A practitioner at one clinic, with one schedule of their own."""

    id: str
    schedule: str
    practitioner: str
    clinic: str
    given: str
    family: str
    title: str
    gender: str
    treatments: tuple[str, ...]
    days: tuple[str, ...] = WEEKDAYS
    device: str | None = None
    languages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name as a patient reads it."""
        return f"{self.given} {self.family}"


@dataclass(frozen=True, kw_only=True)
class World:
    """One installation: its people, places and treatments, and the dialect it speaks."""

    name: str
    dialect: Dialect
    country: str
    language: str
    zone: ZoneInfo
    endpoint_id: str
    organization_id: str
    organization: str
    practitioner_system: str
    treatments: tuple[Treatment, ...]
    clinics: tuple[Clinic, ...]
    roles: tuple[Role, ...]

    @cached_property
    def treatment_by_code(self) -> dict[str, Treatment]:
        """Treatments by the code that books them."""
        return {each.code: each for each in self.treatments}

    @cached_property
    def clinic_by_id(self) -> dict[str, Clinic]:
        """Clinics by HealthcareService id."""
        return {each.id: each for each in self.clinics}

    @cached_property
    def role_by_id(self) -> dict[str, Role]:
        """Roles by PractitionerRole id."""
        return {each.id: each for each in self.roles}

    @cached_property
    def role_by_schedule(self) -> dict[str, Role]:
        """Roles by the id of their Schedule."""
        return {each.schedule: each for each in self.roles}


def treatments(prefix: str, named: Mapping[str, tuple[int, str, str]]) -> tuple[Treatment, ...]:
    """Treatments from (minutes, title, description) by code; their ids differ from their codes on purpose."""
    return tuple(
        Treatment(id=f"{prefix}{number}", code=code, title=title, minutes=minutes, description=description)
        for number, (code, (minutes, title, description)) in enumerate(named.items(), start=101)
    )


def weekly(opens: str, closes: str, *more: Opening) -> tuple[Opening, ...]:
    """The same hours Monday to Friday, and whatever is added."""
    return (Opening(days=WEEKDAYS, opens=opens, closes=closes), *more)
