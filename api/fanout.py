"""One execution for everybody who watches the same: its bytes go to each of them.

Who watches free times sees what everybody of the same tenant and language sees. So a change is put into an answer once
for each document, variables and such class of viewers; the execution that does it does not know who is watching, and
cannot show anything of anybody.
"""

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, StringValueNode, VariableNode, parse, visit
from graphql.language import Visitor

from api.audience import Audience, Event
from api.context import Context
from api.errors import BadInput, Schema
from api.operations import MOST_TOKENS, Operation, Operations, Result, Results
from api.remembered import REMEMBERED, is_remembered
from api.schema.cursors import digest_of_cursor
from domain.availability import Search
from domain.usecases.watch_slots import TooManyWatches


@dataclass(frozen=True, slots=True)
class Shape:
    """How a document asks for `slotChanges`: by which variable, or with which words, it says where to go on."""

    variable: str | None = None
    literal: str | None = None

    def after(self, operation: Operation) -> object:
        return (operation.variables or {}).get(self.variable) if self.variable else self.literal

    def rest(self, operation: Operation) -> bytes:
        """All other variables: what the answers depend on."""
        others = {name: value for name, value in (operation.variables or {}).items() if name != self.variable}
        return orjson.dumps(others, option=orjson.OPT_SORT_KEYS)


_Begun = asyncio.Task[Audience | None]


class Fanout:
    """The seam that `Operations` asks before it executes a subscription."""

    def __init__(self, schema: Schema) -> None:
        self._execute = Operations(schema).execute
        self._audiences: dict[Hashable, _Begun] = {}

    def __call__(self, operation: Operation, context: Context) -> Results | None:
        """None for what is not to be shared: it is then executed for its own watcher alone."""
        look = _shape if is_remembered(operation.query) else _shape.__wrapped__
        shape = look(operation.query, operation.operation_name)
        return self._watched(operation, shape, context) if shape else None

    async def _watched(self, operation: Operation, shape: Shape, context: Context) -> AsyncGenerator[Result, None]:
        """What one watcher is sent: from the picture it has, or from the beginning, on."""
        audience, digest = await self._meant(operation, shape, context)
        if audience is None:
            async with aclosing(self._execute(operation, context)) as own:
                async for result in own:
                    yield result
            return
        async with audience.joined_by(context.owner):
            event: Event | None = await audience.first(digest)
            while event is not None:
                yield event.result
                event = await audience.after(event)

    async def _meant(self, operation: Operation, shape: Shape, context: Context) -> tuple[Audience | None, int | None]:
        """Whom its new watcher joins, and the picture that they have."""
        try:
            after = shape.after(operation)
            digest = digest_of_cursor(context, after) if isinstance(after, str) and after else None
            key = (operation.query, operation.operation_name, shape.rest(operation), context.viewer_class)
            audience = await self._audience(key, operation, context) if isinstance(after, str | None) else None
        except (BadInput, TypeError, TooManyWatches):
            return None, None  # executed for itself, it is told what is wrong
        return (audience if audience and audience.admits(context.owner) else None), digest

    async def _audience(self, key: Hashable, operation: Operation, context: Context) -> Audience | None:
        """None where the operation fails, or asks who is watching: then each watcher has an execution of their own."""
        while True:
            begun = self._audiences.get(key) or self._begin(key, operation, context)
            audience = await asyncio.shield(begun)
            if audience is None or not audience.is_over:  # its last watcher may just have left
                return audience
            self._forget(key, begun)

    def _begin(self, key: Hashable, operation: Operation, context: Context) -> _Begun:
        """What fails, or is not to be shared, is not found again: the next who comes has it tried anew."""
        begun = self._audiences[key] = asyncio.ensure_future(self._begun(key, operation, context))

        def look(_: _Begun) -> None:
            if begun.cancelled() or begun.exception() or begun.result() is None:
                self._forget(key, begun)

        begun.add_done_callback(look)
        return begun

    def _forget(self, key: Hashable, begun: _Begun | None) -> None:
        """By then the key may be another audience's."""
        if self._audiences.get(key) is begun:
            self._audiences.pop(key, None)

    async def _begun(self, key: Hashable, operation: Operation, context: Context) -> Audience | None:
        """Begun by an execution as any other, to find out which search is meant and whether it may be watched."""
        searches: list[Search] = []
        trial = context.for_everybody(watches=searches.append)
        async with aclosing(self._execute(operation, trial)) as results:
            first = await anext(aiter(results), None)
            if first is None or not searches:
                return None
            audience = Audience(self._execute, operation, trial, searches[0])
            mine = self._audiences.get(key)
            await audience.begin(lambda: self._forget(key, mine))  # while the trial watches: both have one watch
            return audience


@lru_cache(maxsize=REMEMBERED)
def _shape(query: str, name: str | None) -> Shape | None:
    """None for every document whose subscription is not plainly `slotChanges`."""
    try:
        document = parse(query, no_location=True, max_tokens=MOST_TOKENS)
    except (GraphQLError, RecursionError):
        return None
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    wanted = [each for each in operations if name is None or (each.name and each.name.value == name)]
    if len(wanted) != 1 or (name is None and len(operations) != 1):
        return None
    fields = wanted[0].selection_set.selections
    if len(fields) != 1 or not isinstance(fields[0], FieldNode) or fields[0].name.value != "slotChanges":
        return None
    return _shape_of(fields[0], wanted[0])


def _shape_of(field: FieldNode, operation: OperationDefinitionNode) -> Shape | None:
    after = next((each.value for each in field.arguments or () if each.name.value == "after"), None)
    if isinstance(after, VariableNode):
        name = after.name.value
        return Shape(variable=name) if _uses(operation, name) == 2 else None  # where it is declared, and here
    if isinstance(after, StringValueNode):
        return Shape(literal=after.value)
    return Shape() if after is None else None


def _uses(operation: OperationDefinitionNode, variable: str) -> int:
    class Counting(Visitor):
        count = 0

        def enter_variable(self, node: VariableNode, *_: Any) -> None:
            self.count += node.name.value == variable

    counting = Counting()
    visit(operation, counting)
    return counting.count
