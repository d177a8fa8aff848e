"""Search parameters: which are known, what a date or an identifier means, which resources match."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from starlette.requests import Request

from integrations.sandbox.wire import FhirError, Pairs, Resource

CONTROLS = frozenset(
    {"_count", "_offset", "_sort", "_format", "_total", "_summary", "_elements", "_include", "_pretty"}
)
_PREFIXES = ("ge", "gt", "le", "lt", "eq", "ne", "sa", "eb")


@dataclass(frozen=True, slots=True)
class DateCriterion:
    """`ge2026-12-07T08:00:00Z` and the like; a bare day is all of that local day."""

    prefix: str
    low: datetime
    high: datetime
    is_day: bool

    def admits(self, moment: datetime) -> bool:
        """Does the moment satisfy the criterion?"""
        after = moment >= self.high if self.is_day else moment > self.low
        within = self.low <= moment < self.high if self.is_day else moment == self.low
        return {
            "ge": moment >= self.low,
            "gt": after,
            "sa": after,
            "lt": moment < self.low,
            "eb": moment < self.low,
            "le": not after,
            "eq": within,
            "ne": not within,
        }[self.prefix]


def instant(text: str, name: str) -> datetime:
    """A FHIR instant or dateTime with its offset; anything else is refused."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise FhirError(400, "value", f"{name} is not a date and time: {text!r}") from error
    if moment.tzinfo is None or "T" not in text:
        raise FhirError(400, "value", f"{name} needs a time and an offset: {text!r}")
    if not 1971 <= moment.year <= 2200:
        raise FhirError(400, "value", f"{name} is out of reach: {text!r}")
    return moment


def moment_or_day(text: str, name: str, zone: ZoneInfo) -> tuple[datetime, datetime, bool]:
    """An instant twice, or the beginning and the end of a local day, and whether it was a day."""
    if len(text) != 10:
        moment = instant(text, name)
        return moment, moment, False
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise FhirError(400, "value", f"{name} is not a date: {text!r}") from error
    if not 1971 <= day.year <= 2200:
        raise FhirError(400, "value", f"{name} is out of reach: {text!r}")
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone), True


def dates_asked(pairs: Pairs, name: str, zone: ZoneInfo) -> list[DateCriterion]:
    """Every criterion given for a date parameter; all of them must hold."""
    criteria = []
    for text in values(pairs, name):
        prefix, rest = (text[:2], text[2:]) if text[:2] in _PREFIXES else ("eq", text)
        criteria.append(DateCriterion(prefix, *moment_or_day(rest, name, zone)))
    return criteria


def values(pairs: Pairs, name: str) -> list[str]:
    """What was given for a parameter, in order."""
    return [value for key, value in pairs if key == name]


def known_only(pairs: Pairs, names: Iterable[str]) -> None:
    """A parameter this server does not know is refused: ignoring it would answer another question."""
    known = CONTROLS | set(names)
    for key, _ in pairs:
        if key not in known:
            raise FhirError(400, "not-supported", f"Unknown search parameter: {key}")


async def pairs_of(request: Request) -> Pairs:
    """Search parameters from the address and, for a form, from the body."""
    pairs = list(request.query_params.multi_items())
    if request.method == "POST":
        pairs += parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)
    return pairs


def token_matches(asked: str, identifiers: Iterable[Resource], code: str = "value") -> bool:
    """`system|value`, `|value` or `value`, several separated by commas, against identifiers or codings."""
    held = [(each.get("system"), each.get(code)) for each in identifiers]
    return any(_token_matches(one, held) for one in asked.split(","))


def _token_matches(one: str, held: Sequence[tuple[Any, Any]]) -> bool:
    system, bar, value = one.rpartition("|")
    if not bar:
        return any(value == each for _, each in held)
    return any((system or None) == owner and value == each for owner, each in held)


def references(resource: Resource, *names: str) -> list[str]:
    """`Type/id` of every reference under the names."""
    found = []
    for name in names:
        value = resource.get(name, [])
        found += [each.get("reference", "") for each in (value if isinstance(value, list) else [value])]
    return found


def _reference_matches(asked: str, kind: str, held: Sequence[str]) -> bool:
    return any(one in held or f"{kind}/{one}" in held for one in asked.split(","))


def _by_reference(kind: str, *names: str) -> Callable[[Resource, str], bool]:
    return lambda resource, asked: _reference_matches(asked, kind, references(resource, *names))


def _full_reference(*names: str) -> Callable[[Resource, str], bool]:
    return lambda resource, asked: any(one in references(resource, *names) for one in asked.split(","))


def _named(resource: Resource, asked: str) -> bool:
    name = resource.get("name", "")
    text = name if isinstance(name, str) else " ".join(each.get("text", "") for each in name)
    return any(one.casefold() in text.casefold() for one in asked.split(","))


def _service_type(resource: Resource, asked: str) -> bool:
    return token_matches(asked, [each for kind in resource.get("serviceType", ()) for each in kind["coding"]], "code")


_ID: dict[str, Callable[[Resource, str], bool]] = {
    "_id": lambda resource, asked: resource["id"] in asked.split(","),
    "active": lambda resource, asked: str(resource.get("active", True)).lower() == asked,
}
_IDENTIFIER: dict[str, Callable[[Resource, str], bool]] = {
    "identifier": lambda resource, asked: token_matches(asked, resource.get("identifier", ())),
}
CATALOGUE: dict[str, dict[str, Callable[[Resource, str], bool]]] = {
    "Organization": {**_ID, **_IDENTIFIER, "name": _named},
    "Location": {**_ID, "name": _named, "organization": _by_reference("Organization", "managingOrganization")},
    "HealthcareService": {
        **_ID,
        "name": _named,
        "organization": _by_reference("Organization", "providedBy"),
        "location": _by_reference("Location", "location"),
    },
    "PractitionerRole": {
        **_ID,
        "practitioner": _by_reference("Practitioner", "practitioner"),
        "service": _by_reference("HealthcareService", "healthcareService"),
        "organization": _by_reference("Organization", "organization"),
        "location": _by_reference("Location", "location"),
    },
    "Practitioner": {**_ID, **_IDENTIFIER, "name": _named},
    "ActivityDefinition": {"_id": _ID["_id"], "status": lambda resource, asked: resource["status"] in asked.split(",")},
    "Schedule": {**_ID, "actor": _full_reference("actor"), "service-type": _service_type},
}


def catalogue_search(kind: str, resources: Sequence[Resource], pairs: Pairs) -> list[Resource]:
    """The resources of a type that match every parameter given."""
    known_only(pairs, CATALOGUE[kind])
    tests = [(CATALOGUE[kind][name], asked) for name, asked in pairs if name not in CONTROLS]
    return [each for each in resources if all(test(each, asked) for test, asked in tests)]
