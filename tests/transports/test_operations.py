"""Operations as transports see them: parsed, told apart, and with every error coded."""

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import strawberry
from strawberry.extensions import SchemaExtension
from strawberry.types.graphql import OperationType

from api.errors import BadInput, Schema
from api.operations import Operation, Operations, Result, _kinds
from api.remembered import REMEMBERED
from tests.transports.small import SECRET, schema

CONTEXT: Any = SimpleNamespace(request_id="r1", languages=("sv",))
TOO_BIG = 2**80


@strawberry.type
class Query:
    @strawberry.field
    def x(self) -> int:
        return 1

    @strawberry.field
    def unspeakable(self) -> strawberry.scalars.JSON:
        return TOO_BIG  # type: ignore[return-value]


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def unspeakable(self) -> AsyncIterator[strawberry.scalars.JSON]:
        yield 1  # type: ignore[misc]
        yield TOO_BIG  # type: ignore[misc]


class BreaksParsing(SchemaExtension):
    def on_parse(self) -> Any:
        raise RuntimeError(SECRET)
        yield


class BreaksValidation(SchemaExtension):
    def on_validate(self) -> Any:
        raise RuntimeError(SECRET)
        yield


class BreaksOperation(SchemaExtension):
    def on_operation(self) -> Any:
        raise RuntimeError(SECRET)
        yield


class BreaksExecution(SchemaExtension):
    def on_execute(self) -> Any:
        raise RuntimeError(SECRET)
        yield


async def results(operations: Operations, query: str, **more: Any) -> list[Result]:
    running: Any = operations.stream(Operation(query=query, **more), CONTEXT)
    return [result async for result in running]


def codes(result: Result) -> list[str]:
    assert SECRET.encode() not in result.body
    errors = json.loads(result.body)["errors"]
    assert {error["extensions"]["requestId"] for error in errors} == {"r1"}
    assert result.errors in (None, errors)
    return [error["extensions"]["code"] for error in errors]


@pytest.mark.parametrize("extension", [BreaksParsing, BreaksValidation, BreaksOperation, BreaksExecution])
@pytest.mark.parametrize("query", ["{ x }", "subscription { unspeakable }"])
async def test_an_extension_that_breaks_is_masked(extension: Any, query: str) -> None:
    operations = Operations(Schema(Query, subscription=Subscription, extensions=[extension]))
    [result] = await results(operations, query)
    assert codes(result) == ["INTERNAL_SERVER_ERROR"]
    assert json.loads(result.body)["errors"][0]["message"] == "Något gick fel."


async def test_a_value_no_json_can_hold_is_masked() -> None:
    operations = Operations(Schema(Query, subscription=Subscription))
    [refused] = await results(operations, "{ unspeakable }")
    assert codes(refused) == ["INTERNAL_SERVER_ERROR"]
    first, second = await results(operations, "subscription { unspeakable }")
    assert json.loads(first.body) == {"data": {"unspeakable": 1}}
    assert (codes(second), second.errors) == (["INTERNAL_SERVER_ERROR"], None)


async def test_what_is_refused_before_execution_has_errors_and_no_data() -> None:
    for query in ("{", "{ nothing }", "", "subscription { never }", "subscription($t: Int!) { count(to: $t) }"):
        [result] = await results(Operations(schema), query)
        assert result.errors
        assert "data" not in json.loads(result.body)
    [executed] = await results(Operations(schema), "{ fails }")
    assert executed.errors is None
    assert json.loads(executed.body)["data"] == {"fails": None}


async def test_kinds_that_are_not_allowed_are_refused() -> None:
    running: Any = Operations(schema).stream(
        Operation(query="mutation { add(number: 1) }"), CONTEXT, {OperationType.QUERY}
    )
    [result] = [result async for result in running]
    assert codes(result) == ["BAD_USER_INPUT"]


@pytest.mark.parametrize(
    ("query", "name", "kind"),
    [
        ("{ hello }", None, OperationType.QUERY),
        ("mutation { add(number: 1) }", None, OperationType.MUTATION),
        ("subscription { count }", None, OperationType.SUBSCRIPTION),
        ("query a { hello } subscription b { count }", "b", OperationType.SUBSCRIPTION),
        ("query a { hello } subscription b { count }", "a", OperationType.QUERY),
        ("query a { hello } subscription b { count }", None, OperationType.QUERY),
        ("query a { hello }", "c", None),
        ("fragment F on Query { hello }", None, None),
        ("{ subscription", None, None),
        ("", None, None),
        ("{ " + "hello " * 3000 + "}", None, None),
        ("{ a" * 600 + "}" * 600, None, None),
    ],
)
def test_the_kind_of_an_operation_is_told_cheaply(query: str, name: str | None, kind: Any) -> None:
    operation = Operation(query=query, operation_name=name)
    assert Operations(schema).kind(operation) is kind
    assert Operations(schema).is_subscription(operation) is (kind is OperationType.SUBSCRIPTION)


def test_strangers_do_not_fill_the_memory() -> None:
    for number in range(REMEMBERED + 50):
        Operations(schema).kind(Operation(query=f"{{ hello }} # {number}"))
    before = _kinds.cache_info()
    assert before.currsize == REMEMBERED
    Operations(schema).kind(Operation(query="{ hello } #" + "x" * 100_000))
    assert _kinds.cache_info().misses == before.misses  # it was never looked for there


@pytest.mark.parametrize("sent", [None, 1, "x", [], {}, {"query": None}, {"query": ["{ hello }"]}])
def test_what_is_no_operation_is_bad_input(sent: Any) -> None:
    with pytest.raises(BadInput):
        Operation.parsed(sent)


def test_an_operation_is_parsed() -> None:
    sent = {"query": "{ x }", "variables": {"a": 1}, "operationName": "n", "extensions": {"e": 2}, "more": 3}
    assert Operation.parsed(sent) == Operation(
        query="{ x }", variables={"a": 1}, operation_name="n", extensions={"e": 2}
    )


async def test_only_subscriptions_are_shared_and_only_those_that_are() -> None:
    asked: list[str] = []

    class Nothing:
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> Result:
            raise StopAsyncIteration

        async def aclose(self) -> None: ...

    def shared(operation: Operation, context: Any) -> Any:
        asked.append(operation.query)
        return Nothing() if "count" in operation.query else None

    operations = Operations(schema, shared)
    assert await results(operations, "{ hello }")
    assert await results(operations, "subscription { fails }")
    assert await results(operations, "subscription { count }") == []
    assert asked == ["subscription { fails }", "subscription { count }"]
