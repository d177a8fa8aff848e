"""A login beside what else is done to its patient at that moment: nothing is written over, and nobody comes back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.audit import Actor, ActorKind
from domain.catalogue import Seed
from domain.patient import Identity, Patient
from domain.usecases.erase_patient import ErasePatient
from domain.usecases.sign_in import SignedOut, SignIn
from domain.usecases.sign_out import SignOutEverywhere
from domain.usecases.update_contact_details import UpdateContactDetails
from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.sessions import SqlSessionReads
from integrations.store.work import SqlWork, StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, SECRET, make_identity, make_tenant

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


@asynccontextmanager
async def on_postgresql(url: str) -> AsyncIterator[StartSqlWork]:
    """With a tenant. On SQLite nobody else writes while a login does."""
    engine = open_engine(url)
    start = StartSqlWork(engine, Sealing(SECRET), Stopped())
    async with start("nord") as work:
        await work.catalogue.put_seed(Seed(tenant=TENANT))
        await work.commit()
    yield start
    await engine.dispose()


def sign_in(start: StartSqlWork, starting: Any = None) -> SignIn:
    reads = SqlSessionReads(start._engine, start._sealing, Stopped())
    return SignIn(start_work=starting or start, reads=reads, clock=Stopped())


def before_it_recognises(start: StartSqlWork, meanwhile: Callable[[], Awaitable[None]]) -> Any:
    """Starts work as `start` does, in which something else is done right before whoever signs in is looked for."""

    @asynccontextmanager
    async def starting(tenant_id: str) -> AsyncIterator[SqlWork]:
        async with start(tenant_id) as work:
            recognise = work.patients.recognise

            async def after_that(*who: Any) -> Patient:
                await meanwhile()
                return await recognise(*who)

            work.patients.recognise = after_that  # type: ignore[method-assign]
            yield work

    return starting


async def erase(start: StartSqlWork, patient: Patient) -> None:
    await ErasePatient(start_work=start, clock=Stopped())(TENANT, actor(patient), patient)


async def people(start: StartSqlWork) -> list[Any]:
    async with raw(start) as connection:
        found = [await connection.execute(text(f"SELECT * FROM {name}")) for name in ("patient", "patient_identity")]
        return [row for each in found for row in each]


async def test_no_token_brings_back_who_is_erased_at_that_moment(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        kari = await recognise(start)
        starting = before_it_recognises(start, lambda: erase(start, kari))
        token = make_identity(email="another@example.org")
        assert await sign_in(start, starting).of_token(TENANT, token, "r1") is None
        assert await people(start) == []


async def test_nor_who_is_erased_while_a_token_waits_to_write_to_them(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        kari = await recognise(start)
        asked = []

        async def ask() -> None:
            token = make_identity(email="another@example.org")
            asked.append(asyncio.create_task(sign_in(start).of_token(TENANT, token, "r1")))
            await until_somebody_waits(start._engine)

        await ErasePatient(start_work=before_its_commit(start, ask), clock=Stopped())(TENANT, actor(kari), kari)
        assert await asked[0] is None
        assert await people(start) == []


async def test_who_signs_in_anew_while_being_erased_has_signed_out_of_all_before(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        kari, token = await recognise(start), make_identity(expires_at=NOW + timedelta(days=1))
        starting = before_it_recognises(start, lambda: erase(start, kari))
        later = replace(token, authenticated_at=NOW + timedelta(seconds=1), email="another@example.org")
        _, viewer = await sign_in(start, starting).open_session(TENANT, later, "r1")
        assert viewer.patient.id != kari.id
        with pytest.raises(SignedOut):
            await sign_in(start).of_token(TENANT, replace(token, email=later.email), "r1")


LATER = make_identity(authenticated_at=NOW + timedelta(seconds=1))


async def logged_in_before_its_commit(start: StartSqlWork, identity: Identity, ends: Callable[[Any], Any]) -> Any:
    """A login by the browser that comes at the last moment of what else is done to its patient by such work."""
    logins = []

    async def log_in() -> None:
        logins.append(asyncio.create_task(sign_in(start).open_session(TENANT, identity, "r1")))
        await until_somebody_waits(start._engine)

    await ends(before_its_commit(start, log_in))
    return await logins[0]


async def test_nobody_is_let_in_by_an_older_login_while_signing_out_everywhere(start: StartSqlWork) -> None:
    kari = await recognise(start)

    async def leave(starting: Any) -> None:
        await SignOutEverywhere(start_work=starting, clock=Stopped())(TENANT, actor(kari), kari.id)

    with pytest.raises(SignedOut) as over:
        await logged_in_before_its_commit(start, make_identity(), leave)
    assert over.value.ago == timedelta()
    _, viewer = await sign_in(start).open_session(TENANT, LATER, "r1")
    assert viewer.patient.id == kari.id


async def test_what_a_login_opens_while_signing_out_everywhere_is_ended(start: StartSqlWork) -> None:
    kari, left = await recognise(start), []

    async def leave() -> None:
        everywhere = SignOutEverywhere(start_work=start, clock=Stopped())
        left.append(asyncio.create_task(everywhere(TENANT, actor(kari), kari.id)))
        await until_somebody_waits(start._engine)

    starting = before_its_commit(start, leave)
    secret, _ = await sign_in(start, starting).open_session(TENANT, make_identity(), "r1")
    await left[0]
    assert await sign_in(start).viewer(TENANT, secret) is None


async def test_who_logs_in_while_being_erased_is_somebody_new_by_a_later_login_alone(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        kari = await recognise(start)

        async def leave(starting: Any) -> None:
            await ErasePatient(start_work=starting, clock=Stopped())(TENANT, actor(kari), kari)

        with pytest.raises(SignedOut):
            await logged_in_before_its_commit(start, make_identity(), leave)
        assert await people(start) == []
        kari = await recognise(start)
        _, viewer = await logged_in_before_its_commit(start, LATER, leave)
        assert viewer.patient.id != kari.id


FIRST, SECOND = {"subject": "s-1"}, {"subject": "s-2"}


@pytest.mark.parametrize("first", ["who is new", "who was known without"])
async def test_a_number_that_two_logins_bring_at_once_makes_one_patient(postgres_url: str, first: str) -> None:
    """The one makes a patient of it, the other adds it to a patient who had none: whichever writes first."""
    async with on_postgresql(postgres_url) as start:
        known = await recognise(start, **FIRST, national_id=None)
        ways, second = [SECOND, FIRST], []
        if first == "who was known without":
            ways.reverse()

        async def meanwhile() -> None:
            second.append(asyncio.create_task(recognise(start, **ways[1])))
            await until_somebody_waits(start._engine)

        async with before_its_commit(start, meanwhile)("nord") as work:
            await work.patients.recognise("nord", make_identity(**ways[0]), uuid4())
            await work.commit()
        patient = await second[0]
        assert patient.national_id == make_identity().national_id
        rows = await people(start)
        assert len(rows) == 3 and {row.id for row in rows if hasattr(row, "id")} == {patient.id}
        assert known.national_id is None
