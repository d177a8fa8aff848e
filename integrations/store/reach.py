"""What a statement touches, read from its structure once it is compiled: for `scoping`, which sends it or does not.

What cannot be read in it is `unclear`, and so is not sent: better a new kind of expression is refused than looked past.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    Delete,
    FromClause,
    Insert,
    Select,
    Table,
    TextClause,
    Update,
    Values,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, ColumnClause, Grouping
from sqlalchemy.sql.selectable import CTE, AliasedReturnsRows, Join, Subquery, TableClause

from integrations.store.tables_bookings import IS_HELD, LAPSED
from integrations.store.tables_jobs import IS_DEAD, IS_READY

NEXT_NUMBER = "(SELECT coalesce(max(position), 0) + 1 FROM change)"
"""A change's number on SQLite: over all tenants, as PostgreSQL's sequence is."""

KNOWN_TEXTS = frozenset({"*", NEXT_NUMBER, *(each.text for each in (IS_HELD, LAPSED, IS_READY, IS_DEAD))})
"""SQL text that may stand in a statement. But for a change's number, it speaks only of what is selected from anyway."""

_INSERTED = re.compile(r"tenant_id(_m\d+)?")


@dataclass(frozen=True, slots=True)
class Reach:
    """`bound`: parameters that must be the tenant; `loose`: tables that nothing ties; `unclear`: there may be more."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    bound: tuple[str, ...] = ()
    loose: frozenset[str] = frozenset()
    unclear: bool = False


def reach_of(compiled: SQLCompiler) -> Reach:
    looking = _Looking(compiled)
    looking.look_at(compiled.statement)
    reads, writes, loose = (frozenset(each) for each in (looking.reads, looking.writes, looking.loose))
    return Reach(reads, writes, tuple(dict.fromkeys(looking.bound)), loose, looking.unclear)


@dataclass(frozen=True, slots=True)
class _Around:
    """What the statements around one select from, all of it tied: of the next one, which it may name, and of all."""

    next: frozenset[FromClause] = frozenset()
    all: frozenset[FromClause] = frozenset()

    def within(self, froms: Sequence[FromClause]) -> "_Around":
        own = frozenset(each for top in froms for each in top._from_objects)
        return _Around(own, own | self.all)


@dataclass(slots=True)
class _Looking:
    """One look through a statement and all within it."""

    compiled: SQLCompiler
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    bound: list[str] = field(default_factory=list)
    unclear: bool = False

    def look_at(self, statement: Any) -> None:
        if isinstance(statement, Insert):
            self._look_at_insert(statement)
        elif isinstance(statement, Update | Delete):
            self._look_at_change(statement)
        else:
            self._look_within(statement, _Around())

    def _look_at_insert(self, statement: Any) -> None:
        rows = [row for rows in statement._multi_values for row in rows]
        if self._notes_write(statement, rows):
            bound = [name for name in self.compiled.binds if _INSERTED.fullmatch(name)]
            self.bound += bound
            if not bound or statement.select is not None:
                self.loose.add(statement.table.name)
        values = [value for row in rows for value in row.values() if hasattr(value, "get_children")]
        for clause in (*statement.get_children(), *values):
            self._look_within(clause, _Around())

    def _look_at_change(self, statement: Any) -> None:
        """Every table that is named counts, as one to read from: in SQL, UPDATE and DELETE have a FROM, too."""
        named = [each for clause in statement.get_children() for each in clause._from_objects]
        froms = [statement.table, *dict.fromkeys(each for each in named if each is not statement.table)]
        if self._notes_write(statement, ()):
            self.bound += [name for name in self.compiled.binds if name == "tenant_id"]
        self.reads |= {_table(each).name for each in froms[1:] if _is_a_tenants(each)}
        self._tie(froms, statement._where_criteria, _Around())
        inside = _Around().within(froms)
        for clause in (*statement.get_children(), *froms):
            self._look_within(clause, inside)

    def _notes_write(self, statement: Any, rows: Sequence[Any]) -> bool:
        """Whether it is a tenant's table. A row may be given to a tenant by a value only, which is then looked at."""
        table = _table(statement.table)
        self.unclear = self.unclear or _has_words(statement)
        if not _is_a_tenants(table):
            return False
        self.writes.add(table.name)
        if not all(_is_value(row) for row in (getattr(statement, "_values", None) or {}, *rows)):
            self.loose.add(table.name)
        return True

    def _look_within(self, clause: Any, around: _Around) -> None:
        if isinstance(clause, Select):
            around = self._look_into(clause, around)
        elif isinstance(clause, Subquery | CTE):
            around = _Around()
        elif hasattr(clause, "update_values_to_set") and not _is_own_conflict(clause):
            self.loose |= self.writes
        if _is_unclear(clause):
            self.unclear = True
        elif not isinstance(clause, TableClause | ColumnClause):
            for child in clause.get_children():
                self._look_within(child, around)

    def _look_into(self, statement: Any, around: _Around) -> _Around:
        """What is around all within it. Of what it names, SQLAlchemy leaves to a statement around what that one has."""
        state = statement._compile_state_factory(statement, self.compiled)
        froms = state._get_display_froms(around.all, around.next)
        self.reads |= {_table(each).name for top in froms for each in _sources(top) if _is_a_tenants(each)}
        self._tie(froms, statement._where_criteria, around)
        return around.within(froms)

    def _tie(self, froms: Sequence[Any], conditions: Sequence[Any], around: _Around) -> None:
        """What no condition leads to, from a value, from around or from a subquery that has itself been looked into."""
        own = [each for top in froms for each in _sources(top)]
        ties = [tie for each in conditions for tie in _both_ways(_equals(each))]
        ties += [tie for each in froms if isinstance(each, Join) for tie in _ties_of(each)]
        tied: set[Any] = {each for each in own if not _is_a_tenants(each)} | around.all.difference(own)
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


def _is_unclear(clause: Any) -> bool:
    """SQL of one's own, a table made up on the spot, rows made of anything, a change within a question."""
    if isinstance(clause, TextClause):
        return clause.text not in KNOWN_TEXTS
    if isinstance(clause, ColumnClause):
        return clause.is_literal and clause.name not in KNOWN_TEXTS
    if isinstance(clause, TableClause):
        return not isinstance(clause, Table)
    own_operator = isinstance(getattr(clause, "operator", None), operators.custom_op)
    return own_operator or isinstance(clause, Insert | Update | Delete | Values) or _has_words(clause)


def _has_words(clause: Any) -> bool:
    """Beside what it is made of: SQLAlchemy does not count these among its children."""
    return any(getattr(clause, name, None) for name in ("_prefixes", "_suffixes", "_hints", "_statement_hints"))


def _is_value(row: Any) -> bool:
    """Whether a row's tenant, where it is said, is a parameter that SQLAlchemy names by the column."""
    said = [value for key, value in row.items() if getattr(key, "name", key) == "tenant_id"]
    return all(value.unique if isinstance(value, BindParameter) else isinstance(value, str) for value in said)


def _is_own_conflict(clause: Any) -> bool:
    """Whether the row that stands in an insertion's way is the tenant's own, and stays it."""
    index = [getattr(each, "name", each) for each in clause.inferred_target_elements or ()]
    changed = [getattr(key, "name", key) for key in clause.update_values_to_set]
    return "tenant_id" in index and "tenant_id" not in changed


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
    return side.table if isinstance(side, ColumnClause) and side.name == "tenant_id" and _is_from_tables(side) else None


def _is_from_tables(column: ColumnClause[Any]) -> bool:
    """A subquery's column may be anything that is called so."""
    return all(
        isinstance(base, Column) and base.name == "tenant_id" and isinstance(base.table, Table)
        for base in column.base_columns
    )
