"""Many logins at once, and logins beside erasures and other logins of the same person: each is answered."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.catalogue import Seed
from domain.national_id import NationalId
from domain.patient import Patient
from domain.usecases.sign_in import SignedOut
from integrations.store.work import SqlWork, StartSqlWork
from tests.databases import raw
from tests.store.making import NOW, a_number, make_identity, make_tenant
from tests.store.test_patients_at_once import (
    TENANT,
    before_its_commit,
    erase,
    on_postgresql,
    people,
    recognise,
    sign_in,
    until_somebody_waits,
)

NUMBERS = [a_number("13116900216"), a_number("01929900126"), None]
ROUNDS, AT_ONCE = 25, 12


def a_login(dice: random.Random) -> dict[str, Any]:
    """One of a few people, who come by one of a few ways that tell the number or do not, and something new of them."""
    return {
        "subject": f"s{dice.randrange(4)}",
        "national_id": dice.choice(NUMBERS),
        "email": f"e{dice.randrange(3)}@example.org",
        "authenticated_at": NOW + timedelta(seconds=1),
    }


@pytest.mark.parametrize("erasures", [0, 0.2], ids=["logins alone", "with erasures"])
async def test_none_of_many_logins_waits_for_another_in_a_ring(postgres_url: str, erasures: float) -> None:
    async with on_postgresql(postgres_url) as start:
        dice, signing_in = random.Random(7), sign_in(start)

        async def one() -> None:
            _, viewer = await signing_in.open_session(TENANT, make_identity(**a_login(dice)), "r1")
            if dice.random() < erasures:
                await erase(start, viewer.patient)

        for _ in range(ROUNDS):
            done = await asyncio.gather(*(one() for _ in range(AT_ONCE)), return_exceptions=True)
            assert [each for each in done if each] == []
        twice = "SELECT count(*) - count(DISTINCT national_index) FROM patient WHERE national_index IS NOT NULL"
        async with raw(start) as connection:
            assert (await connection.execute(text(twice))).scalar_one() == 0


async def test_nor_do_the_first_logins_of_a_tenant_who_make_its_keys(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        for n in range(ROUNDS):
            async with start(f"t{n}") as work:
                await work.catalogue.put_seed(Seed(tenant=make_tenant(f"t{n}")))
                await work.commit()
            found = await asyncio.gather(*(first(start, f"t{n}", tells) for tells in (NUMBERS[0], None) * 4))
            assert len(set(found)) == 1


async def first(start: StartSqlWork, tenant_id: str, number: NationalId | None) -> UUID:
    async with start(tenant_id) as work:
        patient = await work.patients.recognise(tenant_id, make_identity(national_id=number), uuid4())
        await work.commit()
    return patient.id


async def whose_sessions(start: StartSqlWork) -> list[str]:
    async with raw(start) as connection:
        return [
            str(id).replace("-", "")
            for id in (await connection.execute(text("SELECT patient_id FROM session"))).scalars()
        ]


def once_before_it_starts(start: StartSqlWork, meanwhile: Callable[[], Awaitable[Any]]) -> Any:
    """Starts work as `start` does, before the first of which something else is done."""
    left = [meanwhile]

    @asynccontextmanager
    async def starting(tenant_id: str) -> AsyncIterator[SqlWork]:
        while left:
            await left.pop()()
        async with start(tenant_id) as work:
            yield work

    return starting


def once_recognised(start: StartSqlWork, meanwhile: Callable[[], Awaitable[Any]]) -> Any:
    """Starts work as `start` does, in which something else is done when who signs in was found for the first time."""
    left = [meanwhile]

    @asynccontextmanager
    async def starting(tenant_id: str) -> AsyncIterator[SqlWork]:
        async with start(tenant_id) as work:
            recognise = work.patients.recognise

            async def and_then(*who: Any) -> Patient:
                patient = await recognise(*who)
                while left:
                    await left.pop()()
                return patient

            work.patients.recognise = and_then  # type: ignore[method-assign]
            yield work

    return starting


LATER = make_identity(authenticated_at=NOW + timedelta(seconds=1))


async def test_a_login_from_before_the_erasure_brings_nobody_back(start: StartSqlWork) -> None:
    """The provider is asked for a newer one."""
    kari = await recognise(start)
    signing_in = sign_in(start, once_before_it_starts(start, lambda: erase(start, kari)))
    with pytest.raises(SignedOut):
        await signing_in.open_session(TENANT, make_identity(), "r1")
    assert await people(start) == [] and await whose_sessions(start) == []


async def test_who_is_erased_before_the_session_begins_is_somebody_new(start: StartSqlWork) -> None:
    kari = await recognise(start)
    signing_in = sign_in(start, once_before_it_starts(start, lambda: erase(start, kari)))
    _, viewer = await signing_in.open_session(TENANT, LATER, "r1")
    assert viewer.patient.id != kari.id and viewer.patient.name == kari.name
    assert await whose_sessions(start) == [viewer.patient.id.hex]


async def test_who_is_erased_once_recognised_is_somebody_new(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        kari = await recognise(start)
        signing_in = sign_in(start, once_recognised(start, lambda: erase(start, kari)))
        _, viewer = await signing_in.open_session(TENANT, LATER, "r1")
        assert viewer.patient.id != kari.id and viewer.patient.signed_out_at == NOW
        assert await whose_sessions(start) == [viewer.patient.id.hex]


async def test_who_signs_in_while_an_erasure_begins_is_erased_with_the_session(
    start: StartSqlWork, engine: AsyncEngine
) -> None:
    kari, erasures = await recognise(start), []

    async def begin_to_erase() -> None:
        erasures.append(asyncio.create_task(erase(start, kari)))
        await until_somebody_waits(engine)

    signing_in = sign_in(start, before_its_commit(start, begin_to_erase))
    _, viewer = await signing_in.open_session(TENANT, make_identity(), "r1")
    await erasures[0]
    assert viewer.patient.id == kari.id
    assert await whose_sessions(start) == []


WITHOUT, OTHERWISE = {"subject": "lone", "national_id": None}, {"subject": "kari"}


async def the_other_login(start: StartSqlWork) -> Patient:
    """Tells the number as well, so that who was known without is joined with who has it."""
    return await recognise(start, **{**WITHOUT, "national_id": make_identity().national_id})


async def test_who_is_joined_with_another_before_the_session_begins_is_that_one(start: StartSqlWork) -> None:
    kari, _ = await recognise(start, **OTHERWISE), await recognise(start, **WITHOUT)
    signing_in = sign_in(start, once_before_it_starts(start, lambda: the_other_login(start)))
    _, viewer = await signing_in.open_session(TENANT, make_identity(**WITHOUT), "r1")
    assert viewer.patient.id == kari.id
    assert await whose_sessions(start) == [kari.id.hex]


async def test_who_is_joined_with_another_once_recognised_is_that_one(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        kari, _ = await recognise(start, **OTHERWISE), await recognise(start, **WITHOUT)
        signing_in = sign_in(start, once_recognised(start, lambda: the_other_login(start)))
        _, viewer = await signing_in.open_session(TENANT, make_identity(**WITHOUT), "r1")
        assert viewer.patient.id == kari.id
        assert await whose_sessions(start) == [kari.id.hex]
