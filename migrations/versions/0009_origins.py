"""Whose pages a tenant calls its own.

Revision 0009, after 0008. Tenants that are there already list none: their own hosts need no listing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("tenant", sa.Column("origins", sa.Text(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("tenant", "origins")
