"""Entities to store. Ids are made of names and not of tenants, so that both tenants have rows with the same ids."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from domain.booking import Booking, BookingStatus
from domain.catalogue import CatalogueImport, Seed
from domain.clinic import Address, Area, Clinic, GeoPoint, OpeningHours, Weekday
from domain.endpoint import Dialect, Endpoint
from domain.national_id import NationalId, national_id
from domain.offer import Offer, Price
from domain.patient import Identity
from domain.practitioner import Practitioner
from domain.rules import RuleValues, rules_of
from domain.slot import Slot
from domain.tenant import Tenant
from domain.treatment import Treatment

TENANTS = ("nord", "syd")
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRET = "a secret that is only used in tests, and long"
RULES = rules_of(RuleValues(minimum_notice_minutes=120), RuleValues(minimum_age=16))


def an_id(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, name)


def at(hour: int, minute: int = 0) -> datetime:
    """On the day after now."""
    return NOW.replace(hour=hour, minute=minute) + timedelta(days=1)


AT_TEN = at(10)


def make_tenant(tenant_id: str, **more: Any) -> Tenant:
    hosts = (f"{tenant_id}.example", f"www.{tenant_id}.example")
    return Tenant(**{"id": tenant_id, "slug": tenant_id, "name": tenant_id.title(), "hosts": hosts, **more})


def make_booking(name: str, start: datetime = AT_TEN, minutes: int = 30, **more: Any) -> Booking:
    """A hold with practitioner `p1`, unless said otherwise; `practitioner` and `endpoint` are names."""
    slot = Slot(
        endpoint_id=more.pop("endpoint", "fjord"),
        offer_id=an_id("offer"),
        clinic_id=an_id("clinic"),
        treatment_id=an_id("treatment"),
        practitioner_id=an_id(more.pop("practitioner", "p1")),
        reference=f"slot {name}",
        start=start,
        end=start + timedelta(minutes=minutes),
        resources=("STOL-1",),
    )
    values = {
        "tenant_id": "nord",
        "id": an_id(name),
        "reference": name,
        "slot": slot,
        "status": BookingStatus.HELD,
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=10),
        "rules": RULES,
    }
    return Booking(**{**values, **more})


def moved(booking: Booking, start: datetime) -> Booking:
    """The next version of a booking, as long as before."""
    slot = replace(booking.slot, start=start, end=start + (booking.slot.end - booking.slot.start))
    return replace(booking, slot=slot, version=booking.version + 1)


def a_number(raw: str = "01929900045", country: str = "NO") -> NationalId:
    return national_id(country, raw, today=NOW.date())


def make_identity(subject: str = "s1", **more: Any) -> Identity:
    values: dict[str, Any] = {
        "issuer": "https://id.example",
        "subject": subject,
        "name": "Kari Øyen",
        "birth_date": date(1999, 12, 1),
        "national_id": a_number(),
        "phone": "+4790000000",
        "email": None,
        "language": "nb",
        "authenticated_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
    }
    return Identity(**{**values, **more})


def make_clinic(tenant_id: str, name: str, **more: Any) -> Clinic:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "id": an_id(name),
        "endpoint_id": "fjord",
        "ehr_id": f"hs-{name}",
        "slug": name.lower().replace(" ", "-"),
        "name": name,
        "time_zone": "Europe/Oslo",
        "address": Address(street="Storgata 1", postal_code="0184", city="Oslo", country_code="NO"),
        "position": GeoPoint(latitude=59.9, longitude=10.7),
        "opening_hours": (OpeningHours(weekday=Weekday.MONDAY, opens=at(8).time(), closes=at(16).time()),),
        "about": {"nb": "Om oss", "sv": "Om oss"},
        "spoken_languages": ("nb", "en"),
        "rules": RuleValues(minimum_age=16),
    }
    return Clinic(**{**values, **more})


def make_treatment(tenant_id: str, code: str, n: int = 0, **more: Any) -> Treatment:
    title = {"nb": f"{code} på norsk", "sv": f"{code} på svenska"}
    return Treatment(**{"tenant_id": tenant_id, "id": an_id(code), "code": code, "title": title, "sort_key": n, **more})


def make_practitioner(tenant_id: str, name: str, clinic: str, **more: Any) -> Practitioner:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "id": an_id(name),
        "endpoint_id": "fjord",
        "ehr_id": f"B544:{name}",
        "clinic_id": an_id(clinic),
        "name": name,
        "title": {"nb": "Lege"},
        "schedule_ids": (f"S:{name}",),
    }
    return Practitioner(**{**values, **more})


def make_offer(tenant_id: str, clinic: str, treatment: str, practitioner: str, **more: Any) -> Offer:
    values: dict[str, Any] = {
        "tenant_id": tenant_id,
        "id": an_id(f"{clinic}/{treatment}/{practitioner}"),
        "endpoint_id": "fjord",
        "clinic_id": an_id(clinic),
        "treatment_id": an_id(treatment),
        "practitioner_id": an_id(practitioner),
        "duration": timedelta(minutes=30),
        "price": Price(text={"nb": "390 kr"}, amount=Decimal("390.50"), currency="NOK"),
    }
    return Offer(**{**values, **more})


def make_seed(tenant_id: str, **more: Any) -> Seed:
    values: dict[str, Any] = {
        "tenant": make_tenant(tenant_id),
        "endpoints": [
            Endpoint(tenant_id=tenant_id, id="fjord", dialect=Dialect.IHE, base_url="http://no.example"),
            Endpoint(
                tenant_id=tenant_id,
                id="malar",
                dialect=Dialect.R4,
                base_url="http://se.example",
                authorization_variable="MALAR_AUTHORIZATION",
            ),
        ],
        "areas": [
            Area(tenant_id=tenant_id, id=an_id("oslo"), name={"nb": "Oslo"}, sort_key=0),
            Area(tenant_id=tenant_id, id=an_id("bergen"), name={"nb": "Bergen"}, sort_key=1),
        ],
    }
    return Seed(**{**values, **more})


def make_import(tenant_id: str, clinics: int = 2, treatments: int = 3, practitioners: int = 2) -> CatalogueImport:
    """Every practitioner of every clinic performs every treatment. Names: `C00`, `t00`, `C00 P0`."""
    places = [f"C{n:02}" for n in range(clinics)]
    codes = [f"t{n:02}" for n in range(treatments)]
    people = [(place, f"{place} P{n}") for place in places for n in range(practitioners)]
    return CatalogueImport(
        endpoint_id="fjord",
        clinics=[make_clinic(tenant_id, place) for place in places],
        treatments=[make_treatment(tenant_id, code, n) for n, code in enumerate(codes)],
        practitioners=[make_practitioner(tenant_id, name, place) for place, name in people],
        offers=[make_offer(tenant_id, place, code, name) for place, name in people for code in codes],
    )
