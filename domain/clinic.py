"""Clinics, and the areas they are listed under."""

from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from math import asin, cos, radians, sin, sqrt
from uuid import UUID

from domain.rule_values import RuleValues
from domain.text import LocalText

EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG


class ClinicBooking(StrEnum):
    """How a clinic can be booked by patients."""

    ONLINE = "online"
    EXTERNAL = "external"  # hands over to a page of its own
    CLOSED = "closed"  # listed, but only by phone


class Weekday(StrEnum):
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


WEEK = tuple(Weekday)
"""Monday first, as `date.weekday()` counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    tenant_id: str
    id: UUID
    name: LocalText
    sort_key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    street: str | None
    postal_code: str | None
    city: str | None
    country_code: str

    @property
    def formatted(self) -> str:
        """One line, as an envelope would have it in the Nordics."""
        town = " ".join(part for part in (self.postal_code, self.city) if part)
        return ", ".join(part for part in (self.street, town) if part) or self.country_code


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoPoint:
    """WGS 84 degrees."""

    latitude: float
    longitude: float

    def metres_to(self, other: "GeoPoint") -> int:
        """As the crow flies (haversine)."""
        south, north = radians(self.latitude), radians(other.latitude)
        half_lat = sin((north - south) / 2)
        half_lon = sin(radians(other.longitude - self.longitude) / 2)
        chord = half_lat**2 + cos(south) * cos(north) * half_lon**2
        return round(2 * EARTH_RADIUS_M * asin(sqrt(min(1.0, chord))))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningHours:
    weekday: Weekday
    opens: time
    closes: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture by address; `width` and `height` in CSS pixels."""

    url: str
    width: int
    height: int
    alt_text: LocalText


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinic:
    """A place where patients are treated. `ehr_id` is its HealthcareService in the endpoint."""

    tenant_id: str
    id: UUID
    endpoint_id: str
    ehr_id: str
    slug: str
    name: str
    time_zone: str
    area_id: UUID | None = None
    address: Address | None = None
    position: GeoPoint | None = None
    phone: str | None = None
    email: str | None = None
    website: str | None = None
    opening_hours: tuple[OpeningHours, ...] = ()
    image: Image | None = None
    directions: LocalText = field(default_factory=dict)
    parking: LocalText = field(default_factory=dict)
    about: LocalText = field(default_factory=dict)
    booking_information: LocalText = field(default_factory=dict)
    spoken_languages: tuple[str, ...] = ()
    booking: ClinicBooking = ClinicBooking.ONLINE
    external_booking_url: str | None = None
    rules: RuleValues = field(default_factory=RuleValues)
