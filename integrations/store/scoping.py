"""The first wall between tenants: one place that every statement passes, on both engines, before it is sent.

A connection knows whose it is (`connected(engine, tenant_id)`). A statement that touches a table with a `tenant_id` is
refused unless it ties every such table, in joins and subqueries too, to that very tenant. PostgreSQL's row-level
security is the second wall, behind this one.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection
from sqlalchemy.sql.compiler import SQLCompiler

from domain.ports import EVERY_TENANT
from integrations.store.reach import Reach, reach_of

TENANT = "tenant"
"""The execution option that says whose a connection is."""

READ_ACROSS = frozenset(
    {"tenant", "tenant_host", "endpoint", "feed", "job", "change", "notification", "booking", "api_key"}
)
WRITTEN_ACROSS = frozenset({"feed", "job", "change", "notification"})
"""What work over all tenants may look through and change: what is needed before a request's tenant is known, the
queues, and the logs that are in one order over all tenants. Migration 0010 has the same lists, held against these."""

BEGIN = "BEGIN IMMEDIATE"
SAY_TENANT = "SELECT set_config('app.tenant', $1, $2)"
_OUR_OWN = {BEGIN, SAY_TENANT}


class AcrossTenants(Exception):
    """A statement that would reach beyond its tenant: a bug of ours, refused before it is sent."""


def refuse_across(connection: Connection, _cursor: Any, sent: str, _values: Any, context: Any, _many: bool) -> None:
    """Listens to `before_cursor_execute`. Raises `AcrossTenants`."""
    compiled = context.compiled
    tenant = context.execution_options.get(TENANT)
    if not isinstance(compiled, SQLCompiler):
        if tenant is not None and sent not in _OUR_OWN:
            raise AcrossTenants("there is no telling what SQL of one's own touches")
        return
    reach = _reaches.get(compiled)
    if reach is None:
        reach = _reaches[compiled] = reach_of(compiled)
    if reach.unclear and tenant is not None:
        raise AcrossTenants("there is no telling what it touches: SQL of one's own, or something like it")
    if reach.reads or reach.writes:
        _check(reach, tenant, context.compiled_parameters)


_reaches: WeakKeyDictionary[SQLCompiler, Reach] = WeakKeyDictionary()
"""SQLAlchemy keeps what it has compiled, and so each kind of statement is looked into once."""


def _check(reach: Reach, tenant: str | None, parameters: Sequence[Mapping[str, Any]]) -> None:
    if tenant is None:
        raise AcrossTenants(f"nobody said whose {_names(reach.reads | reach.writes)}")
    if tenant == EVERY_TENANT:
        closed = (reach.reads - READ_ACROSS) | (reach.writes - WRITTEN_ACROSS)
        if closed:
            raise AcrossTenants(f"{_names(closed)}: not for work over all tenants")
        return
    if reach.loose:
        raise AcrossTenants(f"not tied to a tenant: {_names(reach.loose)}")
    if any(row[name] != tenant for row in parameters for name in reach.bound):
        raise AcrossTenants(f"{_names(reach.reads | reach.writes)} of another tenant")


def _names(tables: frozenset[str]) -> str:
    return ", ".join(sorted(tables))
