"""What is sealed opens in its own place only, by its own tenant's keys, and no table shows who anybody is."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, text, update

from domain.booking import BookingStatus
from integrations.store import sealing as module
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.engine import open_engine
from integrations.store.sealing import KeyState, MasterKeyMissing, Purpose, Sealing, TenantKey, TenantKeys, Unsealable
from integrations.store.tables import PATIENT, metadata
from integrations.store.tables_bookings import BOOKING
from integrations.store.tables_keys import TENANT_KEY
from integrations.store.tenant_keys import unwrapped
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.conftest import Stopped
from tests.store.making import NOW, SECRET, TENANTS, a_number, an_id, at, make_booking, make_identity

P = PATIENT.c
KARI = {"name": "Kari Øyen", "phone": "+4790000000", "email": "kari.oyen@mail.example"}
OTHER = a_number("01929900126")
MASTERS = {1: b"1" * 32, 2: b"2" * 32}


def keys(tenant_id: str, seal: bytes = b"s" * 32, index: bytes = b"i" * 32) -> TenantKeys:
    current = {Purpose.SEAL: seal, Purpose.INDEX: index}
    made = [TenantKey(purpose=p, version=1, state=KeyState.CURRENT, secret=s) for p, s in current.items()]
    return Sealing(SECRET).keys_of(tenant_id, made)


async def recognise(start, tenant_id="nord", name="same", **more):
    async with start(tenant_id) as work:
        patient = await work.patients.recognise(tenant_id, make_identity(**{**KARI, **more}), an_id(name))
        await work.commit()
        return patient


async def get(start, tenant_id, id):
    async with start(tenant_id) as work:
        return await work.patients.get(tenant_id, id)


async def change(engine, *statements):
    async with raw(engine) as connection:
        for statement in statements:
            await connection.execute(statement)


async def dump(engine) -> dict[str, bytes]:
    """Every table as the database would show it, with what is binary both as it is and as hexadecimal digits."""
    shown = {}
    async with raw(engine) as connection:
        for table in metadata.sorted_tables:
            rows = (await connection.execute(text(f'SELECT * FROM "{table.name}"'))).all()
            cells = [value for row in rows for value in row if value is not None]
            binary = [bytes(value) for value in cells if isinstance(value, bytes | memoryview)]
            shown[table.name] = b"\n".join([*(str(value).encode() for value in cells), *binary])
    return shown


async def test_nobody_can_be_read_in_any_table(start, engine):
    patient = await recognise(start)
    booking = make_booking("b", patient_id=patient.id, status=BookingStatus.BOOKED)
    private = {"comment": "allergisk mot hunder", "sms_to": "+4791111111", "cancel_reason": "er i Bodø"}
    async with start("nord") as work:
        assert await work.bookings.hold(booking, NOW)
        assert await work.bookings.save(replace(booking, version=2, **private))
        await work.commit()
    shown = await dump(engine)
    assert str(patient.id).replace("-", "") in shown["patient"].decode(errors="replace").replace("-", "")
    for secret in (a_number().number, "1999-12-01", *KARI.values(), "Øyen", *private.values()):
        for table, content in shown.items():
            assert secret.encode() not in content, (table, secret)
    [read] = (await SqlBookingReads(engine, Sealing(SECRET)).get("nord", [booking.id])).values()
    assert {name: getattr(read, name) for name in private} == private
    with pytest.raises(Unsealable, match="without keys"):
        await SqlBookingReads(engine).get("nord", [booking.id])


@pytest.mark.parametrize("column", ["national_sealed", "person_sealed"])
@pytest.mark.parametrize("other_tenant", [False, True], ids=["another row", "another tenant"])
async def test_a_sealed_value_does_not_open_in_another_row_or_tenant(start, engine, column, other_tenant):
    first = await recognise(start)
    other = await recognise(start, name="other", national_id=OTHER, subject="s2")
    await recognise(start, "syd")
    theirs = select(P[column]).where(P.tenant_id == "nord", P.id == first.id).scalar_subquery()
    where = ("syd", first.id) if other_tenant else ("nord", other.id)
    await change(engine, update(PATIENT).where(P.tenant_id == where[0], P.id == where[1]).values({column: theirs}))
    assert await get(start, "nord", first.id) == first
    with pytest.raises(Unsealable):
        await get(start, *where)


async def test_a_sealed_value_does_not_open_in_another_column(start, engine):
    patient = await recognise(start)
    swapped = {"national_sealed": P.person_sealed, "person_sealed": P.national_sealed}
    await change(engine, update(PATIENT).values(swapped))
    with pytest.raises(Unsealable):
        await get(start, "nord", patient.id)


async def test_a_bookings_words_do_not_open_in_another_booking(start, engine):
    two = [make_booking(name, at(hour), comment=name) for name, hour in (("a", 9), ("b", 11))]
    async with start("nord") as work:
        for each in two:
            assert await work.bookings.hold(each, NOW)
        await work.commit()
    sealed = select(BOOKING.c.words_sealed).where(BOOKING.c.id == two[0].id).scalar_subquery()
    await change(engine, update(BOOKING).where(BOOKING.c.id == two[1].id).values(words_sealed=sealed))
    async with start("nord") as work:
        assert (await work.bookings.get("nord", two[0].id)).comment == "a"
        with pytest.raises(Unsealable):
            await work.bookings.get("nord", two[1].id)


async def test_another_tenants_key_opens_nothing_even_in_its_place(start, engine):
    patient = await recognise(start)
    await recognise(start, "syd")
    K = TENANT_KEY.c
    theirs = select(K.wrapped).where(K.tenant_id == "syd", K.purpose == "seal").scalar_subquery()
    await change(engine, update(TENANT_KEY).where(K.tenant_id == "nord", K.purpose == "seal").values(wrapped=theirs))
    with pytest.raises(Unsealable):
        await get(StartSqlWork(engine, Sealing(SECRET)), "nord", patient.id)


async def moved(engine, how: str) -> None:
    """The key that seals nord's people is put in another's place, or another in its own."""
    K = TENANT_KEY.c
    own, wrapped = (K.tenant_id == "nord", K.purpose == "seal"), select(K.wrapped)
    values = {
        "tenant": {"wrapped": wrapped.where(K.tenant_id == "syd", K.purpose == "seal").scalar_subquery()},
        "purpose": {"wrapped": wrapped.where(K.tenant_id == "nord", K.purpose == "index").scalar_subquery()},
        "version": {"version": 2},
    }[how]
    await change(engine, update(TENANT_KEY).where(*own).values(values))


@pytest.mark.parametrize("how", ["tenant", "purpose", "version"])
async def test_nobody_is_sealed_by_a_key_that_was_moved_from_another_place(start, engine, how):
    """Whoever changes the tables and knows one key would read all who come later."""
    for tenant_id in TENANTS:
        await recognise(start, tenant_id)
    await moved(engine, how)
    with pytest.raises(
        Unsealable, match="the keys of nord do not open by the master key 0 that follows from ITB_SECRET"
    ):
        await recognise(StartSqlWork(engine, Sealing(SECRET), Stopped()), name="new", subject="new", national_id=OTHER)


async def test_another_secret_opens_nothing(start, engine):
    patient = await recognise(start)
    with pytest.raises(Unsealable):
        await get(StartSqlWork(engine, Sealing("another secret of at least 32 bytes")), "nord", patient.id)


async def test_a_tenant_without_keys_is_unreadable_for_ever(start, engine):
    patient, theirs = await recognise(start), await recognise(start, "syd")
    await change(engine, delete(TENANT_KEY).where(TENANT_KEY.c.tenant_id == "nord"))
    fresh = StartSqlWork(engine, Sealing(SECRET), Stopped())
    with pytest.raises(Unsealable):
        await get(fresh, "nord", patient.id)
    assert await get(fresh, "syd", theirs.id) == theirs
    newcomer = await recognise(fresh, name="new", subject="new", national_id=OTHER)
    assert await get(fresh, "nord", newcomer.id) == newcomer
    with pytest.raises(Unsealable):
        await get(fresh, "nord", patient.id)


async def test_of_processes_that_need_keys_at_once_the_first_makes_them(start, engine, database_url):
    engines = [open_engine(database_url) for _ in range(4)]
    starts = [StartSqlWork(each, Sealing(SECRET), Stopped()) for each in engines]
    numbers = [{"national_id": None, "subject": f"s{n}", "name": f"p{n}"} for n in range(8)]
    found = await asyncio.gather(*(recognise(starts[n % 4], **more) for n, more in enumerate(numbers)))
    async with raw(engine) as connection:
        made = (await connection.execute(select(TENANT_KEY.c.purpose, TENANT_KEY.c.version))).all()
    assert sorted(made) == [("index", 1), ("seal", 1)]
    for each in found:
        assert await get(StartSqlWork(engine, Sealing(SECRET)), "nord", each.id) == each
    for each in engines:
        await each.dispose()


async def test_keys_that_were_rolled_back_are_not_remembered(start):
    async with start("nord") as work:
        await work.patients.recognise("nord", make_identity(), an_id("lost"))
    patient = await recognise(start)
    assert await get(StartSqlWork(start._engine, Sealing(SECRET)), "nord", patient.id) == patient


async def test_keys_are_read_once(start, statements):
    await recognise(start)
    with statements() as seen:
        await recognise(start)
        await recognise(start, name="x", subject="x", national_id=OTHER)
    assert not [each for each in seen if "tenant_key" in each]


def test_the_keys_of_the_latest_tenants_are_remembered_for_a_while(monkeypatch):
    monkeypatch.setattr(module, "MOST_TENANTS", 3)
    sealing = Sealing(SECRET)
    for n in range(5):
        sealing.remember(keys(f"t{n}"))
    assert [n for n in range(5) if sealing.known(f"t{n}")] == [2, 3, 4]
    brief = Sealing(SECRET, fresh_seconds=0.0)
    brief.remember(keys("nord"))
    assert brief.known("nord") is None


def test_the_blind_index_differs_between_columns_and_keys():
    own = [keys("nord", index=key * 32).index(c, b"NO:1") for key in (b"i", b"x") for c in ("a", "b")]
    assert len(set(own)) == 4
    assert keys("nord").index("a", b"NO:1") == own[0] and keys("nord").indexes("a", b"NO:1") == [own[0]]


async def test_the_same_number_has_another_index_with_another_tenant(start, engine):
    for tenant_id in TENANTS:
        await recognise(start, tenant_id)
    async with raw(engine) as connection:
        assert len(set((await connection.execute(select(P.national_index))).scalars())) == len(TENANTS)


def test_a_changed_byte_is_noticed_wherever_it_is():
    nord = keys("nord")
    sealed = nord.seal("a", "1", b"plain")
    assert sealed != nord.seal("a", "1", b"plain")
    assert nord.open("a", "1", sealed) == b"plain"
    for n in range(len(sealed)):
        with pytest.raises(Unsealable):
            nord.open("a", "1", sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :])
    for other, place in ((nord, ("b", "1")), (nord, ("a", "2")), (keys("syd"), ("a", "1"))):
        with pytest.raises(Unsealable):
            other.open(*place, sealed)
    with pytest.raises(Unsealable):
        nord.open("a", "1", b"")


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="shorter than 32"):
        Sealing("too short")


def test_a_wrapped_key_opens_by_its_master_key_in_its_own_place_only():
    sealing = Sealing(SECRET, MASTERS)
    wrapped = sealing.wrap("nord", Purpose.SEAL, 1, b"k" * 32)
    assert sealing.unwrap("nord", Purpose.SEAL, 1, 2, wrapped) == b"k" * 32
    for place in (("syd", Purpose.SEAL, 1), ("nord", Purpose.INDEX, 1), ("nord", Purpose.SEAL, 2)):
        with pytest.raises(Unsealable):
            sealing.unwrap(*place, 2, wrapped)
    with pytest.raises(Unsealable):
        sealing.unwrap("nord", Purpose.SEAL, 1, 1, wrapped)
    with pytest.raises(MasterKeyMissing, match="master key 2"):
        Sealing(SECRET, {1: MASTERS[1]}).unwrap("nord", Purpose.SEAL, 1, 2, wrapped)


def test_no_key_is_ever_printed():
    key = TenantKey(purpose=Purpose.SEAL, version=1, state=KeyState.CURRENT, secret=b"k" * 32)
    assert "kkk" not in repr(key) + repr(unwrapped(Sealing(SECRET), "nord", [])) + str(key)
