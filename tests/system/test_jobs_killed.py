"""Workers may be killed at any moment, in the middle of a transaction too: nothing is lost, and nothing is done twice.

What a job writes is its event's `delivered_at`. A trigger counts how often that is written, as part of the same
transaction, and takes its time over it, so that kills fall into transactions that are under way.
"""

import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.events import Event, EventKind
from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.commands import Command, running
from tests.databases import raw
from tests.living import SECRET, until
from tests.store.making import an_id

EVENTS = 300
COUNTING = {
    "sqlite": (
        "CREATE TABLE effect (event_id)",
        "CREATE TRIGGER counts AFTER UPDATE OF delivered_at ON outbox BEGIN INSERT INTO effect SELECT NEW.id FROM "
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT max(i) FROM n); END",
    ),
    "postgresql": (
        "CREATE TABLE effect (event_id uuid)",
        "GRANT INSERT ON effect TO PUBLIC",
        "CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO effect VALUES (NEW.id); "
        "PERFORM pg_sleep(0.01); RETURN NULL; END $$",
        "CREATE TRIGGER counts AFTER UPDATE OF delivered_at ON outbox FOR EACH ROW EXECUTE FUNCTION counts()",
    ),
}


class Deliveries:
    """What has become of many events."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def prepare(self) -> None:
        async with raw(self.engine) as connection:
            for statement in COUNTING[self.engine.dialect.name]:
                await connection.execute(text(statement))
        now = datetime.now(UTC)  # the workers' clock is the real one, and what is old is forgotten
        async with StartSqlWork(self.engine, Sealing(SECRET))("nord") as work:
            for n in range(EVENTS):
                id = an_id(f"booking {n}")
                await work.tell(Event(tenant_id="nord", kind=EventKind.BOOKED, booking_id=id, version=1, at=now))
            await work.commit()

    async def one(self, statement: str) -> Any:
        async with raw(self.engine) as connection:
            return (await connection.execute(text(statement))).scalar()

    async def done(self) -> int:
        return int(await self.one("SELECT count(*) FROM effect"))

    async def under_way(self) -> int:
        told = "SELECT count(*) FROM job WHERE kind = 'deliver' AND state = 'READY' AND leased_by IS NOT NULL"
        return int(await self.one(told))

    async def reach(self, part: float) -> None:
        """That part of the deliveries is made, and some are being made."""

        async def look() -> bool | None:
            return (await self.done() >= EVENTS * part and await self.under_way() > 0) or None

        await until(look)

    async def end(self) -> None:
        async def look() -> bool | None:
            return not await self.one("SELECT count(*) FROM job WHERE state = 'READY' AND kind = 'deliver'") or None

        await until(look)

    async def are_made_once_each(self) -> None:
        async with raw(self.engine) as connection:
            made = Counter((await connection.execute(text("SELECT event_id FROM effect"))).scalars())
            states = set(await connection.execute(text("SELECT kind, state FROM job WHERE kind = 'deliver'")))
        assert len(made) == EVENTS
        assert set(made.values()) == {1}
        assert states == {("deliver", "DONE")}
        assert await self.one("SELECT count(*) FROM outbox WHERE delivered_at IS NULL") == 0


@pytest.fixture
async def deliveries(database_url: str) -> AsyncIterator[Deliveries]:
    engine = open_engine(database_url)
    deliveries = Deliveries(engine)
    await deliveries.prepare()
    yield deliveries
    await engine.dispose()


class Workers:
    """Processes of their own, whose leases are short."""

    def __init__(self, stack: ExitStack, database_url: str, logs: Path) -> None:
        self._stack, self._url, self._logs = stack, database_url, logs
        self._count = 0

    def start(self) -> Command:
        self._count += 1
        told = {"secret": SECRET, "oidc_issuer": "http://127.0.0.1:9", "database_url": self._url, "job_seconds": 2}
        log = self._logs / f"worker-{self._count}.log"
        return self._stack.enter_context(running("worker", log, "looking into open questions", **told))

    def said(self) -> str:
        return "".join(log.read_text() for log in self._logs.glob("worker-*.log"))


@pytest.fixture
def workers(database_url: str, tmp_path: Path):
    with ExitStack() as stack:
        yield Workers(stack, database_url, tmp_path)


def kill(worker: Command) -> None:
    worker.process.send_signal(signal.SIGKILL)
    worker.process.wait(30)


async def test_a_worker_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(
    deliveries: Deliveries, workers: Workers
) -> None:
    hits = 0
    while hits < 3 and (done := await deliveries.done()) < EVENTS * 0.8:
        worker = workers.start()
        await deliveries.reach(done / EVENTS + 0.05)
        kill(worker)
        hits += await deliveries.under_way() > 0  # else the kill came between two batches, and another one is sent
    assert hits >= 2 and 0 < await deliveries.done() < EVENTS
    last = workers.start()
    await deliveries.end()
    assert last.stop(signal.SIGTERM)[0] == 0
    await deliveries.are_made_once_each()
    heard = set(re.findall(r"booking\.booked of (\S+),", workers.said()))
    assert heard == {str(an_id(f"booking {n}")) for n in range(EVENTS)}


async def test_what_a_killed_worker_had_begun_another_one_finishes(deliveries: Deliveries, workers: Workers) -> None:
    killed, other = workers.start(), workers.start()
    await deliveries.reach(0.2)
    kill(killed)
    assert 0 < await deliveries.done() < EVENTS
    await deliveries.end()
    assert other.stop(signal.SIGTERM)[0] == 0
    await deliveries.are_made_once_each()


async def test_a_worker_that_is_told_to_stop_ends_what_it_has_begun(deliveries: Deliveries, workers: Workers) -> None:
    worker = workers.start()
    await deliveries.reach(0.05)
    assert worker.stop(signal.SIGTERM)[0] == 0
    assert await deliveries.under_way() == 0
    assert 0 < await deliveries.done() < EVENTS
