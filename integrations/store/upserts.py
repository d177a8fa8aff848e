"""INSERT … ON CONFLICT, which both engines know but SQLAlchemy spells by engine."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


def insert_for(connection: AsyncConnection, table: Table) -> Any:
    """The engine's own insert, whose `on_conflict_do_nothing` waits for a racing insert to be decided."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
