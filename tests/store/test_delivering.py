"""Every event reaches every receiver at least once, and is noted as delivered when it has."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.events import Event, EventKind
from domain.ports import DELIVER, Receiver
from domain.usecases.deliver import Deliver
from domain.usecases.run_jobs import Kind, RunJobs
from integrations.console import Console
from integrations.store.outbox import SqlOutboxReads
from integrations.store.work import StartSqlWork
from tests.databases import raw
from tests.store.making import NOW, an_id
from tests.store.test_jobs_running import Town, ended, town

__all__ = ["town"]


@dataclass
class Listening:
    down: int = 0
    seconds: float = 0.0
    heard: list[Event] = field(default_factory=list)

    async def receive(self, event: Event) -> None:
        if self.down:
            self.down -= 1
            raise ConnectionError
        await asyncio.sleep(self.seconds)
        self.heard.append(event)


def an_event(name: str = "b") -> Event:
    return Event(tenant_id="nord", kind=EventKind.BOOKED, booking_id=an_id(name), version=2, at=NOW)


async def tell(start: StartSqlWork, event: Event) -> None:
    async with start(event.tenant_id) as work:
        await work.tell(event)
        await work.commit()


def delivering(town: Town, *receivers: Receiver) -> RunJobs:
    outbox = SqlOutboxReads(town.engine)
    return town.process(**{DELIVER: Kind(run=Deliver(outbox=outbox, receivers=receivers, clock=town.clock))})


async def delivered_at(engine: AsyncEngine) -> list[Any]:
    async with raw(engine) as connection:
        return list((await connection.execute(text("SELECT delivered_at FROM outbox"))).scalars())


async def round_of(process: RunJobs) -> None:
    await process()
    await ended(process)


async def test_an_event_is_told_and_noted_as_delivered(town: Town) -> None:
    receivers = Listening(), Listening()
    process, event = delivering(town, *receivers), an_event()
    await tell(town.start, event)
    await round_of(process)
    assert [each.heard for each in receivers] == [[event], [event]]
    assert None not in await delivered_at(town.engine)
    town.clock.at += timedelta(hours=1)
    assert await process() == 0


async def test_a_receiver_that_is_down_keeps_nothing_from_the_others_and_is_told_later(town: Town) -> None:
    down, well = Listening(down=1), Listening(seconds=0.2)
    process, event = delivering(town, down, well), an_event()
    await tell(town.start, event)
    await round_of(process)
    assert (down.heard, well.heard) == ([], [event])
    assert await delivered_at(town.engine) == [None]
    town.clock.at += timedelta(seconds=2)
    await round_of(process)
    assert down.heard == [event]
    assert event in well.heard
    assert None not in await delivered_at(town.engine)


async def test_an_event_that_is_forgotten_meanwhile_is_no_news(town: Town) -> None:
    listening = Listening()
    process = delivering(town, listening)
    await tell(town.start, an_event())
    async with town.start("nord") as work:
        assert await work.outbox.forget("nord", NOW + timedelta(seconds=1), 10) == 1
        await work.commit()
    await round_of(process)
    assert listening.heard == []
    assert await town.states() == {(DELIVER, "DONE"): 1}


async def test_the_console_says_what_happened_and_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        await Console().receive(an_event())
    assert [record.message for record in caplog.records] == [f"nord: booking.booked of {an_id('b')}, version 2"]
