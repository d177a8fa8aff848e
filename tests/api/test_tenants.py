"""Tenants are remembered for seconds; names that nobody has push nobody out."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from api.errors import BadInput
from api.tenants import MOST_MISSES, TenantDirectory
from integrations.store.catalogue import SqlCatalogue
from integrations.store.engine import open_engine


@pytest.fixture
def looks() -> Iterator[list[str]]:
    """Every look into the table of tenants."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM tenant" in statement:
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


async def test_invented_names_push_no_tenant_out_and_are_few(sqlite_filled_url: str, looks: list[str]) -> None:
    engine = open_engine(sqlite_filled_url)
    tenants = TenantDirectory(SqlCatalogue(engine))
    known = await tenants.of(host=None, slug="nordhelse")
    for number in range(MOST_MISSES + 5):
        with pytest.raises(BadInput):
            await tenants.of(host=None, slug=f"nobody-{number}")
    asked = len(looks)
    assert await tenants.of(host=None, slug="nordhelse") is known
    with pytest.raises(BadInput):
        await tenants.of(host=None, slug=f"nobody-{MOST_MISSES + 4}")
    assert len(looks) == asked
    assert len(tenants._missing) <= MOST_MISSES
    await engine.dispose()
