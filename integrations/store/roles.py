"""PostgreSQL's roles: the owner, who migrates, and the server's own, which row-level security holds back."""

from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from integrations.store.engine import StoreUnreachable, connected, open_engine

ALL = "SELECT, INSERT, UPDATE, DELETE"
NARROW = {"alembic_version": "SELECT", "audit": "SELECT, INSERT, DELETE", "consent": "SELECT, INSERT, DELETE"}
"""Tables that the server does not change freely. What is kept as it was written is deleted when it is old enough or,
of consents, with its patient; triggers see to when."""

_TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
_WHO = text(
    "SELECT current_user, rolsuper, rolbypassrls, EXISTS ("
    " SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    " AND pg_has_role(current_user, relowner, 'MEMBER')) FROM pg_roles WHERE rolname = current_user"
)


class RoleTooStrong(Exception):
    """The server would connect as a role that row-level security does not hold back; the message is one line."""


class OwnerWrong(Exception):
    """ITB_DATABASE_OWNER_URL does not say who may migrate that very database; the message is one line."""


async def grant(owner_url: str, server_url: str) -> None:
    """Let the server's role read and write rows, and nothing else: no tables of its own, no TRUNCATE, no DDL.

    Nothing to do on SQLite, or where the two are one. Raises `StoreUnreachable`.
    """
    owner, server = make_url(owner_url), make_url(server_url)
    if owner.get_backend_name() == "sqlite" or owner.username == server.username:
        return
    engine = open_engine(owner_url, pool_size=1, scoped=False)
    try:
        async with connected(engine) as connection:
            await _grant(connection, engine.dialect.identifier_preparer.quote(server.username or ""))
            await connection.commit()
    except DBAPIError as why:
        raise StoreUnreachable(f"no rights for the role {server.username}: {str(why.orig).splitlines()[0]}") from why
    finally:
        await engine.dispose()


async def _grant(connection: AsyncConnection, role: str) -> None:
    await connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {role}"))
    await connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"))
    for table in (await connection.execute(_TABLES)).scalars().all():
        await connection.execute(text(f'REVOKE ALL ON "{table}" FROM {role}'))
        await connection.execute(text(f'GRANT {NARROW.get(table, ALL)} ON "{table}" TO {role}'))


async def check_role(engine: AsyncEngine) -> None:
    """Raises `RoleTooStrong` where row-level security would be none: superusers and BYPASSRLS pass it by, and an owner
    can switch it off."""
    if engine.dialect.name == "sqlite":
        return
    async with connected(engine) as connection:
        name, is_super, bypasses, owns = (await connection.execute(_WHO)).one()
    why = {"is a superuser": is_super, "has BYPASSRLS": bypasses, "owns the tables": owns}
    if found := [reason for reason, holds in why.items() if holds]:
        raise RoleTooStrong(
            f"the database role {name} {' and '.join(found)}: tenants would not be kept apart. Set ITB_DATABASE_URL to "
            "the server's own role and ITB_DATABASE_OWNER_URL to the owner's, and run `python -m api migrate`"
        )
