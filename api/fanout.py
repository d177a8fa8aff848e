"""One execution for everybody who watches the same: its bytes go to each of them.

Who watches free times sees what everybody of the same tenant and language sees. So a change is put into an answer once
for each document, variables and such class of viewers; the execution that does it does not know who is watching, and
cannot show anything of anybody.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, StringValueNode, VariableNode, parse, visit
from graphql.language import Visitor

from api.context import Context
from api.errors import BadInput, Schema
from api.operations import MOST_TOKENS, Operation, Operations, Result, Results
from api.schema.cursors import digest_of_cursor
from api.schema.slot_changes import Shown
from domain.availability import Search
from domain.usecases.watch_slots import TooManyWatches
from domain.watch import Step, Watch

KEPT_RESULTS = 16
"""How many events a slow client may be behind before it is shown the whole picture again."""

KEPT_BEGINNINGS = 8
EMPTY_FOR = 5.0
"""Seconds that a group waits for its first watcher."""

REMEMBERED = 500


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


@dataclass(frozen=True, slots=True)
class _Event:
    revision: int
    resync: bool
    result: Result


class Fanout:
    """The seam that `Operations` asks before it executes a subscription."""

    def __init__(self, schema: Schema) -> None:
        self._execute = Operations(schema).execute
        self._groups: dict[Hashable, asyncio.Task[_Group | None]] = {}

    def __call__(self, operation: Operation, context: Context) -> Results | None:
        """None for what is not to be shared: it is then executed for its own watcher alone."""
        shape = _shape(operation.query, operation.operation_name)
        return self._watched(operation, shape, context) if shape else None

    async def _watched(self, operation: Operation, shape: Shape, context: Context) -> AsyncGenerator[Result, None]:
        """What one watcher is sent: from the picture it has, or from the beginning, on."""
        group, digest = await self._meant(operation, shape, context)
        if group is None:
            async with aclosing(self._execute(operation, context)) as own:
                async for result in own:
                    yield result
            return
        async with group.joined():
            event: _Event | None = await group.first(digest)
            while event is not None:
                yield event.result
                event = await group.after(event.revision)

    async def _meant(self, operation: Operation, shape: Shape, context: Context) -> tuple["_Group | None", int | None]:
        """The group, and the picture that its new watcher has."""
        try:
            after = shape.after(operation)
            digest = digest_of_cursor(context, after) if isinstance(after, str) and after else None
            key = (operation.query, operation.operation_name, shape.rest(operation), context.viewer_class)
            return (await self._group(key, operation, context) if isinstance(after, str | None) else None), digest
        except (BadInput, TypeError, TooManyWatches):
            return None, None  # executed for itself, it is told what is wrong

    async def _group(self, key: Hashable, operation: Operation, context: Context) -> "_Group | None":
        """None where the operation fails, or asks who is watching: then each watcher has an execution of their own."""
        while True:
            if key not in self._groups:
                self._groups[key] = asyncio.ensure_future(self._begun(key, operation, context))
            group = await asyncio.shield(self._groups[key])
            if group is None or not group.is_over:  # its last watcher may just have left
                return group
            await asyncio.sleep(0)

    async def _begun(self, key: Hashable, operation: Operation, context: Context) -> "_Group | None":
        """Begun by an execution as any other, to find out which search is meant and whether it may be watched."""
        searches: list[Search] = []
        trial = context.for_everybody(watches=searches.append)
        group = None
        try:
            async with aclosing(self._execute(operation, trial)) as results:
                first = await anext(aiter(results), None)
                if first is not None and searches:  # while the trial still watches: there is one watch for both
                    group = _Group(self._execute, operation, trial, searches[0])
                    await group.begin(lambda: self._groups.pop(key, None))
        finally:
            if group is None:
                del self._groups[key]
        return group


class _Group:
    """Watchers of one search by one document; ends with the last of them."""

    def __init__(self, execute: Any, operation: Operation, context: Context, search: Search) -> None:
        self._execute = execute
        self._operation = operation
        self._context = context
        self._search = search
        self._events: deque[_Event] = deque(maxlen=KEPT_RESULTS)
        self._beginnings: OrderedDict[Hashable, asyncio.Task[Result]] = OrderedDict()
        self._waiting: list[asyncio.Future[None]] = []
        self._members = 0
        self._stack = AsyncExitStack()
        self._pump: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._is_ended = False

    @property
    def is_over(self) -> bool:
        return self._is_ended or self._pump is None or self._pump.done()

    async def begin(self, ended: Callable[[], object]) -> None:
        context = self._context
        self._ended = ended
        self._watch = await self._stack.enter_async_context(context.use.watch_slots(context.tenant, self._search))
        self._pump = asyncio.ensure_future(self._follow(self._watch))
        # whoever asked for it may have left before it began
        asyncio.get_running_loop().call_later(EMPTY_FOR, self._end_if_empty)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        self._members += 1
        try:
            yield
        finally:
            self._members -= 1
            if not self._members:
                await self._end()

    async def first(self, digest: int | None) -> _Event:
        """What a watcher begins with who has the picture of that digest, or none."""
        step = self._watch.begin(digest)
        result = await self._beginning(step, digest if not step.resync else None)
        return _Event(step.revision, step.resync, result)

    def _end_if_empty(self) -> None:
        if not self._members and not self.is_over:
            self._ending = asyncio.ensure_future(self._end())

    async def after(self, revision: int) -> _Event | None:
        """What comes next for a watcher who is there; None at the end."""
        while True:
            latest = self._events[-1] if self._events else None
            if latest is not None and latest.revision > revision:
                return latest if latest.revision == revision + 1 else await self._caught_up(revision)
            if self.is_over:
                return None
            waits = asyncio.get_running_loop().create_future()
            self._waiting.append(waits)
            await waits

    async def _caught_up(self, revision: int) -> _Event:
        event = next(each for each in self._events if each.revision > revision)
        if event.revision == revision + 1 or event.resync:
            return event
        whole = self._watch.whole()
        return _Event(whole.revision, True, await self._beginning(whole, None))

    async def _follow(self, watch: Watch) -> None:
        try:
            revision = watch.revision
            while (step := await watch.following(revision)) is not None:
                result = await self._shown(step)
                revision = step.revision
                self._events.append(_Event(revision, step.resync, result))
                self._wake()
        finally:
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def _beginning(self, step: Step, digest: int | None) -> Result:
        """A thousand who come at once are shown one answer."""
        key = (step.revision, digest)
        if key not in self._beginnings:
            self._beginnings[key] = asyncio.ensure_future(self._shown(step))
            if len(self._beginnings) > KEPT_BEGINNINGS:
                self._beginnings.popitem(last=False)
        return await asyncio.shield(self._beginnings[key])

    async def _shown(self, step: Step) -> Result:
        context = self._context.for_everybody(tenant=self._watch.tenant, shown=Shown(step, self._search))
        async with aclosing(self._execute(self._operation, context)) as results:
            result: Result = await anext(aiter(results))
            return result

    async def _end(self) -> None:
        """Once: the key may by then be another group's."""
        if self._is_ended:
            return
        self._is_ended = True
        self._ended()
        if self._pump:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
        await self._stack.aclose()


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
