"""Jobs in a table of their own, when an event was delivered, and how holds that are long over are found.

Revision 0004, after 0003. What was told before has no jobs: nobody was there to hear it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

LAPSED = sa.text("status IN ('EXPIRED', 'RELEASED')")
READY = sa.text("state = 'READY'")
DEAD = sa.text("state = 'DEAD'")


def upgrade() -> None:
    op.create_table(
        "job",
        *(_text("tenant_id"), sa.Column("id", sa.Uuid(), nullable=False), _text("kind"), _text("dedupe")),
        *(sa.Column("payload", sa.Text(), nullable=False), _text("state")),
        *(_instant("wanted_at"), _instant("due_at"), _text("leased_by", True)),
        *(sa.Column("attempts", sa.Integer(), nullable=False), _text("error"), _instant("finished_at", True)),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_job"),
        sa.UniqueConstraint("tenant_id", "kind", "dedupe", name="uq_job_tenant_id_kind_dedupe"),
    )
    _partial("ix_job_due", "job", ["kind", "due_at"], READY)
    _partial("ix_job_tenant_id_finished_at", "job", ["tenant_id", "finished_at"], DEAD)
    _partial("ix_booking_lapsed", "booking", ["tenant_id", "expires_at"], LAPSED)
    op.add_column("outbox", _instant("delivered_at", True))


def downgrade() -> None:
    op.drop_column("outbox", "delivered_at")
    op.drop_index("ix_booking_lapsed", "booking")
    op.drop_table("job")


def _partial(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _instant(name: str, nullable: bool = False) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
