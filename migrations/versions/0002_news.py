"""What record systems allow and how they tell news, and the tables that listening to them needs.

Revision 0002, after 0001. Endpoints keep working as they are: the new columns have defaults that change nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ENDPOINT = {
    "calls_per_second": (sa.Float(), "0"),
    "longest_wait": (sa.BigInteger(), "3"),
    "news": (sa.String(), "poll"),
    "signs_news": (sa.Boolean(), sa.false()),
    "topics": (sa.String(), "https://sandbox.example/topics"),
}
"""New columns: their types, and what endpoints have that are there already."""

LOOKED_FOR = {("endpoint_id", "ehr_id"): "ehr_id IS NOT NULL", ("expires_at",): "status = 'HELD'"}
"""How bookings are found by what a record system tells of them, and holds when they run out."""

FIRST = {
    "postgresql": "INSERT INTO change (tenant_id, id, position, at, endpoint_id) "
    "VALUES ('', nextval('change_id'), pg_current_xact_id()::text::bigint, '1970-01-01Z', '')",
    "sqlite": "INSERT INTO change (tenant_id, id, position, at, endpoint_id) "
    "VALUES ('', 1, 1, '1970-01-01 00:00:00', '')",
}
"""A change of nobody's. The log is never empty, so that a place in it is known to be after what was forgotten."""


def upgrade() -> None:
    for name, (kind, default) in ENDPOINT.items():
        op.add_column("endpoint", sa.Column(name, kind, nullable=False, server_default=default))
    for columns, where in LOOKED_FOR.items():
        name, partial = "_".join(("ix_booking_tenant_id", *columns)), sa.text(where)
        wanted = ["tenant_id", *columns]
        op.create_index(name, "booking", wanted, sqlite_where=partial, postgresql_where=partial)
    _change()
    _feed()
    _notification()


def downgrade() -> None:
    for table in ("notification", "feed", "change"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE change_id")
    for columns in LOOKED_FOR:
        op.drop_index("_".join(("ix_booking_tenant_id", *columns)), "booking")
    with op.batch_alter_table("endpoint") as endpoint:
        for name in ENDPOINT:
            endpoint.drop_column(name)


def _change() -> None:
    """SQLite has one writer at a time, so that the next number is the highest and one. PostgreSQL has a sequence."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE change_id")
    op.create_table(
        "change",
        *(_text("tenant_id"), _count("id"), _count("position"), _instant("at"), _text("endpoint_id")),
        *(_uuid("practitioner_id"), _instant("starts_at", True), _instant("ends_at", True)),
        *(_uuid("booking_id"), _uuid("patient_id")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_change"),
    )
    op.create_index("ix_change_position", "change", ["position", "id"])
    _index("change", "patient_id", "position", "id")
    op.execute(FIRST[op.get_bind().dialect.name])


def _feed() -> None:
    op.create_table(
        "feed",
        *(_text("tenant_id"), _text("endpoint_id"), _instant("since", True), _json("seen"), _json("pending")),
        _instant("due_at"),
        sa.Column("interval", sa.Float(), nullable=False),
        *(_number("failures"), _number("requests"), _text("leased_by", True), _instant("leased_until", True)),
        *(_json("hooks"), _instant("hooks_until", True), _json("heard")),
        sa.PrimaryKeyConstraint("tenant_id", "endpoint_id", name="pk_feed"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "endpoint_id"], ["endpoint.tenant_id", "endpoint.id"], name="fk_feed_tenant_id_endpoint_id"
        ),
    )
    _index("feed", "due_at")


def _notification() -> None:
    op.create_table(
        "notification",
        *(_text("tenant_id"), _text("endpoint_id"), _text("digest"), _instant("at")),
        sa.PrimaryKeyConstraint("tenant_id", "endpoint_id", "digest", name="pk_notification"),
    )
    _index("notification", "at")


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _json(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _uuid(name: str) -> sa.Column[sa.Uuid]:
    return sa.Column(name, sa.Uuid(), nullable=True)


def _instant(name: str, nullable: bool = False) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _index(table: str, *columns: str) -> None:
    op.create_index("_".join(("ix", table, "tenant_id", *columns)), table, ["tenant_id", *columns])
