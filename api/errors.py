"""Top-level GraphQL errors: each carries a stable code and the request's id, and tells nothing it should not.

CodedError ── BadInput · Unparsed · Invalid · Unauthenticated · StepUpRequired · Forbidden · RateLimited ·
UpstreamDown · Unforeseen
What graphql-core finds wrong is put into words of ours (`wrong_input`), which repeat no value. Anything else
that is raised is an outage (`EhrUnavailable`), a missed deadline, or a bug, which is masked and logged.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import strawberry
from graphql import ExecutionResult as GraphQLExecutionResult
from graphql import GraphQLError, GraphQLSyntaxError, Node, VariableDefinitionNode
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionContext, PreExecutionError

from api.messages import message
from api.wrong_input import NO_SUCH_OPERATION, UNCLEAR, WrongInput, is_fixed, unparsed
from domain.ports import EhrUnavailable
from domain.text import LANGUAGES

log = logging.getLogger(__name__)

_ASKED_WRONG: dict[type[BaseException], str] = {
    MissingQueryError: "There is no query.",
    CannotGetOperationTypeError: NO_SUCH_OPERATION,
    InvalidOperationTypeError: "Operations of this kind are not run here.",
}


class CodedError(GraphQLError):
    """What a client is told. Without a message it says the code's own, in the reader's language."""

    code: ClassVar[str]

    def __init__(self, message: str = "", *, nodes: Node | None = None, **extensions: Any) -> None:
        super().__init__(message or self.code, nodes=nodes, extensions={"code": self.code, **extensions})


class BadInput(CodedError):
    """What was sent cannot be meant: a malformed value, an id of something else. English, for developers."""

    code = "BAD_USER_INPUT"


class Unauthenticated(CodedError):
    code = "UNAUTHENTICATED"


class Forbidden(CodedError):
    """Known who asks, and they may not: a scope that is missing, another tenant, a page that is not listed."""

    code = "FORBIDDEN"


class StepUpRequired(CodedError):
    """Whoever is signed in proved who they are too long ago for this."""

    code = "STEP_UP_REQUIRED"


class RateLimited(CodedError):
    """As much of it as may be is going on already, or was asked for; `retryAfter`: seconds until it may go."""

    code = "RATE_LIMITED"


class UpstreamDown(CodedError):
    """A system that we depend on gave no answer."""

    code = "UPSTREAM_UNAVAILABLE"


class Unforeseen(CodedError):
    """A bug, or a part of ours that is down."""

    code = "INTERNAL_SERVER_ERROR"


class Unparsed(CodedError):
    code = "GRAPHQL_PARSE_FAILED"


class Invalid(CodedError):
    """The document cannot be run against this schema."""

    code = "GRAPHQL_VALIDATION_FAILED"


class Schema(strawberry.Schema):
    """Strawberry's, with every result on its way out passed through `coded`, and none before its readings are noted.

    Done here and not in an extension: errors raised by other extensions and by a subscription's own source reach no
    hook. The lists that caches of parsed and validated documents hand out are shared, so errors are replaced, never
    changed.
    """

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: Strawberry would log messages, which repeat the variables that were sent."""

    async def _handle_execution_result(self, context: ExecutionContext, result: Any, *rest: Any, **more: Any) -> Any:
        result = await _noted(result, context.context)
        errors = getattr(result, "errors", None)
        invalid = isinstance(result, PreExecutionError) and errors is context.pre_execution_errors
        handled = await super()._handle_execution_result(context, result, *rest, **more)
        if errors:
            wrong = WrongInput(self._schema, context.graphql_document, context.variables, CodedError)
            told = _in_our_words(errors, wrong, invalid_document=invalid)
            handled.errors = [coded(error, context.context) for error in told]
        return handled


def _in_our_words(errors: list[GraphQLError], wrong: WrongInput, *, invalid_document: bool) -> list[GraphQLError]:
    """Each once, with what graphql-core found wrong in the input said by us. Others stay as they are."""
    told: dict[Any, GraphQLError] = {}
    for error in errors:
        for ours in _reworded(error, wrong, invalid_document):
            told.setdefault((ours.message, str(ours.locations), str(ours.path)), ours)
    return list(told.values())


def _reworded(error: GraphQLError, wrong: WrongInput, invalid_document: bool) -> list[GraphQLError]:
    cause = _chain(error)[-1]
    definition = next((node for node in error.nodes or () if isinstance(node, VariableDefinitionNode)), None)
    told: CodedError
    if definition and not invalid_document:
        return [BadInput(words, nodes=definition) for words in wrong.in_variable(definition)]
    if isinstance(cause, CodedError | GraphQLSyntaxError):
        return [error]
    if invalid_document:
        told = Invalid(wrong.in_document(error))
    elif error.message.startswith("Argument '") and isinstance(cause, GraphQLError):
        told = BadInput(wrong.in_document(error))
    else:
        return [error]
    return [_in_its_place(error, told.message, original_error=told)]


async def _noted(result: Any, context: Any) -> Any:
    """The result; where the trail cannot say that it was read, an error in its place."""
    if getattr(result, "data", None) is None or not hasattr(context, "reads"):
        return result
    try:
        await context.reads.settle()
    except Exception as failure:
        return GraphQLExecutionResult(None, [GraphQLError("not noted", original_error=failure)])
    return result


def coded(error: GraphQLError, context: Any) -> GraphQLError:
    """The error as the client sees it; a bug is logged with the request's id and masked."""
    request_id = getattr(context, "request_id", None)
    cause = _chain(error)[-1]
    if isinstance(cause, GraphQLSyntaxError):  # raised, where documents are remembered, and no result's
        error = _in_its_place(error, cause.message, original_error=Unparsed(unparsed(cause.message)))
    code = _code(error)
    if code == "INTERNAL_SERVER_ERROR":
        path = ".".join(str(part) for part in error.path or ())
        log.error("request %s failed at %s", request_id, path or "(no field)", exc_info=cause)
    words = _words(error, code, getattr(context, "languages", LANGUAGES))
    return _in_its_place(error, words, extensions={**_given(error), "code": code, "requestId": request_id})


def _in_its_place(error: GraphQLError, words: str, **more: Any) -> GraphQLError:
    return GraphQLError(
        words, nodes=error.nodes, source=error.source, positions=error.positions, path=error.path, **more
    )


def _words(error: GraphQLError, code: str, languages: Sequence[str]) -> str:
    """Whatever is not worded by ourselves could repeat what was sent, and is not shown."""
    cause = _chain(error)[-1]
    if isinstance(cause, CodedError):
        return cause.message if cause.message != code else message(code, languages)
    if code != "BAD_USER_INPUT":
        return message(code, languages)
    for kind, words in _ASKED_WRONG.items():
        if isinstance(cause, kind):
            return words
    return error.message if is_fixed(error.message) else UNCLEAR


def _code(error: GraphQLError) -> str:
    if given := _given(error).get("code"):
        return str(given)
    causes = _chain(error)
    return "BAD_USER_INPUT" if _about_input(error, causes[-1]) else _code_of_failure(causes[-1])


def _code_of_failure(cause: BaseException) -> str:
    if isinstance(cause, EhrUnavailable):
        return "UPSTREAM_UNAVAILABLE"
    return "TIMEOUT" if isinstance(cause, TimeoutError) else "INTERNAL_SERVER_ERROR"


def _about_input(error: GraphQLError, cause: BaseException) -> bool:
    """graphql-core marks these in no way but that nothing was executed yet."""
    if isinstance(cause, (StrawberryInputCoercionError, *_ASKED_WRONG)):
        return True
    return isinstance(cause, GraphQLError) and error.path is None


def _given(error: GraphQLError) -> dict[str, Any]:
    """The extensions that whoever raised it gave."""
    return next((dict(c.extensions) for c in _chain(error) if isinstance(c, GraphQLError) and c.extensions), {})


def _chain(error: GraphQLError) -> list[BaseException]:
    """The error and what it was made from, down to what was raised first."""

    def links() -> Iterator[BaseException]:
        link: BaseException | None = error
        while link is not None:
            yield link
            link = getattr(link, "original_error", None)

    return list(links())
