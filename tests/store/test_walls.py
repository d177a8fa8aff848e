"""Tenants are kept apart twice: by what every statement must say, and by PostgreSQL where that is switched off."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    Boolean,
    Date,
    Float,
    Integer,
    LargeBinary,
    Table,
    Uuid,
    delete,
    insert,
    make_url,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.bootstrap import build_app
from api.settings import Settings
from domain.ports import EVERY_TENANT
from integrations.store.engine import connected, open_engine
from integrations.store.every_table import metadata
from integrations.store.roles import RoleTooStrong, check_role
from integrations.store.scoping import READ_ACROSS, WRITTEN_ACROSS, AcrossTenants
from integrations.store.tables import AUDIT, PATIENT, PATIENT_IDENTITY, SESSION
from integrations.store.tables_bookings import BOOKING
from integrations.store.tables_catalogue import CLINIC, OFFER
from integrations.store.tables_jobs import JOB
from integrations.store.types import Instant, Json, Money, Seconds
from tests.databases import owner_of, raw
from tests.living import SECRET
from tests.store.making import NOW

WALLED = [table for table in metadata.sorted_tables if "tenant_id" in table.c]
NAMES = [table.name for table in WALLED]
P, I, C, O, B = PATIENT.c, PATIENT_IDENTITY.c, CLINIC.c, OFFER.c, BOOKING.c  # noqa: E741
ID = UUID(int=7)

REFUSED = {
    "nothing said": select(PATIENT),
    "another tenant's": select(PATIENT).where(P.tenant_id == "syd"),
    "either tenant's": select(PATIENT).where(or_(P.tenant_id == "nord", P.id == ID)),
    "a join to everybody's": select(CLINIC).join(OFFER, O.clinic_id == C.id).where(C.tenant_id == "nord"),
    "a subquery of everybody's": select(CLINIC).where(C.tenant_id == "nord", C.id.in_(select(O.clinic_id))),
    "an outer join's left side": select(CLINIC).outerjoin(
        OFFER, (O.tenant_id == C.tenant_id) & (O.tenant_id == "nord")
    ),
    "a table beside": select(P.id, C.id).where(P.tenant_id == "nord", P.name == C.name),
    "an update": update(PATIENT).where(P.id == ID).values(name="x"),
    "an update into another tenant": update(PATIENT).where(P.tenant_id == "nord").values(tenant_id="syd"),
    "a deletion": delete(SESSION).where(SESSION.c.id == "x"),
    "a deletion by everybody's": delete(SESSION).where(
        SESSION.c.tenant_id == "nord", SESSION.c.patient_id.in_(select(P.id))
    ),
    "an insertion": insert(PATIENT_IDENTITY).values(tenant_id="syd", issuer="i", subject="s", patient_id=ID),
    "one of several insertions": insert(PATIENT_IDENTITY).values(
        [{"tenant_id": t, "issuer": "i", "subject": "s", "patient_id": ID} for t in ("nord", "syd")]
    ),
    "SQL of one's own": text("SELECT * FROM patient WHERE tenant_id = 'nord'"),
}
ALLOWED = {
    "one's own": select(PATIENT).where(P.tenant_id == "nord"),
    "a join": select(CLINIC)
    .join(OFFER, (O.tenant_id == C.tenant_id) & (O.clinic_id == C.id))
    .where(O.tenant_id == "nord"),
    "an outer join": select(CLINIC).outerjoin(OFFER, O.tenant_id == C.tenant_id).where(C.tenant_id == "nord"),
    "a subquery": select(C.id).where(C.tenant_id == "nord", C.id.in_(select(O.clinic_id).where(O.tenant_id == "nord"))),
    "a subquery about the row": select(C.id).where(
        C.tenant_id == "nord", select(O.id).where(O.tenant_id == C.tenant_id, O.clinic_id == C.id).exists()
    ),
}
ACROSS_REFUSED = {
    "people": select(PATIENT),
    "people of one tenant": select(PATIENT).where(P.tenant_id == "nord"),
    "the trail": select(AUDIT),
    "bookings changed": update(BOOKING).where(B.tenant_id == "nord").values(status="BOOKED"),
    "people beside a queue": select(JOB.c.id, P.id).where(JOB.c.kind == P.name),
}


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(sqlite_url)
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("what", REFUSED)
async def test_a_statement_that_reaches_beyond_its_tenant_is_refused(sqlite: AsyncEngine, what: str) -> None:
    async with connected(sqlite, "nord") as connection:
        for _ in range(2):  # what was found out is remembered
            with pytest.raises(AcrossTenants):
                await connection.execute(REFUSED[what])


@pytest.mark.parametrize("what", ALLOWED)
async def test_a_statement_that_is_tied_to_its_tenant_is_sent(sqlite: AsyncEngine, what: str) -> None:
    async with connected(sqlite, "nord") as connection:
        assert (await connection.execute(ALLOWED[what])).all() == []
    async with connected(sqlite, "syd") as connection:
        with pytest.raises(AcrossTenants, match="another tenant"):
            await connection.execute(ALLOWED[what])


@pytest.mark.parametrize("what", ACROSS_REFUSED)
async def test_work_over_all_tenants_touches_no_people(sqlite: AsyncEngine, what: str) -> None:
    async with connected(sqlite, EVERY_TENANT) as connection:
        with pytest.raises(AcrossTenants, match="over all tenants"):
            await connection.execute(ACROSS_REFUSED[what])


async def test_who_says_no_tenant_gets_nothing(sqlite: AsyncEngine) -> None:
    async with connected(sqlite) as connection:
        with pytest.raises(AcrossTenants, match="nobody said"):
            await connection.execute(ALLOWED["one's own"])


async def test_every_table_of_tenants_has_row_level_security_that_holds_its_owner_back(postgres_url: str) -> None:
    async with raw(postgres_url) as connection:
        forced = text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        assert set((await connection.execute(forced)).scalars()) == set(NAMES)
        policies = text("SELECT tablename, policyname, cmd FROM pg_policies")
        found = {tuple(row) for row in await connection.execute(policies)}
    own = {(name, "own_tenant", "ALL") for name in NAMES}
    across = {(name, "every_tenant", "ALL" if name in WRITTEN_ACROSS else "SELECT") for name in READ_ACROSS}
    assert found == own | across


async def test_the_servers_role_is_neither_superuser_nor_owner(postgres_url: str, server_role: str) -> None:
    engine = open_engine(postgres_url)
    await check_role(engine)
    async with connected(engine) as connection:
        asked = text("SELECT current_user, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert tuple((await connection.execute(asked)).one()) == (server_role, False, False)
        for ddl in ("CREATE TABLE mine (id int)", "TRUNCATE patient", "ALTER TABLE patient DISABLE ROW LEVEL SECURITY"):
            with pytest.raises(DBAPIError, match=r"permission denied|must be owner"):
                async with connection.begin_nested():
                    await connection.execute(text(ddl))
    await engine.dispose()


@pytest.mark.parametrize(
    ("give", "take", "why"),
    [
        # whoever is a superuser counts as a member of every role, so of the owner's, too
        ("ALTER ROLE {role} SUPERUSER", "ALTER ROLE {role} NOSUPERUSER", "is a superuser and owns the tables"),
        ("ALTER ROLE {role} BYPASSRLS", "ALTER ROLE {role} NOBYPASSRLS", "has BYPASSRLS"),
        ("ALTER TABLE area OWNER TO {role}", "ALTER TABLE area OWNER TO CURRENT_USER", "owns the tables"),
        ("GRANT {owner} TO {role}", "REVOKE {owner} FROM {role}", "owns the tables"),
    ],
    ids=["superuser", "bypassrls", "owner", "owner's member"],
)
async def test_a_server_whose_role_nothing_holds_back_does_not_start(
    postgres_url: str, server_role: str, give: str, take: str, why: str
) -> None:
    """Nor for one of the reasons alone, and it says which."""
    roles = {"role": f'"{server_role}"', "owner": f'"{make_url(owner_of(postgres_url)).username}"'}
    async with raw(postgres_url) as connection:
        await connection.execute(text(give.format(**roles)))
    try:
        with pytest.raises(RoleTooStrong, match=f"the database role {server_role} {why}: tenants would not be kept"):
            await build_app(Settings(secret=SECRET, oidc_issuer="http://127.0.0.1:9", database_url=postgres_url))
    finally:
        async with raw(postgres_url) as connection:
            await connection.execute(text(take.format(**roles)))


def some(table: Table, tenant_id: str) -> dict[str, Any]:
    """A row of any table."""
    values: dict[type, Any] = {
        **{
            Instant: NOW,
            Uuid: ID,
            Seconds: timedelta(0),
            Json: {},
            LargeBinary: b"x",
            Boolean: True,
            Money: Decimal(1),
        },
        **{Integer: 1, Float: 1.0, Date: date(2000, 1, 1)},
    }
    row = {
        column.name: next((value for kind, value in values.items() if isinstance(column.type, kind)), "x")
        for column in table.c
    }
    row |= {"tenant_id": tenant_id}
    return row | ({"ends_at": NOW + timedelta(hours=1)} if "ends_at" in row else {})


@pytest.fixture
async def unwalled(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """The server's role with our own wall switched off, and a row of another tenant's in every table."""
    async with raw(postgres_url) as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))  # without foreign keys
        for table in WALLED:
            await connection.execute(insert(table).values(some(table, "syd")))
    engine = open_engine(postgres_url, scoped=False)
    yield engine
    await engine.dispose()


async def test_postgresql_refuses_every_other_tenants_rows_by_itself(unwalled: AsyncEngine) -> None:
    for table in WALLED:
        for whose in ("nord", None):
            async with connected(unwalled, whose) as connection:
                assert (await connection.execute(select(table.c.tenant_id).where(table.c.tenant_id != ""))).all() == []
                for change in (update(table).values(tenant_id=table.c.tenant_id), delete(table)):
                    assert await changed(connection, change) == 0, (table.name, change)
                with pytest.raises(DBAPIError, match="row-level security"):
                    async with connection.begin_nested():
                        await connection.execute(insert(table).values(some(table, "syd")))
        async with connected(unwalled, "syd") as connection:
            assert len((await connection.execute(select(table.c.tenant_id))).all()) == 1, table.name


async def changed(connection: Any, change: Any) -> int:
    """How many rows; none where the role has no right to it at all."""
    try:
        async with connection.begin_nested():
            return int((await connection.execute(change)).rowcount)
    except DBAPIError as why:
        assert "permission denied" in str(why.orig), why
        return 0


async def test_over_all_tenants_only_listed_tables_show_rows_and_fewer_are_written(unwalled: AsyncEngine) -> None:
    for table in WALLED:
        async with connected(unwalled, EVERY_TENANT) as connection:
            shown = (await connection.execute(select(table.c.tenant_id).where(table.c.tenant_id == "syd"))).all()
            assert bool(shown) == (table.name in READ_ACROSS), table.name
            written = await changed(connection, update(table).where(table.c.tenant_id == "syd").values(tenant_id="syd"))
            assert bool(written) == (table.name in WRITTEN_ACROSS), table.name


async def test_a_pooled_connection_forgets_whose_it_was(postgres_url: str, unwalled: AsyncEngine) -> None:
    one = open_engine(postgres_url, pool_size=1, scoped=False)
    alone = one.execution_options(isolation_level="AUTOCOMMIT")
    seen = []
    for engine, whose in ((alone, "syd"), (one, "nord"), (alone, "nord"), (one, "syd"), (alone, None), (one, None)):
        async with connected(engine, whose) as connection:
            seen.append(len((await connection.execute(select(PATIENT.c.id))).all()))
    assert seen == [1, 0, 0, 1, 0, 0]
    await one.dispose()
