"""Migrations make what the models say, on both engines, and can be undone and done again."""

import re

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from domain.booking import OCCUPYING
from integrations.store.engine import StoreUnreachable, connected, open_engine
from integrations.store.every_table import metadata
from integrations.store.migrate import current_is_head, downgrade, upgrade
from integrations.store.tables_bookings import BOOKING, GUARD

ACROSS_TENANTS = {"uq_tenant_slug", "uq_tenant_host_host", "uq_api_key_key_id", "ix_change_position", "ix_job_due"}
"""The three names that lead to a tenant, one of them an API key's id: the table of keys is read across tenants by that
alone. The order in which every process hears of all tenants' changes, and that in which workers take up the jobs of
all."""

GUARDS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'booking' ORDER BY name",
    "postgresql": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'x'",
}


async def the_guard(engine) -> dict[str, str]:
    async with connected(engine) as connection:
        found = dict((await connection.execute(text(GUARDS[engine.dialect.name]))).all())
    assert found, "there is no guard"
    return found


async def test_models_match_migrations(engine):
    def differences(connection):
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": metadata})
        return compare_metadata(context, metadata)

    async with connected(engine) as connection:
        assert await connection.run_sync(differences) == []


async def test_the_guard_is_there_by_its_name(engine):
    names = {"postgresql": {GUARD}, "sqlite": {f"{GUARD}_insert", f"{GUARD}_update"}}
    assert set(await the_guard(engine)) == names[engine.dialect.name]


async def test_the_guard_lists_the_statuses_that_occupy(engine):
    for definition in (await the_guard(engine)).values():
        lists = re.findall(r"status(?:\)::text)? (?:IN \(|= ANY \(\(?ARRAY\[)([^)\]]*)", definition)
        assert lists, definition
        for listed in lists:
            assert re.findall(r"'(\w+)'", listed) == [status.value for status in OCCUPYING]


async def test_the_guard_looks_at_every_column_that_can_bring_a_clash_about(engine):
    looked_at = ("tenant_id", "endpoint_id", "practitioner_id", "moves_booking_id", "starts_at", "ends_at", "status")
    for definition in (await the_guard(engine)).values():
        assert all(column in definition for column in (*looked_at, "id")), definition


async def test_the_tenant_comes_first_in_every_key(engine):
    def keys(connection):
        there = inspect(connection)
        for table in there.get_table_names():
            if table == "alembic_version":
                continue
            yield f"pk_{table}", there.get_pk_constraint(table)["constrained_columns"]
            for each in (*there.get_indexes(table), *there.get_unique_constraints(table)):
                yield each["name"], each["column_names"]

    async with connected(engine) as connection:
        found = await connection.run_sync(lambda sync: list(keys(sync)))
    assert len(found) > 30
    assert {name for name, columns in found if columns[0] != "tenant_id"} == ACROSS_TENANTS


async def test_up_down_up(empty_database_url):
    engine = open_engine(empty_database_url)
    try:
        assert not await current_is_head(engine)
        await upgrade(empty_database_url)
        assert await current_is_head(engine)
        before = await the_guard(engine)
        await downgrade(empty_database_url, "base")
        assert not await current_is_head(engine)
        async with connected(engine) as connection:
            left = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert left == ["alembic_version"]
        await upgrade(empty_database_url)
        assert await the_guard(engine) == before
        await upgrade(empty_database_url)
    finally:
        await engine.dispose()


async def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url):
    from integrations.store import migrate

    def fail(config):
        migrate.command.upgrade(config, "head")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="power"):
        await migrate._run(empty_database_url, fail)
    engine = open_engine(empty_database_url)
    try:
        async with connected(engine) as connection:
            assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == []
    finally:
        await engine.dispose()


def test_columns_are_what_a_booking_has():
    from dataclasses import fields

    from domain.booking import Booking
    from domain.slot import Slot

    expected = {f.name for f in (*fields(Booking), *fields(Slot))} - {"slot", "start", "end"}
    expected = expected | {"slot_reference", "starts_at", "ends_at", "words_sealed", "sms_to_sealed"}
    assert set(BOOKING.c.keys()) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no URL"),
        ("mysql://u:hemmelig@h/d", "no such kind of database: mysql"),
        ("sqlite://", "needs a file"),
        ("sqlite:////no/such/folder/itb.db", "no such folder for the database: /no/such/folder"),
        ("postgresql://u:hemmelig@127.0.0.1:1/d", "127.0.0.1"),
    ],
)
async def test_an_unreachable_database_is_told_in_one_line_without_the_password(url, message):
    with pytest.raises(StoreUnreachable, match=re.escape(message)) as told:
        await upgrade(url)
    assert "\n" not in str(told.value) and "hemmelig" not in str(told.value)


async def test_a_wrong_database_name_is_told_in_one_line(postgres_server):
    url = postgres_server.rsplit("/", 1)[0] + "/no_such_database"
    with pytest.raises(StoreUnreachable, match='database "no_such_database" does not exist'):
        await upgrade(url)
