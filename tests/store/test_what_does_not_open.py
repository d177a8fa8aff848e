"""Rows that do not open any more are in no rotation's way: all else is sealed anew, and it is told whose they are."""

import pytest
from sqlalchemy import update

from domain.ports import Unsealable
from domain.usecases import rotate_keys as module
from domain.usecases.rotate_keys import RotateKeys, SomeDoNotOpen
from integrations.store.sealing import Sealing
from integrations.store.tables import PATIENT
from integrations.store.tables_bookings import BOOKING
from integrations.store.tables_keys import TENANT_KEY
from integrations.store.tenant_keys import WorkSealing
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, SECRET, an_id, make_booking
from tests.store.test_rotating_keys import K, P, a_crowd, fresh, headers, rotate, states
from tests.store.test_sealing import change, get, recognise

LOST = b"\x02\x00\x01" + bytes(40)
"""By the first key, and opened by none."""


async def booked(start, name: str) -> None:
    async with start("nord") as work:
        booking = make_booking(name, practitioner=name, comment="her")
        assert await work.bookings.hold(booking, NOW)
        await work.commit()


async def told(start, *tenant_ids: str) -> str:
    with pytest.raises(SomeDoNotOpen) as why:
        await rotate(start, *tenant_ids)
    return str(why.value)


def of(tenant_id: str) -> str:
    return f"not all of it opens, and keeps its keys: {tenant_id}"


async def lose(engine, *ids) -> None:
    await change(engine, update(PATIENT).where(P.id.in_(ids)).values(person_sealed=LOST))


async def test_all_else_is_sealed_anew_and_the_keys_of_that_tenant_alone_are_kept(start, engine, monkeypatch):
    """More of them than are read at once, and a tenant behind."""
    monkeypatch.setattr(module, "AT_ONCE", 2)
    crowd, theirs = await a_crowd(start), await recognise(start, "syd")
    for name in ("b1", "b2"):
        await booked(start, name)
    lost, kept = crowd[:3], crowd[3:]
    await lose(engine, *(each.id for each in lost))
    await change(engine, update(BOOKING).where(BOOKING.c.id == an_id("b1")).values(words_sealed=LOST))
    why = await told(fresh(engine), "nord", "syd")
    assert why == of("nord (1 rows of booking, 3 rows of patient)") and str(lost[0].id) not in why
    for each in kept:
        assert await get(fresh(engine), "nord", each.id) == each
    assert await get(fresh(engine), "syd", theirs.id) == theirs
    assert {state for _, _, state in await states(engine)} == {"OLD", "CURRENT"}
    assert {state for _, _, state in await states(engine, "syd")} == {"RETIRED", "CURRENT"}
    assert await headers(engine) == {b"\x02\x00\x01", b"\x02\x00\x02"}, "only what is lost has the former"
    async with fresh(engine)("nord") as work:
        assert (await work.bookings.get("nord", an_id("b2"))).comment == "her"
        assert await work.keys.remaining("nord") == 4


async def test_once_they_are_emptied_the_rotation_goes_on_to_its_end(start, engine):
    lost, kept = await a_crowd(start, 2)
    await lose(engine, lost.id)
    for _ in range(2):
        assert await told(fresh(engine)) == of("nord (1 rows of patient)")
    assert [version for _, version, _ in await states(engine)] == [1, 2, 1, 2], "and no third key was made"
    await change(engine, update(PATIENT).where(P.id == lost.id).values(person_sealed=None))
    await rotate(fresh(engine))
    assert (await get(fresh(engine), "nord", lost.id)).name == ""
    assert {state for _, version, state in await states(engine) if version == 1} == {"RETIRED"}
    assert await get(fresh(engine), "nord", kept.id) == kept


async def test_what_opens_and_cannot_be_read_is_no_more_in_the_way(start, engine):
    odd, kept = await a_crowd(start, 2)
    async with raw(engine) as connection:
        keys = await WorkSealing(connection, Sealing(SECRET)).keys("nord")
    sealed = keys.seal("patient.person", str(odd.id), b'{"name": 1}')
    await change(engine, update(PATIENT).where(P.id == odd.id).values(person_sealed=sealed))
    assert await told(fresh(engine)) == of("nord (1 rows of patient)")
    assert await get(fresh(engine), "nord", kept.id) == kept


async def test_a_tenant_whose_keys_do_not_open_is_in_no_others_way(start, engine):
    await recognise(start)
    theirs = await recognise(start, "syd")
    await change(engine, update(TENANT_KEY).where(K.tenant_id == "nord").values(wrapped=bytes(60)))
    assert await told(fresh(engine), "nord", "syd") == of(
        "nord (the keys of nord do not open by the master key 0 that follows from ITB_SECRET)"
    )
    assert {state for _, _, state in await states(engine, "syd")} == {"RETIRED", "CURRENT"}
    assert await get(fresh(engine), "syd", theirs.id) == theirs
    second = StartSqlWork(engine, Sealing(SECRET, {1: b"1" * 32}, fresh_seconds=0.0), Stopped())
    with pytest.raises(Unsealable, match="nord"):
        await RotateKeys(start_work=second, settle=0).rewrap(["nord", "syd"], lambda _: None)
    async with second("syd") as work:
        assert {each.master for each in await work.keys.report("syd") if each.state == "CURRENT"} == {1}
