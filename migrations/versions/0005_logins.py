"""What a login leaves behind: its tokens, sealed, who was signed out everywhere, and logout tokens that have been here.

Revision 0005, after 0004. Sessions that were opened before have nothing sealed: they end here alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

FOUND_BY = ("sid_index", "subject_index")


def upgrade() -> None:
    op.add_column("patient", sa.Column("signed_out_at", sa.DateTime(timezone=True), nullable=True))
    for name in ("login_sealed", *FOUND_BY):
        op.add_column("session", sa.Column(name, sa.LargeBinary(), nullable=True))
    for name in FOUND_BY:
        op.create_index(f"ix_session_tenant_id_{name}", "session", ["tenant_id", name])
    op.create_table(
        "logout_token",
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_logout_token"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name="fk_logout_token_tenant_id_tenant"),
    )


def downgrade() -> None:
    op.drop_table("logout_token")
    for name in FOUND_BY:
        op.drop_index(f"ix_session_tenant_id_{name}", "session")
    for name in (*FOUND_BY, "login_sealed"):
        op.drop_column("session", name)
    op.drop_column("patient", "signed_out_at")
