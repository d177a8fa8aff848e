"""What can be booked: entities as rows, and rows as entities.

Rows come from Core statements, each table's columns under a prefix of its own so that several fit side by side.
Structured columns come as the text they are kept as, and are decoded where an entity is made: in a row for each offer
the same clinic comes many times and is made once.
"""

import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, Text, type_coerce

from domain.clinic import Address, Area, Clinic, ClinicBooking, GeoPoint, Image, OpeningHours
from domain.endpoint import Dialect, Endpoint, FindsBy, News
from domain.offer import Offer, Price
from domain.practitioner import Practitioner
from domain.rules import RuleValues
from domain.text import LocalText
from domain.treatment import Treatment
from integrations.store.tables_catalogue import ENDPOINT
from integrations.store.types import AnyRow, Json

_texts = msgspec.json.Decoder(LocalText).decode
_some_texts = msgspec.json.Decoder(LocalText | None).decode
_words = msgspec.json.Decoder(tuple[str, ...]).decode
_image = msgspec.json.Decoder(Image | None).decode
_hours = msgspec.json.Decoder(tuple[OpeningHours, ...]).decode
_rules = msgspec.json.Decoder(RuleValues).decode

_WORDS_OF_ENDPOINTS = {"dialect": Dialect, "news": News, "finds_by": FindsBy}


def folded(*words: str | None) -> str:
    """One spelling for all cases and all ways to write an accent."""
    return unicodedata.normalize("NFC", " ".join(word for word in words if word)).casefold()


@cache
def columns(table: Table) -> tuple[ColumnElement[Any], ...]:
    """A table's columns as the readers below want them: `clinic_name` and so on."""
    return tuple(
        (type_coerce(c, Text()) if isinstance(c.type, Json) else c).label(f"{table.name}_{c.name}") for c in table.c
    )


def endpoint_of(row: AnyRow) -> Endpoint:
    values = {c.name: row._mapping[f"endpoint_{c.name}"] for c in ENDPOINT.c if c.name not in ("active", "edited")}
    return Endpoint(**{**values, **{name: kind(values[name]) for name, kind in _WORDS_OF_ENDPOINTS.items()}})


def endpoint_values(endpoint: Endpoint) -> dict[str, Any]:
    values = {c.name: getattr(endpoint, c.name) for c in ENDPOINT.c if c.name not in ("active", "edited")}
    return {**values, **{name: values[name].value for name in _WORDS_OF_ENDPOINTS}}


def area_of(row: AnyRow) -> Area:
    return Area(tenant_id=row.area_tenant_id, id=row.area_id, name=_texts(row.area_name), sort_key=row.area_sort_key)


def area_values(area: Area) -> dict[str, Any]:
    return {"tenant_id": area.tenant_id, "id": area.id, "name": area.name, "sort_key": area.sort_key}


def clinic_of(row: AnyRow) -> Clinic:
    return Clinic(
        tenant_id=row.clinic_tenant_id,
        id=row.clinic_id,
        endpoint_id=row.clinic_endpoint_id,
        ehr_id=row.clinic_ehr_id,
        slug=row.clinic_slug,
        name=row.clinic_name,
        time_zone=row.clinic_time_zone,
        area_id=row.clinic_area_id,
        address=_address(row),
        position=_position(row),
        phone=row.clinic_phone,
        email=row.clinic_email,
        website=row.clinic_website,
        opening_hours=_hours(row.clinic_opening_hours),
        image=_image(row.clinic_image),
        directions=_texts(row.clinic_directions),
        parking=_texts(row.clinic_parking),
        about=_texts(row.clinic_about),
        booking_information=_texts(row.clinic_booking_information),
        spoken_languages=_words(row.clinic_spoken_languages),
        booking=ClinicBooking(row.clinic_booking),
        external_booking_url=row.clinic_external_booking_url,
        rules=_rules(row.clinic_rules),
    )


def _address(row: AnyRow) -> Address | None:
    if row.clinic_country_code is None:
        return None
    return Address(
        street=row.clinic_street,
        postal_code=row.clinic_postal_code,
        city=row.clinic_city,
        country_code=row.clinic_country_code,
    )


def _position(row: AnyRow) -> GeoPoint | None:
    if row.clinic_latitude is None or row.clinic_longitude is None:
        return None
    return GeoPoint(latitude=row.clinic_latitude, longitude=row.clinic_longitude)


_OF_A_CLINIC = (
    *("tenant_id", "id", "endpoint_id", "ehr_id", "slug", "name", "time_zone", "area_id", "phone", "email"),
    *("website", "opening_hours", "image", "directions", "parking", "about", "booking_information"),
    *("spoken_languages", "external_booking_url", "rules"),
)


def clinic_values(clinic: Clinic) -> dict[str, Any]:
    address, position = clinic.address, clinic.position
    return {
        **{name: getattr(clinic, name) for name in _OF_A_CLINIC},
        "street": address and address.street,
        "postal_code": address and address.postal_code,
        "city": address and address.city,
        "country_code": address and address.country_code,
        "latitude": position and position.latitude,
        "longitude": position and position.longitude,
        "booking": clinic.booking.value,
        "sort_name": folded(clinic.name),
        "search_text": folded(clinic.name, *((address.street, address.city) if address else ())),
    }


def treatment_of(row: AnyRow) -> Treatment:
    return Treatment(
        tenant_id=row.treatment_tenant_id,
        id=row.treatment_id,
        code=row.treatment_code,
        title=_texts(row.treatment_title),
        subtitle=_texts(row.treatment_subtitle),
        description=_texts(row.treatment_description),
        sort_key=row.treatment_sort_key,
    )


def treatment_values(treatment: Treatment) -> dict[str, Any]:
    said = [text for texts in (treatment.title, treatment.subtitle) for _, text in sorted(texts.items())]
    return {
        "tenant_id": treatment.tenant_id,
        "id": treatment.id,
        "code": treatment.code,
        "title": treatment.title,
        "subtitle": treatment.subtitle,
        "description": treatment.description,
        "sort_key": treatment.sort_key,
        "search_text": folded(*said),
    }


def practitioner_of(row: AnyRow) -> Practitioner:
    return Practitioner(
        tenant_id=row.practitioner_tenant_id,
        id=row.practitioner_id,
        endpoint_id=row.practitioner_endpoint_id,
        ehr_id=row.practitioner_ehr_id,
        clinic_id=row.practitioner_clinic_id,
        name=row.practitioner_name,
        title=_texts(row.practitioner_title),
        role=row.practitioner_role,
        photo=_image(row.practitioner_photo),
        description=_texts(row.practitioner_description),
        schedule_ids=_words(row.practitioner_schedule_ids),
    )


_OF_A_PRACTITIONER = (
    *("tenant_id", "id", "endpoint_id", "ehr_id", "clinic_id", "name", "title", "role", "photo"),
    *("description", "schedule_ids"),
)


def practitioner_values(practitioner: Practitioner) -> dict[str, Any]:
    values = {name: getattr(practitioner, name) for name in _OF_A_PRACTITIONER}
    return {**values, "sort_name": folded(practitioner.name)}


def offer_of(row: AnyRow) -> Offer:
    return Offer(
        tenant_id=row.offer_tenant_id,
        id=row.offer_id,
        endpoint_id=row.offer_endpoint_id,
        clinic_id=row.offer_clinic_id,
        treatment_id=row.offer_treatment_id,
        practitioner_id=row.offer_practitioner_id,
        duration=row.offer_duration,
        price=_price(row.offer_price_text, row.offer_price_amount, row.offer_price_currency),
        booking_url=row.offer_booking_url,
    )


def _price(text: str, amount: Decimal | None, currency: str | None) -> Price | None:
    said: Mapping[str, str] | None = _some_texts(text)
    return None if said is None else Price(text=said, amount=amount, currency=currency)


def offer_values(offer: Offer) -> dict[str, Any]:
    price = offer.price
    return {
        "tenant_id": offer.tenant_id,
        "id": offer.id,
        "endpoint_id": offer.endpoint_id,
        "clinic_id": offer.clinic_id,
        "treatment_id": offer.treatment_id,
        "practitioner_id": offer.practitioner_id,
        "duration": offer.duration,
        "price_text": price and price.text,
        "price_amount": price and price.amount,
        "price_currency": price and price.currency,
        "booking_url": offer.booking_url,
    }
