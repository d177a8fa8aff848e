"""Agencies' API keys.

Revision 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "api_key",
        *(_text("tenant_id"), sa.Column("id", sa.Uuid(), nullable=False), _text("key_id"), _text("agency")),
        *(_text("kind"), _text("last_four"), sa.Column("pepper", sa.Integer(), nullable=False)),
        *(sa.Column("digest", sa.LargeBinary(), nullable=False), _json("scopes"), _json("origins")),
        sa.Column("rate_per_minute", sa.Integer(), nullable=False),
        *(_instant("created_at", False), _instant("expires_at"), _instant("revoked_at"), _instant("last_used_at")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_api_key"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_api_key_tenant_id"),
    )
    op.create_index("uq_api_key_key_id", "api_key", ["key_id"], unique=True)


def downgrade() -> None:
    op.drop_table("api_key")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _json(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _instant(name: str, nullable: bool = True) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
