"""A login beside what else is done to its patient at that moment: nothing is written over, and nobody comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.audit import Actor, ActorKind
from domain.patient import Patient
from domain.usecases.update_contact_details import UpdateContactDetails
from integrations.store.work import SqlWork, StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import make_identity, make_tenant

TENANT = make_tenant("nord")
PATIENCE = 20.0
"""Seconds until a test says that nobody waits for anybody."""


async def recognise(start: StartSqlWork, **told: Any) -> Patient:
    async with start("nord") as work:
        patient = await work.patients.recognise("nord", make_identity(**told), uuid4())
        await work.commit()
    return patient


def actor(patient: Patient) -> Actor:
    return Actor(kind=ActorKind.PATIENT, id=str(patient.id), request_id="r1")


async def until_somebody_waits(engine: AsyncEngine) -> None:
    """SQLite has one writer at a time, and whoever else wants to write waits for its turn anyway."""
    if engine.dialect.name == "sqlite":
        return await asyncio.sleep(0.05)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(PATIENCE), raw(engine) as connection:
        while not (await connection.execute(text(waiting))).scalar_one():
            await connection.rollback()  # what is seen of others stays as it is within a transaction
            await asyncio.sleep(0.01)


def before_its_commit(start: StartSqlWork, meanwhile: Callable[[], Awaitable[None]]) -> Any:
    """Starts work as `start` does, in which something else is begun when all but the commit is done."""

    @asynccontextmanager
    async def starting(tenant_id: str) -> AsyncIterator[SqlWork]:
        async with start(tenant_id) as work:
            commit = work.commit

            async def after_that() -> None:
                await meanwhile()
                await commit()

            work.commit = after_that  # type: ignore[method-assign]
            yield work

    return starting


async def test_a_login_never_writes_over_what_is_typed_at_that_moment(start: StartSqlWork, engine: AsyncEngine) -> None:
    kari = await recognise(start)
    told = {"name": "Kari Ås", "phone": "+4790000001", "email": "new@example.org"}
    logins = []

    async def log_in() -> None:
        logins.append(asyncio.create_task(recognise(start, **told)))
        await until_somebody_waits(engine)

    typing = UpdateContactDetails(start_work=before_its_commit(start, log_in), clock=Stopped())
    await typing(TENANT, actor(kari), kari, {"phone": "+4791111111"})
    recognised = await logins[0]
    async with start("nord") as work:
        kept = await work.patients.get("nord", kari.id)
    assert kept == recognised
    assert kept and (kept.phone, kept.edited) == ("+4791111111", ("phone",))
    assert (kept.name, kept.email) == (told["name"], told["email"])
