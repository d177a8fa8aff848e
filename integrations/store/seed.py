"""Reads a tenant's seed file: TOML, checked as a whole before anything of it is used.

A table's fields are those of the entity it stands for; `integrations/sandbox/demo.toml` shows most of them. Whatever is
wrong is told in one line with its place: `demo.toml: clinics[2].slug: expected str, got int`. Places count from 0.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_type_hints
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from domain.catalogue import Seed
from domain.clinic import Area, Clinic
from domain.endpoint import Endpoint
from domain.offer import Price
from domain.origins import origin_of
from domain.tenant import Tenant
from domain.treatment import Treatment

AREA_IDS = uuid5(NAMESPACE_URL, "https://itb.example/areas")
"""Areas are named by their key alone: two tenants may have the same ones."""

TOP = ("tenant", "endpoints", "areas", "clinics", "treatments", "prices")
PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


class SeedInvalid(Exception):
    """One line that names the file, the place in it and what is wrong there."""


def read_seed(path: str | Path, places: Mapping[str, str] | None = None) -> Seed:
    """`places` fills in `${NAME}` in addresses. Raises `SeedInvalid`."""
    name = Path(path).name
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as why:
        raise SeedInvalid(f"{name}: cannot be read: {why.strerror}") from None
    except UnicodeDecodeError:
        raise SeedInvalid(f"{name}: is not UTF-8") from None
    except tomllib.TOMLDecodeError as why:
        raise SeedInvalid(f"{name}: {why}") from None
    try:
        return _SeedFile(raw, places or {}).seed()
    except _Wrong as why:
        raise SeedInvalid(f"{name}: {why}") from None


def area_id(key: str) -> UUID:
    return uuid5(AREA_IDS, key)


class _Wrong(Exception):
    """`place: what`."""


class _SeedFile:
    def __init__(self, raw: dict[str, Any], places: Mapping[str, str]) -> None:
        _only(raw, TOP, "")
        if "tenant" not in raw:
            raise _Wrong("tenant: missing")
        self._raw = raw
        self._places = places
        self._tenant = _entity(Tenant, raw["tenant"], "tenant")
        _check_languages(raw["tenant"], self._tenant, "tenant", self._tenant.languages)
        self._tenant = replace(self._tenant, origins=tuple(_origins(self._tenant.origins, "tenant.origins")))

    def seed(self) -> Seed:
        endpoints = [self._endpoint(table, place) for table, place in self._tables("endpoints")]
        _no_twins([endpoint.id for endpoint in endpoints], "endpoints", "id")
        areas = [self._area(table, place, n) for n, (table, place) in enumerate(self._tables("areas"))]
        _no_twins([area.id for area in areas], "areas", "key")
        known, treatments = {endpoint.id for endpoint in endpoints}, self._treatments()
        return Seed(
            tenant=self._tenant,
            endpoints=endpoints,
            areas=areas,
            clinics=self._clinics(known, {area.id for area in areas}),
            treatments=treatments,
            prices=self._prices(known, set(treatments)),
        )

    def _tables(self, name: str) -> Iterator[tuple[dict[str, Any], str]]:
        tables = self._raw.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise _Wrong(f"{name}: write it as [[{name}]]")
        return ((dict(table), f"{name}[{n}]") for n, table in enumerate(tables))

    def _endpoint(self, table: dict[str, Any], place: str) -> Endpoint:
        for name in ("longest_delay", "longest_wait", "no_change_within"):
            with _at(f"{place}.{name}_seconds"):
                if f"{name}_seconds" in table:
                    table[name] = timedelta(seconds=msgspec.convert(table.pop(f"{name}_seconds"), int))
        if isinstance(table.get("base_url"), str):
            table["base_url"] = self._filled_in(table["base_url"], f"{place}.base_url")
        endpoint: Endpoint = self._of_tenant(Endpoint, table, place)
        return endpoint

    def _filled_in(self, text: str, place: str) -> str:
        if missing := [name for name in PLACEHOLDER.findall(text) if name not in self._places]:
            raise _Wrong(f"{place}: nothing is known to put in for ${{{missing[0]}}}")
        return PLACEHOLDER.sub(lambda match: self._places[match[1]], text)

    def _area(self, table: dict[str, Any], place: str, n: int) -> Area:
        key = _taken(table, "key", place)
        area: Area = self._of_tenant(Area, {"sort_key": n, **table, "id": str(area_id(key))}, place)
        return area

    def _of_tenant(self, kind: type[Any], table: dict[str, Any], place: str) -> Any:
        entity = _entity(kind, {**table, "tenant_id": self._tenant.id}, place)
        _check_languages(table, entity, place, self._tenant.languages)
        return entity

    def _clinics(self, endpoints: set[str], areas: set[UUID]) -> dict[tuple[str, str], dict[str, Any]]:
        clinics: dict[tuple[str, str], dict[str, Any]] = {}
        for table, place in self._tables("clinics"):
            key = (_known(table, "endpoint", endpoints, place), _taken(table, "ehr_id", place))
            area = area_id(_taken(table, "area", place)) if "area" in table else None
            if area is not None and area not in areas:
                raise _Wrong(f"{place}.area: no such area")
            clinics[_new(key, clinics, place)] = values = self._fields(Clinic, table, place)
            values.update({"area_id": area} if area else {})
            _check_zone(values.get("time_zone"), f"{place}.time_zone")
        slugs = [values["slug"] for values in clinics.values() if "slug" in values]
        _no_twins(slugs, "clinics", "slug")
        return clinics

    def _treatments(self) -> dict[str, dict[str, Any]]:
        treatments: dict[str, dict[str, Any]] = {}
        for n, (table, place) in enumerate(self._tables("treatments")):
            code = _new(_taken(table, "code", place), treatments, place)
            treatments[code] = {"sort_key": n, **self._fields(Treatment, table, place)}
        return treatments

    def _prices(self, endpoints: set[str], codes: set[str]) -> dict[tuple[str, str], Price]:
        prices: dict[tuple[str, str], Price] = {}
        for table, place in self._tables("prices"):
            endpoint = _known(table, "endpoint", endpoints, place)
            key = _new((endpoint, _known(table, "treatment", codes, place)), prices, place)
            prices[key] = _entity(Price, {"text": {}, **table}, place)
            _check_languages(table, prices[key], place, self._tenant.languages)
        return prices

    def _fields(self, kind: type[Any], table: dict[str, Any], place: str) -> dict[str, Any]:
        """Only what the file says, each value as the entity's field wants it."""
        hints = get_type_hints(kind)
        _only(table, set(hints) - {"tenant_id", "id", "endpoint_id", "ehr_id", "area_id", "code"}, place)
        values = {name: _converted(value, hints[name], f"{place}.{name}") for name, value in table.items()}
        for name, value in values.items():
            _check_languages(table[name], value, f"{place}.{name}", self._tenant.languages)
        return values


def _entity(kind: type[Any], table: Any, place: str) -> Any:
    entity = _converted(table, kind, place)
    _only(table, {field.name for field in fields(kind)}, place)
    return entity


def _converted(value: Any, kind: Any, place: str) -> Any:
    with _at(place):
        return msgspec.convert(value, kind, builtin_types=(timedelta,))


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Tells msgspec's `what - at `$.path`` as ours."""
    try:
        yield
    except msgspec.ValidationError as why:
        what, _, path = str(why).partition(" - at `$")
        within = path.rstrip("`").replace("[...]", "")
        raise _Wrong(f"{place}{within}: {what[0].lower()}{what[1:].replace('`', '')}") from None


def _check_languages(raw: Any, value: Any, place: str, languages: Sequence[str]) -> None:
    """Texts are in the tenant's languages; and msgspec lets misspelt fields of a dataclass pass, so look for them."""
    if is_dataclass(value) and isinstance(raw, Mapping):
        names = {field.name for field in fields(value)}
        _only(raw, names, place)
        for name in raw:
            _check_languages(raw[name], getattr(value, name), f"{place}.{name}", languages)
    elif isinstance(value, Mapping):
        for language in value:
            if language not in languages:
                raise _Wrong(f"{place}.{language}: not one of the tenant's languages ({', '.join(languages)})")
    elif isinstance(value, tuple | list) and isinstance(raw, list):
        for n, (each, its) in enumerate(zip(raw, value, strict=True)):
            _check_languages(each, its, f"{place}[{n}]", languages)


def _only(table: Mapping[str, Any], names: Any, place: str) -> None:
    for name in table:
        if name not in names:
            raise _Wrong(f"{place}.{name}: unknown".lstrip("."))


def _taken(table: dict[str, Any], name: str, place: str) -> str:
    """A required text, taken out of its table."""
    if name not in table:
        raise _Wrong(f"{place}.{name}: missing")
    return str(_converted(table.pop(name), str, f"{place}.{name}"))


def _known(table: dict[str, Any], name: str, known: set[str], place: str) -> str:
    value = _taken(table, name, place)
    if value not in known:
        raise _Wrong(f"{place}.{name}: no such {name}: {value}")
    return value


def _new(key: Any, before: Mapping[Any, Any], place: str) -> Any:
    if key in before:
        raise _Wrong(f"{place}: said twice: {key if isinstance(key, str) else ' '.join(key)}")
    return key


def _no_twins(values: Sequence[Any], place: str, name: str) -> None:
    for n, value in enumerate(values):
        if value in values[:n]:
            raise _Wrong(f"{place}[{n}].{name}: said twice")


def _origins(given: Sequence[str], place: str) -> Iterator[str]:
    """As browsers write them, so that they can be compared."""
    for n, each in enumerate(given):
        try:
            yield origin_of(each)
        except ValueError as why:
            raise _Wrong(f"{place}[{n}]: {why}") from None


def _check_zone(name: str | None, place: str) -> None:
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _Wrong(f"{place}: no such time zone: {name}") from None
