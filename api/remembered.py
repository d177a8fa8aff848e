"""Documents that many clients send are parsed and validated once for all of them; long ones each time anew.

Whoever asks chooses what is remembered, and a parsed document takes many times the room of its text.
"""

from collections.abc import Iterator

from strawberry.extensions import ParserCache, ValidationCache

REMEMBERED = 500
LONGEST_REMEMBERED = 8000
"""Characters: strangers choose what is remembered, so the most it can take is set."""


def is_remembered(query: str | None) -> bool:
    return query is None or len(query) <= LONGEST_REMEMBERED


class Parsed(ParserCache):
    def __init__(self) -> None:
        super().__init__(maxsize=REMEMBERED)

    def on_parse(self) -> Iterator[None]:
        """What is not parsed here is by Strawberry itself; so it is with what is not validated below."""
        if is_remembered(self.execution_context.query):
            yield from super().on_parse()
        else:
            yield


class Validated(ValidationCache):
    def __init__(self) -> None:
        super().__init__(maxsize=REMEMBERED)

    def on_validate(self) -> Iterator[None]:
        if is_remembered(self.execution_context.query):
            yield from super().on_validate()
        else:
            yield
