"""The way into the database: SQLite for a single process, PostgreSQL for production."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import URL, Connection, Executable, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from integrations.store.scoping import BEGIN, SAY_TENANT, TENANT, refuse_across
from integrations.store.types import AnyRow

T = TypeVar("T")

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}

SQLITE_WAITS = 10.0
"""Seconds that a writer waits for the one before it."""

_NO_WAY_IN = (OSError, TimeoutError, DBAPIError, PoolExhausted, asyncpg.PostgresError, asyncpg.InterfaceError)


class StoreUnreachable(Exception):
    """The database cannot be opened; the message is one line, for whoever set the address."""


def open_engine(
    url: str,
    *,
    pool_size: int = 10,
    connect_seconds: float = 5.0,
    statement_seconds: float = 15.0,
    scoped: bool = True,
) -> AsyncEngine:
    """An engine for `sqlite:///path` or `postgresql://user:password@host/name`. Nothing is connected yet.

    A connection that the server has dropped is found out by the first statement that fails, after which the pool
    replaces all that are as old; asking before every statement would cost three more round trips. Reads try again.

    `scoped` is off for migrations, which no tenant asks for, and in tests of what PostgreSQL refuses by itself.
    """
    address = _with_driver(url)
    if address.get_backend_name() == "sqlite":
        engine = _sqlite(address, pool_size)
    else:
        engine = _postgresql(address, pool_size, connect_seconds, statement_seconds)
    if scoped:
        event.listen(engine.sync_engine, "before_cursor_execute", refuse_across)
    return engine


def _postgresql(address: URL, pool_size: int, connect_seconds: float, statement_seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=connect_seconds,
        pool_use_lifo=True,
        hide_parameters=True,  # what a statement fails with is logged, and its values are people's
        connect_args={
            "timeout": connect_seconds,
            "command_timeout": statement_seconds + connect_seconds,
            "server_settings": {
                "application_name": "itb",
                "statement_timeout": str(int(statement_seconds * 1000)),
                "idle_in_transaction_session_timeout": str(int(statement_seconds * 2000)),
            },
        },
    )
    event.listen(engine.sync_engine, "begin", _say_tenant)
    return engine


def _say_tenant(connection: Connection) -> None:
    """Tells PostgreSQL's row-level security whose rows may be seen, where the session does not know it already.

    For the transaction only; where there is none, for the session, which is then remembered with the pooled connection.
    What nobody said is nobody's: an empty name matches no row.
    """
    options, known = connection.get_execution_options(), connection.info
    tenant, alone = options.get(TENANT, ""), options.get("isolation_level") == "AUTOCOMMIT"
    if known.get(TENANT, "") == tenant:
        return
    if alone:
        known[TENANT] = None  # unknown until it is certain
    connection.exec_driver_sql(SAY_TENANT, (tenant, not alone))
    if alone:
        known[TENANT] = tenant


def _with_driver(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise StoreUnreachable("the database's address is no URL like sqlite:///itb.db or postgresql://…") from None
    driver = DRIVERS.get(address.get_backend_name())
    if driver is None:
        raise StoreUnreachable(f"no such kind of database: {address.get_backend_name()}")
    if driver.startswith("sqlite") and address.database in (None, "", ":memory:"):
        raise StoreUnreachable("SQLite needs a file: sqlite:///itb.db")
    if driver.startswith("sqlite") and not Path(str(address.database)).parent.is_dir():
        raise StoreUnreachable(f"no such folder for the database: {Path(str(address.database)).parent}")
    if "sslmode" in address.query:  # libpq's name for what asyncpg calls ssl
        address = address.set(query={("ssl" if k == "sslmode" else k): v for k, v in address.query.items()})
    return address.set(drivername=driver)


def _sqlite(address: URL, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        address,
        pool_size=pool_size,
        max_overflow=pool_size,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_WAITS},
    )
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: object) -> None:
    connection.isolation_level = None  # else the driver decides on its own when a transaction begins
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    """A unit of work takes the write lock at once: to upgrade a read transaction fails as soon as two try.

    A read is a single statement, and that is a transaction of its own.
    """
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql(BEGIN)


@asynccontextmanager
async def connected(engine: AsyncEngine, tenant_id: str | None = None) -> AsyncIterator[AsyncConnection]:
    """A pooled connection, for that tenant's rows and no others; what was not committed is rolled back.

    Raises `StoreUnreachable`.
    """
    try:
        connection = await engine.connect()
    except _NO_WAY_IN as why:
        raise StoreUnreachable(_one_line(engine, why)) from why
    if tenant_id is not None:
        assert connection.sync_connection is not None
        connection.sync_connection.execution_options(**{TENANT: tenant_id})
    try:
        yield connection
    finally:
        await asyncio.shield(connection.close())


def _one_line(engine: AsyncEngine, why: BaseException) -> str:
    cause = getattr(why, "orig", None) or why
    reason = (str(cause).strip().splitlines() or [""])[0].rstrip(".") or type(cause).__name__
    return f"cannot open {engine.url.render_as_string(hide_password=True)}: {reason}"


class Reads:
    """Statements that stand alone, outside any unit of work and without a transaction's round trips."""

    def __init__(self, engine: AsyncEngine) -> None:
        alone = engine.dialect.name == "postgresql"
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT") if alone else engine

    async def rows(self, tenant_id: str, statement: Executable) -> Sequence[AnyRow]:
        """All the tenant's rows of one statement, asked once more when the pooled connection turns out to be dead."""

        async def ask(connection: AsyncConnection) -> Sequence[AnyRow]:
            return (await connection.execute(statement)).all()

        return await self.ask(tenant_id, ask)

    async def ask(self, tenant_id: str, asking: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Several statements on one connection, each a transaction of its own; none of them may write."""
        try:
            return await self._ask(tenant_id, asking)
        except DBAPIError as why:
            if not why.connection_invalidated:
                raise
            return await self._ask(tenant_id, asking)

    async def _ask(self, tenant_id: str, asking: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with connected(self._engine, tenant_id) as connection:
            return await asking(connection)
