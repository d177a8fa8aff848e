"""Tenants are kept apart twice: by what every statement must say, and by PostgreSQL where that is switched off."""

from collections.abc import AsyncIterator
from contextlib import suppress
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
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    make_url,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy import column as nameless
from sqlalchemy import table as lightweight
from sqlalchemy.dialects.postgresql import insert as insert_or_change
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.bootstrap import build_app
from api.settings import Settings
from domain.ports import EVERY_TENANT
from integrations.store.engine import connected, open_engine
from integrations.store.every_table import metadata
from integrations.store.roles import RoleTooStrong, check_role
from integrations.store.scoping import READ_ACROSS, WRITTEN_ACROSS, AcrossTenants
from integrations.store.tables import AUDIT, PATIENT, PATIENT_IDENTITY, SESSION, TENANT_HOST
from integrations.store.tables_bookings import BOOKING, IS_HELD
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

mine = select(C.id).where(C.tenant_id == "nord")
SOMEBODY = select(P.name).limit(1).scalar_subquery()
EVERYBODY = select(func.count(P.id)).scalar_subquery()
ANYBODY = select(P.id).subquery()
MADE_UP = select(literal("syd").label("tenant_id")).subquery()
OWN = select(C.tenant_id, C.id).where(C.tenant_id == "nord").subquery()
HALF_MADE_UP = (
    select(P.tenant_id).where(P.tenant_id == "nord").union(select(literal("syd").label("tenant_id"))).subquery()
)
PLACE = ["tenant_id", "host"]
upsert = insert_or_change(TENANT_HOST).values(tenant_id="nord", host="a")
made = func.lower

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
    "an update by another table": update(CLINIC).where(C.tenant_id == "nord", C.id == P.id).values(name=P.name),
    "an update to what another table says": update(CLINIC).where(C.tenant_id == "nord").values(name=SOMEBODY),
    "an update by a subquery of everybody's": update(CLINIC)
    .where(C.tenant_id == "nord", C.id == ANYBODY.c.id)
    .values(name="x"),
    "an update into what a function makes": update(PATIENT).where(P.tenant_id == "nord").values(tenant_id=made("SYD")),
    "an update into what is said later": update(PATIENT)
    .where(P.tenant_id == "nord")
    .values(tenant_id=bindparam("t", "syd")),
    "an update that tells of others": update(CLINIC).where(C.tenant_id == "nord").values(name="x").returning(SOMEBODY),
    "an update within a question": select(update(PATIENT).values(name="x").returning(P.id).cte().c.id),
    "an insertion of what a function makes": insert(TENANT_HOST).values(
        [{"tenant_id": "nord", "host": "a"}, {"tenant_id": made("SYD"), "host": "b"}]
    ),
    "an insertion of what another table says": insert(TENANT_HOST).values(tenant_id="nord", host=SOMEBODY),
    "one of several, of what another table says": insert(TENANT_HOST).values([{"tenant_id": "nord", "host": SOMEBODY}]),
    "an insertion that changes another's": upsert.on_conflict_do_update(index_elements=["host"], set_={"host": "b"}),
    "an insertion that makes another's": upsert.on_conflict_do_update(index_elements=PLACE, set_={"tenant_id": "syd"}),
    "an insertion if another table says so": upsert.on_conflict_do_update(
        index_elements=PLACE, set_={"host": "b"}, where=TENANT_HOST.c.host == SOMEBODY
    ),
    "an order by everybody's": mine.order_by(SOMEBODY),
    "groups by everybody's": select(func.count()).where(C.tenant_id == "nord").group_by(SOMEBODY),
    "groups having everybody's": mine.group_by(C.id).having(func.max(C.name) < SOMEBODY),
    "as many as everybody": mine.limit(EVERYBODY),
    "after as many as everybody": mine.limit(1).offset(EVERYBODY),
    "everybody set beside": mine.add_cte(select(P.name).cte("beside")),
    "everybody in a union": mine.union(select(P.id)),
    "a union in everybody's order": mine.union(mine).limit(EVERYBODY),
    "everybody of the same table": mine.where(C.name.in_(select(C.name))),
    "everybody of the same table, on purpose": select(C.id)
    .join(OFFER, O.tenant_id == C.tenant_id)
    .where(C.tenant_id == "nord", select(func.count(C.id)).where(O.id == ID).correlate(OFFER).scalar_subquery() > 1),
    "everybody two questions down": mine.where(
        select(O.id)
        .where(O.tenant_id == "nord", select(P.id).where(P.id == C.id, P.tenant_id == "nord").exists())
        .exists()
    ),
    "a tenant made up in a subquery": select(P.id).join(MADE_UP, P.tenant_id == MADE_UP.c.tenant_id),
    "a tenant made up in a union": select(P.id).join(HALF_MADE_UP, P.tenant_id == HALF_MADE_UP.c.tenant_id),
    "a table made up": select(lightweight("patient", nameless("name")).c.name),
    "SQL of one's own": text("SELECT * FROM patient WHERE tenant_id = 'nord'"),
    "SQL of one's own, with columns": text("SELECT name FROM patient").columns(P.name),
    "a condition of one's own": mine.where(text("EXISTS (SELECT 1 FROM patient)")),
    "a table of one's own": select(text("name")).select_from(text("patient")),
    "a column of one's own": mine.add_columns(literal_column("(SELECT name FROM patient)")),
    "an order of one's own": mine.order_by(text("(SELECT name FROM patient)")),
    "an operator of one's own": mine.where(C.name.op("IN (SELECT name FROM patient) OR 1 =")(1)),
    "a word of one's own before": mine.prefix_with("(SELECT name FROM patient),"),
    "a word of one's own behind": mine.with_statement_hint("UNION SELECT id FROM patient"),
    "an update with a word of one's own": update(CLINIC)
    .where(C.tenant_id == "nord")
    .values(name="x")
    .prefix_with("OR"),
    "an update in one's own words": update(CLINIC).where(C.tenant_id == "nord").values(name=text("(SELECT 'x')")),
}
ON_POSTGRESQL = {
    "a deletion by another table": delete(SESSION).where(SESSION.c.tenant_id == "nord", SESSION.c.patient_id == P.id),
    "a lateral of everybody's": mine.join(select(P.id).where(P.name == C.name).lateral(), true()),
}
"""What SQLAlchemy does not write for SQLite."""
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
    "a subquery to join": select(P.id).join(OWN, P.tenant_id == OWN.c.tenant_id),
    "the same table twice": mine.where(C.name.in_(select(C.name).where(C.tenant_id == "nord"))),
    "an order by a row's own": mine.order_by(
        select(func.max(P.name)).where(P.tenant_id == C.tenant_id).scalar_subquery()
    ),
    "a condition of a partial index": select(B.id).where(B.tenant_id == "nord", IS_HELD),
    "an update by a tied table": update(CLINIC)
    .where(C.tenant_id == "nord", P.tenant_id == C.tenant_id, P.id == C.id)
    .values(name=P.name)
    .returning(C.id),
    "a change if the row is there": upsert.on_conflict_do_update(index_elements=PLACE, set_={"host": "b"}),
}
ACROSS_REFUSED = {
    "people": select(PATIENT),
    "people of one tenant": select(PATIENT).where(P.tenant_id == "nord"),
    "the trail": select(AUDIT),
    "bookings changed": update(BOOKING).where(B.tenant_id == "nord").values(status="BOOKED"),
    "a queue changed by people": update(JOB).where(JOB.c.kind == P.name).values(state="DONE"),
    "people beside a queue": select(JOB.c.id, P.id).where(JOB.c.kind == P.name),
}


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(sqlite_url)
    yield engine
    await engine.dispose()


async def refusal(engine: AsyncEngine, tenant_id: str, statement: Any) -> str | None:
    """Why it was not sent. What the database makes of one that was is no concern here."""
    async with connected(engine, tenant_id) as connection:
        with suppress(SQLAlchemyError):
            try:
                await connection.execute(statement)
            except AcrossTenants as why:
                return str(why)
    return None


async def test_a_statement_that_reaches_beyond_its_tenant_is_refused(engine: AsyncEngine) -> None:
    statements = REFUSED | (ON_POSTGRESQL if engine.dialect.name == "postgresql" else {})
    for _ in range(2):  # what was found out is remembered
        assert [what for what in statements if await refusal(engine, "nord", statements[what]) is None] == []


async def test_a_statement_that_is_tied_to_its_tenant_is_sent(engine: AsyncEngine) -> None:
    assert {what: why for what in ALLOWED if (why := await refusal(engine, "nord", ALLOWED[what]))} == {}
    for what, statement in ALLOWED.items():
        assert "another tenant" in (await refusal(engine, "syd", statement) or ""), what


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
