"""Writing what can be booked: seeds and imports, both of which may come again and then change nothing.

What is there already is compared as an entity. Fields named in a row's `edited` belong to the back office and keep
their values; a row whose entity comes out the same is not touched.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.catalogue import CatalogueImport, Seed
from domain.clinic import Clinic
from domain.ports import NameTaken
from domain.tenant import Tenant
from domain.treatment import Treatment
from integrations.store import catalogue_rows as rows
from integrations.store.tables import TENANT, TENANT_HOST
from integrations.store.tables_catalogue import AREA, CLINIC, ENDPOINT, OFFER, PRACTITIONER, TREATMENT
from integrations.store.tenant_rows import tenant_rows, tenant_values, tenants_of
from integrations.store.types import AnyRow
from integrations.store.upserts import insert_for


@dataclass(frozen=True, slots=True)
class Kind:
    """A table, and how its rows and entities become each other."""

    table: Table
    entity: Callable[[AnyRow], Any]
    values: Callable[[Any], dict[str, Any]]


ENDPOINTS = Kind(ENDPOINT, rows.endpoint_of, rows.endpoint_values)
AREAS = Kind(AREA, rows.area_of, rows.area_values)
CLINICS = Kind(CLINIC, rows.clinic_of, rows.clinic_values)
TREATMENTS = Kind(TREATMENT, rows.treatment_of, rows.treatment_values)
PRACTITIONERS = Kind(PRACTITIONER, rows.practitioner_of, rows.practitioner_values)
OFFERS = Kind(OFFER, rows.offer_of, rows.offer_values)


class SqlCatalogueWrites:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def clinics_by_id(self, tenant_id: str, ids: Sequence[UUID]) -> Mapping[UUID, Clinic]:
        wanted = select(*rows.columns(CLINIC)).where(CLINIC.c.tenant_id == tenant_id, CLINIC.c.id.in_(set(ids)))
        return {each.id: each for each in map(rows.clinic_of, await self._connection.execute(wanted))}

    async def put_seed(self, seed: Seed) -> None:
        await self._put_tenant(seed.tenant)
        for kind, kept in ((ENDPOINTS, seed.endpoints), (AREAS, seed.areas)):
            await self._withdraw(kind.table, seed.tenant.id, keeping={each.id for each in kept})
            await self._put(kind, seed.tenant.id, kept)

    async def merge(self, tenant_id: str, found: CatalogueImport) -> None:
        await self._lock(tenant_id)
        here = found.endpoint_id
        once_offered = await self._treatments_offered_at(tenant_id, here)
        # What is gone goes first, so that its slug is free.
        for kind, kept in ((OFFERS, found.offers), (PRACTITIONERS, found.practitioners), (CLINICS, found.clinics)):
            its = kind.table.c.endpoint_id == here
            await self._withdraw(kind.table, tenant_id, its, keeping={each.id for each in kept})
        await self._check_slugs(tenant_id, found.clinics)
        await self._put(CLINICS, tenant_id, found.clinics)
        await self._put(TREATMENTS, tenant_id, found.treatments)
        await self._put(PRACTITIONERS, tenant_id, found.practitioners)
        await self._put(OFFERS, tenant_id, found.offers)
        gone_here = once_offered - {treatment.id for treatment in found.treatments}
        await self._withdraw_unless_offered(tenant_id, gone_here)

    async def _lock(self, tenant_id: str) -> None:
        """One seed or import of a tenant at a time."""
        statement = select(TENANT.c.tenant_id).where(TENANT.c.tenant_id == tenant_id)
        await self._connection.execute(statement.with_for_update(key_share=True))

    async def _put_tenant(self, tenant: Tenant) -> None:
        tenant = replace(tenant, hosts=tuple(dict.fromkeys(host.lower() for host in tenant.hosts)))
        values = {**tenant_values(tenant), "active": True, "edited": ()}
        new = insert_for(self._connection, TENANT).values(values)
        with _unless_taken(f"the slug {tenant.slug} is another tenant's: {tenant.id} needs one of its own"):
            await self._connection.execute(new.on_conflict_do_nothing(index_elements=["tenant_id"]))
        await self._lock(tenant.id)
        found = await self._connection.execute(tenant_rows().where(TENANT.c.tenant_id == tenant.id))
        its = found.all()
        (before,) = tenants_of(its)
        after = _merged(before, tenant, its[0].edited)
        if replace(after, hosts=before.hosts) != before:
            statement = update(TENANT).where(TENANT.c.tenant_id == tenant.id)
            with _unless_taken(f"the slug {after.slug} is another tenant's: {tenant.id} needs one of its own"):
                await self._connection.execute(statement.values(tenant_values(after)))
        if after.hosts != before.hosts:
            await self._put_hosts(after)

    async def _put_hosts(self, tenant: Tenant) -> None:
        await self._connection.execute(delete(TENANT_HOST).where(TENANT_HOST.c.tenant_id == tenant.id))
        for n, host in enumerate(tenant.hosts):
            new = insert(TENANT_HOST).values(tenant_id=tenant.id, host=host, position=n)
            with _unless_taken(f"the host {host} is another tenant's: it cannot be one of {tenant.id}'s `hosts`"):
                await self._connection.execute(new)

    async def _check_slugs(self, tenant_id: str, clinics: Sequence[Clinic]) -> None:
        """A clinic that the seed gives no slug goes by its EHR's id for it, and two EHRs may count alike."""
        known = {row.clinic_id: row for row in await self._rows(CLINICS, tenant_id)}
        coming = {clinic.id for clinic in clinics}
        there = (rows.clinic_of(row) for row in known.values() if row.active and row.clinic_id not in coming)
        taken = {clinic.slug: clinic for clinic in there}
        for clinic in clinics:
            row = known.get(clinic.id)
            if row and not row.active and "active" in row.edited:
                continue
            after = _merged(rows.clinic_of(row), clinic, row.edited) if row else clinic
            other = taken.setdefault(after.slug, after)
            if other is not after:
                both = " and ".join(f"{each.ehr_id} of {each.endpoint_id}" for each in (other, after))
                raise NameTaken(
                    f"the clinics {both} would both have the slug {after.slug}: give one its own in the seed"
                )

    async def _put(self, kind: Kind, tenant_id: str, entities: Sequence[Any]) -> None:
        """Insert what is new, change what differs, wake what was withdrawn."""
        if any(entity.tenant_id != tenant_id for entity in entities):
            raise ValueError(f"{kind.table.name}: not all of tenant {tenant_id}")
        before = {row._mapping[f"{kind.table.name}_id"]: row for row in await self._rows(kind, tenant_id)}
        new = [each for each in entities if each.id not in before]
        if new:
            values = [{**kind.values(entity), "active": True, "edited": ()} for entity in new]
            await self._connection.execute(insert(kind.table), values)
        for entity in entities:
            if entity.id in before:
                await self._bring_in_line(kind, before[entity.id], entity)

    async def _bring_in_line(self, kind: Kind, row: AnyRow, entity: Any) -> None:
        edited = row.edited
        before = kind.entity(row)
        after = _merged(before, entity, edited)
        active = row.active or "active" not in edited
        if after == before and active == row.active:
            return
        c = kind.table.c
        await self._connection.execute(
            update(kind.table)
            .where(c.tenant_id == entity.tenant_id, c.id == entity.id)
            .values(**kind.values(after), active=active)
        )

    async def _rows(self, kind: Kind, tenant_id: str) -> Sequence[AnyRow]:
        c = kind.table.c
        statement = select(*rows.columns(kind.table), c.active, c.edited).where(c.tenant_id == tenant_id)
        return (await self._connection.execute(statement)).all()

    async def _withdraw(
        self, table: Table, tenant_id: str, *which: ColumnElement[bool], keeping: Collection[UUID | str] = ()
    ) -> None:
        c = table.c
        statement = select(c.id, c.edited).where(c.tenant_id == tenant_id, c.active, *which)
        found = await self._connection.execute(statement)
        ids = [row.id for row in found if row.id not in keeping and "active" not in row.edited]
        if ids:
            withdraw = update(table).where(c.tenant_id == tenant_id, c.id.in_(ids)).values(active=False)
            await self._connection.execute(withdraw)

    async def _treatments_offered_at(self, tenant_id: str, endpoint_id: str) -> set[UUID]:
        c = OFFER.c
        found = await self._connection.execute(
            select(c.treatment_id).where(c.tenant_id == tenant_id, c.endpoint_id == endpoint_id).distinct()
        )
        return set(found.scalars())

    async def _withdraw_unless_offered(self, tenant_id: str, treatment_ids: Collection[UUID]) -> None:
        """A treatment belongs to the tenant: it is gone when the last EHR that had it has it no more."""
        c = OFFER.c
        offered = select(c.treatment_id).where(c.tenant_id == tenant_id, c.active).correlate(None)
        gone = (TREATMENT.c.id.in_(treatment_ids), TREATMENT.c.id.not_in(offered))
        await self._withdraw(TREATMENT, tenant_id, *gone)


@contextmanager
def _unless_taken(told: str) -> Iterator[None]:
    """What other tenants have is not to be seen from here: that it is theirs shows when it is written."""
    try:
        yield
    except IntegrityError as taken:
        raise NameTaken(told) from taken


def _merged(before: Any, found: Any, edited: Collection[str]) -> Any:
    """What was found, but for the fields that the back office has edited."""
    after = replace(found, **{name: getattr(before, name) for name in edited if name != "active"})
    return _in_all_languages(before, after, edited) if isinstance(after, Treatment) else after


def _in_all_languages(before: Treatment, after: Treatment, edited: Collection[str]) -> Treatment:
    """Several EHRs tell of one treatment, each in its own language: none of them takes another's words away."""
    said: dict[str, Mapping[str, str]] = {
        name: {**getattr(before, name), **getattr(after, name)}
        for name in ("title", "subtitle", "description")
        if name not in edited
    }
    return replace(after, **said)  # type: ignore[arg-type]
