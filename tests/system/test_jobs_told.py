"""Operators see how deep the queue is, what was given up and why, and whether an EHR owes an answer."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.ext.asyncio import AsyncEngine

from api.bootstrap import open_house
from api.settings import Settings
from api.worker import work_forever
from domain.audit import SYSTEM
from domain.booking import Asked, BookingStatus
from domain.catalogue import Seed
from domain.events import Event, EventKind
from domain.ports import EVERY_TENANT
from domain.usecases.record import record
from integrations.store.jobs import SqlJobReads
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.commands import run
from tests.living import SECRET, Client, in_process, until
from tests.store.making import an_id, make_booking, make_tenant
from tests.test_commands import NEEDED, told_in_one_line

ERROR = "ConnectionError at integrations.console:13"


@dataclass
class Queue:
    url: str
    engine: AsyncEngine
    start: StartSqlWork

    def settings(self, **more: Any) -> Settings:
        told = {"secret": SECRET, "oidc_issuer": "http://127.0.0.1:9", "worker": False, "check_interval": 0.2}
        return Settings(database_url=self.url, **{**told, **more})

    async def given_up(self) -> UUID:
        """One dead job, wanted two hours ago."""
        now = datetime.now(UTC)
        async with self.start("nord") as work:
            when = now - timedelta(hours=2)
            await work.jobs.enqueue("remind", {"booking_id": "secret"}, tenant_id="nord", dedupe="one", run_at=when)
            await work.commit()
        async with self.start(EVERY_TENANT) as work:
            [job] = await work.jobs.claim("remind", "worker", now, now, 1)
            assert await work.jobs.fail(job, "worker", now, ERROR, None)
            await work.commit()
        return job.id

    async def waiting(self, *names: str, ago: timedelta) -> None:
        async with self.start(EVERY_TENANT) as work:
            for name in names:
                await work.jobs.enqueue("sweep", {}, dedupe=name, run_at=datetime.now(UTC) - ago)
            await work.commit()


@pytest.fixture
async def queue(database_url: str, engine: AsyncEngine) -> AsyncIterator[Queue]:
    yield Queue(database_url, engine, StartSqlWork(engine, Sealing(SECRET)))


async def metrics(client: Client) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels, in the order of their names."""
    answer = await client.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_the_queue_is_told_to_monitors(queue: Queue) -> None:
    await queue.given_up()
    await queue.waiting("a", "b", ago=timedelta(minutes=10))
    await queue.waiting("later", ago=timedelta(hours=-1))
    async with in_process(queue.settings()) as (client, _):
        found = await metrics(client)
    assert found["itb_jobs", "sweep", "due"] == 2
    assert found["itb_jobs", "sweep", "waiting"] == 1
    assert found["itb_jobs", "remind", "dead"] == 1
    assert 600 <= found["itb_job_oldest_seconds", "sweep"] < 700
    assert found["itb_job_oldest_seconds", "remind"] == 0
    assert (found["itb_bookings_unknown",], found["itb_booking_unknown_oldest_seconds",]) == (0, 0)


async def test_bookings_that_no_ehr_has_answered_for_are_told_with_the_age_of_the_oldest(queue: Queue) -> None:
    now = datetime.now(UTC)
    async with queue.start("nord") as work:
        await work.catalogue.put_seed(Seed(tenant=make_tenant("nord")))
        for number, minutes in enumerate((7, 3)):
            held = make_booking(f"b{number}", practitioner=f"p{number}")
            assert await record(work, held, SYSTEM, now, action="test", is_new=True)
            asked_at = now - timedelta(minutes=minutes)
            asking = held.asking(BookingStatus.CONFIRMING, Asked.CONFIRM, asked_at, now + timedelta(hours=1))
            await record(work, asking, SYSTEM, now, action="test")
            await record(work, asking.becomes(BookingStatus.UNKNOWN), SYSTEM, now, action="test")
        await work.commit()
    async with in_process(queue.settings()) as (client, _):
        found = await metrics(client)
    assert found["itb_bookings_unknown",] == 2
    assert 420 <= found["itb_booking_unknown_oldest_seconds",] < 520


async def test_what_this_process_has_done_is_counted(queue: Queue) -> None:
    event = Event(tenant_id="nord", kind=EventKind.BOOKED, booking_id=an_id("b"), version=1, at=datetime.now(UTC))
    async with in_process(queue.settings(worker=True)) as (client, _):
        async with queue.start("nord") as work:
            await work.tell(event)
            await work.commit()

        async def look() -> float | None:
            return (await metrics(client)).get(("itb_jobs_done_total", "deliver", "finished"))

        assert await until(look) == 1


async def test_health_says_how_many_jobs_are_dead_and_stays_well(queue: Queue) -> None:
    async with in_process(queue.settings()) as (client, _):
        whole = {"status": "ok", "database": "ok", "keys": "ok", "redis": "off"}
        assert (await client.http.get("/health")).json() == {**whole, "jobs": {"dead": 0}}
        await queue.given_up()
        answer = await client.http.get("/health")
        assert (answer.status_code, answer.json()) == (200, {**whole, "jobs": {"dead": 1}})
        assert (await client.http.get("/health/ready")).json() == whole


async def test_the_command_tells_of_jobs_and_has_a_dead_one_tried_again(queue: Queue) -> None:
    dead = await queue.given_up()
    await queue.waiting("a", ago=timedelta(minutes=10, seconds=30))
    told = {**NEEDED, "database_url": queue.url, "log_level": "warning"}
    listed = run("jobs", **told)
    assert (listed.returncode, listed.stderr) == (0, "")
    lines = [line.split("  ") for line in listed.stdout.splitlines()]
    words = [[word.strip() for word in line if word.strip()] for line in lines]
    assert ["remind", "dead", "1", "-"] in words
    assert ["sweep", "due", "1", "10 min"] in words
    assert [str(dead), "remind", "nord", "1", "2 h ago", "0 s ago", ERROR] in [_without_seconds(each) for each in words]
    assert "secret" not in listed.stdout

    assert "no job was given up" in told_in_one_line(run("jobs", "retry", str(uuid4()), **told))
    again = run("jobs", "retry", str(dead), **told)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert await SqlJobReads(queue.engine).dead(10) == []
    assert await SqlJobReads(queue.engine).due(["remind"], datetime.now(UTC)) == ["remind"]


def _without_seconds(words: list[str]) -> list[str]:
    """How long ago it died depends on how fast the machine is."""
    return ["0 s ago" if word.endswith(" s ago") else word for word in words]


@pytest.mark.parametrize(
    "arguments", [["jobs", "retry"], ["jobs", "retry", "one"], ["jobs", "forget", str(uuid4())], ["serve", "retry"]]
)
def test_an_order_that_is_not_known_is_answered_by_the_known_ones(arguments: list[str]) -> None:
    line = told_in_one_line(run(*arguments))
    assert line.startswith("itb: usage: python -m api demo | serve | ") and " | jobs [retry ID] | " in line


async def test_jobs_of_this_process_are_taken_up_at_once(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """Not at the next look: those are an hour apart here."""
    house = open_house(queue.settings())
    working = asyncio.create_task(work_forever(house.use, 3600.0))

    async def tidied() -> bool | None:
        """What a worker does first is done, and nothing is left to look for."""
        done = house.use.run_jobs.tally.keys()
        all_done = {("forget_old", "finished"), ("forget_changes", "finished")} <= done
        return (all_done and not house.use.run_jobs.bell.is_set()) or None

    with caplog.at_level(logging.INFO, "integrations.console"):
        await until(tidied)
        event = Event(tenant_id="nord", kind=EventKind.BOOKED, booking_id=an_id("b"), version=1, at=datetime.now(UTC))
        async with house.use.recur.start_work("nord") as work:
            await work.tell(event)
            await work.commit()

        async def look() -> bool | None:
            return str(event.booking_id) in caplog.text or None

        await until(look)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await house.close()
