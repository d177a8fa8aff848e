"""Row-level security, the second wall between tenants: on PostgreSQL alone, for SQLite has none.

Revision 0010, after 0009. Whose rows a transaction sees and writes is said by `app.tenant`; unsaid, it sees none. FORCE
holds the owner back as well. A new table with a `tenant_id` is one name in `WALLED` of the migration that makes it; a
test fails for one that is not.
"""

from alembic import op

revision = "0010"
down_revision = "0009"

WALLED = (
    *("tenant", "tenant_host", "endpoint", "area", "clinic", "treatment", "practitioner", "offer"),
    *("patient", "patient_identity", "session", "booking", "booking_step", "idempotency", "audit", "outbox"),
    *("change", "feed", "notification", "job", "consent", "data_export", "erased_sign_in", "api_key", "tenant_key"),
    "logout_token",
)
ACROSS = {
    **dict.fromkeys(("tenant", "tenant_host", "endpoint", "booking", "api_key"), "SELECT"),
    **dict.fromkeys(("feed", "job", "change", "notification"), "ALL"),
}
"""What work over all tenants, which says `*`, may do: the lists in `integrations.store.scoping`."""

OWN = "tenant_id = nullif(current_setting('app.tenant', true), '')"
EVERY = "current_setting('app.tenant', true) = '*'"


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in WALLED:
        op.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
        op.execute(f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY')
        op.execute(f'CREATE POLICY own_tenant ON "{table}" USING ({OWN}) WITH CHECK ({OWN})')
    for table, what in ACROSS.items():
        check = f" WITH CHECK ({EVERY})" if what == "ALL" else ""
        op.execute(f'CREATE POLICY every_tenant ON "{table}" FOR {what} USING ({EVERY}){check}')


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ACROSS:
        op.execute(f'DROP POLICY every_tenant ON "{table}"')
    for table in WALLED:
        op.execute(f'DROP POLICY own_tenant ON "{table}"')
        op.execute(f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY')
        op.execute(f'ALTER TABLE "{table}" DISABLE ROW LEVEL SECURITY')
