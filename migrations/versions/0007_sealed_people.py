"""Keys of each tenant's own, and people that are sealed by them.

Revision 0007, after 0006. The columns that held people in the clear stay until all is sealed: `migrate` empties them,
and a later version drops them. There is no way back from what is sealed: SQL cannot open it, and to drop it would lose
people.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

SEALED = (("patient", "person_sealed"), ("booking", "words_sealed"), ("booking", "sms_to_sealed"))


def upgrade() -> None:
    op.create_table(
        "tenant_key",
        *(sa.Column(name, sa.String(), nullable=False) for name in ("tenant_id", "purpose")),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("master", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("tenant_id", "purpose", "version", name="pk_tenant_key"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_tenant_key_tenant_id"),
    )
    for table, column in SEALED:
        op.add_column(table, sa.Column(column, sa.LargeBinary()))
    op.add_column("endpoint", sa.Column("searches_by_get", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    for table, column in SEALED:
        if op.get_bind().scalar(sa.text(f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL")):
            raise RuntimeError(f"{table}.{column}: people are sealed there, and nothing but the application opens them")
        op.drop_column(table, column)
    op.drop_column("endpoint", "searches_by_get")
    op.drop_table("tenant_key")
