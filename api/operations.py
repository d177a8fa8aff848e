"""Running operations: the one way every transport takes, whatever it then sends."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import orjson
from graphql import GraphQLError, OperationDefinitionNode, parse
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from api.context import Context
from api.errors import BadInput, Schema, coded
from api.remembered import REMEMBERED, is_remembered
from api.unbroken import GoingOn, Unbroken

log = logging.getLogger(__name__)

MOST_TOKENS = 2000
"""In one document; the largest of our own frontends' has a quarter of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a client asks to be run. An empty query is refused when it is run."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None

    @classmethod
    def parsed(cls, sent: object) -> "Operation":
        """From decoded JSON. Raises `BadInput` with a short reason."""
        if not isinstance(sent, dict):
            raise BadInput("An operation must be a JSON object.")
        query, name = sent.get("query"), sent.get("operationName")
        if not isinstance(query, str):
            raise BadInput("`query` must be a string.")
        if not isinstance(name, str | None):
            raise BadInput("`operationName` must be a string or null.")
        for key in ("variables", "extensions"):
            if not isinstance(sent.get(key), dict | None):
                raise BadInput(f"`{key}` must be an object or null.")
        return cls(
            query=query,
            variables=sent.get("variables"),
            operation_name=name,
            extensions=sent.get("extensions"),
        )


@dataclass(frozen=True)
class Result:
    """One execution result as JSON. `errors` are given for a request that was refused before anything was executed.

    `has_errors`: for whatever reason, it is not all that was asked for.
    """

    body: bytes
    errors: list[Any] | None = None
    has_errors: bool = False

    @cached_property
    def text(self) -> str:
        """Decoded once, however many sockets it goes to."""
        return self.body.decode()


class Results(Protocol):
    """An async generator is one. Whoever asked for it awaits `aclose`, also when it was never iterated."""

    def __aiter__(self) -> AsyncIterator[Result]: ...

    def aclose(self) -> Awaitable[None]: ...


Shared = Callable[[Operation, Context], Results | None]
"""Results of a subscription that somebody else already gets, or None when it has to be executed."""


class Operations:
    """Queries and mutations have one result, subscriptions any number; every error is coded, wherever it was raised.

    A query is cut after `query_seconds`, whoever waits for it. A mutation never is, not even when nobody waits for it
    any more: between an EHR's answer and what is written of it, cutting would make a booking that is known one that has
    to be found out, and tell the patient so. Each thing it waits for has a deadline of its own.
    """

    def __init__(self, schema: Schema, shared: Shared | None = None, *, query_seconds: float = 30) -> None:
        self._schema = schema
        self._shared = shared
        self._query_seconds = query_seconds
        self._going_on = GoingOn()

    async def stop(self) -> None:
        """When the server has waited for its connections as long as it may."""
        await self._going_on.stop()

    def kind(self, operation: Operation) -> OperationType | None:
        """None when it cannot be told: a syntax error, or no operation of that name."""
        look = _kinds if is_remembered(operation.query) else _kinds.__wrapped__
        kinds = look(operation.query)
        if operation.operation_name is not None:
            return next((kind for name, kind in kinds if name == operation.operation_name), None)
        return kinds[0][1] if kinds else None

    def is_subscription(self, operation: Operation) -> bool:
        """Without a look into most documents: a keyword has one spelling."""
        return "subscription" in operation.query and self.kind(operation) is OperationType.SUBSCRIPTION

    def _is_mutation(self, operation: Operation) -> bool:
        return "mutation" in operation.query and self.kind(operation) is OperationType.MUTATION

    async def answer(
        self, operation: Operation, context: Context, allowed: Collection[OperationType]
    ) -> ExecutionResult:
        """The one result of a query or mutation, for who is not cancelled when its client leaves: over HTTP nobody is.

        Raises what Strawberry does where none of it can be run.
        """
        try:
            async with asyncio.timeout(self._limit(operation)):
                return await self._schema.execute(
                    operation.query,
                    variable_values=operation.variables,
                    context_value=context,
                    operation_name=operation.operation_name,
                    allowed_operation_types=allowed,
                    operation_extensions=operation.extensions,
                )
        except TimeoutError:
            return _cut(context)

    def stream(
        self, operation: Operation, context: Context, allowed: Collection[OperationType] | None = None
    ) -> Results:
        """The operation's results, shared with others where they can be. All kinds are allowed if none is named."""
        may_share = self._shared and (allowed is None or OperationType.SUBSCRIPTION in allowed)
        if self._shared and may_share and self.is_subscription(operation):
            shared = self._shared(operation, context)
            if shared is not None:
                return shared
        executed = self.execute(operation, context, allowed)
        return Unbroken(executed, self._going_on) if self._is_mutation(operation) else executed

    async def execute(
        self, operation: Operation, context: Context, allowed: Collection[OperationType] | None = None
    ) -> AsyncGenerator[Result, None]:
        """The operation's results, from an execution of its own."""
        begun = False
        try:
            running: Any = await self._schema.stream(
                operation.query,
                variable_values=operation.variables,
                context_value=context,
                operation_name=operation.operation_name,
                operation_extensions=operation.extensions,
                allowed_operation_types=allowed,
            )
            limit = self._limit(operation)
            async with aclosing(running) as results:
                while (result := await _next(results, limit, context)) is not None:
                    encoded = _encoded(result)
                    context.is_behind = encoded.has_errors
                    yield encoded
                    begun = True
        except Exception as failure:
            # extensions that break while a document is parsed, and values no JSON can hold, reach no other catcher
            refused = failed(failure, context)
            yield Result(refused.body, has_errors=True) if begun else refused

    def _limit(self, operation: Operation) -> float | None:
        return None if self._is_mutation(operation) or self.is_subscription(operation) else self._query_seconds


async def _next(results: AsyncIterator[Any], limit: float | None, context: Context) -> Any:
    """None at the end. What is cut is over by itself then: its results have no more."""
    try:
        async with asyncio.timeout(limit):
            return await anext(results, None)
    except TimeoutError:
        return _cut(context)


def _cut(context: Context) -> ExecutionResult:
    """Executed, and nothing came of it: `data` is null, as where an error reaches the root."""
    log.warning("request %s took too long and was cut", context.request_id)
    too_late = GraphQLError("The query was cut.", original_error=TimeoutError())
    return ExecutionResult(data=None, errors=[coded(too_late, context)])


def failed(failure: Exception, context: Context) -> Result:
    """What is told of an operation that could not be run; a bug is logged and masked."""
    error = failure if isinstance(failure, GraphQLError) else GraphQLError(str(failure), original_error=failure)
    return _refusal([coded(error, context)])


def _refusal(errors: list[GraphQLError]) -> Result:
    formatted = [error.formatted for error in errors]
    return Result(orjson.dumps({"errors": formatted}), formatted, has_errors=True)


def _encoded(result: ExecutionResult) -> Result:
    if isinstance(result, PreExecutionError) and result.errors:
        return _refusal(result.errors)
    body: dict[str, Any] = {"data": result.data}
    if result.errors:
        body["errors"] = [error.formatted for error in result.errors]
    if result.extensions:
        body["extensions"] = result.extensions
    return Result(orjson.dumps(body), has_errors=bool(result.errors))


@lru_cache(maxsize=REMEMBERED)
def _kinds(query: str) -> tuple[tuple[str | None, OperationType], ...]:
    """Name and kind of each operation; of a document that cannot be parsed, nothing."""
    try:
        document = parse(query, no_location=True, max_tokens=MOST_TOKENS)
    except GraphQLError:
        return ()
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return tuple((each.name.value if each.name else None, OperationType(each.operation.value)) for each in operations)
