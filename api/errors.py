"""Top-level GraphQL errors: each carries a stable code and the request's id, and tells nothing it should not.

CodedError ── BadInput · Unauthenticated · StepUpRequired · Forbidden · RateLimited · UpstreamDown
Anything else that is raised is an outage (`EhrUnavailable`), a missed deadline, or a bug, which is masked and logged.
"""

import logging
import re
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import strawberry
from graphql import GraphQLError, GraphQLSyntaxError, Node, VariableDefinitionNode
from strawberry.exceptions import MissingQueryError, StrawberryInputCoercionError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.execution import ExecutionContext, PreExecutionError

from api.messages import message
from domain.ports import EhrUnavailable
from domain.text import LANGUAGES

log = logging.getLogger(__name__)

_SUGGESTION = re.compile(r" ?Did you mean [^?]{0,500}\?")


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


class Schema(strawberry.Schema):
    """Strawberry's, with every result on its way out passed through `coded`.

    Done here and not in an extension: errors raised by other extensions and by a subscription's own source reach no
    hook. The lists that caches of parsed and validated documents hand out are shared, so errors are replaced, never
    changed.
    """

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: Strawberry would log messages, which repeat the variables that were sent."""

    async def _handle_execution_result(self, context: ExecutionContext, result: Any, *rest: Any, **more: Any) -> Any:
        errors = getattr(result, "errors", None)
        invalid = isinstance(result, PreExecutionError) and errors is context.pre_execution_errors
        handled = await super()._handle_execution_result(context, result, *rest, **more)
        if errors:
            handled.errors = [coded(error, context.context, invalid_document=invalid) for error in errors]
        return handled


def coded(error: GraphQLError, context: Any, *, invalid_document: bool = False) -> GraphQLError:
    """The error as the client sees it; a bug is logged with the request's id and masked."""
    request_id = getattr(context, "request_id", None)
    code = _code(error, invalid_document)
    if code == "INTERNAL_SERVER_ERROR":
        _log_bug(error, request_id)
    return GraphQLError(
        _words(error, code, getattr(context, "languages", LANGUAGES)),
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={**_given(error), "code": code, "requestId": request_id},
    )


def _words(error: GraphQLError, code: str, languages: Sequence[str]) -> str:
    cause = _chain(error)[-1]
    ours = isinstance(cause, GraphQLError) and code != "INTERNAL_SERVER_ERROR"
    if code != "BAD_USER_INPUT" and (not ours or error.message == code):
        return message(code, languages)
    return _SUGGESTION.sub("", error.message)


def _code(error: GraphQLError, invalid_document: bool) -> str:
    if given := _given(error).get("code"):
        return str(given)
    causes = _chain(error)
    if isinstance(causes[-1], GraphQLSyntaxError):
        return "GRAPHQL_PARSE_FAILED"
    if invalid_document:
        return "GRAPHQL_VALIDATION_FAILED"
    if _about_input(error, causes):
        return "BAD_USER_INPUT"
    return _code_of_failure(causes[-1])


def _code_of_failure(cause: BaseException) -> str:
    if isinstance(cause, EhrUnavailable):
        return "UPSTREAM_UNAVAILABLE"
    return "TIMEOUT" if isinstance(cause, TimeoutError) else "INTERNAL_SERVER_ERROR"


def _about_input(error: GraphQLError, causes: Sequence[BaseException]) -> bool:
    """graphql-core marks these in no way but where they point to and how they begin."""
    if any(isinstance(node, VariableDefinitionNode) for node in error.nodes or ()):
        return True
    cause = causes[-1]
    asked_wrong = (
        StrawberryInputCoercionError,
        MissingQueryError,
        CannotGetOperationTypeError,
        InvalidOperationTypeError,
    )
    if isinstance(cause, asked_wrong):
        return True
    if not isinstance(cause, GraphQLError):
        return False
    return error.path is None or error.message.startswith(("Argument '", "Variable '$"))


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


def _log_bug(error: GraphQLError, request_id: str | None) -> None:
    """Types and places only: the text of an exception may hold what a patient typed."""
    cause: BaseException | None = _chain(error)[-1]
    told = []
    while cause is not None:
        told.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        told += [f"  {f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(cause.__traceback__)]
        cause = cause.__cause__
    path = ".".join(str(part) for part in error.path or ())
    log.error("request %s failed at %s\n%s", request_id, path or "(no field)", "\n".join(told))
