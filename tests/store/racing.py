"""Two hundred visitors at the days of two practitioners: what each wants, and the race, in processes of their own."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from domain.audit import Actor, ActorKind
from domain.patient import Patient
from domain.refusals import Refused
from domain.slot import Slot
from domain.timing import Timing
from domain.usecases.take_hold import Asking, HoldRequest, TakeHold
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.engine import open_engine
from integrations.store.sealing import Sealing
from integrations.store.work import StartSqlWork
from tests.planted import SCAN, read_in_child
from tests.store.making import NOW, SECRET, make_booking, make_tenant

PROCESSES = 2
PATIENCE = 120.0
"""Seconds for a round of a second or two; a ring of waits that nobody breaks would last for ever."""


class Stopped:
    def now(self) -> Any:
        return NOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Racer:
    """`replaces` is the hold that they show the token of, `moving` the visit that they want to move."""

    name: str
    wants: Slot
    patient: Patient | None = None
    replaces: UUID | None = None
    moving: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The hold that was taken, or why there is none: what the visitor was told, or what went wrong."""

    racer: Racer
    hold: UUID | None = None
    refused: str | None = None
    error: str | None = None


@contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """They start each race at the same moment, and stay from race to race."""
    spawn = get_context("spawn")
    known = spawn.Barrier(PROCESSES), SCAN.told
    with ProcessPoolExecutor(PROCESSES, spawn, initializer=_know, initargs=known) as pool:
        yield pool


async def race(pool: ProcessPoolExecutor, url: str, racers: Sequence[Racer]) -> list[Outcome]:
    """What became of everybody, each process having its share of them."""
    loop = asyncio.get_running_loop()
    shares = [racers[n::PROCESSES] for n in range(PROCESSES)]
    told = await asyncio.gather(*(loop.run_in_executor(pool, _run, url, share) for share in shares))
    return [outcome for share in told for outcome in share]


def _know(barrier: Any, told: Path | None) -> None:
    global _barrier
    _barrier = barrier
    read_in_child(told)


def _run(url: str, racers: Sequence[Racer]) -> list[Outcome]:
    _barrier.wait(PATIENCE)
    return asyncio.run(_all(url, racers))


async def _all(url: str, racers: Sequence[Racer]) -> list[Outcome]:
    async with taking(url) as take, asyncio.timeout(PATIENCE):
        return await asyncio.gather(*(one(take, racer) for racer in racers))


@asynccontextmanager
async def taking(url: str) -> AsyncIterator[TakeHold]:
    """The use case over the store, as a server process has it."""
    engine = open_engine(url, pool_size=10, connect_seconds=PATIENCE)
    try:
        start = StartSqlWork(engine, Sealing(SECRET), Stopped())
        reads = SqlBookingReads(engine)
        yield TakeHold(reads=reads, start_work=start, clock=Stopped(), timing=Timing(), most_at_clinic=1_000)
    finally:
        await engine.dispose()


async def one(take: TakeHold, racer: Racer, *, look_first: bool = True) -> Outcome:
    """`HoldSlot` looks first whether it has answered that already, and then asks the record system."""
    try:
        return await _took(take, racer, look_first)
    except Refused as why:
        return Outcome(racer=racer, refused=str(why))
    except Exception as why:  # whatever it is, the race goes on and the test tells
        said = str(why.orig).splitlines()[0] if isinstance(why, DBAPIError) else type(why).__name__
        return Outcome(racer=racer, error=said)


async def _took(take: TakeHold, racer: Racer, look_first: bool) -> Outcome:
    request = HoldRequest(
        slot=racer.wants,
        scope=racer.name,
        key="key",
        input_hash="",
        may_hold=_always,
        replaces=racer.replaces,
        moving_booking_id=racer.moving,
    )
    id = str(racer.patient.id) if racer.patient else None
    actor = Actor(kind=ActorKind.PATIENT, id=id)
    asking = Asking(tenant=make_tenant("nord"), actor=actor, patient=racer.patient, request=request)
    assert not look_first or await take.already(asking) is None
    more = {"patient_id": racer.patient.id if racer.patient else None, "moves_booking_id": racer.moving}
    taken = await take(asking, make_booking(racer.name, **more), [racer.wants], {})
    return Outcome(racer=racer, hold=taken.hold.id) if taken else Outcome(racer=racer, refused="SLOT_TAKEN")


async def _always() -> bool:
    return True
