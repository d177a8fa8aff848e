"""Keys change while the servers run: nothing is unreadable at any moment, and nothing is left of the former key."""

import asyncio
import hmac
import os

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import LargeBinary, select, update

from domain.patient import ProviderLogin
from domain.ports import MasterKeyMissing, Session, Unsealable
from domain.usecases import rotate_keys as module
from domain.usecases.rotate_keys import RotateKeys
from integrations.store.resealing import SEALED
from integrations.store.sealing import HEADER, Sealing, place
from integrations.store.tables import PATIENT, SESSION, metadata
from integrations.store.tables_bookings import BOOKING
from integrations.store.tables_keys import TENANT_KEY
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, SECRET, a_number, an_id, at, make_booking
from tests.store.test_sealing import OTHER, change, get, recognise

K, P = TENANT_KEY.c, PATIENT.c
QUICK = 0.05


def fresh(engine, masters=None) -> StartSqlWork:
    """Another process: it reads the keys anew for every work."""
    return StartSqlWork(engine, Sealing(SECRET, masters, fresh_seconds=0.0), Stopped())


async def rotate(start, *tenant_ids: str) -> list[str]:
    said: list[str] = []
    await RotateKeys(start_work=start, settle=QUICK)(tenant_ids or ("nord",), said.append)
    return said


async def states(engine, tenant_id="nord") -> list[tuple[str, int, str]]:
    async with raw(engine) as connection:
        found = select(K.purpose, K.version, K.state).where(K.tenant_id == tenant_id).order_by(K.purpose, K.version)
        return [tuple(row) for row in await connection.execute(found)]


async def headers(engine) -> set[bytes]:
    """How everything begins that is sealed."""
    async with raw(engine) as connection:
        found = [
            bytes(value)[:HEADER]
            for column in (P.national_sealed, P.person_sealed, BOOKING.c.words_sealed, SESSION.c.login_sealed)
            for value in (await connection.execute(select(column).where(column.is_not(None)))).scalars()
        ]
    return set(found)


async def a_crowd(start, count: int = 7):
    return [
        await recognise(start, name=f"p{n}", subject=f"c{n}", national_id=None, phone=f"+4790000{n:03}")
        for n in range(count)
    ]


async def test_a_rotation_leaves_nothing_to_the_former_keys(start, engine, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 3)
    crowd, known = await a_crowd(start), await recognise(start, name="numbered")
    async with start("nord") as work:
        assert await work.bookings.hold(make_booking("b", comment="her"), NOW)
        await work.commit()
    theirs = await recognise(start, "syd")
    async with raw(engine) as connection:
        before = (await connection.execute(select(P.national_index).where(P.id == known.id))).scalar_one()
    said = await rotate(fresh(engine))
    assert any("3 rows so far" in each for each in said)
    retired = [(purpose, 1, "RETIRED") for purpose in ("index", "seal")]
    assert await states(engine) == sorted([*retired, ("index", 2, "CURRENT"), ("seal", 2, "CURRENT")])
    assert {state for _, _, state in await states(engine, "syd")} == {"CURRENT"}
    async with raw(engine) as connection:
        old = (await connection.execute(select(P.person_sealed).where(P.tenant_id == "nord"))).scalars().all()
        after = (
            await connection.execute(select(P.national_index).where(P.tenant_id == "nord", P.id == known.id))
        ).scalar_one()
    assert {bytes(each)[:HEADER] for each in old} == {b"\x02\x00\x02"} and before != after
    for each in (*crowd, known):
        assert await get(fresh(engine), "nord", each.id) == each
    assert await get(fresh(engine), "syd", theirs.id) == theirs
    assert (await recognise(fresh(engine), subject="elsewhere")).id == known.id
    async with fresh(engine)("nord") as work:
        assert (await work.bookings.get("nord", an_id("b"))).comment == "her"


def test_every_column_with_something_sealed_in_it_is_listed():
    sealed = {c for t in metadata.sorted_tables for c in t.c if c.name.endswith("sealed")}
    assert sealed and all(isinstance(column.type, LargeBinary) for column in sealed)
    assert {column for each in SEALED for column in each.columns} == sealed


async def logged_in(start, patient, *ids: str) -> ProviderLogin:
    login = ProviderLogin(provider="bankid", issuer="https://id.example", subject="s1", id_token="signed")
    times = dict.fromkeys(("authenticated_at", "created_at", "last_seen_at", "expires_at"), NOW)
    async with start("nord") as work:
        for id in ids:
            await work.sessions.add(Session(tenant_id="nord", id=id, patient_id=patient.id, **times), login)
        await work.commit()
    return login


async def test_logins_outlast_a_rotation(start, engine, monkeypatch):
    """More of them than are sealed at once, by ids that are no UUIDs."""
    monkeypatch.setattr(module, "AT_ONCE", 3)
    ids = [digit * 64 for digit in "05af9"]
    login = await logged_in(start, await recognise(start), *ids)
    await rotate(fresh(engine))
    assert await headers(engine) == {b"\x02\x00\x02"}
    for id in ids:
        async with fresh(engine)("nord") as work:
            assert (await work.sessions.end("nord", id)).login == login


async def test_a_login_that_opens_no_more_is_in_no_rotations_way(start, engine):
    login = await logged_in(start, await recognise(start), "lost", "kept")
    await change(engine, update(SESSION).where(SESSION.c.id == "lost").values(login_sealed=b"\x02\x00\x09" + bytes(40)))
    await rotate(fresh(engine))
    async with fresh(engine)("nord") as work:
        assert [(await work.sessions.end("nord", id)).login for id in ("lost", "kept")] == [None, login]


async def test_a_rotation_goes_on_where_it_was_cut_short(start, engine):
    crowd = await a_crowd(start)
    other = fresh(engine)
    for _ in range(2):
        async with other("nord") as work:
            await work.keys.begin("nord")
            await work.commit()
    assert [version for _, version, _ in await states(engine)] == [1, 2, 1, 2]
    async with other("nord") as work:
        await work.keys.switch("nord")
        await work.keys.reseal("nord", 3)
        await work.commit()
    assert await headers(engine) == {b"\x02\x00\x01", b"\x02\x00\x02"}
    for each in crowd:
        assert await get(fresh(engine), "nord", each.id) == each
    await rotate(fresh(engine))
    assert [version for _, version, state in await states(engine) if state == "CURRENT"] == [2, 2]
    assert await headers(engine) == {b"\x02\x00\x02"}


async def test_a_key_that_something_is_sealed_by_is_not_retired(start, engine):
    await recognise(start)
    async with fresh(engine)("nord") as work:
        await work.keys.begin("nord")
        await work.keys.switch("nord")
        with pytest.raises(ValueError, match="not retired"):
            await work.keys.retire("nord")


async def test_a_server_works_on_while_keys_are_rotated(start, engine):
    """A process that reads keys seldom, and so goes by the former ones for a while, among others that do not."""
    slow = StartSqlWork(engine, Sealing(SECRET, fresh_seconds=0.2), Stopped())
    crowd = {each.id: each for each in await a_crowd(start)}
    done = asyncio.Event()

    async def serve(start, name: str) -> None:
        n = 0
        while not done.is_set() or n < 3:
            n += 1
            new = await recognise(start, name=f"{name}{n}", subject=f"{name}{n}", national_id=None)
            crowd[new.id] = new
            for each in list(crowd.values())[-3:]:
                assert await get(start, "nord", each.id) == each

    async def rotating() -> None:
        for _ in range(2):
            await RotateKeys(start_work=fresh(engine), settle=1.0)(["nord"], lambda _: None)
        done.set()

    await asyncio.gather(serve(slow, "slow"), serve(fresh(engine), "quick"), rotating())
    assert await headers(engine) == {b"\x02\x00\x03"}
    for each in crowd.values():
        assert await get(fresh(engine), "nord", each.id) == each


async def test_while_index_keys_change_a_person_is_still_one_patient(start, engine):
    """Half of the processes find people by the former key, half by the next."""
    await recognise(start, subject="first", national_id=None)
    async with fresh(engine)("nord") as work:
        await work.keys.begin("nord")
        await work.commit()
    before = StartSqlWork(engine, Sealing(SECRET), Stopped())
    await get(before, "nord", an_id("same"))  # has read the keys, and goes by them from here on
    async with fresh(engine)("nord") as work:
        await work.keys.switch("nord")
        await work.commit()
    after = StartSqlWork(engine, Sealing(SECRET), Stopped())
    for number in (a_number(), OTHER):
        names = [f"{number.masked}{n}" for n in range(10)]
        asked = zip(names, [before, after] * 5, strict=True)
        found = await asyncio.gather(
            *(recognise(each, name=name, subject=name, national_id=number) for name, each in asked)
        )
        assert len({each.id for each in found}) == 1


async def test_what_was_sealed_by_derived_keys_opens_is_found_and_is_sealed_anew(start, engine):
    """As versions before envelope keys wrote it."""
    sealing, patient_id, number = Sealing(SECRET), an_id("old"), a_number()
    nonce, plain = os.urandom(12), msgspec.json.encode(number, order="sorted")
    here = place("nord", "patient.national_id", str(patient_id))
    sealed = b"\x01" + nonce + AESGCM(sealing._derive("itb", "seal", "nord")).encrypt(nonce, plain, here)
    found_by = hmac.digest(
        sealing.derived_index("nord"), place("patient.national_id") + b"\x00" + f"NO:{number.number}".encode(), "sha256"
    )
    old = {"tenant_id": "nord", "id": patient_id, "name": "Gammel Testesen", "phone": "+4790000000", "language": "nb"}
    await change(engine, PATIENT.insert().values(**old, national_sealed=sealed, national_index=found_by))
    found = await get(start, "nord", patient_id)
    assert (found.name, found.phone, found.national_id) == ("Gammel Testesen", "+4790000000", number)
    assert (await recognise(start, name="never", email=None)).id == patient_id
    await change(engine, update(PATIENT).values(person_sealed=None, name="Gammel Testesen"))
    await RotateKeys(start_work=fresh(engine), settle=0).seal("nord", lambda _: None)
    assert await headers(engine) == {b"\x02\x00\x01"}
    async with raw(engine) as connection:
        assert (await connection.execute(select(P.name))).scalar_one() == ""
    assert (await get(fresh(engine), "nord", patient_id)).name == "Gammel Testesen"
    await rotate(fresh(engine))
    assert (await recognise(fresh(engine), name="never", subject="x")).id == patient_id


async def test_what_bookings_had_in_the_clear_is_read_and_then_sealed(start, engine):
    async with start("nord") as work:
        assert await work.bookings.hold(make_booking("b", at(10)), NOW)
        await work.commit()
    plain = {"comment": "her", "sms_to": "+4791111111", "cancel_reason": "borte"}
    await change(engine, update(BOOKING).values(**plain))
    for seal in (False, True):
        if seal:
            await RotateKeys(start_work=start, settle=0).seal("nord", lambda _: None)
        async with start("nord") as work:
            booking = await work.bookings.get("nord", an_id("b"))
        assert {name: getattr(booking, name) for name in plain} == plain
    async with raw(engine) as connection:
        row = (await connection.execute(select(*(BOOKING.c[name] for name in plain)))).one()
    assert set(row) == {None}


async def test_another_master_key_wraps_and_the_former_one_may_go(start, engine):
    first, both, second = {1: b"1" * 32}, {1: b"1" * 32, 2: b"2" * 32}, {2: b"2" * 32}
    patient = await recognise(fresh(engine, first))
    with pytest.raises(MasterKeyMissing, match="master key 1"):
        await get(fresh(engine, second), "nord", patient.id)
    said: list[str] = []
    for _ in range(2):
        await RotateKeys(start_work=fresh(engine, both), settle=0).rewrap(["nord"], said.append)
    assert [each.split()[1] for each in said] == ["2", "0"]
    assert await get(fresh(engine, second), "nord", patient.id) == patient
    with pytest.raises(MasterKeyMissing, match="master key 2"):
        await get(fresh(engine, first), "nord", patient.id)
    async with fresh(engine, second)("nord") as work:
        assert {each.master for each in await work.keys.report("nord")} == {2}


async def test_a_master_key_that_is_another_by_now_is_found_out_though_there_is_nothing_to_wrap(start, engine):
    await recognise(fresh(engine, {1: b"1" * 32}))
    said: list[str] = []
    with pytest.raises(Unsealable, match="the keys of nord do not open by the master key 1 in ITB_MASTER_KEYS"):
        await RotateKeys(start_work=fresh(engine, {1: b"2" * 32}), settle=0).rewrap(["nord"], said.append)
    assert said == []
