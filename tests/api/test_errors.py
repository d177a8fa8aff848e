"""Every error has a code and the request's id, says what is wrong, and gives nothing away."""

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from string import Formatter
from types import SimpleNamespace
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pytest
import strawberry
from strawberry.extensions import ParserCache, SchemaExtension, ValidationCache
from strawberry.schema.config import StrawberryConfig

from api.errors import BadInput, CodedError, Schema, Unauthenticated
from api.messages import CHANGE_REFUSALS, REFUSALS, TOP_LEVEL, local_time, message
from api.operations import Operation, Operations
from api.schema.errors import (
    ChangeNotAllowedError,
    Refusable,
    SimpleError,
    UpstreamUnavailableError,
    UserError,
    user_error,
)
from api.schema.scalars import SCALARS
from domain.ports import EhrUnavailable
from domain.refusals import (
    ChangeNotAllowed,
    ChangeRefusal,
    InvalidInput,
    NotEnoughNotice,
    RefusalCode,
    Refused,
    TooYoung,
    UpstreamUnavailable,
)
from domain.text import LANGUAGES
from tests.planted import as_written

SECRET = "01017012345"
PLANTED = ("13116900216", "planted.person@post.example", "+4793331722", "Planted Person")
RAISED: dict[str, Exception] = {
    "bug": ValueError(f"no patient {SECRET}"),
    "outage": EhrUnavailable("connection to 10.0.0.1 refused"),
    "late": TimeoutError(),
    "stranger": Unauthenticated(),
    "wrong": BadInput("`after` is not a cursor of this list."),
}


@strawberry.type
class DonePayload:
    done: bool | None = None
    errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.input
class Wanted:
    when: datetime
    number: int | None = None


@strawberry.enum
class Colour(Enum):
    RED = "red"


@strawberry.type
class Query:
    @strawberry.field
    def fails(self, how: str) -> str | None:
        raise RAISED[how]

    @strawberry.field
    def at(self, when: datetime, name: Annotated[str, strawberry.argument(name="name")] = "x") -> str:
        return when.isoformat()

    @strawberry.field
    def wanted(self, input: Wanted) -> str:
        return input.when.isoformat()

    @strawberry.field
    def many(self, numbers: list[int]) -> int:
        return len(numbers)

    @strawberry.field
    def all(self, of: list[Wanted] | None) -> int:
        return len(of or ())

    @strawberry.field
    def painted(self, colour: Colour) -> str:
        return colour.value

    @strawberry.field
    def thing(self, id: strawberry.ID) -> str:
        return id

    @strawberry.field
    def weight(self, of: float) -> float:
        return of

    @strawberry.field
    def naive(self) -> datetime | None:
        return datetime(2026, 1, 1)  # noqa: DTZ001


@strawberry.type
class Mutation:
    @strawberry.mutation(extensions=[Refusable()])
    async def refuse(self, info: strawberry.Info) -> DonePayload | None:
        raise Refused(TooYoung(16), InvalidInput(("input", "comment"), "at most 1000 characters"))

    @strawberry.mutation(extensions=[Refusable()])
    async def go_out(self) -> DonePayload | None:
        raise EhrUnavailable("no answer")


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def ticks(self, start: int = 1) -> AsyncIterator[int]:
        yield start
        raise RuntimeError(SECRET)


class Broken(SchemaExtension):
    def on_execute(self) -> Any:
        raise RuntimeError(SECRET)
        yield


def schema(*extensions: Any) -> Schema:
    return Schema(
        Query,
        Mutation,
        Subscription,
        types=[SimpleError],
        extensions=extensions,
        config=StrawberryConfig(scalar_map=SCALARS),
    )


def reader(language: str = "en", request_id: str = "r1") -> Any:
    return SimpleNamespace(request_id=request_id, languages=(language, "nb"))


async def error_of(query: str, *extensions: Any, variables: Any = None, context: Any = None) -> Any:
    result = await schema(*extensions).execute(query, variables, context_value=context or reader())
    assert result.errors
    return result.errors[0].formatted


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{ at(when: ", None, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", None, "GRAPHQL_VALIDATION_FAILED"),
        ('{ at(when: "2026-01-01T00:00:00Z", nme: "x") }', None, "GRAPHQL_VALIDATION_FAILED"),
        ('{ at(when: "yesterday") }', None, "BAD_USER_INPUT"),
        ("query ($w: DateTime!) { at(when: $w) }", {"w": "2026-01-01"}, "BAD_USER_INPUT"),
        ("query ($w: DateTime!) { at(when: $w) }", {}, "BAD_USER_INPUT"),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": {"when": "x"}}, "BAD_USER_INPUT"),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": {"nmber": 1}}, "BAD_USER_INPUT"),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": {"number": "one"}}, "BAD_USER_INPUT"),
        ('{ fails(how: "bug") }', None, "INTERNAL_SERVER_ERROR"),
        ("{ naive }", None, "INTERNAL_SERVER_ERROR"),
        ('{ fails(how: "outage") }', None, "UPSTREAM_UNAVAILABLE"),
        ('{ fails(how: "late") }', None, "TIMEOUT"),
        ('{ fails(how: "stranger") }', None, "UNAUTHENTICATED"),
        ('{ fails(how: "wrong") }', None, "BAD_USER_INPUT"),
        ("mutation { goOut { done } }", None, "UPSTREAM_UNAVAILABLE"),
    ],
)
async def test_each_kind_of_error_has_its_code_and_the_requests_id(query: str, variables: Any, code: str) -> None:
    error = await error_of(query, variables=variables)
    assert error["extensions"]["code"] == code
    assert error["extensions"]["requestId"] == "r1"


@pytest.mark.parametrize("literal", ['"yesterday"', "3", "[1]", "{a: 1}", "NOW"])
async def test_a_wrong_value_in_the_document_is_pointed_to(literal: str) -> None:
    error = await error_of(f"{{ at(when: {literal}) }}")
    assert error["locations"] == [{"line": 1, "column": 12}]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_bug_is_masked_and_logged_without_what_the_patient_sent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        error = await error_of('{ fails(how: "bug") }')
    assert error["message"] == "Something went wrong."
    assert error["path"] == ["fails"]
    log = as_written(caplog.records)
    assert SECRET not in log
    assert "r1" in log and "ValueError" in log and "test_errors.py" in log


async def test_what_a_client_sent_wrongly_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await error_of("query ($w: DateTime!) { at(when: $w) }", variables={"w": SECRET})
        await error_of(f'{{ at(when: "{SECRET}") }}')
    assert SECRET not in caplog.text


async def test_an_extension_that_breaks_is_masked_too() -> None:
    error = await error_of('{ fails(how: "bug") }', Broken)
    assert error["message"] == "Something went wrong."
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": "r1"}


async def test_a_subscription_that_breaks_is_masked_too() -> None:
    told = []
    async for result in await schema().subscribe("subscription { ticks }", context_value=reader()):
        told.append(result)
    assert told[0].data == {"ticks": 1}
    assert [error.message for error in told[1].errors] == ["Something went wrong."]


async def test_a_subscription_refuses_variables_as_a_query_does() -> None:
    query = "subscription ($n: Int!) { ticks(start: $n) }"
    results = [r async for r in await schema().subscribe(query, {"n": "three"}, reader())]
    assert results[0].errors[0].extensions["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("secret", PLANTED)
@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": {"when": "2026-01-01T00:00:00Z", "nmber": "?"}}),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": {"?": 1, "when": "2026-01-01T00:00:00Z"}}),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": {"number": "?"}}),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": "?"}),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": ["?"]}),
        ("query ($w: DateTime!) { at(when: $w) }", {"w": {"?": ["?"]}}),
        ("query ($h: String!) { fails(how: $h) }", {"h": {"text": "?"}}),
        ("query ($h: String! = 1) { fails(how: $h) }", {"h": ["?"]}),
        ("query ($i: [Int!]! = [1]) { __typename many(numbers: $i) }", {"i": [1, "?"]}),
        ("query ($b: Boolean!) { __typename @skip(if: $b) }", {"b": "?"}),
        ("query ($c: Colour!) { painted(colour: $c) }", {"c": "?"}),
        ("query ($c: Colour!) { painted(colour: $c) }", {"c": ["?"]}),
        ("query ($d: ID!) { thing(id: $d) }", {"d": ["?"]}),
        ("query ($n: Float!) { weight(of: $n) }", {"n": "?"}),
        ('{ wanted(input: {when: "2026-01-01T00:00:00Z", nmber: "?"}) }', None),
        ('{ wanted(input: {number: "?"}) }', None),
        ('{ wanted(input: "?") }', None),
        ('{ wanted(input: ["?"]) }', None),
        ('{ at(when: {a: ["?"]}) }', None),
        ('{ at(when: "?", nme: "?") }', None),
        ('{ fails(how: ["?"]) }', None),
        ('{ fails(how: {a: "?"}) }', None),
        ('{ many(numbers: [1, "?"]) }', None),
        ('{ painted(colour: "?") }', None),
        ('{ thing(id: ["?"]) }', None),
        ('{ weight(of: "?") }', None),
        ('{ __typename @skip(if: "?") }', None),
        ('query ($i: Int = "?") { many(numbers: [$i]) }', None),
        ('{ at("?") }', None),
        ('"?"', None),
        ('{ at(when: "?" }', None),
        ('{ at(when: "?\\q") }', None),
        ('{ at(when: "? }', None),
        ("{ at(when: ?) }", None),
        ("?", None),
    ],
)
async def test_no_error_repeats_a_value_that_was_sent(query: str, variables: Any, secret: str) -> None:
    given = json.loads(json.dumps(variables).replace("?", secret))
    result = await schema().execute(query.replace("?", secret), given, context_value=reader())
    assert result.errors
    for error in result.errors:
        assert error.extensions and error.extensions["code"] in {*WRONG}
        assert not any(part in str(error.formatted) for part in (secret, *secret.split()))


WRONG = ("GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT")
WANTED = "query ($i: Wanted!) { wanted(input: $i) }"


@pytest.mark.parametrize(
    ("query", "variables", "told"),
    [
        (WANTED, {"i": {"nmber": 1}}, ["'Wanted' needs 'when', and 'Wanted' has no field 'nmber'."]),
        (WANTED, {"i": {"a": 1, "Kari Nordmann": 2}}, ["'Wanted' needs 'when', and 'Wanted' has no field 'a', '***'."]),
        (WANTED, {"i": {"when": "x"}}, ['at .when: Expected an RFC 3339 date and time with an offset, such as "2026-']),
        (WANTED, {"i": {"when": 1, "number": "1"}}, ["at .when: Expected an", "at .number: Expected a value of type"]),
        (WANTED, {}, ["'$i' has invalid value: Expected a value of type 'Wanted!'."]),
        (WANTED, {"i": None}, ["'$i' has invalid value: Expected a value of type 'Wanted!'."]),
        ("query ($n: [Int!]!) { many(numbers: $n) }", {"n": [1, "2"]}, ["at [1]: Expected a value of type 'Int!'."]),
        ("query ($w: [Wanted!]) { all(of: $w) }", {"w": {"nmber": 1}}, ["'Wanted' has no field 'nmber'."]),
        (
            "query ($w: [Wanted!]) { all(of: $w) }",
            {"w": {"number": "1"}},
            ["needs 'when'.", "at .number: Expected a value of type 'Int'."],
        ),
        ("{ wanted(input: {nmber: 1}) }", None, ["'Wanted' needs 'when'.", "'Wanted' has no field 'nmber'."]),
        ("{ painted(colour: BLAU) }", None, ["Expected a value of type 'Colour!'."]),
        ("{ many(numbers: [1, 2.5]) }", None, ["Expected a value of type 'Int!'."]),
        ("{ nothing }", None, ["Cannot query field 'nothing' on type 'Query'."]),
        ("{ n13116900216 }", None, ["Cannot query field 'n***' on type 'Query'."]),
        (
            "query q { at }",
            None,
            ["Argument 'Query.at(when:)' of type 'DateTime!' is required, but it was not provided."],
        ),
        ("{ at(when: $w) }", None, ["Variable '$w' is not defined."]),
        ("{ at(when: ", None, ["Syntax Error: Unexpected <EOF>."]),
        ("{ at(when 1) }", None, ["Syntax Error: Expected ':'."]),
        ("{ at(: 1) }", None, ["Syntax Error: Expected Name."]),
        ("{ 1 }", None, ["Syntax Error: Expected Name."]),
        ("\u00e6", None, ["Syntax Error."]),
    ],
)
async def test_a_developer_is_told_what_is_expected_where(query: str, variables: Any, told: list[str]) -> None:
    result = await schema().execute(query, variables, context_value=reader())
    assert result.errors
    assert len(result.errors) == len(told), result.errors
    for error, words in zip(result.errors, told, strict=True):
        assert words in error.message
        assert error.locations


async def test_an_argument_that_is_found_wrong_only_when_executed_is_pointed_to() -> None:
    query = "query ($n: Int = 5) { many(numbers: [1, $n]) }"
    error = await error_of(query, variables={"n": None})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert (error["path"], error["locations"]) == (["many"], [{"line": 1, "column": 41}])


async def test_a_text_that_cannot_be_parsed_is_not_repeated_where_documents_are_remembered() -> None:
    operation = Operation(query='{ at(when: ) "kari@post.example" }')
    [told] = [result async for result in Operations(schema(ParserCache)).execute(operation, reader())]
    [error] = json.loads(told.body)["errors"]
    assert (error["message"], error["locations"]) == ("Syntax Error.", [{"line": 1, "column": 12}])
    assert error["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"


async def test_the_name_of_an_operation_that_is_not_there_is_not_repeated() -> None:
    operation = Operation(query="query a { __typename }", operation_name="kari@post.example")
    [told] = [result async for result in Operations(schema()).execute(operation, reader())]
    assert b"no operation of that name" in told.body and b"kari" not in told.body


async def test_no_error_suggests_names() -> None:
    for query, variables in (
        ("{ nave }", None),
        ('{ at(wen: "x") }', None),
        ("query ($i: Wante) { wanted(input: $i) }", None),
        ("query ($i: Wanted!) { wanted(input: $i) }", {"i": {"wen": 1}}),
    ):
        result = await schema().execute(query, variables, context_value=reader())
        assert not any("Did you mean" in error.message for error in result.errors or ())


async def test_cached_documents_do_not_carry_request_ids_along() -> None:
    shared = schema(ParserCache, ValidationCache)
    for request_id in ("r1", "r2"):
        result = await shared.execute("{ nothing }", context_value=reader(request_id=request_id))
        assert [e.extensions["requestId"] for e in result.errors or ()] == [request_id]


async def test_masked_words_are_in_the_readers_language() -> None:
    error = await error_of('{ fails(how: "stranger") }', context=reader("sv"))
    assert error["message"] == "Du måste logga in."


async def test_a_developers_words_stay_as_they_were_written() -> None:
    error = await error_of('{ fails(how: "wrong") }', context=reader("sv"))
    assert error["message"] == "`after` is not a cursor of this list."


async def test_a_refusal_is_answered_in_the_payload_with_every_reason() -> None:
    query = "mutation { refuse { done errors { __typename code message path } } }"
    result = await schema().execute(query, context_value=reader())
    assert not result.errors
    assert result.data
    young, invalid = result.data["refuse"]["errors"]
    assert result.data["refuse"]["done"] is None
    assert (young["code"], young["path"]) == ("TOO_YOUNG", None)
    assert "16" in young["message"]
    assert (invalid["code"], invalid["path"]) == ("INVALID_INPUT", ["input", "comment"])
    assert "1000" in invalid["message"]


def info(language: str = "en") -> Any:
    return SimpleNamespace(context=reader(language))


def test_a_change_that_is_refused_says_why_and_whom_to_call() -> None:
    error = user_error(ChangeNotAllowed(ChangeRefusal.TOO_LATE, "+4722334455"), info())
    assert isinstance(error, ChangeNotAllowedError)
    assert error.code is RefusalCode.CHANGE_NOT_ALLOWED
    assert error.refusal is ChangeRefusal.TOO_LATE
    assert "too close" in error.message
    assert "+4722334455" in error.message


def test_an_outage_says_when_to_come_back() -> None:
    error = user_error(UpstreamUnavailable(timedelta(seconds=30)), info())
    assert isinstance(error, UpstreamUnavailableError)
    assert error.retry_after == timedelta(seconds=30)


def test_the_earliest_time_is_told_on_the_clinics_own_wall() -> None:
    earliest = datetime(2026, 9, 3, 12, 30, tzinfo=UTC)
    oslo = ZoneInfo("Europe/Oslo")
    assert local_time(earliest, oslo, ("nb",)) == "3.9. kl. 14.30"
    assert local_time(earliest, oslo, ("sv",)) == "3/9 kl. 14.30"
    assert "3/9 at 14:30" in user_error(NotEnoughNotice(earliest), info(), zone=oslo).message
    assert "{" not in user_error(NotEnoughNotice(earliest), info()).message


def coded_errors() -> set[str]:
    return {kind.code for kind in CodedError.__subclasses__()} - {*WRONG}


def test_every_code_has_words_in_every_language() -> None:
    assert set(REFUSALS) >= set(RefusalCode)
    assert set(CHANGE_REFUSALS) >= set(ChangeRefusal)
    assert set(TOP_LEVEL) | set(REFUSALS) >= coded_errors() | {"TIMEOUT", "INTERNAL_SERVER_ERROR"}
    for code, texts in (REFUSALS | CHANGE_REFUSALS | TOP_LEVEL).items():  # type: ignore[operator]
        assert set(texts) == set(LANGUAGES), code
        assert code == "A_VISIT" or all(text.endswith((".", "}.")) for text in texts.values()), code


def test_translations_need_the_same_values() -> None:
    for code, texts in {**REFUSALS, **CHANGE_REFUSALS, **TOP_LEVEL}.items():
        needed = {frozenset(name for _, name, _, _ in Formatter().parse(text) if name) for text in texts.values()}
        assert len(needed) == 1, code


def test_an_unknown_language_falls_back() -> None:
    assert message("TIMEOUT", ("fi",)) == TOP_LEVEL["TIMEOUT"]["nb"]
