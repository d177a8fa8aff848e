"""What record systems can be asked for, and what a booking knows of the one it is in.

Revision 0003, after 0002. The new columns have defaults that change nothing for what is there already.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COLUMNS = {
    "endpoint": {
        "finds_by": (sa.String(), "both"),
        "holds": (sa.Boolean(), sa.false()),
        "no_change_within": (sa.BigInteger(), "0"),
    },
    "booking": {
        "held_in_ehr": (sa.Boolean(), sa.false()),
        "made_elsewhere": (sa.Boolean(), sa.false()),
        "no_change_within": (sa.BigInteger(), "0"),
    },
}
"""New columns: their types, and what rows have that are there already."""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, (kind, default) in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))


def downgrade() -> None:
    """One statement a column: to build the table of bookings anew would lose the triggers that guard it on SQLite."""
    for table, columns in COLUMNS.items():
        for name in columns:
            op.drop_column(table, name)
