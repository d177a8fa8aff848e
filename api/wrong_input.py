"""What is wrong with what was sent, said without repeating it: graphql-core prints values into its own words.

It tells where; the schema tells what is expected there. Proxies and frontends keep the errors that they pass on, so a
misspelt field must not bring the whole form along. Names that a document spells stay, since they are what a developer
looks for: a GraphQL name can hold no address and no phone, and one that holds a number is cut.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLSchema,
    Node,
    ObjectFieldNode,
    ObjectValueNode,
    TypeInfo,
    TypeInfoVisitor,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    get_named_type,
    get_nullable_type,
    is_input_object_type,
    is_list_type,
    is_required_input_field,
    type_from_ast,
    visit,
)
from graphql.pyutils import print_path_list
from graphql.utilities import validate_input_value

from api.scrubbing import GONE, scrubbed

MOST_TOLD = 50
"""Errors of one variable, as many as graphql-core looks for in all."""

UNCLEAR = "What was sent cannot be understood."
NO_SUCH_OPERATION = "The document has no operation of that name."

_FIXED = ("Variable values are nested too deeply.", "Must provide an operation.")
"""What graphql-core says in the same words whatever was sent."""

_SUGGESTION = re.compile(r" ?Did you mean [^?]{0,500}\?")
_GRAMMAR = re.compile(
    r"Syntax Error: (?:Expected (?:'[a-z]+'|'[^\w\s]{1,3}'|[A-Z][A-Za-z]+)(?=, found )"
    r"|Unexpected <EOF>(?=\.$)|Document contains more than \d+ tokens(?=\.))"
)
"""The beginnings of its words that come from the grammar; what follows is a piece of the document."""

_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,99}", re.ASCII)
_LONG_NUMBER = re.compile(r"\d{5,}")


class WrongInput:
    """Words for errors that graphql-core found in one operation; `own` are the errors whose words are ours already."""

    def __init__(
        self, schema: GraphQLSchema, document: Node | None, given: dict[str, Any] | None, own: type[GraphQLError]
    ) -> None:
        self._schema = schema
        self._document = document
        self._given = given or {}
        self._own = own

    def in_document(self, error: GraphQLError) -> str:
        """Of a document that is not valid, or of an argument found wrong while it was executed."""
        wrong = next((node for node in error.nodes or () if _is_value(node)), None)
        if wrong is not None:
            return self._of_literal(wrong)
        return names_only(_SUGGESTION.sub("", error.message))

    def in_variable(self, definition: VariableDefinitionNode) -> list[str]:
        """All that is wrong with the value of one variable, each with the path to it."""
        name, type_ = definition.variable.name.value, type_from_ast(self._schema, definition.type)
        begins = f"Variable '${names_only(name)}' has invalid value"
        given: Any = self._given.get(name, Undefined)
        told: dict[str, None] = {}

        def note(error: GraphQLError, path: list[str | int]) -> None:
            if len(told) < MOST_TOLD:
                own = error.message if isinstance(error, self._own) else _expected(*_at(path, type_, given))
                told[f"{begins}{print_path_list(path)}: {own}"] = None

        validate_input_value(given, type_, note)  # type: ignore[arg-type]
        return list(told) or [f"{begins}."]

    def _of_literal(self, wrong: Node) -> str:
        finder = _Finder(self._schema, wrong)
        if self._document:
            visit(self._document, TypeInfoVisitor(finder.types, finder))
        if isinstance(wrong, ObjectFieldNode):
            return f"{_has_no(finder.parent, [wrong.name.value])}."
        found = get_nullable_type(finder.found) if finder.found else None
        if isinstance(wrong, ObjectValueNode) and is_input_object_type(found):
            missing = _needs(found, [each.name.value for each in wrong.fields])
            return f"{missing}." if missing else f"Expected another value of type '{found}'."
        return f"Expected a value of type '{finder.found}'." if finder.found else "Expected a value of another type."


class _Finder(Visitor):
    """The type that is expected where a node stands. By its place: documents that are remembered are not the same."""

    def __init__(self, schema: GraphQLSchema, wanted: Node) -> None:
        super().__init__()
        self.types = TypeInfo(schema)
        self.found: Any = None
        self.parent: Any = None
        self._wanted = _place(wanted)

    def enter(self, node: Node, *_: Any) -> None:
        if _place(node) == self._wanted:
            self.found, self.parent = self.types.get_input_type(), self.types.get_parent_input_type()


def unparsed(text: str) -> str:
    """Of a document that cannot be parsed, by what graphql-core says of it."""
    grammar = _GRAMMAR.match(text)
    return f"{grammar[0] if grammar else 'Syntax Error'}."


def names_only(text: str) -> str:
    """Words of graphql-core's that hold names and no values, without names that could be somebody's number."""
    return _LONG_NUMBER.sub(GONE, scrubbed(text))


def is_fixed(text: str) -> bool:
    return text in _FIXED


def _is_value(node: Node) -> bool:
    return isinstance(node, ObjectFieldNode) or (isinstance(node, ValueNode) and not isinstance(node, VariableNode))


def _place(node: Node) -> tuple[object, ...]:
    return (node.kind, node.loc.start, node.loc.end) if node.loc else (node.kind,)


def _at(path: Iterable[str | int], type_: Any, value: Any) -> tuple[Any, Any]:
    """The type and value that lie at a path, where graphql-core came by."""
    for step in path:
        type_ = get_nullable_type(type_)
        while isinstance(step, str) and is_list_type(type_):  # one value may stand for a list of it
            type_ = get_nullable_type(type_.of_type)
        type_ = type_.of_type if isinstance(step, int) else type_.fields[step].type
        value = value[step]
    return type_, value


def _expected(type_: GraphQLInputType, value: Any) -> str:
    inner: Any = get_nullable_type(type_)
    while is_list_type(inner) and isinstance(value, dict):
        inner = get_nullable_type(inner.of_type)
    if is_input_object_type(inner) and isinstance(value, dict):
        unknown = [key for key in value if key not in inner.fields]
        told = [each for each in (_needs(inner, value), _has_no(inner, unknown) if unknown else "") if each]
        if told:
            return f"{', and '.join(told)}."
    return f"Expected a value of type '{type_}'."


def _needs(type_: GraphQLInputObjectType, given: Collection[str]) -> str:
    missing = [
        f"'{name}'" for name, each in type_.fields.items() if is_required_input_field(each) and name not in given
    ]
    return f"'{type_}' needs {', '.join(missing)}" if missing else ""


def _has_no(type_: Any, unknown: Iterable[str]) -> str:
    return (
        f"'{get_named_type(type_)}' has no field {', '.join(_keys(unknown))}"
        if type_
        else "There is no field of that name"
    )


def _keys(unknown: Iterable[str]) -> Iterator[str]:
    """Keys of JSON may hold anything; those that are no names are a value in the wrong place."""
    for key in unknown:
        yield f"'{names_only(key)}'" if _NAME.fullmatch(key) else f"'{GONE}'"
