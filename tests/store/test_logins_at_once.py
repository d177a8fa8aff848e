"""Many logins of a few people at once: each is answered."""

import asyncio
import random
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from domain.catalogue import Seed
from domain.national_id import NationalId
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.making import NOW, a_number, make_identity, make_tenant
from tests.store.test_patients_at_once import on_postgresql, recognise

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


async def test_none_of_many_logins_waits_for_another_in_a_ring(postgres_url: str) -> None:
    async with on_postgresql(postgres_url) as start:
        dice = random.Random(7)
        for _ in range(ROUNDS):
            done: list[object] = await asyncio.gather(
                *(recognise(start, **a_login(dice)) for _ in range(AT_ONCE)), return_exceptions=True
            )
            assert [each for each in done if isinstance(each, BaseException)] == []
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
