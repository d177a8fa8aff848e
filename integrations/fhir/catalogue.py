"""Who does what where, from FHIR's resources; the same for every dialect, however they were asked for."""

from collections.abc import Iterable, Mapping
from datetime import time, timedelta
from typing import Any, TypeVar

from domain.catalogue import EhrCatalogue, EhrClinic, EhrOffer, EhrPractitioner, EhrTreatment
from domain.clinic import WEEK, Address, GeoPoint, OpeningHours
from domain.endpoint import Endpoint
from integrations.fhir import wire
from integrations.fhir.reading import codes_of, e164, first_id
from integrations.fhir.wire import Unreadable, decode, id_in

SEARCHED: tuple[type[wire.Resource], ...] = (
    wire.HealthcareService,
    wire.Location,
    wire.PractitionerRole,
    wire.Practitioner,
    wire.Schedule,
    wire.ActivityDefinition,
)
CONTEXT = SEARCHED

_DAYS = dict(zip(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), WEEK, strict=True))
_COUNTRIES = {"NORGE": "NO", "NORWAY": "NO", "NOR": "NO", "SVERIGE": "SE", "SWEDEN": "SE", "SWE": "SE"}
_LANGUAGES = {"NO": "nb", "SE": "sv"}
_CALLING = {"+47": "NO", "+46": "SE"}
_MINUTES = {"min": 1, "h": 60, "d": 1440, "s": 1 / 60}
_END_OF_DAY = time(23, 59)

R = TypeVar("R", bound=wire.Resource)


class Parts:
    """What was told, by type and id. One unreadable piece spoils it: what is missing would be taken for withdrawn."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}

    def add(self, kind: type[wire.Resource], resources: Iterable[wire.Resource | Unreadable]) -> None:
        """Raises `Unreadable`."""
        for resource in resources:
            if isinstance(resource, Unreadable):
                raise resource
            self._kept.setdefault(kind.__name__, {})[resource.id] = resource

    def all(self, kind: type[R]) -> Mapping[str, R]:
        """Active ones, by id."""
        kept: dict[str, R] = self._kept.get(kind.__name__, {})
        return {id: kept[id] for id in sorted(kept) if kept[id].active}


def catalogue_of(parts: Parts, endpoint: Endpoint) -> EhrCatalogue:
    treatments = list(_treatments(parts, endpoint))
    clinics = [_clinic(service, parts) for service in parts.all(wire.HealthcareService).values()]
    schedules = list(_schedules(parts))
    places = {clinic.ehr_id for clinic in clinics}
    practitioners = [each for each in _practitioners(parts, schedules) if each.clinic_ehr_id in places]
    return EhrCatalogue(
        language=_language(parts, clinics),
        clinics=clinics,
        treatments=treatments,
        practitioners=practitioners,
        offers=_offers(practitioners, treatments, schedules),
    )


def _treatments(parts: Parts, endpoint: Endpoint) -> Iterable[EhrTreatment]:
    """The code that books, not the ActivityDefinition's id; what has no code or length cannot be booked."""
    known: set[str] = set()
    for each in parts.all(wire.ActivityDefinition).values():
        codings = each.code.coding if each.code else []
        ranked = sorted(codings, key=lambda coding: coding.system != endpoint.service_system)
        code = next((coding.code for coding in ranked if coding.code), None)
        lasts = _duration(each.timingDuration)
        if each.status == "active" and code and lasts and code not in known:
            known.add(code)
            title = each.title or (each.code.text if each.code else "") or each.name or code
            yield EhrTreatment(code=code, title=title, description=each.description or None, duration=lasts)


def _duration(told: wire.Quantity | None) -> timedelta | None:
    minutes = _MINUTES.get(told.code or told.unit) if told else None
    return timedelta(minutes=round(told.value * minutes)) if told and minutes and told.value > 0 else None


def _clinic(service: wire.HealthcareService, parts: Parts) -> EhrClinic:
    place = _place(service, parts) or wire.Location()
    address = _address(place.address)
    phones = [each.value for each in (*service.telecom, *place.telecom) if each.system == "phone" and each.value]
    return EhrClinic(
        ehr_id=service.id,
        name=service.name or place.name or service.id,
        phone=e164(phones[0], address.country_code if address else None) if phones else None,
        address=address,
        position=GeoPoint(latitude=place.position.latitude, longitude=place.position.longitude)
        if place.position
        else None,
        opening_hours=tuple(_hours(service.availableTime)),
    )


def _place(service: wire.HealthcareService, parts: Parts) -> wire.Location | None:
    """Referred to, or contained in the service (WOF Portal)."""
    known = parts.all(wire.Location)
    for reference in service.location:
        if (id := id_in(reference.reference, "Location")) in known:
            return known[id or ""]
    for raw in service.contained:
        if decode(raw, wire.Outcome).resourceType == "Location":
            return decode(raw, wire.Location)
    return None


def _address(told: wire.Address | None) -> Address | None:
    if told is None:
        return None
    country = told.country.strip().upper()
    return Address(
        street=", ".join(told.line) or None,
        postal_code=told.postalCode or None,
        city=told.city or None,
        country_code=_COUNTRIES.get(country, country),
    )


def _hours(told: Iterable[wire.AvailableTime]) -> Iterable[OpeningHours]:
    found = set()
    for each in told:
        opens, closes = (time(), _END_OF_DAY) if each.allDay else (each.availableStartTime, each.availableEndTime)
        if opens is not None and closes is not None and opens < closes:
            found |= {(day, opens, closes) for day in each.daysOfWeek if day in _DAYS}
    order = list(_DAYS)
    for day, opens, closes in sorted(found, key=lambda hours: (order.index(hours[0]), hours[1])):
        yield OpeningHours(weekday=_DAYS[day], opens=opens, closes=closes)


def _schedules(parts: Parts) -> Iterable[tuple[wire.Schedule, wire.PractitionerRole]]:
    """Each Schedule with its role; one that names a practitioner only is that person's in every role."""
    roles = parts.all(wire.PractitionerRole)
    for schedule in parts.all(wire.Schedule).values():
        role_id = first_id(schedule.actor, "PractitionerRole")
        person, service = first_id(schedule.actor, "Practitioner"), first_id(schedule.actor, "HealthcareService")
        for role in roles.values():
            own = (
                role_id == role.id
                if role_id
                else person and person == id_in(role.practitioner.reference, "Practitioner")
            )
            if own and service in (None, first_id(role.healthcareService, "HealthcareService")):
                yield schedule, role


def _practitioners(
    parts: Parts, schedules: Iterable[tuple[wire.Schedule, wire.PractitionerRole]]
) -> Iterable[EhrPractitioner]:
    people = parts.all(wire.Practitioner)
    schedules = list(schedules)
    for role in parts.all(wire.PractitionerRole).values():
        person = people.get(id_in(role.practitioner.reference, "Practitioner") or "")
        clinic = first_id(role.healthcareService, "HealthcareService")
        own = [schedule for schedule, of in schedules if of.id == role.id]
        clinic = clinic or next((id for each in own if (id := first_id(each.actor, "HealthcareService"))), None)
        if clinic:
            yield EhrPractitioner(
                ehr_id=role.id,
                clinic_ehr_id=clinic,
                name=_name(person) or role.practitioner.display or role.id,
                title=_title(role, person),
                photo_url=next((each.url for each in person.photo if each.url), None) if person else None,
                schedule_ids=tuple(schedule.id for schedule in own),
            )


def _name(person: wire.Practitioner | None) -> str:
    name = person.name[0] if person and person.name else wire.HumanName()
    return name.text or " ".join((*name.given, name.family)).strip()


def _title(role: wire.PractitionerRole, person: wire.Practitioner | None) -> str | None:
    concepts = [*role.code, *(each.code for each in (person.qualification if person else ()))]
    texts = (each.text or next((coding.display for coding in each.coding), "") for each in concepts)
    return next((text for text in texts if text), None)


def _offers(
    practitioners: Iterable[EhrPractitioner],
    treatments: Iterable[EhrTreatment],
    schedules: Iterable[tuple[wire.Schedule, wire.PractitionerRole]],
) -> list[EhrOffer]:
    """By the service types of a Schedule (one of whose two codings may name the endpoint), else of the role."""
    known, by_role = {each.code for each in treatments}, {each.ehr_id: each for each in practitioners}
    found = {
        (by_role[role.id].clinic_ehr_id, role.id, code)
        for schedule, role in schedules
        if role.id in by_role
        for code in codes_of(schedule.serviceType or role.specialty) & known
    }
    return [EhrOffer(clinic_ehr_id=c, practitioner_ehr_id=p, treatment_code=t) for c, p, t in sorted(found)]


def _language(parts: Parts, clinics: Iterable[EhrClinic]) -> str:
    """The language the resources say, else that of the country the clinics are in."""
    for kind in (wire.ActivityDefinition, wire.HealthcareService):
        for each in parts.all(kind).values():
            if each.language:
                return each.language
    countries = [each.address.country_code for each in clinics if each.address]
    countries += [_CALLING[each.phone[:3]] for each in clinics if each.phone and each.phone[:3] in _CALLING]
    return next((_LANGUAGES[each] for each in countries if each in _LANGUAGES), "en")
