"""Runs migrations over a connection that is already open; `integrations.store.migrate` opens it.

On SQLite Alembic changes a table by building it anew (batch mode), which drops the table's triggers: a migration that
changes `booking` that way has to make the guard's triggers again.
"""

from alembic import context

from integrations.store.every_table import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run through integrations.store.migrate, not through the alembic command")

context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,  # true of SQLite too, now that we begin its transactions ourselves
)
with context.begin_transaction():
    context.run_migrations()
