"""The first tables: tenants, what can be booked, bookings under their guard, patients, sessions, audit and outbox.

Revision 0001, the first. `tenant_id` is the first column of every key, but for the two names that lead to a tenant: its
slug and its hosts.

The guard is what forbids that a practitioner has two patients at a time. Two bookings of one practitioner collide
when their times overlap, both occupy the time, and neither was made to move the other. PostgreSQL says so with an
exclusion constraint (which needs the extension btree_gist: the owner of a database may create it), SQLite with two
triggers of the same name. The list of statuses is written out here, because a migration must not change when the code
does; a test holds it against `domain.booking.OCCUPYING`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

GUARD = "booking_one_patient_at_a_time"
OCCUPYING = "'HELD', 'CONFIRMING', 'UNKNOWN', 'BOOKED', 'CANCELLING'"

CONSTRAINT = f"""
ALTER TABLE booking ADD CONSTRAINT {GUARD} EXCLUDE USING gist (
    tenant_id WITH =,
    endpoint_id WITH =,
    practitioner_id WITH =,
    (coalesce(moves_booking_id, id)) WITH <>,
    tstzrange(starts_at, ends_at) WITH &&
) WHERE (status IN ({OCCUPYING}))
"""

TRIGGER = f"""
CREATE TRIGGER {GUARD}_{{name}} BEFORE {{event}} ON booking
WHEN NEW.status IN ({OCCUPYING})
BEGIN
    SELECT RAISE(ABORT, '{GUARD}') WHERE EXISTS (
        SELECT 1 FROM booking AS other
        WHERE other.tenant_id = NEW.tenant_id
          AND other.endpoint_id = NEW.endpoint_id
          AND other.practitioner_id = NEW.practitioner_id
          AND other.id <> {{itself}}.id
          AND coalesce(other.moves_booking_id, other.id) <> coalesce(NEW.moves_booking_id, NEW.id)
          AND other.starts_at < NEW.ends_at
          AND other.ends_at > NEW.starts_at
          AND other.status IN ({OCCUPYING})
    );
END
"""

GUARDED = "tenant_id, id, endpoint_id, practitioner_id, moves_booking_id, starts_at, ends_at, status"

RECORDS = "outbox audit idempotency session booking_step booking patient_identity patient"
CATALOGUE = "offer practitioner treatment clinic area endpoint tenant_host tenant"


def upgrade() -> None:
    for make in (_tenants, _clinics, _treatments_and_practitioners, _offers, _patients, _bookings, _guard, _records):
        make()


def downgrade() -> None:
    """All but the extension, which others in the database may use."""
    for table in f"{RECORDS} {CATALOGUE}".split():
        op.drop_table(table)


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable)


def _json(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _sorted(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False)


def _uuid(name: str, nullable: bool = False) -> sa.Column[sa.Uuid]:
    return sa.Column(name, sa.Uuid(), nullable=nullable)


def _instant(name: str, nullable: bool = False) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("tenant_id", *columns, name=f"pk_{table}")


def _tenant(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["tenant_id"], ["tenant.tenant_id"], name=f"fk_{table}_tenant_id")


def _within(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    """A reference that cannot leave its tenant."""
    there = [f"{other}.tenant_id", f"{other}.id"]
    return sa.ForeignKeyConstraint(["tenant_id", column], there, name=f"fk_{table}_tenant_id_{column}")


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint("tenant_id", *columns, name="_".join(("uq", table, "tenant_id", *columns)))


def _index(table: str, *columns: str, where: str | None = None) -> None:
    name = "_".join(("ix", table, "tenant_id", *columns))
    partial = sa.text(where) if where else None
    op.create_index(name, table, ["tenant_id", *columns], sqlite_where=partial, postgresql_where=partial)


def _tenants() -> None:
    op.create_table(
        "tenant",
        *(_text("tenant_id"), _text("slug"), _text("name"), _json("languages"), _text("default_language")),
        *(_text("phone", True), _text("email", True), _text("terms_version"), _text("terms_url", True)),
        *(_text("privacy_url", True), _json("display"), _json("texts"), _json("banner"), _json("identity_providers")),
        *(_json("return_to"), _json("rules"), _text("double_booking"), _flag("active"), _json("edited")),
        _key("tenant"),
    )
    op.create_index("uq_tenant_slug", "tenant", ["slug"], unique=True)
    op.create_table(
        "tenant_host",
        *(_text("tenant_id"), _text("host"), _number("position"), _key("tenant_host", "host"), _tenant("tenant_host")),
    )
    op.create_index("uq_tenant_host_host", "tenant_host", ["host"], unique=True)
    op.create_table(
        "endpoint",
        *(_text("tenant_id"), _text("id"), _text("dialect"), _text("base_url"), _text("name")),
        *(_number("max_concurrency"), _number("page_size"), _text("book_parameter"), _text("status_sent")),
        *(
            _text("service_system"),
            _text("booking_system"),
            sa.Column("longest_delay", sa.BigInteger(), nullable=False),
            _text("authorization_variable"),
        ),
        *(_flag("active"), _json("edited"), _key("endpoint", "id"), _tenant("endpoint")),
    )
    op.create_table(
        "area",
        *(_text("tenant_id"), _uuid("id"), _json("name"), _number("sort_key"), _flag("active"), _json("edited")),
        *(_key("area", "id"), _tenant("area")),
    )


def _clinics() -> None:
    op.create_table(
        "clinic",
        *(_text("tenant_id"), _uuid("id"), _text("endpoint_id"), _text("ehr_id"), _text("slug"), _text("name")),
        *(_text("time_zone"), _uuid("area_id", True)),
        *(_text("street", True), _text("postal_code", True), _text("city", True), _text("country_code", True)),
        *(sa.Column("latitude", sa.Float()), sa.Column("longitude", sa.Float())),
        *(_text("phone", True), _text("email", True), _text("website", True)),
        *(_json("opening_hours"), _json("image"), _json("directions"), _json("parking"), _json("about")),
        *(_json("booking_information"), _json("spoken_languages"), _text("booking")),
        *(_text("external_booking_url", True), _json("rules")),
        *(_sorted("sort_name"), _text("search_text"), _flag("active"), _json("edited")),
        *(_key("clinic", "id"), _tenant("clinic"), _unique("clinic", "endpoint_id", "ehr_id")),
        *(_within("clinic", "endpoint_id", "endpoint"), _within("clinic", "area_id", "area")),
    )
    # A clinic that is gone gives its slug free.
    only = {"sqlite_where": sa.text("active"), "postgresql_where": sa.text("active")}
    op.create_index("uq_clinic_slug", "clinic", ["tenant_id", "slug"], unique=True, **only)
    _index("clinic", "sort_name", "id")


def _treatments_and_practitioners() -> None:
    op.create_table(
        "treatment",
        *(_text("tenant_id"), _uuid("id"), _text("code"), _json("title"), _json("subtitle"), _json("description")),
        *(_number("sort_key"), _text("search_text"), _flag("active"), _json("edited")),
        *(_key("treatment", "id"), _tenant("treatment"), _unique("treatment", "code")),
    )
    _index("treatment", "sort_key", "id")
    op.create_table(
        "practitioner",
        *(_text("tenant_id"), _uuid("id"), _text("endpoint_id"), _text("ehr_id"), _uuid("clinic_id"), _text("name")),
        *(_json("title"), _text("role", True), _json("photo"), _json("description"), _json("schedule_ids")),
        *(_sorted("sort_name"), _flag("active"), _json("edited")),
        *(_key("practitioner", "id"), _tenant("practitioner"), _unique("practitioner", "endpoint_id", "ehr_id")),
        *(_within("practitioner", "endpoint_id", "endpoint"), _within("practitioner", "clinic_id", "clinic")),
    )
    _index("practitioner", "clinic_id", "sort_name", "id")
    _index("practitioner", "sort_name", "id")


def _offers() -> None:
    op.create_table(
        "offer",
        *(_text("tenant_id"), _uuid("id"), _text("endpoint_id")),
        *(_uuid("clinic_id"), _uuid("treatment_id"), _uuid("practitioner_id")),
        *(sa.Column("duration", sa.BigInteger(), nullable=False), _json("price_text")),
        *(sa.Column("price_amount", sa.BigInteger()), _text("price_currency", True), _text("booking_url", True)),
        *(_flag("active"), _json("edited"), _key("offer", "id"), _tenant("offer")),
        _unique("offer", "clinic_id", "treatment_id", "practitioner_id"),
        *(_within("offer", "endpoint_id", "endpoint"), _within("offer", "clinic_id", "clinic")),
        *(_within("offer", "treatment_id", "treatment"), _within("offer", "practitioner_id", "practitioner")),
    )
    _index("offer", "practitioner_id")
    _index("offer", "treatment_id")


def _patients() -> None:
    op.create_table(
        "patient",
        *(_text("tenant_id"), _uuid("id"), _text("name"), sa.Column("birth_date", sa.Date())),
        *(sa.Column("national_sealed", sa.LargeBinary()), sa.Column("national_index", sa.LargeBinary())),
        *(_text("phone", True), _text("email", True), _text("language", True)),
        *(_key("patient", "id"), _tenant("patient")),
    )
    op.create_index("uq_patient_national_index", "patient", ["tenant_id", "national_index"], unique=True)
    op.create_table(
        "patient_identity",
        *(_text("tenant_id"), _text("issuer"), _text("subject"), _uuid("patient_id")),
        *(_key("patient_identity", "issuer", "subject"), _within("patient_identity", "patient_id", "patient")),
    )
    _index("patient_identity", "patient_id")
    op.create_table(
        "session",
        *(_text("tenant_id"), _text("id"), _uuid("patient_id")),
        *(_instant("authenticated_at"), _instant("created_at"), _instant("last_seen_at"), _instant("expires_at")),
        *(_key("session", "id"), _within("session", "patient_id", "patient")),
    )
    _index("session", "patient_id")


def _bookings() -> None:
    op.create_table(
        "booking",
        *(_text("tenant_id"), _uuid("id"), _text("reference"), _text("endpoint_id")),
        *(_uuid("offer_id"), _uuid("clinic_id"), _uuid("treatment_id"), _uuid("practitioner_id")),
        *(_text("slot_reference"), _json("resources"), _instant("starts_at"), _instant("ends_at")),
        _text("time_zone"),
        *(_text("status"), _number("version"), _instant("created_at"), _instant("expires_at"), _json("rules")),
        *(_uuid("patient_id", True), _uuid("moves_booking_id", True), _flag("any_practitioner"), _flag("renewed")),
        *(_text("ehr_id", True), _instant("booked_at", True), _number("moves_made"), _text("comment", True)),
        *(_text("terms_version", True), _flag("sms_confirmation"), _text("sms_to", True), _text("asked", True)),
        *(_instant("asked_at", True), _instant("check_at", True), _number("empty_reads")),
        *(
            _text("failure", True),
            _text("cancel_reason", True),
            _key("booking", "id"),
            _tenant("booking"),
            _unique("booking", "reference"),
        ),
        _within("booking", "patient_id", "patient"),
        sa.CheckConstraint("starts_at < ends_at", name="ck_booking_ends_after_start"),
    )
    _index("booking", "practitioner_id", "starts_at")
    _index("booking", "patient_id", "starts_at")
    _index("booking", "moves_booking_id", where="moves_booking_id IS NOT NULL")
    _index("booking", "check_at", where="check_at IS NOT NULL")
    op.create_table(
        "booking_step",
        *(_text("tenant_id"), _uuid("booking_id"), _number("number"), _instant("at"), _number("version")),
        *(_text("status"), _text("actor"), _instant("starts_at")),
        *(_key("booking_step", "booking_id", "number"), _within("booking_step", "booking_id", "booking")),
    )


def _guard() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
        op.execute(CONSTRAINT)
    else:
        op.execute(TRIGGER.format(name="insert", event="INSERT", itself="NEW"))
        op.execute(TRIGGER.format(name="update", event=f"UPDATE OF {GUARDED}", itself="OLD"))


def _records() -> None:
    op.create_table(
        "idempotency",
        *(_text("tenant_id"), _text("scope"), _text("operation"), _text("key")),
        *(_text("input_hash"), _uuid("booking_id"), _instant("created_at")),
        _key("idempotency", "scope", "operation", "key"),
    )
    op.create_table(
        "audit",
        *(_text("tenant_id"), _uuid("id"), _instant("at"), _text("actor_kind"), _text("actor_id", True)),
        *(_text("request_id", True), _text("action"), _text("target"), _uuid("target_id"), _json("details")),
        _key("audit", "id"),
    )
    _index("audit", "target_id", "at")
    op.create_table(
        "outbox",
        *(_text("tenant_id"), _uuid("id"), _text("kind"), _uuid("booking_id"), _number("version"), _instant("at")),
        _key("outbox", "id"),
    )
    _index("outbox", "at")
