"""What patients agreed to, exports of their data, who was erased, and an audit trail that nobody can rewrite.

Revision 0008, after 0007. On both engines triggers refuse to change a line of the audit trail or of the consents, and
to delete a line of the audit trail within five years (HSLF-FS 2016:40).
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

HAS_PATIENT = sa.text("patient_id IS NOT NULL")
AUDIT_INDEXES = (("actor_id", "at"), ("at", "id"))

POSTGRESQL = (
    """
    CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'append_only: %', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$
    """,
    "CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER audit_kept BEFORE DELETE ON audit FOR EACH ROW "
    "WHEN (OLD.at > now() - interval '5 years') EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER audit_not_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION append_only()",
    "CREATE TRIGGER consent_append_only BEFORE UPDATE ON consent FOR EACH ROW EXECUTE FUNCTION append_only()",
)
SQLITE = (
    "CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append_only: audit'); END",
    "CREATE TRIGGER audit_kept BEFORE DELETE ON audit WHEN OLD.at > datetime('now', '-5 years') "
    "BEGIN SELECT RAISE(ABORT, 'append_only: audit'); END",
    "CREATE TRIGGER consent_append_only BEFORE UPDATE ON consent "
    "BEGIN SELECT RAISE(ABORT, 'append_only: consent'); END",
)


def upgrade() -> None:
    op.add_column("patient", sa.Column("edited", sa.Text(), nullable=False, server_default="[]"))
    _consent()
    _data_export()
    op.create_table(
        "erased_sign_in",
        *(_text("tenant_id"), sa.Column("digest", sa.LargeBinary(), nullable=False), _instant("at")),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name="pk_erased_sign_in"),
    )
    for columns in AUDIT_INDEXES:
        op.create_index("_".join(("ix_audit_tenant_id", *columns)), "audit", ["tenant_id", *columns])
    where = {"sqlite_where": HAS_PATIENT, "postgresql_where": HAS_PATIENT}
    op.create_index("ix_booking_whose", "booking", ["tenant_id", "ends_at"], **where)
    for statement in POSTGRESQL if _is_postgresql() else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    for table, name in (("audit", "append_only"), ("audit", "kept"), ("consent", "append_only")):
        op.execute(f"DROP TRIGGER {table}_{name}" + (f" ON {table}" if _is_postgresql() else ""))
    if _is_postgresql():
        op.execute("DROP TRIGGER audit_not_emptied ON audit")
        op.execute("DROP FUNCTION append_only()")
    op.drop_index("ix_booking_whose", "booking")
    for columns in AUDIT_INDEXES:
        op.drop_index("_".join(("ix_audit_tenant_id", *columns)), "audit")
    for table in ("erased_sign_in", "data_export", "consent"):
        op.drop_table(table)
    op.drop_column("patient", "edited")


def _consent() -> None:
    op.create_table(
        "consent",
        *(_text("tenant_id"), _uuid("patient_id"), _text("kind"), sa.Column("number", sa.Integer(), nullable=False)),
        *(sa.Column("given", sa.Boolean(), nullable=False), _text("document_version", True), _text("language", True)),
        *(_instant("at"), _text("actor")),
        sa.PrimaryKeyConstraint("tenant_id", "patient_id", "kind", "number", name="pk_consent"),
        _of_patient("consent"),
    )


def _data_export() -> None:
    op.create_table(
        "data_export",
        *(_text("tenant_id"), _uuid("id"), _uuid("patient_id"), _instant("created_at"), _instant("expires_at")),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id", name="pk_data_export"),
        _of_patient("data_export"),
    )
    op.create_index("ix_data_export_tenant_id_patient_id", "data_export", ["tenant_id", "patient_id"])


def _of_patient(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_tenant_id_patient_id_patient"
    return sa.ForeignKeyConstraint(["tenant_id", "patient_id"], ["patient.tenant_id", "patient.id"], name=name)


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _uuid(name: str) -> sa.Column[sa.Uuid]:
    return sa.Column(name, sa.Uuid(), nullable=False)


def _instant(name: str) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)
