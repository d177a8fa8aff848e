"""The store's tests run on both engines, each with two tenants whose rows have the same ids."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.catalogue import Seed
from integrations.store.scoping import SAY_TENANT
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.databases import statements_sent
from tests.store.making import NOW, SECRET, TENANTS, make_tenant


class Stopped:
    """A clock that stands still."""

    def now(self) -> Any:
        return NOW


@pytest.fixture
async def start(engine: AsyncEngine) -> AsyncIterator[StartSqlWork]:
    """Units of work over a database with two tenants."""
    start = StartSqlWork(engine, Sealing(SECRET), Stopped())
    for tenant_id in TENANTS:
        async with start(tenant_id) as work:
            await work.catalogue.put_seed(Seed(tenant=make_tenant(tenant_id)))
            await work.commit()
    yield start


@pytest.fixture
def statements(engine: AsyncEngine) -> Callable[[], Any]:
    """`with statements() as seen:` collects what is sent to the database, but whose the session is, told once."""
    return lambda: statements_sent(lambda line: line != SAY_TENANT, engine.sync_engine)
