"""Brings a database's tables up to what this version of the code expects."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from integrations.store.engine import connected, open_engine
from integrations.store.roles import OwnerWrong

Step = Callable[[Config], None]

MIGRATIONS = Path(__file__).parents[2] / "migrations"

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(4951760157)")
"""Any number will do, as long as nothing else in the database uses it."""


_WHICH = text("SELECT current_database(), pg_postmaster_start_time()")
"""The same for whichever name of a host, or pooler, one database is reached by."""

_NO_RIGHT = "42501"
"""PostgreSQL's insufficient_privilege."""


async def check_owner(owner_url: str, server_url: str) -> None:
    """Before anything is made: both must lead to one database. Raises `OwnerWrong` or `StoreUnreachable`."""
    owner, server = (open_engine(url, pool_size=1, scoped=False) for url in (owner_url, server_url))
    try:
        if owner_url != server_url and not await _are_one(owner, server):
            names = f"{owner.url.render_as_string()} is not {server.url.render_as_string()}"
            raise OwnerWrong(f"ITB_DATABASE_OWNER_URL: names another database than ITB_DATABASE_URL: {names}")
    finally:
        await owner.dispose()
        await server.dispose()


async def _are_one(owner: AsyncEngine, server: AsyncEngine) -> bool:
    if "sqlite" in (owner.dialect.name, server.dialect.name):
        return owner.dialect.name == server.dialect.name and owner.url.database == server.url.database
    return await _which(owner) == await _which(server)


async def _which(engine: AsyncEngine) -> tuple[Any, ...]:
    async with connected(engine) as connection:
        return tuple((await connection.execute(_WHICH)).one())


async def upgrade(url: str, to: str = "head") -> None:
    """Run what is missing, in one transaction; several processes may try at once.

    Raises `StoreUnreachable`, and `OwnerWrong` for a role that is not the owner.
    """
    await _run(url, lambda config: command.upgrade(config, to))


async def downgrade(url: str, to: str) -> None:
    """Undo migrations, with the data in them, back to a revision or `base`."""
    await _run(url, lambda config: command.downgrade(config, to))


async def current_is_head(engine: AsyncEngine) -> bool:
    """Whether the database is neither behind nor ahead of this code."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    async with connected(engine) as connection:
        current = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    return current == head


async def _run(url: str, step: Step) -> None:
    engine = open_engine(url, pool_size=1, scoped=False)
    try:
        async with connected(engine.execution_options(writes=True)) as connection:
            await connection.run_sync(_migrate, step)
            await connection.commit()
    except DBAPIError as why:
        if getattr(why.orig, "sqlstate", None) != _NO_RIGHT:
            raise
        told = str(getattr(why.orig, "__cause__", None) or why.orig).splitlines()[0]
        raise OwnerWrong(
            f"ITB_DATABASE_OWNER_URL: the role {make_url(url).username} may not change the tables: {told}; "
            "name the database's owner"
        ) from why
    finally:
        await engine.dispose()


def _migrate(connection: Connection, step: Step) -> None:
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:  # a table that is built anew is dropped for a moment; only outside a transaction can the keys be eased
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.close()
    connection.begin()  # a transaction that Alembic finds open it leaves to us: all migrations or none
    if not sqlite:
        connection.execute(_ONE_AT_A_TIME)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    step(config)
    if sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise RuntimeError(f"a migration would break {len(broken)} references, the first in {broken[0][0]}")
