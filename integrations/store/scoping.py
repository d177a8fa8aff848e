"""The first wall between tenants: one place that every statement passes, on both engines, before it is sent.

A connection knows whose it is (`connected(engine, tenant_id)`). A statement that touches a table with a `tenant_id` is
refused unless it ties every such table, in joins and subqueries too, to that very tenant. PostgreSQL's row-level
security is the second wall, behind this one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Delete, FromClause, Insert, Select, TextClause, Update
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ClauseElement,
    ColumnClause,
    Grouping,
)
from sqlalchemy.sql.selectable import CTE, AliasedReturnsRows, CompoundSelect, Join, SelectBase, Subquery, TableClause

from domain.ports import EVERY_TENANT

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
_INSERTED = re.compile(r"tenant_id(_m\d+)?")


class AcrossTenants(Exception):
    """A statement that would reach beyond its tenant: a bug of ours, refused before it is sent."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a statement touches. `bound`: parameters that must be the tenant; `loose`: tables that nothing ties."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    bound: tuple[str, ...] = ()
    loose: frozenset[str] = frozenset()


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
        reach = _reaches[compiled] = _reach_of(compiled)
    if isinstance(compiled.statement, TextClause) and tenant is not None:
        raise AcrossTenants("there is no telling what SQL of one's own touches")
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


def _reach_of(compiled: SQLCompiler) -> Reach:
    looking = _Looking(compiled)
    statement: Any = compiled.statement
    if isinstance(statement, SelectBase):
        looking.look_into(statement, frozenset())
    elif isinstance(statement, Insert | Update | Delete):
        looking.look_at_write(statement)
    reads, writes, loose = (frozenset(each) for each in (looking.reads, looking.writes, looking.loose))
    return Reach(reads, writes, tuple(dict.fromkeys(looking.bound)), loose)


@dataclass(slots=True)
class _Looking:
    """One look through a statement and all within it."""

    compiled: SQLCompiler
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    bound: list[str] = field(default_factory=list)

    def look_at_write(self, statement: Any) -> None:
        table = statement.table
        if _is_a_tenants(table):
            self.writes.add(table.name)
            inserted = [name for name in self.compiled.binds if _INSERTED.fullmatch(name)]
            self.bound += inserted
            if isinstance(statement, Insert):
                if not inserted or statement.select is not None:
                    self.loose.add(table.name)
            else:
                self._tie([table], statement._where_criteria, frozenset())
        own = frozenset({table})
        for clause in statement.get_children():
            self._look_within(clause, own)

    def look_into(self, statement: Any, outer: frozenset[FromClause]) -> None:
        """`outer`: what the statements around it have tied, which it may name without having it."""
        if isinstance(statement, CompoundSelect):
            for each in statement.selects:
                self.look_into(each, outer)
            return
        if not isinstance(statement, Select):
            for child in statement.get_children():
                self._look_within(child, outer)
            return
        froms, conditions = statement.get_final_froms(), list(statement._where_criteria)
        sources = [each for top in froms for each in _sources(top)]
        own = [each for each in sources if each not in outer] if statement._auto_correlate else sources
        self.reads |= {_table(each).name for each in own if _is_a_tenants(each)}
        self._tie(own or sources, conditions, outer, [each for each in froms if isinstance(each, Join)])
        inside = outer | frozenset(sources)
        for clause in (*statement._raw_columns, *conditions, *froms):
            self._look_within(clause, inside)

    def _look_within(self, clause: ClauseElement, outer: frozenset[FromClause]) -> None:
        for nested, is_source in _nested(clause):
            self.look_into(nested, frozenset() if is_source else outer)

    def _tie(
        self, own: Sequence[Any], conditions: Sequence[Any], outer: frozenset[FromClause], joins: Sequence[Join] = ()
    ) -> None:
        """What no condition leads to, from a value, from around or from a subquery that has itself been looked into."""
        ties = [tie for each in conditions for tie in _both_ways(_equals(each))]
        ties += [tie for join in joins for tie in _ties_of(join)]
        tied: set[Any] = {each for each in own if not _is_a_tenants(each)} | set(outer)
        for left, right in ties:
            if isinstance(right, BindParameter) and left in own:
                tied.add(left)
                self.bound.append(self.compiled.bind_names[right])
        grown = True
        while grown:
            led_to = {left for left, right in ties if right in tied} - tied
            tied |= led_to
            grown = bool(led_to)
        self.loose |= {_table(each).name for each in own if each not in tied}


def _nested(clause: Any) -> Iterator[tuple[Any, bool]]:
    """The outermost statements within, and whether each is something to select from."""
    if isinstance(clause, SelectBase):
        yield clause, False
    elif isinstance(clause, Subquery | CTE):
        yield clause.element, True
    elif not isinstance(clause, TableClause | ColumnClause):
        for child in clause.get_children():
            yield from _nested(child)


def _sources(clause: Any) -> Iterator[Any]:
    if isinstance(clause, Join):
        yield from _sources(clause.left)
        yield from _sources(clause.right)
    else:
        yield clause


def _table(source: Any) -> Any:
    while isinstance(source, AliasedReturnsRows) and not isinstance(source, Subquery | CTE):
        source = source.element
    return source


def _is_a_tenants(source: Any) -> bool:
    table = _table(source)
    return isinstance(table, TableClause) and "tenant_id" in table.c


def _ties_of(join: Join) -> Iterator[tuple[Any, Any]]:
    """An outer join's condition takes nothing away from its left side, and so ties only the right one."""
    for side in (join.left, join.right):
        if isinstance(side, Join):
            yield from _ties_of(side)
    right = set(_sources(join.right))
    for left_of, right_of in _both_ways(_equals(join.onclause)):
        if not join.full and (not join.isouter or left_of in right):
            yield left_of, right_of


def _both_ways(pairs: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    for left, right in pairs:
        yield left, right
        yield right, left


def _equals(condition: Any) -> Iterator[tuple[Any, Any]]:
    """What must be one tenant: sources by their `tenant_id`, and values. Only what holds for every row counts."""
    if isinstance(condition, Grouping):
        yield from _equals(condition.element)
    elif isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for each in condition.clauses:
            yield from _equals(each)
    elif isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
        ends = [_end(condition.left), _end(condition.right)]
        if all(end is not None for end in ends):
            yield ends[0], ends[1]


def _end(side: Any) -> Any:
    if isinstance(side, BindParameter):
        return side
    return side.table if isinstance(side, ColumnClause) and side.name == "tenant_id" else None
