"""A document with several operations must be sent with the name of the one that is meant (GraphQL §6.1)."""

from collections.abc import Iterator

from graphql import OperationDefinitionNode
from strawberry.extensions import SchemaExtension

from api.errors import BadInput


class OneOperation(SchemaExtension):
    """Strawberry would run the first: a client that forgot the name would never notice.

    Belongs behind `Validated`, which overwrites what was found before it.
    """

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if not context.pre_execution_errors and context._provided_operation_name is None and self._operations() > 1:
            context.pre_execution_errors = [BadInput("There are several operations: say which by `operationName`.")]
        yield

    def _operations(self) -> int:
        document = self.execution_context.graphql_document
        return sum(isinstance(each, OperationDefinitionNode) for each in document.definitions) if document else 0
