"""Agencies' keys in the database: made, found, replaced, revoked and noted, on both engines."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.api_key import KeyKind, KeyText, Peppers, _check
from domain.client import SYSTEM_SCOPES, Client, Scope
from domain.ports import FoundKey
from domain.usecases.issue_token import IssueToken
from domain.usecases.keep_keys import MintKey, NewKey, RevokeKey, RotateKey
from domain.usecases.key_origins import TellKeyOrigins
from domain.usecases.know_client import CredentialRefused, KnowClient
from integrations.store.api_keys import SqlKeyReads
from integrations.store.sealing import Sealing
from integrations.store.tables import AUDIT
from integrations.store.tables_clients import API_KEY
from integrations.store.work import StartSqlWork
from integrations.tokens.system_tokens import EcSystemTokens
from tests.databases import raw
from tests.store.making import make_seed

SECRET = "tests-only-not-a-secret-0123456789abcdef"


class Hand:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.at = datetime(2027, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def on(self, **by: float) -> None:
        self.at += timedelta(**by)


class CountedReads(SqlKeyReads):
    """The real look-ups, counted."""

    found = 0

    async def find(self, key_id: str) -> FoundKey | None:
        self.found += 1
        return await super().find(key_id)


class Desk:
    """Everything around keys over one database; `ring` makes one more process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine, self.clock = engine, Hand()
        self.start = StartSqlWork(engine, Sealing(SECRET))
        self.reads = CountedReads(engine)
        self.mint = MintKey(start_work=self.start, clock=self.clock, peppers=Peppers(SECRET.encode()))
        self.rotate = RotateKey(keys=self.reads, mint=self.mint)
        self.revoke = RevokeKey(keys=self.reads, start_work=self.start, clock=self.clock)
        self.tokens = EcSystemTokens(SECRET, 1, "https://booking.example", self.clock)
        self.know = self.process()

    def process(self, **changes: Any) -> KnowClient:
        told: dict[str, Any] = {
            "keys": self.reads,
            "tokens": self.tokens,
            "start_work": self.start,
            "clock": self.clock,
            "peppers": Peppers(SECRET.encode()),
            "kept": timedelta(seconds=15),
            "synthetic": False,
        }
        return KnowClient(**{**told, **changes})

    async def key(self, **changes: Any) -> KeyText:
        told: dict[str, Any] = {
            "tenant_id": "t1",
            "agency": "fysio",
            "kind": KeyKind.LIVE,
            "scopes": SYSTEM_SCOPES,
            "origins": ("https://booking.example",),
            "rate_per_minute": 60,
        }
        return await self.mint(NewKey(**{**told, **changes}))

    async def row(self, key: KeyText) -> Any:
        async with raw(self.engine) as connection:
            return (await connection.execute(select(API_KEY).where(API_KEY.c.key_id == key.key_id))).one()

    async def audited(self) -> list[tuple[str, str, dict[str, str]]]:
        async with raw(self.engine) as connection:
            rows = await connection.execute(select(AUDIT).where(AUDIT.c.target == "api_key").order_by(AUDIT.c.at))
            return [(row.action, row.actor_kind, row.details) for row in rows]

    async def opens(self, key: KeyText, know: KnowClient | None = None) -> bool:
        try:
            await (know or self.know).by_key(key.text)
        except CredentialRefused:
            return False
        return True


@pytest.fixture
async def desk(engine: AsyncEngine) -> Desk:
    desk = Desk(engine)
    for tenant in ("t1", "t2"):
        async with desk.start(tenant) as work:
            await work.catalogue.put_seed(make_seed(tenant))
            await work.commit()
    return desk


async def test_a_key_names_its_client_and_tenant_and_is_kept_as_a_digest(desk: Desk) -> None:
    key = await desk.key(scopes=frozenset({Scope.FIND, Scope.BOOK}))
    known = await desk.know.by_key(key.text)
    assert (known.tenant_id, known.client.id, known.client.key_id) == ("t1", "agency:fysio", key.key_id)
    assert (known.client.scopes, known.client.rate_per_minute) == ({Scope.FIND, Scope.BOOK}, 60)
    row = await desk.row(key)
    assert key.text[18:] not in repr(row) and row.last_four == key.text[-4:]


async def test_a_mistyped_key_asks_nobody(desk: Desk) -> None:
    key = await desk.key()
    desk.reads.found = 0
    typed = key.text[:20] + ("A" if key.text[20] != "A" else "B") + key.text[21:]
    with pytest.raises(CredentialRefused, match="typing mistake"):
        await desk.know.by_key(typed)
    assert desk.reads.found == 0


async def test_another_secret_under_a_known_id_opens_nothing(desk: Desk) -> None:
    key = await desk.key()
    forged = f"itb_live_{key.key_id}_{'0' * 30}"
    with pytest.raises(CredentialRefused, match="not valid"):
        await desk.know.by_key(forged + _check(forged))


async def test_a_test_key_opens_nothing_where_real_people_are(desk: Desk) -> None:
    key = await desk.key(kind=KeyKind.TEST)
    assert not await desk.opens(key)
    assert await desk.opens(key, desk.process(synthetic=True))


async def test_a_revoked_key_is_refused_when_what_was_known_of_it_has_aged(desk: Desk) -> None:
    key = await desk.key()
    assert await desk.opens(key)
    assert await desk.revoke(key.key_id) is not None
    desk.clock.on(seconds=14)
    assert await desk.opens(key), "it is looked up again and again"
    desk.clock.on(seconds=1)
    assert not await desk.opens(key)
    assert not await desk.opens(key, desk.process())
    assert await desk.revoke(key.key_id) is None


async def test_what_is_known_of_a_key_spares_look_ups(desk: Desk) -> None:
    key = await desk.key()
    desk.reads.found = 0
    assert all(await asyncio.gather(*(desk.opens(key) for _ in range(20))))
    assert await desk.opens(key)
    assert desk.reads.found == 1


async def test_a_replaced_key_opens_for_seven_days_beside_its_successor(desk: Desk) -> None:
    old = await desk.key(scopes=frozenset({Scope.FIND}), rate_per_minute=7)
    rotated = await desk.rotate(old.key_id)
    assert rotated is not None
    new, until = rotated
    assert until == desk.clock.now() + timedelta(days=7)
    known = await desk.know.by_key(new.text)
    assert (known.client.id, known.client.scopes, known.client.rate_per_minute) == ("agency:fysio", {Scope.FIND}, 7)
    desk.clock.on(days=7, seconds=-1)
    assert await desk.opens(old) and await desk.opens(new)
    desk.clock.on(seconds=1)
    assert not await desk.opens(old) and await desk.opens(new)
    assert await desk.rotate(old.key_id) is None
    assert await desk.rotate("nobodys0") is None


async def test_to_replace_a_key_twice_does_not_put_its_end_off(desk: Desk) -> None:
    old = await desk.key()
    await desk.rotate(old.key_id)
    desk.clock.on(days=3)
    rotated = await desk.rotate(old.key_id)
    assert rotated is not None and rotated[1] == desk.clock.now() + timedelta(days=4)


async def test_an_agency_has_several_keys_that_open_at_once(desk: Desk) -> None:
    keys = [await desk.key() for _ in range(3)]
    assert [await desk.opens(key) for key in keys] == [True] * 3
    assert len(await desk.reads.of_tenant("t1")) == 3 and await desk.reads.of_tenant("t2") == []


async def test_what_is_done_with_keys_is_in_the_audit_trail(desk: Desk) -> None:
    old = await desk.key()
    desk.clock.on(seconds=1)
    new, _ = await desk.rotate(old.key_id) or (old, None)
    desk.clock.on(seconds=1)
    await desk.revoke(new.key_id)
    audited = await desk.audited()
    assert sorted(action for action, _, _ in audited) == [
        *("api_key.minted", "api_key.minted", "api_key.revoked", "api_key.rotated")
    ]
    assert {actor for _, actor, _ in audited} == {"SYSTEM"}
    assert audited[0][2]["key_id"] == old.key_id and audited[-1][2]["key_id"] == new.key_id
    assert old.text[18:] not in repr(audited) and new.text[18:] not in repr(audited)


async def test_a_key_whose_audit_row_fails_is_not_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("no audit")

    monkeypatch.setattr("integrations.store.work.add_audit", fail)
    with pytest.raises(RuntimeError, match="no audit"):
        await desk.key()
    assert await desk.reads.of_tenant("t1") == []


async def test_the_last_use_is_written_once_a_minute_by_all_processes_together(desk: Desk) -> None:
    key, other, began = await desk.key(), desk.process(), desk.clock.now()
    await desk.opens(key)
    await desk.know.close()
    assert (await desk.row(key)).last_used_at == began
    desk.clock.on(seconds=30)
    await desk.opens(key)
    await desk.opens(key, other)
    await asyncio.gather(desk.know.close(), other.close())
    assert (await desk.row(key)).last_used_at == began
    desk.clock.on(seconds=30)
    await desk.opens(key)
    await desk.know.close()
    assert (await desk.row(key)).last_used_at == desk.clock.now()


async def test_a_use_that_cannot_be_noted_is_in_nobodys_way(desk: Desk) -> None:
    key = await desk.key()

    def stuck(_: str) -> Any:
        raise ConnectionError("no way in")

    know = desk.process(start_work=stuck)
    assert await desk.opens(key, know)
    await know.close()
    assert (await desk.row(key)).last_used_at is None


async def test_a_key_under_an_old_pepper_is_kept_under_the_new_one_from_its_next_use_on(desk: Desk) -> None:
    key = await desk.key()
    newer = Peppers.read(SECRET, f"1:{'p' * 32}")
    know = desk.process(peppers=newer)
    assert await desk.opens(key, know)
    await know.close()
    row = await desk.row(key)
    assert row.pepper == 1
    assert await desk.opens(key, desk.process(peppers=newer))
    assert not await desk.opens(key, desk.process()), "the old pepper alone still opens it"


SECOND = f"1:{'p' * 32},2:{'q' * 32}"
ROLLOUTS = {
    "the first": [Peppers.read(SECRET, *told) for told in (("",), (f"1:{'p' * 32}", "0"), (f"1:{'p' * 32}",))],
    "another": [Peppers.read(SECRET, *told) for told in ((SECOND[:34],), (SECOND, "1"), (SECOND,), (SECOND[35:],))],
}


@pytest.mark.parametrize("steps", ROLLOUTS.values(), ids=ROLLOUTS)
async def test_a_new_pepper_shuts_no_key_out_while_processes_of_two_steps_run(desk: Desk, steps: list[Peppers]) -> None:
    """Whichever of the two makes a key or is asked for it first, and so moves it to its own pepper."""
    keys = [await desk.key()]
    for before, after in pairwise(steps):
        for minting in (before, after):
            desk.mint = replace(desk.mint, peppers=minting)
            keys.append(await desk.key())
            for peppers in (before, after, before, after):
                desk.clock.on(minutes=2)
                know = desk.process(peppers=peppers)
                assert [await desk.opens(key, know) for key in keys] == [True] * len(keys)
                await know.close()
    assert {(await desk.row(key)).pepper for key in keys} == {steps[-1].current}


async def test_a_token_dies_with_its_key(desk: Desk) -> None:
    key = await desk.key(scopes=frozenset(Scope))
    issued = IssueToken(tokens=desk.tokens, clock=desk.clock)((await desk.know.by_key(key.text)).client, "t1")
    known = await desk.know.by_token(issued.text)
    assert (known.client.id, known.client.key_id, known.client.is_system) == ("agency:fysio", key.key_id, True)
    assert known.client.scopes == SYSTEM_SCOPES
    await desk.revoke(key.key_id)
    desk.clock.on(seconds=15)
    with pytest.raises(CredentialRefused, match="revoked"):
        await desk.know.by_token(issued.text)


async def test_a_token_of_another_tenant_or_agency_is_refused(desk: Desk) -> None:
    key = await desk.key()
    client: Client = (await desk.know.by_key(key.text)).client
    issue = IssueToken(tokens=desk.tokens, clock=desk.clock)
    with pytest.raises(CredentialRefused):
        await desk.know.by_token(issue(client, "t2").text)


async def test_the_origins_of_keys_that_stand_are_told_per_tenant(desk: Desk) -> None:
    origins = TellKeyOrigins(keys=desk.reads, clock=desk.clock, kept=timedelta(seconds=15))
    await desk.key()
    gone = await desk.key(origins=("https://gone.example",))
    await desk.key(tenant_id="t2", origins=("https://other.example",))
    assert await origins("t1") == {"https://booking.example", "https://gone.example"}
    assert await origins("t2") == {"https://other.example"}
    await desk.revoke(gone.key_id)
    desk.clock.on(seconds=15)
    assert await origins("t1") == {"https://booking.example"}
